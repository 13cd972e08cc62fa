//! Affinity to and anti-affinity against other Pods, required and preferred.
//!
//! What counts is not the node but its *topology value*: all nodes with the same value of a label are one place. So the
//! Pods of all nodes are looked at once a cycle, and each node is then judged by its labels.

use std::collections::HashMap;

use client::objects::{LabelSelector, Node, Pod, PodAffinity, PodAffinityTerm};

use super::Reasons;
use crate::{NodeInfo, Nodes};

/// What a required affinity of a Pod that is there weighs when a Pod that it wants near it is placed; as in
/// kube-scheduler.
const REQUIRED_WEIGHT: i64 = 1;

/// Label and value to a number.
type Places = HashMap<(String, String), i64>;

/// What one cycle knows of the Pods that are there.
#[derive(Debug, Default)]
pub struct State {
    /// Where Pods run that all required affinity terms mean; empty if the Pod has none.
    wanted: Places,
    /// Where Pods run that the anti-affinity terms mean.
    unwanted: Places,
    /// Where Pods run that do not want this one near them.
    unwelcome: Places,
    /// What preferences, the Pod's own and those of others, add up to.
    preferred: Places,
}

impl State {
    pub fn new(pod: &Pod, nodes: &Nodes) -> State {
        let mut state = State::default();
        for (node, info) in nodes.iter() {
            // One that is being deleted runs until it is gone; only spreading looks past it.
            for other in info.pods.values().filter(|p| !p.is_terminal()) {
                state.add(pod, other, node, nodes);
            }
        }
        state
    }

    fn add(&mut self, pod: &Pod, other: &Pod, node: &Node, nodes: &Nodes) {
        let means = |term: &PodAffinityTerm| means(term, pod, other, nodes);
        let wanted = &affinity(pod).required;
        if !wanted.is_empty() && wanted.iter().all(means) {
            wanted.iter().for_each(|t| count(&mut self.wanted, node, t, 1));
        }
        for term in anti_affinity(pod).required.iter().filter(|t| means(t)) {
            count(&mut self.unwanted, node, term, 1);
        }
        for term in affinity(pod).preferred.iter().filter(|t| means(&t.pod_affinity_term)) {
            count(&mut self.preferred, node, &term.pod_affinity_term, term.weight);
        }
        for term in anti_affinity(pod)
            .preferred
            .iter()
            .filter(|t| means(&t.pod_affinity_term))
        {
            count(&mut self.preferred, node, &term.pod_affinity_term, -term.weight);
        }
        // The other way round: what those that are there think of this one.
        let meant = |term: &PodAffinityTerm| self::means(term, other, pod, nodes);
        for term in anti_affinity(other).required.iter().filter(|t| meant(t)) {
            count(&mut self.unwelcome, node, term, 1);
        }
        for term in affinity(other).required.iter().filter(|t| meant(t)) {
            count(&mut self.preferred, node, term, REQUIRED_WEIGHT);
        }
        for term in affinity(other).preferred.iter().filter(|t| meant(&t.pod_affinity_term)) {
            count(&mut self.preferred, node, &term.pod_affinity_term, term.weight);
        }
        for term in anti_affinity(other)
            .preferred
            .iter()
            .filter(|t| meant(&t.pod_affinity_term))
        {
            count(&mut self.preferred, node, &term.pod_affinity_term, -term.weight);
        }
    }

    pub fn filter(&self, pod: &Pod, node: &Node, nodes: &Nodes) -> Result<(), Reasons> {
        let labels = &node.metadata.labels;
        let at = |places: &Places, term: &PodAffinityTerm| {
            let value = labels.get(&term.topology_key)?;
            Some(
                places
                    .get(&(term.topology_key.clone(), value.clone()))
                    .copied()
                    .unwrap_or(0),
            )
        };
        let wanted = &affinity(pod).required;
        let near = wanted.iter().all(|t| at(&self.wanted, t).is_some_and(|n| n > 0));
        // The first of a group that wants to be together has nobody to go to but itself.
        let is_first = || {
            let itself = self.wanted.is_empty() && wanted.iter().all(|t| means(t, pod, pod, nodes));
            itself && wanted.iter().all(|t| labels.contains_key(&t.topology_key))
        };
        if !near && !is_first() {
            return Err(vec!["node(s) didn't match pod affinity rules".into()]);
        }
        let anti = &anti_affinity(pod).required;
        if anti.iter().any(|t| at(&self.unwanted, t).is_some_and(|n| n > 0)) {
            return Err(vec!["node(s) didn't match pod anti-affinity rules".into()]);
        }
        let unwelcome = |(key, value): &(String, String)| labels.get(key) == Some(value);
        if self.unwelcome.keys().any(unwelcome) {
            return Err(vec!["node(s) didn't satisfy existing pods anti-affinity rules".into()]);
        }
        Ok(())
    }

