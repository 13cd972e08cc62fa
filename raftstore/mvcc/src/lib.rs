//! The replicated state machine: a multi-version keyspace with leases, and the trait of the tables it lives in.
//!
//! # Theory
//!
//! Every member applies the same log, so applying must be a function of the log alone: no clock, no randomness, no files,
//! no threads. A log entry carries a [`Batch`](proto::raft::Batch) of requests; each is applied in order and answered on
//! its own. A request that writes makes one new *revision*, however many keys it changes; the changes of a revision are
//! numbered by `sub` in the order they happened. A fresh store is at revision 1; the first write makes 2.
//!
//! The latest version of every key is in memory, in a persistent ordered map ([`View`]). After each entry the map is
//! published by swapping one pointer, so readers hold a complete revision for as long as they like and never block apply.
//! Older versions are only in the tables ([`Backend`]):
//!
//! | family | key | value |
//! |---|---|---|
//! | `Rev` | revision, sub, tombstone mark (etcd's own key form) | etcd's `KeyValue`; of a tombstone the key alone |
//! | `Latest` | key | revision, sub, create revision, version, lease |
//! | `History` | key, revision descending | sub, create revision, version (0: tombstone), lease |
//! | `Lease` | id | TTL, remaining TTL |
//! | `Auth` | `auth`, or `user/` or `role/` and a name | whether authentication is on; etcd's `User`, `Role` |
//! | `Meta` | name | applied log id, counters, alarms, compaction progress, the caller's own records |
//!
//! A range at an old revision is one seek in `History` a key, and one read of `Rev` a returned key.
//!
//! # Promises
//!
//! - Two machines given the same log give the same answers, blocks and table contents.
//! - All effects of an entry and its log id are one atomic write: after a crash, replay from the stored log id is exact.
//! - A published [`View`] is one revision boundary; a [`Block`] is one whole revision.
//! - Whatever the requests contain, apply answers with a [`DeterministicError`] or succeeds. Only the tables can fail it
//!   ([`Fault`]), and then the machine refuses to go on.
//! - Compaction is logical at apply. Rows are removed later by [`Reader::physical_compact`], in bounded steps, and never
//!   under a reader that was promised them.
//!
//! # Left out
//!
//! Lease timers (the leader's, outside), who a client is (the door's), quotas, subtree counts (a `count` walks the range), and a bound on
//! the memory that values take: every live value is held.

mod apply;
mod auth;
mod backend;
mod blocks;
mod change;
mod compact;
pub mod contract;
mod crc32c;
mod dump;
mod encoding;
mod entry;
mod error;
mod hash;
mod import;
mod index;
mod lease;
pub mod limits;
mod load;
mod machine;
mod memory;
mod past;
mod range;
mod reader;
mod txn;
pub mod validate;
mod verify;
mod view;

pub use auth::{Auth, AuthRefusal, Caller, ROOT, User};
pub use backend::{
    Backend, Checkpoint, Direction, FAMILIES, Family, Installer, LogId, Rows, Step, WriteBatch, WriteOp,
};
pub use blocks::Blocks;
pub use compact::Swept;
pub use dump::{Dump, RowSink};
pub use entry::{Block, Entry, Event, Slot};
pub use error::{DeterministicError, Fault, ReadError};
pub use hash::KvHash;
pub use import::{Ending, Import, ImportError, Imported};
pub use lease::{Lease, LeaseChange};
pub use machine::{Applied, Machine, Response, decode_answer, encode_answer};
pub use memory::Memory;
pub use range::{RangeEnd, prefix_end};
pub use reader::Reader;
pub use verify::{Verified, verify};
pub use view::View;
