//! The promises of the cluster, as its clients and its nodes can see them. One file each.

pub mod addresses;
pub mod objects;
pub mod pods;

use serde::{Deserialize, Serialize};

/// One state of a Pod, as a list or a watch told it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodState {
    pub resource_version: u64,
    pub namespace: String,
    pub name: String,
    pub uid: String,
    /// The node it is bound to.
    pub node: Option<String>,
    /// Its own address; `None` also for Pods on their node's network.
    pub address: Option<String>,
    /// The Pod is gone: `Succeeded`, `Failed`, or its object was removed.
    pub ended: bool,
}