    /// The scores of nodes by preference, 0 to 100: the most preferred has 100, the least 0.
    pub fn scores(&self, fitting: &[(&Node, &NodeInfo)]) -> Vec<i64> {
        let sum = |node: &Node| {
            let here = self
                .preferred
                .iter()
                .filter(|((key, value), _)| node.metadata.labels.get(key) == Some(value));
            here.map(|(_, weight)| *weight).sum::<i64>()
        };
        let raw: Vec<i64> = fitting.iter().map(|(node, _)| sum(node)).collect();
        let least = raw.iter().copied().min().unwrap_or(0);
        let span = raw.iter().copied().max().unwrap_or(0) - least;
        let scale = |value: i64| {
            if span == 0 {
                0
            } else {
                (value - least) * crate::limits::SCORE_MAX / span
            }
        };
        raw.into_iter().map(scale).collect()
    }
}

fn count(places: &mut Places, node: &Node, term: &PodAffinityTerm, by: i64) {
    if let Some(value) = node.metadata.labels.get(&term.topology_key) {
        *places.entry((term.topology_key.clone(), value.clone())).or_default() += by;
    }
}

fn affinity(pod: &Pod) -> &PodAffinity {
    let affinity = pod.spec.affinity.as_ref().and_then(|a| a.pod_affinity.as_ref());
    affinity.unwrap_or(&NONE)
}

fn anti_affinity(pod: &Pod) -> &PodAffinity {
    let affinity = pod.spec.affinity.as_ref().and_then(|a| a.pod_anti_affinity.as_ref());
    affinity.unwrap_or(&NONE)
}

static NONE: PodAffinity = PodAffinity {
    required: Vec::new(),
    preferred: Vec::new(),
};

/// Whether a term of `owner` means `other`.
fn means(term: &PodAffinityTerm, owner: &Pod, other: &Pod, nodes: &Nodes) -> bool {
    let selected = term.label_selector.as_ref().is_some_and(|s| other.selected_by(s));
    selected && in_namespace(term, owner, other, nodes) && keys_match(term, owner, other)
}

fn in_namespace(term: &PodAffinityTerm, owner: &Pod, other: &Pod, nodes: &Nodes) -> bool {
    let namespace = &other.metadata.namespace;
    if term.namespaces.is_empty() && term.namespace_selector.is_none() {
        return *namespace == owner.metadata.namespace;
    }
    let by_label = |selector: &LabelSelector| {
        let labels = nodes.namespace_labels(namespace);
        selector.is_empty() || labels.is_some_and(|l| selector.matches(l))
    };
    term.namespaces.contains(namespace) || term.namespace_selector.as_ref().is_some_and(by_label)
}

