//! The replicated store: the I/O around the pure state machine of `mvcc`.
//!
//! Theory. Every member keeps the same log ([`log`]), agrees on it through Raft (openraft), and applies it to the same
//! state machine. Requests queue, are batched into one log entry while the entry before is being synced, and are answered
//! when their entry is applied. Reads ask the leader which entry they must see, once for all reads that wait, and answer
//! locally. Watchers are fed by apply ([`watch`]). What needs time (leases) is decided by the leader and replicated.
//!
//! Promises. An acknowledged write survives the loss of any minority of the members. Reads are linearizable unless they
//! ask not to be. Watches have no gaps and no duplicates. A member that notices damage or a failed sync stops.
//!
//! Left out. Who a client is and the etcd API (the `etcd` crate's), the tables (the `backend` crate's), Kubernetes.

mod claim;
pub mod consensus;
mod engine;
pub mod error;
pub mod limits;
pub mod log;
pub mod metrics;
mod node;
pub mod options;
#[cfg(feature = "planted")]
pub mod planted;
pub mod restore;
pub mod status;
mod store;
pub mod transport;
mod verify;
pub mod watch;

/// etcd's requests and responses, which are the arguments of [`Store`].
pub use proto::etcd::etcdserverpb as pb;

pub use claim::Owner;
pub use error::{Error, ErrorKind, MembershipRefusal};
pub use node::{Node, Parts};
pub use options::{FaultHandler, FreeSpace, Options, Retention, Setup, Space, Timing, member_id};
pub use status::{Leadership, Member, Status};
pub use store::Store;
pub use transport::{Description, Listen, Tls, describe};
pub use verify::{Findings, verify};
pub use watch::{Delivery, WatchSpec, Watcher};
