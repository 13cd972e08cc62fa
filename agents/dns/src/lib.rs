//! Cluster DNS: service and pod records from the API.
