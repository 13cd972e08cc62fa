//! The scheduler: places each Pod on the node that fits it best.
//!
//! # Theory
//! Pods that need a node wait in a queue ([`queue`]): *active* by priority and age, *backing off* after a failure, or
//! *unschedulable* until something in the cluster changes that could help. One cycle at a time takes a Pod, looks at a
//! consistent picture of all nodes ([`nodes`]), *filters* those it cannot run on, *scores* the rest ([`plugins`]), and
//! *assumes* the Pod onto the best one, so that the next cycle counts it. The binding is a request to the API, made
//! beside the next cycles; if it fails the assumption is forgotten.
//!
//! # Promises
//! A Pod is bound at most once: the API refuses a second binding, and the store refuses one from a scheduler that no
//! longer holds the fence. A node is never filled beyond what it offers by Pods that this scheduler placed.
//!
//! # Left out
//! Preemption, volume plugins, dynamic resources, profiles and extenders, sampling of nodes in large clusters. A Pod that
//! asks for one of these is scheduled as if it had not.

mod cycle;
mod limits;
mod nodes;
pub mod plugins;
mod queue;
mod requests;
mod run;

pub use client::Error;
pub use cycle::{Unplaced, place};
pub use nodes::{NodeInfo, Nodes};
pub use queue::Queue;
pub use requests::Requests;
pub use run::run;

/// What the composition tells the scheduler.
#[derive(Debug, Clone)]
pub struct Config {
    /// Who runs it: the holder shown in the Lease object.
    pub identity: String,
    /// Pods with this `spec.schedulerName` are its own.
    pub scheduler_name: String,
}

impl Config {
    /// The default scheduler, run by `identity`.
    pub fn new(identity: impl Into<String>) -> Config {
        Config {
            identity: identity.into(),
            scheduler_name: "default-scheduler".into(),
        }
    }
}
