//! What decides where a Pod may run and where it runs best. Each plugin is pure and one file; their order stands here.

mod affinity;
mod fit;
mod host_ports;
mod node_name;
mod pod_affinity;
mod spread;
mod taints;
mod topology;
mod unschedulable;

use client::objects::{Node, Pod};

use crate::limits::SCORE_MAX;
use crate::{NodeInfo, Nodes, Requests};

/// What a cycle computes once for its Pod.
pub struct Candidate<'a> {
    pub pod: &'a Pod,
    pub requests: Requests,
    near: pod_affinity::State,
    spread: topology::State<'a>,
}

impl<'a> Candidate<'a> {
    /// A Pod to be placed among these nodes.
    pub fn new(pod: &'a Pod, nodes: &Nodes) -> Candidate<'a> {
        Candidate {
            pod,
            requests: Requests::of_pod(&pod.spec),
            near: pod_affinity::State::new(pod, nodes),
            spread: topology::State::new(pod, nodes),
        }
    }
}

/// Why a node is out of the question; several reasons when several resources are short.
pub type Reasons = Vec<String>;

/// Every filter, cheapest and most telling first. The first that objects decides; kube-scheduler's order.
pub fn filter(candidate: &Candidate, node: &Node, info: &NodeInfo, all: &Nodes) -> Result<(), Reasons> {
    unschedulable::filter(candidate.pod, node)?;
    node_name::filter(candidate.pod, node)?;
    taints::filter(candidate.pod, node)?;
    affinity::filter(candidate.pod, node)?;
    host_ports::filter(candidate.pod, info)?;
    fit::filter(candidate, info)?;
    candidate.spread.filter(node)?;
    candidate.near.filter(candidate.pod, node, all)
}

/// The nodes' total scores, in the order given. Weights are kube-scheduler's.
pub fn score(candidate: &Candidate, fitting: &[(&Node, &NodeInfo)], all: &Nodes) -> Vec<i64> {
    // The soft constraints of the Pod itself take the place of the default spreading.
    let crowding = candidate.spread.crowding(fitting);
    let crowding = crowding.unwrap_or_else(|| spread::crowding(candidate.pod, fitting, all));
    let plugins: [(i64, Vec<i64>); 6] = [
        (
            3,
            normalised(
                fitting
                    .iter()
                    .map(|(node, _)| taints::prefer_no_schedule(candidate.pod, node)),
                true,
            ),
        ),
        (
            2,
            normalised(
                fitting
                    .iter()
                    .map(|(node, _)| affinity::preference(candidate.pod, node)),
                false,
            ),
        ),
        (
            1,
            fitting
                .iter()
                .map(|(_, info)| fit::least_allocated(candidate, info))
                .collect(),
        ),
        (2, normalised(crowding.into_iter(), true)),
        (
            1,
            fitting.iter().map(|(_, info)| fit::balanced(candidate, info)).collect(),
        ),
        (2, candidate.near.scores(fitting)),
    ];
    (0..fitting.len())
        .map(|node| plugins.iter().map(|(weight, scores)| weight * scores[node]).sum())
        .collect()
}

/// Scales raw scores to 0..=100; `reverse` when a small raw score is the better one.
fn normalised(raw: impl Iterator<Item = i64>, reverse: bool) -> Vec<i64> {
    let raw: Vec<i64> = raw.collect();
    let largest = raw.iter().copied().max().unwrap_or(0);
    let scale = |value: i64| match (largest, reverse) {
        (0, true) => SCORE_MAX,
        (0, false) => 0,
        (_, true) => SCORE_MAX - value * SCORE_MAX / largest,
        (_, false) => value * SCORE_MAX / largest,
    };
    raw.into_iter().map(scale).collect()
}

#[cfg(test)]
pub mod fixtures {
    //! Small nodes and Pods for tests.

    use std::collections::BTreeMap;
    use std::sync::Arc;

    use client::objects::{Container, Node, Pod, ResourceRequirements};

    use crate::nodes::Nodes;

    /// A node with this much CPU, plenty of memory, and room for ten Pods.
    pub fn node(name: &str, cpu: &str) -> Arc<Node> {
        let mut node = Node::default();
        node.metadata.name = name.into();
        node.metadata
            .labels
            .insert("kubernetes.io/hostname".into(), name.into());
        for (resource, amount) in [("cpu", cpu), ("memory", "8Gi"), ("pods", "10")] {
            node.status.allocatable.insert(resource.into(), amount.into());
        }
        Arc::new(node)
    }

    /// The names of the nodes that fit.
    pub fn names(nodes: &Nodes, fits: impl Fn(&Node) -> bool) -> Vec<String> {
        let fitting = nodes.iter().map(|(node, _)| node).filter(|node| fits(node));
        fitting.map(|node| node.metadata.name.clone()).collect()
    }

    /// A Pod that asks for this much CPU. Its uid is its name.
    pub fn pod(name: &str, cpu: &str) -> Arc<Pod> {
        let mut pod = Pod::default();
        (pod.metadata.name, pod.metadata.namespace) = (name.into(), "default".into());
        pod.metadata.uid = name.into();
        let requests = BTreeMap::from([("cpu".to_string(), cpu.to_string())]);
        let resources = ResourceRequirements {
            requests,
            ..ResourceRequirements::default()
        };
        pod.spec.containers.push(Container {
            resources,
            ..Container::default()
        });
        Arc::new(pod)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_scaled_to_a_hundred() {
        assert_eq!(normalised([1, 2, 4].into_iter(), false), [25, 50, 100]);
        assert_eq!(normalised([1, 2, 4].into_iter(), true), [75, 50, 0]);
        assert_eq!(normalised([0, 0].into_iter(), true), [100, 100]);
        assert_eq!(normalised([0, 0].into_iter(), false), [0, 0]);
    }
}
