//! The nodes and what is on them: what the API shows, plus what this scheduler assumes.
//!
//! An assumption is a Pod counted on a node before the API shows it there. It ends when the API shows the Pod (it is then
//! a fact) or when the binding failed (it is forgotten).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use client::objects::{Node, Pod};

use crate::resources::{Resources, pod_requests, pod_requests_for_scoring};

/// A Pod and what scheduling needs of it, computed once.
#[derive(Debug)]
pub(crate) struct PodInfo {
    pub pod: Arc<Pod>,
    pub requests: Resources,
    pub scoring_requests: Resources,
    /// Protocol, address, port.
    pub host_ports: Vec<HostPort>,
}

/// A port a Pod wants on its node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct HostPort {
    pub protocol: String,
    /// Empty for all addresses.
    pub address: String,
    pub port: u16,
}

impl HostPort {
    /// Whether both cannot be had on one node.
    pub fn conflicts(&self, other: &HostPort) -> bool {
        let addresses = self.address.is_empty() || other.address.is_empty() || self.address == other.address;
        self.port == other.port && self.protocol == other.protocol && addresses
    }
}

impl PodInfo {
    pub fn new(pod: Arc<Pod>) -> Self {
        PodInfo {
            requests: pod_requests(&pod.spec),
            scoring_requests: pod_requests_for_scoring(&pod.spec),
            host_ports: host_ports(&pod),
            pod,
        }
    }

    pub fn uid(&self) -> &str {
        &self.pod.metadata.uid
    }

    pub fn controller_uid(&self) -> Option<&str> {
        self.pod.metadata.controller().map(|c| c.uid.as_str())
    }
}

fn host_ports(pod: &Pod) -> Vec<HostPort> {
    let sidecars = pod
        .spec
        .init_containers
        .iter()
        .filter(|c| c.restart_policy.as_deref() == Some("Always"));
    let ports = pod.spec.containers.iter().chain(sidecars).flat_map(|c| &c.ports);
    let wanted = ports.filter(|p| p.host_port > 0).map(|p| HostPort {
        protocol: if p.protocol.is_empty() {
            "TCP".to_owned()
        } else {
            p.protocol.clone()
        },
        address: if p.host_ip == "0.0.0.0" {
            String::new()
        } else {
            p.host_ip.clone()
        },
        port: p.host_port,
    });
    wanted.collect()
}

/// A node and what is on it.
#[derive(Debug)]
pub(crate) struct NodeInfo {
    /// `None` while Pods on it are known but the node is not (their events came first, or it was deleted).
    pub node: Option<Arc<Node>>,
    pub allocatable: Resources,
    /// The sum of `pods`' requests.
    pub requested: Resources,
    /// The sum of `pods`' scoring requests.
    pub scoring_requested: Resources,
    /// By uid.
    pub pods: HashMap<String, Arc<PodInfo>>,
    /// How many of `pods` each controller has, by its uid; no zeros.
    pub by_controller: HashMap<String, usize>,
    /// Image sizes by name.
    pub images: HashMap<String, i64>,
}

impl NodeInfo {
    fn empty() -> Self {
        NodeInfo {
            node: None,
            allocatable: Resources::default(),
            requested: Resources::default(),
            scoring_requested: Resources::default(),
            pods: HashMap::new(),
            by_controller: HashMap::new(),
            images: HashMap::new(),
        }
    }

    fn set_node(&mut self, node: Arc<Node>) {
        self.allocatable = Resources::parse(&node.status.allocatable);
        let images = node.status.images.iter();
        self.images = images
            .flat_map(|i| i.names.iter().map(|n| (n.clone(), i.size_bytes)))
            .collect();
        self.node = Some(node);
    }

    fn add_pod(&mut self, pod: Arc<PodInfo>) {
        self.requested.add(&pod.requests);
        self.scoring_requested.add(&pod.scoring_requests);
        if let Some(uid) = pod.controller_uid() {
            *self.by_controller.entry(uid.to_owned()).or_insert(0) += 1;
        }
        let before = self.pods.insert(pod.uid().to_owned(), pod);
        assert!(before.is_none(), "a pod is counted once");
    }

    fn remove_pod(&mut self, uid: &str) {
        let Some(pod) = self.pods.remove(uid) else { return };
        self.requested.subtract(&pod.requests);
        self.scoring_requested.subtract(&pod.scoring_requests);
        let Some(controller) = pod.controller_uid() else { return };
        if let Some(count) = self.by_controller.get_mut(controller) {
            *count -= 1;
            if *count == 0 {
                self.by_controller.remove(controller);
            }
        }
    }
}

/// All nodes.
#[derive(Debug, Default)]
pub(crate) struct ClusterCache {
    nodes: BTreeMap<String, NodeInfo>,
    /// Where each counted Pod is, by uid.
    placed: HashMap<String, String>,
    /// The uids of `placed` that the API has not shown yet.
    assumed: HashSet<String>,
    /// The names of the nodes that exist, so that a cycle can start anywhere.
    names: Vec<String>,
}

