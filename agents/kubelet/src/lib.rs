//! The node agent: pods over CRI, volumes, probes, status, the node's API.
//!
//! **Theory.** The API says which pods this node should run; the container runtime says what it does run. One worker a
//! pod compares the two and takes the next steps ([`pod::decide`], pure), a list of the runtime's containers once a
//! second ([`relist`]) makes workers look again, and what they see is written back as the pod's status. The runtime's
//! own records, found again by labels, are the only record: the agent and containerd may both die at any moment, pods go
//! on, and the next agent takes them over.
//!
//! **Parts.** [`containerd`] runs the runtime; [`cri`] speaks to it; [`pod`] decides and acts; `volume`, `probe` and `log`
//! serve pods; `node` registers this machine and renews its Lease object; `network` makes the pod network; `server` is
//! the node's API for logs and streams; [`image`] writes images, the pause image among them.
//!
//! **Promises.** Never two running containers of one name in a pod. A pod that ended for good never runs again. A pod's
//! object is deleted only after nothing of it is left here. The agent never imports what masters are made of: it knows
//! the API only.
//!
//! **Left out.** Static pods, ephemeral containers, resizing, eviction, persistent volumes, image garbage collection,
//! device plugins, checking resources again when a pod arrives (the scheduler has), statistics.

mod agent;
pub mod config;
pub mod containerd;
pub mod cri;
mod error;
mod events;
pub mod image;
pub mod limits;
mod log;
mod network;
mod node;
mod objects;
pub mod pod;
mod probe;
pub mod relist;
mod server;
mod teardown;
mod volume;

pub use agent::{remove_pods, run, run_with};
pub use config::Config;
pub use error::Error;

/// The version of Kubernetes whose kubelet this one stands in for.
pub const VERSION: &str = "v1.36.0";
