//! The node agent: pods over CRI, volumes, probes, status, the node's API.
