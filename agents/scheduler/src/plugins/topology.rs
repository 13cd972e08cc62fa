//! Topology spread constraints: how unevenly a group of Pods may lie over the values of a node label.
//!
//! *Hard* constraints filter: a node is out if its value would have more than `maxSkew` Pods above the value with the
//! fewest. *Soft* ones score: the fewer are there already, the better.

use std::collections::BTreeMap;

use client::objects::{LabelSelector, Node, Pod, TopologySpreadConstraint};

use super::Reasons;
use crate::{NodeInfo, Nodes};

/// One constraint with what one cycle has counted.
#[derive(Debug)]
struct Counted<'a> {
    constraint: &'a TopologySpreadConstraint,
    /// Every value on nodes that count, to the number of its Pods.
    values: BTreeMap<String, i64>,
    /// 1 if the Pod itself belongs to the group.
    itself: i64,
}

/// What one cycle has counted.
#[derive(Debug, Default)]
pub struct State<'a> {
    hard: Vec<Counted<'a>>,
    soft: Vec<Counted<'a>>,
}

impl<'a> State<'a> {
    pub fn new(pod: &'a Pod, nodes: &Nodes) -> State<'a> {
        let of = |hard: bool| {
            let all = pod.spec.topology_spread_constraints.iter();
            let all: Vec<_> = all
                .filter(|c| (c.when_unsatisfiable != "ScheduleAnyway") == hard)
                .collect();
            let counted = all.iter().map(|c| Counted::new(c, &all, pod, nodes));
            counted.collect::<Vec<_>>()
        };
        State {
            hard: of(true),
            soft: of(false),
        }
    }

    pub fn filter(&self, node: &Node) -> Result<(), Reasons> {
        for counted in &self.hard {
            let constraint = counted.constraint;
            let Some(value) = node.metadata.labels.get(&constraint.topology_key) else {
                let reason = "node(s) didn't match pod topology spread constraints (missing required label)";
                return Err(vec![reason.into()]);
            };
            let here = counted.values.get(value).copied().unwrap_or(0);
            if here + counted.itself - counted.fewest() > i64::from(constraint.max_skew.max(1)) {
                return Err(vec!["node(s) didn't match pod topology spread constraints".into()]);
            }
        }
        Ok(())
    }

    /// How crowded each node's places are by the soft constraints; small is good. `None` if there are none.
    pub fn crowding(&self, fitting: &[(&Node, &NodeInfo)]) -> Option<Vec<i64>> {
        if self.soft.is_empty() {
            return None;
        }
        let worst = self
            .soft
            .iter()
            .flat_map(|c| c.values.values())
            .max()
            .copied()
            .unwrap_or(0)
            + 1;
        let crowd = |node: &Node| {
            let here = |c: &Counted| match node.metadata.labels.get(&c.constraint.topology_key) {
                Some(value) => c.values.get(value).copied().unwrap_or(0) * c.weight(),
                // A node outside of the topology is no place to spread to.
                None => worst * c.weight(),
            };
            self.soft.iter().map(here).sum()
        };
        Some(fitting.iter().map(|(node, _)| crowd(node)).collect())
    }
}

impl<'a> Counted<'a> {
    fn new(
        constraint: &'a TopologySpreadConstraint,
        all: &[&'a TopologySpreadConstraint],
        pod: &Pod,
        nodes: &Nodes,
    ) -> Self {
        let mut values: BTreeMap<String, i64> = BTreeMap::new();
        for (node, info) in nodes.iter().filter(|(n, _)| counts(n, constraint, all, pod)) {
            let Some(value) = node.metadata.labels.get(&constraint.topology_key) else {
                continue;
            };
            let members = info.pods.values().filter(|other| {
                let same = other.metadata.namespace == pod.metadata.namespace;
                same && other.is_active() && belongs(constraint, pod, other)
            });
            *values.entry(value.clone()).or_default() += members.count() as i64;
        }
        Counted {
            constraint,
            values,
            itself: i64::from(belongs(constraint, pod, pod)),
        }
    }

    /// The Pods of the value with the fewest; 0 as long as there are fewer values than asked for.
    fn fewest(&self) -> i64 {
        let enough = self.constraint.min_domains.unwrap_or(1).max(1) as usize <= self.values.len();
        self.values.values().min().copied().filter(|_| enough).unwrap_or(0)
    }

    /// A difference matters the more the more values there are to choose from; in hundredths.
    fn weight(&self) -> i64 {
        (((self.values.len() + 2) as f64).ln() * 100.0) as i64
    }
}

/// Whether the Pods of a node count: it must be within all topologies and one the Pod might run on.
fn counts(node: &Node, constraint: &TopologySpreadConstraint, all: &[&TopologySpreadConstraint], pod: &Pod) -> bool {
    let labelled = all.iter().all(|c| node.metadata.labels.contains_key(&c.topology_key));
    let repels = |effect: &str| matches!(effect, "NoSchedule" | "NoExecute");
    let affinity = constraint.node_affinity_policy == "Ignore" || pod.may_run_on(node);
    let taints = constraint.node_taints_policy != "Honor"
        || !node.spec.taints.iter().any(|t| repels(&t.effect) && !pod.tolerates(t));
    labelled && affinity && taints
}

fn belongs(constraint: &TopologySpreadConstraint, pod: &Pod, other: &Pod) -> bool {
    let selected = |s: &LabelSelector| other.selected_by(s);
    let same = |key: &String| {
        let value = pod.metadata.labels.get(key);
        value.is_none() || other.metadata.labels.get(key) == value
    };
    constraint.label_selector.as_ref().is_some_and(selected) && constraint.match_label_keys.iter().all(same)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::plugins::fixtures;
    use serde_json::{Value, json};

    const ZONE: &str = "zone";

    /// Nodes named after their zone and a number.
    fn nodes(names: &[&str]) -> Nodes {
        let mut nodes = Nodes::default();
        for name in names {
            let mut node = Node::clone(&fixtures::node(name, "8"));
            node.metadata.labels.insert(ZONE.into(), name[..1].into());
            nodes.set_node(Arc::new(node));
        }
        nodes
    }

    fn pod(name: &str, extra: Value) -> Arc<Pod> {
        let mut constraint = json!({ "maxSkew": 1, "topologyKey": ZONE, "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": { "matchLabels": { "app": "a" } } });
        constraint
            .as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        let mut pod = Pod::clone(&fixtures::pod(name, "1"));
        pod.metadata.labels.insert("app".into(), "a".into());
        pod.spec.topology_spread_constraints = vec![serde_json::from_value(constraint).unwrap()];
        Arc::new(pod)
    }

    fn allowed(pod: &Pod, nodes: &Nodes) -> Vec<String> {
        let state = State::new(pod, nodes);
        fixtures::names(nodes, |node| state.filter(node).is_ok())
    }

    #[test]
    fn no_value_gets_further_ahead_than_the_skew() {
        let mut nodes = nodes(&["a1", "a2", "b1"]);
        assert_eq!(allowed(&pod("p", json!({})), &nodes).len(), 3);
        nodes.assume(pod("first", json!({})), "a1");
        assert_eq!(allowed(&pod("p", json!({})), &nodes), ["b1"]);
        assert_eq!(allowed(&pod("p", json!({ "maxSkew": 2 })), &nodes).len(), 3);
        nodes.assume(pod("second", json!({})), "b1");
        assert_eq!(allowed(&pod("p", json!({})), &nodes).len(), 3);
    }

    #[test]
    fn nodes_without_the_label_are_out_and_do_not_count() {
        let mut nodes = nodes(&["a1", "b1"]);
        nodes.set_node(fixtures::node("x", "8"));
        nodes.assume(pod("first", json!({})), "a1");
        assert_eq!(allowed(&pod("p", json!({})), &nodes), ["b1"]);
        let reasons = State::new(&pod("p", json!({})), &nodes)
            .filter(&fixtures::node("x", "8"))
            .unwrap_err();
        assert!(reasons[0].ends_with("(missing required label)"));
    }

    #[test]
    fn too_few_values_count_as_one_that_is_empty() {
        let mut nodes = nodes(&["a1", "b1"]);
        nodes.assume(pod("first", json!({})), "a1");
        nodes.assume(pod("second", json!({})), "b1");
        assert_eq!(allowed(&pod("p", json!({ "minDomains": 2 })), &nodes).len(), 2);
        assert!(allowed(&pod("p", json!({ "minDomains": 3 })), &nodes).is_empty());
    }

    #[test]
    fn nodes_the_pod_cannot_use_do_not_hold_it_back() {
        let mut nodes = nodes(&["a1", "b1"]);
        nodes.assume(pod("first", json!({})), "a1");
        let mut tied = Pod::clone(&pod("p", json!({})));
        tied.spec.node_selector.insert(ZONE.into(), "a".into());
        assert!(allowed(&tied, &nodes).contains(&"a1".to_owned()), "b is not open to it");
        tied.spec.topology_spread_constraints[0].node_affinity_policy = "Ignore".into();
        assert!(!allowed(&tied, &nodes).contains(&"a1".to_owned()));
    }

    #[test]
    fn another_revision_is_another_group() {
        let mut nodes = nodes(&["a1", "b1"]);
        let revision = |name: &str, hash: &str| {
            let mut pod = Pod::clone(&pod(name, json!({ "matchLabelKeys": ["hash"] })));
            pod.metadata.labels.insert("hash".into(), hash.into());
            Arc::new(pod)
        };
        nodes.assume(revision("old", "1"), "a1");
        assert_eq!(allowed(&revision("new", "2"), &nodes).len(), 2);
        assert_eq!(allowed(&revision("old-2", "1"), &nodes), ["b1"]);
    }

    #[test]
    fn soft_constraints_prefer_emptier_values() {
        let mut nodes = nodes(&["a1", "b1"]);
        let soft = |name: &str| pod(name, json!({ "whenUnsatisfiable": "ScheduleAnyway" }));
        nodes.assume(soft("first"), "a1");
        let wanted = soft("p");
        let state = State::new(&wanted, &nodes);
        let fitting: Vec<_> = nodes.iter().collect();
        let crowding = state.crowding(&fitting).unwrap();
        assert!(
            crowding[0] > crowding[1] && allowed(&wanted, &nodes).len() == 2,
            "{crowding:?}"
        );
    }
}
