//! The state machine's tables over RocksDB: the only crate that links it, and the only one with threads of its own
//! (RocksDB's).
//!
//! # Theory
//!
//! The Raft log is the write-ahead log, so RocksDB's is off. A write goes to memory tables only; all column families are
//! flushed as one (`atomic_flush`), so what survives a crash is always a prefix of the writes, together with the log id that
//! says which. The log replays the rest.
//!
//! The directory holds one database and a file that names it:
//!
//! ```text
//! LIVE              the name of the directory in use
//! tables-000001/    a RocksDB database
//! incoming-000002/  a snapshot being received; removed at the next start
//! checkpoint-000003/ a frozen copy being sent (hard links); removed at the next start
//! ```
//!
//! Installing a snapshot opens the received directory beside the one in use, then replaces `LIVE` by a rename. The old
//! directory goes once its last reader is done. A crash at any point leaves the old tables or the new ones.
//!
//! # Promises
//!
//! [`mvcc::Backend`]'s, tried by its contract suite. Memory stays within [`limits`]. Errors name the path.
//!
//! # Left out
//!
//! Encryption, checksums of the snapshot stream (the transport's), and backups as such (a checkpoint plus a manifest,
//! made above).

mod checkpoint;
mod directory;
mod install;
pub mod limits;
mod options;
mod rocks;
mod stream;
mod tables;

pub use rocks::{Pinned, Rocks};
