//! Which nodes can take a Pod. One pure function a plugin: the reasons why not, empty if it can.

mod affinity;
mod fit;
mod ports;
mod taints;

use std::borrow::Cow;

use client::objects::Node;

use crate::cache::{NodeInfo, PodInfo};

pub(crate) use affinity::term_matches;

/// The plugins, named as everyone knows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Plugin {
    NodeUnschedulable,
    NodeName,
    TaintToleration,
    NodeAffinity,
    NodePorts,
    NodeResourcesFit,
}

/// Why a node cannot take a Pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub plugin: Plugin,
    /// At least one.
    pub reasons: Vec<Cow<'static, str>>,
}

impl Refusal {
    fn new(plugin: Plugin, reason: impl Into<Cow<'static, str>>) -> Option<Self> {
        Some(Refusal {
            plugin,
            reasons: vec![reason.into()],
        })
    }
}

/// The first plugin's refusal, or `None` if the node can take the Pod. The order is upstream's: what is cheap and says
/// most comes first, because only the first refusal of a node is told.
pub(crate) fn filter(pod: &PodInfo, info: &NodeInfo) -> Option<Refusal> {
    let node = info.node.as_deref()?;
    unschedulable(pod, node)
        .or_else(|| node_name(pod, node))
        .or_else(|| taints::filter(pod, node))
        .or_else(|| affinity::filter(pod, node))
        .or_else(|| ports::filter(pod, info))
        .or_else(|| fit::filter(pod, info))
}

fn unschedulable(pod: &PodInfo, node: &Node) -> Option<Refusal> {
    let tolerated = || {
        pod.pod
            .spec
            .tolerations
            .iter()
            .any(|t| t.tolerates("node.kubernetes.io/unschedulable", "", "NoSchedule"))
    };
    if !node.spec.unschedulable || tolerated() {
        return None;
    }
    Refusal::new(Plugin::NodeUnschedulable, "node(s) were unschedulable")
}

fn node_name(pod: &PodInfo, node: &Node) -> Option<Refusal> {
    let wanted = &pod.pod.spec.node_name;
    if wanted.is_empty() || *wanted == node.metadata.name {
        return None;
    }
    Refusal::new(Plugin::NodeName, "node(s) didn't match the requested node name")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::ClusterCache;
    use crate::testing::{node, pod};
    use std::sync::Arc;

    #[test]
    fn a_cordoned_node_refuses_all_but_what_tolerates_it() {
        let mut cordoned = node("n", "4");
        cordoned.spec.unschedulable = true;
        let mut cache = ClusterCache::default();
        cache.set_node(Arc::new(cordoned));
        let mut wanted = pod("p", "1");
        let refusal = filter(&PodInfo::new(Arc::new(wanted.clone())), cache.node("n").unwrap()).unwrap();
        assert_eq!(refusal.reasons, ["node(s) were unschedulable"]);
        wanted.spec.tolerations =
            vec![serde_json::from_str(r#"{"key":"node.kubernetes.io/unschedulable","operator":"Exists"}"#).unwrap()];
        assert_eq!(filter(&PodInfo::new(Arc::new(wanted)), cache.node("n").unwrap()), None);
    }
}
