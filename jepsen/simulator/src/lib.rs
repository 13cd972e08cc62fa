//! The seeded simulator: real raftstore code under simulated network, disk and clock.
//!
//! Theory. A whole cluster, its clients and its faults run in one thread, on virtual time, from one seed. Whatever threads,
//! kernels and wires would decide is drawn from that seed ([`executor`], [`network`], [`disk`]), so a run that went wrong
//! can be had again, exactly. Everything that happens comes by a [`monitor`] that keeps the [`history`] of the replicated
//! state and shows it to every [invariant](invariants). Safety has to hold at every moment; after the faults, the cluster
//! has to become whole again.
//!
//! Promises. Two runs of a seed do the same, to the last poll; a hash over all of it says so. Real: openraft, the log with
//! its recovery, the state machine, watch hub, lease timers, forwarding, reads, admission, snapshots, membership, room, and the
//! fence of what only a leader may write. Simulated: what they stand on. Tables are the in-memory twin of the real ones, which one suite of contracts holds to the same behaviour.
//!
//! Left out. gRPC and TLS below the members' messages, RocksDB, the etcd door, the processes' start and shutdown; the
//! black-box harness has those. Disks that lie about syncs, and more than a minority of members that lose what they synced:
//! no promise holds then.

pub mod call;
pub mod clients;
pub mod cluster;
pub mod disk;
pub mod executor;
pub mod faults;
pub mod history;
pub mod invariants;
pub mod monitor;
pub mod network;
pub mod operator;
pub mod plant;
pub mod random;
pub mod run;
pub mod runtime;
pub mod schedulers;
pub mod tables;
pub mod trace;
pub mod watchers;

pub use run::{Report, Settings, run};
