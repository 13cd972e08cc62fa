//! The replicated state machine: keys, revisions, leases, and the backend trait with its in-memory twin.
