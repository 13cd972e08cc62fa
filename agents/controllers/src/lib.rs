//! The controllers, one file each.
//!
//! **Theory.** A controller brings the world nearer to what an object asks for, one object at a time, again and again:
//! its pure core looks at what is observed and says what to do; the thin loop around it (`client::work`) feeds it and
//! does it. Nothing is remembered between two looks but *expectations*: what was done and not yet seen. So a controller
//! may be stopped anywhere and started on another member.
//!
//! All controllers run on the one leading member, behind its fence: the first write that is refused because the fence has
//! moved on ends all of them.
//!
//! **Promises.** A controller owns what its owner references say and touches nothing else. Deletions name the uid they
//! mean.
//!
//! A controller whose resource the API server does not serve is not started.
//!
//! **Left out** so far: replicationcontroller, autoscaling, resource quota, volumes, legacy tokens,
//! endpoint slice mirroring.

mod bootstrap;
mod certificates;
mod claim;
mod config;
mod cronjob;
mod daemonset;
mod deployment;
mod discovery;
mod disruption;
mod endpoints;
mod endpointslice;
mod error;
mod garbage_collector;
mod hash;
mod job;
mod limits;
mod namespace;
mod node_ipam;
mod node_lifecycle;
mod objects;
mod percent;
mod pod_garbage_collector;
mod pods;
mod replicaset;
mod revisions;
mod root_ca;
mod run;
mod serviceaccount;
mod serving;
mod statefulset;
mod status;
mod taint_eviction;
#[cfg(test)]
mod testing;

pub use config::{ControllersConfig, Signing};
pub use error::Error;
pub use run::{run, warm};
