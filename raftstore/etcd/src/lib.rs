//! The etcd v3 door: etcd's gRPC services over the replicated store, for etcdctl, kube-apiserver, flannel, Calico.
//!
//! # Theory
//! The store already speaks etcd's messages and keeps etcd's promises, so the door is thin: it *admits* (is there a
//! leader, may a learner answer this, is the request well formed and small enough), *passes on*, and *stamps* the answer
//! with the cluster's and the member's identity. Clients tell errors apart by their text, so every text stands in one
//! table ([`Refusal`]) and nothing else makes an error message.
//!
//! The one part with a state of its own is a watch stream: many watchers share one ordered stream, and what is said about
//! all of them (progress) must not overtake what is still to be said by one of them. See [`watch`].
//!
//! # Promises
//! - Requests are checked before they reach the log, with etcd's codes and texts.
//! - A watch never loses, repeats or reorders events, and never splits a revision unless the client asked for fragments.
//! - A slow client holds up nothing but itself.
//! - What is done for a client is done through the store as that client may use it ([`client`]), never through the member's
//!   own.
//!
//! # Left out
//! Downgrading, which answers `Unimplemented` and says what to do instead.

mod auth;
pub mod backup;
mod bolt;
mod calls;
mod client;
mod cluster;
mod config;
mod door;
mod election;
mod error;
mod gateway;
mod health;
mod http;
mod kv;
mod lease;
pub mod limits;
mod lock;
mod maintenance;
mod metrics;
mod process;
mod queue;
pub mod restore;
mod server;
mod snapshot;
pub mod standalone;
mod token;
mod watch;

pub use config::EtcdConfig;
pub use error::{Error, Refusal};
pub use server::{serve, serve_pages};

/// Generated services and clients, by etcd's package names.
#[allow(missing_docs, clippy::all, rustdoc::all)]
pub mod services {
    /// etcd's own services.
    pub mod etcdserverpb {
        tonic::include_proto!("etcdserverpb");
    }
    /// Locks.
    pub mod v3lockpb {
        tonic::include_proto!("v3lockpb");
    }
    /// Elections.
    pub mod v3electionpb {
        tonic::include_proto!("v3electionpb");
    }
    /// gRPC's health service.
    pub mod health {
        tonic::include_proto!("grpc.health.v1");
    }
}

/// The version we answer to, in the form clients compare: the etcd whose behaviour this door has.
pub const VERSION: &str = "3.6.5";
/// The cluster version that belongs to it.
pub const CLUSTER_VERSION: &str = "3.6.0";
