//! `nodeSelector` and node affinity.

use client::objects::{Node, NodeAffinity, NodeSelectorTerm, Pod, Requirement};

use super::Reasons;

pub fn filter(pod: &Pod, node: &Node) -> Result<(), Reasons> {
    let labels = &node.metadata.labels;
    let selected = pod
        .spec
        .node_selector
        .iter()
        .all(|(key, value)| labels.get(key) == Some(value));
    let required = node_affinity(pod).and_then(|a| a.required.as_ref());
    if selected && required.is_none_or(|r| r.node_selector_terms.iter().any(|term| matches(term, node))) {
        return Ok(());
    }
    Err(vec!["node(s) didn't match Pod's node affinity/selector".into()])
}

/// The sum of the weights of the preferences that the node meets.
pub fn preference(pod: &Pod, node: &Node) -> i64 {
    let preferred = node_affinity(pod).map(|a| a.preferred.as_slice()).unwrap_or_default();
    preferred
        .iter()
        .filter(|p| matches(&p.preference, node))
        .map(|p| p.weight)
        .sum()
}

fn node_affinity(pod: &Pod) -> Option<&NodeAffinity> {
    pod.spec.affinity.as_ref()?.node_affinity.as_ref()
}

/// All requirements of a term hold; an empty term matches nothing.
fn matches(term: &NodeSelectorTerm, node: &Node) -> bool {
    let empty = term.match_expressions.is_empty() && term.match_fields.is_empty();
    let label = |r: &Requirement| holds(r, node.metadata.labels.get(&r.key).map(String::as_str));
    let field = |r: &Requirement| r.key == "metadata.name" && holds(r, Some(&node.metadata.name));
    !empty && term.match_expressions.iter().all(label) && term.match_fields.iter().all(field)
}

fn holds(requirement: &Requirement, value: Option<&str>) -> bool {
    let listed = |value: &str| requirement.values.iter().any(|v| v == value);
    match requirement.operator.as_str() {
        "In" => value.is_some_and(listed),
        "NotIn" => !value.is_some_and(listed),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => compared(requirement, value).is_some_and(|(have, want)| have > want),
        "Lt" => compared(requirement, value).is_some_and(|(have, want)| have < want),
        _ => false,
    }
}

fn compared(requirement: &Requirement, value: Option<&str>) -> Option<(i64, i64)> {
    Some((value?.parse().ok()?, requirement.values.first()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugins::fixtures;
    use client::objects::{Affinity, NodeSelector, PreferredSchedulingTerm};

    fn requirement(key: &str, operator: &str, values: &[&str]) -> Requirement {
        Requirement {
            key: key.into(),
            operator: operator.into(),
            values: values.iter().map(|v| v.to_string()).collect(),
        }
    }

    fn term(requirements: Vec<Requirement>) -> NodeSelectorTerm {
        NodeSelectorTerm {
            match_expressions: requirements,
            ..NodeSelectorTerm::default()
        }
    }

    #[test]
    fn each_operator() {
        let table = [
            ("In", &["a", "b"][..], Some("a"), true),
            ("In", &["b"], Some("a"), false),
            ("In", &["a"], None, false),
            ("NotIn", &["a"], None, true),
            ("NotIn", &["a"], Some("a"), false),
            ("Exists", &[], Some(""), true),
            ("DoesNotExist", &[], Some("x"), false),
            ("Gt", &["5"], Some("6"), true),
            ("Gt", &["5"], Some("x"), false),
            ("Lt", &["5"], Some("5"), false),
            ("Like", &["5"], Some("5"), false),
        ];
        for (operator, values, value, expected) in table {
            assert_eq!(
                holds(&requirement("k", operator, values), value),
                expected,
                "{operator} {values:?} {value:?}"
            );
        }
    }

    #[test]
    fn terms_are_alternatives_and_an_empty_one_matches_nothing() {
        let node = fixtures::node("n", "1");
        let mut pod = Pod::clone(&fixtures::pod("p", "1"));
        let mut require = |terms: Vec<NodeSelectorTerm>| {
            let required = Some(NodeSelector {
                node_selector_terms: terms,
            });
            let node_affinity = Some(NodeAffinity {
                required,
                ..NodeAffinity::default()
            });
            pod.spec.affinity = Some(Affinity { node_affinity });
            filter(&pod, &node).is_ok()
        };
        let here = || term(vec![requirement("kubernetes.io/hostname", "In", &["n"])]);
        let elsewhere = || term(vec![requirement("kubernetes.io/hostname", "In", &["m"])]);
        assert!(require(vec![elsewhere(), here()]));
        assert!(!require(vec![elsewhere()]));
        assert!(!require(vec![term(vec![])]));
    }

    #[test]
    fn preferences_add_up() {
        let mut pod = Pod::clone(&fixtures::pod("p", "1"));
        let preferred = |weight, host: &str| PreferredSchedulingTerm {
            weight,
            preference: term(vec![requirement("kubernetes.io/hostname", "In", &[host])]),
        };
        let preferred = vec![preferred(10, "n"), preferred(5, "n"), preferred(80, "m")];
        pod.spec.affinity = Some(Affinity {
            node_affinity: Some(NodeAffinity {
                preferred,
                ..NodeAffinity::default()
            }),
        });
        assert_eq!(preference(&pod, &fixtures::node("n", "1")), 15);
    }
}