impl ClusterCache {
    /// The nodes that exist, in a stable order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// A node that exists.
    pub fn node(&self, name: &str) -> Option<&NodeInfo> {
        self.nodes.get(name).filter(|n| n.node.is_some())
    }

    /// Every node that exists.
    pub fn nodes(&self) -> impl Iterator<Item = (&String, &NodeInfo)> {
        self.nodes.iter().filter(|(_, info)| info.node.is_some())
    }

    /// The API shows this node.
    pub fn set_node(&mut self, node: Arc<Node>) {
        let name = node.metadata.name.clone();
        let info = self.nodes.entry(name).or_insert_with(NodeInfo::empty);
        let new = info.node.is_none();
        info.set_node(node);
        if new {
            self.rename();
        }
    }

    /// The node is gone. What was on it stays counted until the API says so.
    pub fn remove_node(&mut self, name: &str) {
        let Some(info) = self.nodes.get_mut(name) else { return };
        info.node = None;
        if info.pods.is_empty() {
            self.nodes.remove(name);
        }
        self.rename();
    }

    fn rename(&mut self) {
        self.names = self.nodes().map(|(name, _)| name.clone()).collect();
    }

    /// The API shows this Pod on a node: an assumption becomes a fact.
    pub fn set_pod(&mut self, pod: Arc<Pod>) {
        self.remove_pod(&pod.metadata.uid);
        self.place(Arc::new(PodInfo::new(pod.clone())), &pod.spec.node_name);
    }

    /// Counts a Pod on a node it is about to be bound to.
    pub fn assume(&mut self, pod: Arc<PodInfo>, node: &str) {
        self.assumed.insert(pod.uid().to_owned());
        self.place(pod, node);
    }

    /// The binding failed. A Pod the API shows by now is left alone.
    pub fn forget(&mut self, uid: &str) {
        if self.assumed.contains(uid) {
            self.remove_pod(uid);
        }
    }

    /// The Pod takes no room any more.
    pub fn remove_pod(&mut self, uid: &str) {
        self.assumed.remove(uid);
        let Some(name) = self.placed.remove(uid) else { return };
        let Some(info) = self.nodes.get_mut(&name) else { return };
        info.remove_pod(uid);
        if info.pods.is_empty() && info.node.is_none() {
            self.nodes.remove(&name);
        }
    }

    /// Whether the Pod is counted somewhere.
    pub fn holds(&self, uid: &str) -> bool {
        self.placed.contains_key(uid)
    }

    fn place(&mut self, pod: Arc<PodInfo>, node: &str) {
        self.placed.insert(pod.uid().to_owned(), node.to_owned());
        self.nodes
            .entry(node.to_owned())
            .or_insert_with(NodeInfo::empty)
            .add_pod(pod);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{node, pod};

    fn bound(name: &str, cpu: &str, node: &str) -> Arc<Pod> {
        let mut pod = pod(name, cpu);
        pod.spec.node_name = node.to_owned();
        Arc::new(pod)
    }

    fn used(cache: &ClusterCache, name: &str) -> i64 {
        cache.node(name).unwrap().requested.milli_cpu
    }

    #[test]
    fn an_assumption_becomes_a_fact_without_counting_twice() {
        let mut cache = ClusterCache::default();
        cache.set_node(Arc::new(node("n1", "4")));
        cache.assume(Arc::new(PodInfo::new(Arc::new(pod("p", "1")))), "n1");
        assert_eq!(used(&cache, "n1"), 1000);
        cache.set_pod(bound("p", "1", "n1"));
        assert_eq!(used(&cache, "n1"), 1000);
        cache.forget("p");
        assert_eq!(used(&cache, "n1"), 1000, "a fact cannot be forgotten");
        cache.remove_pod("p");
        assert_eq!(used(&cache, "n1"), 0);
    }

    #[test]
    fn a_failed_binding_frees_the_room() {
        let mut cache = ClusterCache::default();
        cache.set_node(Arc::new(node("n1", "4")));
        cache.assume(Arc::new(PodInfo::new(Arc::new(pod("p", "1")))), "n1");
        cache.forget("p");
        assert_eq!(used(&cache, "n1"), 0);
        assert!(!cache.holds("p"));
    }

    #[test]
    fn pods_may_come_before_their_node() {
        let mut cache = ClusterCache::default();
        cache.set_pod(bound("p", "1", "n1"));
        assert!(cache.node("n1").is_none() && cache.names().is_empty());
        cache.set_node(Arc::new(node("n1", "4")));
        assert_eq!(used(&cache, "n1"), 1000);
        cache.remove_node("n1");
        assert!(cache.node("n1").is_none());
        cache.set_node(Arc::new(node("n1", "4")));
        assert_eq!(used(&cache, "n1"), 1000, "its pods were still counted");
    }

    #[test]
    fn host_ports_conflict_unless_their_addresses_differ() {
        let port = |address: &str, port| HostPort {
            protocol: "TCP".to_owned(),
            address: address.to_owned(),
            port,
        };
        assert!(port("", 80).conflicts(&port("10.0.0.1", 80)));
        assert!(!port("10.0.0.2", 80).conflicts(&port("10.0.0.1", 80)));
        assert!(!port("", 80).conflicts(&port("", 81)));
    }
}
