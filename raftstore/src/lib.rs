//! I/O around mvcc: Raft, log, transport, membership, watch hub, lease timers.
