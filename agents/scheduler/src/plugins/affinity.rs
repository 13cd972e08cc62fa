//! `nodeSelector` and node affinity.

use client::objects::{Node, Pod};

use super::Reasons;

pub fn filter(pod: &Pod, node: &Node) -> Result<(), Reasons> {
    if pod.may_run_on(node) {
        return Ok(());
    }
    Err(vec!["node(s) didn't match Pod's node affinity/selector".into()])
}

/// The sum of the weights of the preferences that the node meets.
pub fn preference(pod: &Pod, node: &Node) -> i64 {
    let affinity = pod.spec.affinity.as_ref().and_then(|a| a.node_affinity.as_ref());
    let preferred = affinity.map(|a| a.preferred.as_slice()).unwrap_or_default();
    let met = preferred.iter().filter(|p| p.preference.matches(node));
    met.map(|p| p.weight).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugins::fixtures;
    use client::objects::{
        Affinity, NodeAffinity, NodeSelector, NodeSelectorTerm, PreferredSchedulingTerm, Requirement,
    };

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
                requirement("k", operator, values).holds(value),
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
            pod.spec.affinity = Some(Affinity {
                node_affinity,
                ..Affinity::default()
            });
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
            ..Affinity::default()
        });
        assert_eq!(preference(&pod, &fixtures::node("n", "1")), 15);
    }
}
