//! What all pods' workers of one node share.

use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use tokio::sync::Semaphore;

use super::api::PodApi;
use super::env::ServiceAddress;
use super::fields::Facts;
use super::spec;
use super::view::PodView;
use crate::cri::Runtime;
use crate::events::Events;
use crate::objects::Source;
use crate::relist::Relist;
use crate::volume::PodPaths;
use crate::{Config, limits};

/// The services pods are told of, at the moment of asking.
pub type Services = Box<dyn Fn() -> Vec<ServiceAddress> + Send + Sync>;

/// The node's shared parts.
pub struct Node {
    /// The agent's configuration.
    pub config: Config,
    /// The container runtime.
    pub runtime: Arc<dyn Runtime>,
    /// What it calls itself: the scheme of container ids in the API.
    pub runtime_name: String,
    /// What it holds.
    pub relist: Arc<Relist>,
    /// ConfigMaps, secrets, tokens.
    pub source: Arc<dyn Source>,
    /// Services.
    pub services: Services,
    /// The API's pods.
    pub api: Arc<dyn PodApi>,
    /// Where Events go.
    pub events: Arc<dyn Events>,
    /// Held while something is started or stopped.
    pub starts: Semaphore,
    /// The node's CPU in thousandths.
    pub cpu_milli: i64,
    /// The node's memory in bytes.
    pub memory_bytes: i64,
}

impl Node {
    /// A semaphore of the usual size for `starts`.
    pub fn starts() -> Semaphore {
        Semaphore::new(limits::POD_STARTS_MAX)
    }

    /// The node's addresses, the main one first.
    pub fn ips(&self) -> Vec<IpAddr> {
        vec![self.config.node_ip]
    }

    /// Where a pod's own things are.
    pub fn paths(&self, pod: &Pod) -> PodPaths {
        PodPaths {
            root: self.config.pod_dir(spec::uid(pod)),
        }
    }

    /// What the downward API may tell a pod.
    pub fn facts(&self, pod: &Pod, view: &PodView) -> Facts {
        let pod_ips = match view.ready_sandbox() {
            _ if spec::host_network(pod) => self.ips().iter().map(ToString::to_string).collect(),
            Some(sandbox) => sandbox.ips.clone(),
            None => vec![],
        };
        Facts {
            node_name: self.config.node_name.clone(),
            node_ips: self.ips(),
            pod_ips,
            cpu_milli: self.cpu_milli,
            memory_bytes: self.memory_bytes,
        }
    }
}
