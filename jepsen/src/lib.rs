//! The black-box fault harness: real members, faults on a schedule, checked histories.
//!
//! # Theory
//! A test is a value composed of a database, a workload, a schedule of faults and a checker. It starts real members as real
//! processes, each in a network namespace of its own; drives them through plain clients that neither retry nor cache,
//! because a retry hides what the first try did; breaks things on a seeded schedule; heals; reads a last time; and judges
//! what was recorded. What a client cannot know is recorded as unknown, never as failed.
//!
//! The same test runs against etcd, which is the control: an anomaly that etcd shows too is the harness's until shown
//! otherwise.
//!
//! # Promises
//! - Every fault is undone and every process, mount, link and rule is removed at the end, also after Ctrl-C, SIGTERM and
//!   SIGHUP. Members die with a harness that is killed; the rest it leaves is removed by the next test, or `jepsen clean`.
//! - A test's directory has all that is needed to judge it again: `jepsen check`.
//! - A seed fixes the schedule of faults and each worker's choices; the interleaving is the machine's.
//!
//! # Left out
//! Clusters that grow beyond their first size (members are replaced), and clock skew of members whose program does not ask
//! libc for the time.

pub mod cli;
mod client;
mod cluster;
mod db;
mod disk;
mod leftovers;
pub mod limits;
mod nemesis;
mod network;
mod notes;
mod record;
mod report;
mod run;
mod shell;
mod suite;
mod worker;
mod workload;

/// Generated clients, by etcd's package names.
#[allow(missing_docs, clippy::all, rustdoc::all)]
pub(crate) mod services {
    pub(crate) mod etcdserverpb {
        tonic::include_proto!("etcdserverpb");
    }
    pub(crate) mod v3lockpb {
        tonic::include_proto!("v3lockpb");
    }
    pub(crate) mod v3electionpb {
        tonic::include_proto!("v3electionpb");
    }
}
