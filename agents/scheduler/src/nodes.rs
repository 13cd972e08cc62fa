//! What the scheduler knows of the nodes and of the Pods on them, assumed ones included.
//!
//! An assumed Pod counts on its node from the moment it was placed; the informer's Pod takes its place when it arrives
//! (or the assumption is forgotten when the binding fails). Each Pod counts exactly once, on one node.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use client::objects::{Node, Pod};

use crate::Requests;

/// A node with what is taken of it.
#[derive(Debug, Clone, Default)]
pub struct NodeInfo {
    /// Absent while only Pods of the node are known.
    pub node: Option<Arc<Node>>,
    pub offered: Requests,
    pub taken: Requests,
    /// Pods on it by uid.
    pub pods: BTreeMap<String, Arc<Pod>>,
}

/// All nodes.
#[derive(Debug, Default)]
pub struct Nodes {
    by_name: BTreeMap<String, NodeInfo>,
    /// Uid of every counted Pod to the name of its node. Holds exactly the Pods in `by_name`.
    places: HashMap<String, String>,
    /// The labels of the namespaces: affinities choose among them.
    namespaces: HashMap<String, BTreeMap<String, String>>,
}

impl Nodes {
    /// Nodes that exist, in order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&Node, &NodeInfo)> {
        self.by_name
            .values()
            .filter_map(|info| Some((info.node.as_deref()?, info)))
    }

    pub fn set_node(&mut self, node: Arc<Node>) {
        let info = self.by_name.entry(node.metadata.name.clone()).or_default();
        info.offered = Requests::of_node(&node);
        info.node = Some(node);
    }

    /// A namespace has these labels.
    pub fn set_namespace(&mut self, name: &str, labels: BTreeMap<String, String>) {
        self.namespaces.insert(name.to_owned(), labels);
    }

    pub fn remove_namespace(&mut self, name: &str) {
        self.namespaces.remove(name);
    }

    /// The labels of a namespace, if it is known.
    pub fn namespace_labels(&self, name: &str) -> Option<&BTreeMap<String, String>> {
        self.namespaces.get(name)
    }

    pub fn remove_node(&mut self, name: &str) {
        if let Some(info) = self.by_name.get_mut(name) {
            info.node = None;
            self.drop_if_unused(name);
        }
    }

    /// Counts a Pod on its node, in place of what was known of it.
    pub fn set_pod(&mut self, pod: Arc<Pod>) {
        let node = pod.spec.node_name.clone();
        self.place(pod, node);
    }

    /// Counts a Pod on a node that its binding will name.
    pub fn assume(&mut self, pod: Arc<Pod>, node: &str) {
        self.place(pod, node.to_string());
    }

    fn place(&mut self, pod: Arc<Pod>, node: String) {
        self.remove_pod(&pod.metadata.uid);
        let info = self.by_name.entry(node.clone()).or_default();
        info.taken.add(&Requests::of_pod(&pod.spec));
        self.places.insert(pod.metadata.uid.clone(), node);
        info.pods.insert(pod.metadata.uid.clone(), pod);
    }

    /// Forgets a Pod, be it real or assumed.
    pub fn remove_pod(&mut self, uid: &str) {
        let Some(name) = self.places.remove(uid) else { return };
        let Some(info) = self.by_name.get_mut(&name) else {
            return;
        };
        if let Some(pod) = info.pods.remove(uid) {
            info.taken.subtract(&Requests::of_pod(&pod.spec));
        }
        self.drop_if_unused(&name);
    }

    /// Whether a Pod counts on some node.
    pub fn counts(&self, uid: &str) -> bool {
        self.places.contains_key(uid)
    }

    fn drop_if_unused(&mut self, name: &str) {
        if self
            .by_name
            .get(name)
            .is_some_and(|info| info.node.is_none() && info.pods.is_empty())
        {
            self.by_name.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugins::fixtures::{node, pod};

    #[test]
    fn an_assumed_pod_counts_once_and_is_replaced_by_the_real_one() {
        let mut nodes = Nodes::default();
        nodes.set_node(node("a", "2"));
        let mut placed = Pod::clone(&pod("p", "500m"));
        nodes.assume(Arc::new(placed.clone()), "a");
        placed.spec.node_name = "a".into();
        nodes.set_pod(Arc::new(placed));
        let (_, info) = nodes.iter().next().unwrap();
        assert_eq!((info.taken.cpu_milli, info.taken.pods, info.pods.len()), (500, 1, 1));
        nodes.remove_pod("p");
        assert_eq!(nodes.iter().next().unwrap().1.taken.cpu_milli, 0);
        assert!(!nodes.counts("p"));
    }

    #[test]
    fn a_node_known_only_by_its_pods_is_no_candidate() {
        let mut nodes = Nodes::default();
        nodes.assume(pod("p", "1"), "gone");
        assert_eq!(nodes.iter().count(), 0);
        nodes.remove_pod("p");
        assert!(nodes.by_name.is_empty());
    }
}