fn keys_match(term: &PodAffinityTerm, owner: &Pod, other: &Pod) -> bool {
    let (own, others) = (&owner.metadata.labels, &other.metadata.labels);
    // A key that the owner lacks requires nothing.
    let same = |key: &String| own.get(key).is_none_or(|value| others.get(key) == Some(value));
    let differs = |key: &String| own.get(key).is_none_or(|value| others.get(key) != Some(value));
    term.match_label_keys.iter().all(same) && term.mismatch_label_keys.iter().all(differs)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::plugins::fixtures;
    use serde_json::{Value, json};

    const ZONE: &str = "zone";

    /// Nodes `a1` and `a2` in zone a, `b1` in zone b.
    fn nodes() -> Nodes {
        let mut nodes = Nodes::default();
        for name in ["a1", "a2", "b1"] {
            let mut node = Node::clone(&fixtures::node(name, "8"));
            node.metadata.labels.insert(ZONE.into(), name[..1].into());
            nodes.set_node(Arc::new(node));
        }
        nodes
    }

    fn pod(name: &str, app: &str, affinity: Value) -> Arc<Pod> {
        let mut pod = Pod::clone(&fixtures::pod(name, "1"));
        pod.metadata.labels.insert("app".into(), app.into());
        pod.spec.affinity = serde_json::from_value(affinity).unwrap();
        Arc::new(pod)
    }

    fn term(app: &str) -> Value {
        json!({ "labelSelector": { "matchLabels": { "app": app } }, "topologyKey": ZONE })
    }

    fn required(kind: &str, term: Value) -> Value {
        json!({ kind: { "requiredDuringSchedulingIgnoredDuringExecution": [term] } })
    }

    fn allowed(pod: &Pod, nodes: &Nodes) -> Vec<String> {
        let state = State::new(pod, nodes);
        fixtures::names(nodes, |node| state.filter(pod, node, nodes).is_ok())
    }

    #[test]
    fn near_and_far() {
        let mut nodes = nodes();
        nodes.assume(pod("db", "db", json!(null)), "a1");
        let near = pod("near", "web", required("podAffinity", term("db")));
        assert_eq!(allowed(&near, &nodes), ["a1", "a2"]);
        let far = pod("far", "web", required("podAntiAffinity", term("db")));
        assert_eq!(allowed(&far, &nodes), ["b1"]);
    }

    #[test]
    fn one_that_is_being_deleted_is_there_until_it_is_gone() {
        let mut nodes = nodes();
        let hermit = pod("hermit", "hermit", required("podAntiAffinity", term("web")));
        for (pod, node) in [(pod("db", "db", json!(null)), "a1"), (hermit, "b1")] {
            let mut going = Pod::clone(&pod);
            going.metadata.deletion_timestamp = Some(Default::default());
            nodes.assume(Arc::new(going), node);
        }
        let far = pod("far", "other", required("podAntiAffinity", term("db")));
        assert_eq!(allowed(&far, &nodes), ["b1"]);
        assert_eq!(allowed(&pod("web", "web", json!(null)), &nodes), ["a1", "a2"]);
        let near = pod("near", "other", required("podAffinity", term("db")));
        assert_eq!(allowed(&near, &nodes), ["a1", "a2"]);
    }

    #[test]
    fn those_that_are_there_have_a_say() {
        let mut nodes = nodes();
        nodes.assume(pod("hermit", "hermit", required("podAntiAffinity", term("web"))), "b1");
        assert_eq!(allowed(&pod("web", "web", json!(null)), &nodes), ["a1", "a2"]);
        assert_eq!(allowed(&pod("db", "db", json!(null)), &nodes), ["a1", "a2", "b1"]);
    }

    #[test]
    fn the_first_of_a_group_may_start_it() {
        let mut nodes = nodes();
        let one = |name: &str| pod(name, "web", required("podAffinity", term("web")));
        assert_eq!(allowed(&one("first"), &nodes).len(), 3);
        nodes.assume(one("first"), "b1");
        assert_eq!(allowed(&one("second"), &nodes), ["b1"]);
        let stranger = pod("stranger", "db", required("podAffinity", term("nobody")));
        assert!(allowed(&stranger, &nodes).is_empty());
    }

    #[test]
    fn namespaces_limit_whom_a_term_means() {
        let mut nodes = nodes();
        let mut elsewhere = Pod::clone(&pod("db", "db", json!(null)));
        elsewhere.metadata.namespace = "other".into();
        nodes.assume(Arc::new(elsewhere), "a1");
        nodes.set_namespace("other", [("team".to_owned(), "x".to_owned())].into());
        let asked = |extra: Value| {
            let mut term = term("db");
            term.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            allowed(&pod("p", "web", required("podAffinity", term)), &nodes).len()
        };
        assert_eq!(asked(json!({})), 0, "its own namespace only");
        assert_eq!(asked(json!({ "namespaces": ["other"] })), 2);
        assert_eq!(asked(json!({ "namespaceSelector": {} })), 2);
        assert_eq!(
            asked(json!({ "namespaceSelector": { "matchLabels": { "team": "x" } } })),
            2
        );
        assert_eq!(
            asked(json!({ "namespaceSelector": { "matchLabels": { "team": "y" } } })),
            0
        );
    }

    #[test]
    fn label_keys_narrow_a_term_to_the_same_or_to_other_values() {
        let mut nodes = nodes();
        let versioned = |name: &str, version: &str, affinity: Value| {
            let mut pod = Pod::clone(&pod(name, "web", affinity));
            pod.metadata.labels.insert("version".into(), version.into());
            Arc::new(pod)
        };
        nodes.assume(versioned("old", "1", json!(null)), "b1");
        let mut same = term("web");
        same["matchLabelKeys"] = json!(["version"]);
        let mut other = term("web");
        other["mismatchLabelKeys"] = json!(["version"]);
        let new = |term: &Value| versioned("new", "2", required("podAntiAffinity", term.clone()));
        assert_eq!(
            allowed(&new(&same), &nodes).len(),
            3,
            "the old one is of another version"
        );
        assert_eq!(allowed(&new(&other), &nodes), ["a1", "a2"]);
    }

    #[test]
    fn preferences_add_up_over_a_place() {
        let mut nodes = nodes();
        nodes.assume(pod("db", "db", json!(null)), "a1");
        nodes.assume(pod("noisy", "noisy", json!(null)), "b1");
        let weighted = |weight: i64, app: &str| json!([{ "weight": weight, "podAffinityTerm": term(app) }]);
        let wishes = json!({
            "podAffinity": { "preferredDuringSchedulingIgnoredDuringExecution": weighted(10, "db") },
            "podAntiAffinity": { "preferredDuringSchedulingIgnoredDuringExecution": weighted(5, "noisy") },
        });
        let scores = |pod: &Pod| {
            let fitting: Vec<_> = nodes.iter().collect();
            State::new(pod, &nodes).scores(&fitting)
        };
        assert_eq!(scores(&pod("p", "web", wishes)), [100, 100, 0]);
        assert_eq!(scores(&pod("plain", "web", json!(null))), [0, 0, 0]);
    }
}
