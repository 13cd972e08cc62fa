//! Where a Pod wants to run: affinities to nodes and to other Pods, and spreading.

use serde::Deserialize;

use super::{LabelSelector, Node};

/// Affinities of a Pod.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Affinity {
    /// To nodes.
    pub node_affinity: Option<NodeAffinity>,
    /// To nodes near which certain Pods run.
    pub pod_affinity: Option<PodAffinity>,
    /// To nodes near which certain Pods do not run.
    pub pod_anti_affinity: Option<PodAffinity>,
}

/// Affinity to nodes.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct NodeAffinity {
    /// Must hold.
    #[serde(rename = "requiredDuringSchedulingIgnoredDuringExecution")]
    pub required: Option<NodeSelector>,
    /// Counts in scoring.
    #[serde(rename = "preferredDuringSchedulingIgnoredDuringExecution")]
    pub preferred: Vec<PreferredSchedulingTerm>,
}

/// Any of these terms must match.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeSelector {
    /// The terms.
    pub node_selector_terms: Vec<NodeSelectorTerm>,
}

impl NodeSelector {
    /// Whether one of its terms matches a node.
    pub fn matches(&self, node: &Node) -> bool {
        self.node_selector_terms.iter().any(|term| term.matches(node))
    }
}

/// All requirements of a term must hold; an empty term matches nothing.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeSelectorTerm {
    /// On labels.
    pub match_expressions: Vec<Requirement>,
    /// On fields (`metadata.name`).
    pub match_fields: Vec<Requirement>,
}

impl NodeSelectorTerm {
    /// Whether all requirements hold for a node. An empty term matches nothing.
    pub fn matches(&self, node: &Node) -> bool {
        let empty = self.match_expressions.is_empty() && self.match_fields.is_empty();
        let label = |r: &Requirement| r.holds(node.metadata.labels.get(&r.key).map(String::as_str));
        let field = |r: &Requirement| r.key == "metadata.name" && r.holds(Some(&node.metadata.name));
        !empty && self.match_expressions.iter().all(label) && self.match_fields.iter().all(field)
    }
}

/// `key operator values`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct Requirement {
    /// Label or field.
    pub key: String,
    /// `In`, `NotIn`, `Exists`, `DoesNotExist`, `Gt`, `Lt`.
    pub operator: String,
    /// Operands.
    pub values: Vec<String>,
}

impl Requirement {
    /// Whether it holds for a value, `None` being no value at all. An operator nobody knows holds for nothing.
    pub fn holds(&self, value: Option<&str>) -> bool {
        let listed = |value: &str| self.values.iter().any(|v| v == value);
        match self.operator.as_str() {
            "In" => value.is_some_and(listed),
            "NotIn" => !value.is_some_and(listed),
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            "Gt" => self.compared(value).is_some_and(|(have, want)| have > want),
            "Lt" => self.compared(value).is_some_and(|(have, want)| have < want),
            _ => false,
        }
    }

    fn compared(&self, value: Option<&str>) -> Option<(i64, i64)> {
        Some((value?.parse().ok()?, self.values.first()?.parse().ok()?))
    }
}

/// A preference with its weight.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct PreferredSchedulingTerm {
    /// 1 to 100.
    pub weight: i64,
    /// What is preferred.
    pub preference: NodeSelectorTerm,
}

/// Affinity to, or anti-affinity against, other Pods.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct PodAffinity {
    /// All must hold.
    #[serde(rename = "requiredDuringSchedulingIgnoredDuringExecution")]
    pub required: Vec<PodAffinityTerm>,
    /// Count in scoring.
    #[serde(rename = "preferredDuringSchedulingIgnoredDuringExecution")]
    pub preferred: Vec<WeightedPodAffinityTerm>,
}

/// Which Pods are meant, and what counts as near.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodAffinityTerm {
    /// The Pods' labels; absent selects none.
    pub label_selector: Option<LabelSelector>,
    /// Their namespaces by name. With no names and no selector: the Pod's own.
    pub namespaces: Vec<String>,
    /// Their namespaces by label; an empty one selects all.
    pub namespace_selector: Option<LabelSelector>,
    /// Nodes with the same value of this label are near each other.
    pub topology_key: String,
    /// Labels of the Pod itself whose values the others must have, too.
    pub match_label_keys: Vec<String>,
    /// Labels of the Pod itself whose values the others must not have.
    pub mismatch_label_keys: Vec<String>,
}

/// A term with its weight.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WeightedPodAffinityTerm {
    /// 1 to 100.
    pub weight: i64,
    /// The term.
    pub pod_affinity_term: PodAffinityTerm,
}

/// How evenly Pods are spread over the values of a node label.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopologySpreadConstraint {
    /// How many more Pods one value may have than the one with the fewest.
    pub max_skew: i32,
    /// The node label.
    pub topology_key: String,
    /// `DoNotSchedule` or `ScheduleAnyway`.
    pub when_unsatisfiable: String,
    /// Which Pods count; absent counts none.
    pub label_selector: Option<LabelSelector>,
    /// With fewer values than this, the fewest counts as 0.
    pub min_domains: Option<i32>,
    /// `Honor` (also if empty): nodes that the Pod may not run on by affinity do not count. Or `Ignore`.
    pub node_affinity_policy: String,
    /// `Honor`: nodes whose taints the Pod does not bear do not count. Or `Ignore` (also if empty).
    pub node_taints_policy: String,
    /// Labels of the Pod itself whose values the others must have, too.
    pub match_label_keys: Vec<String>,
}
