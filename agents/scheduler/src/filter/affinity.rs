//! NodeAffinity: the node selector and the required node affinity of a Pod.

use client::objects::{Node, NodeSelectorTerm, Requirement};

use super::{Plugin, Refusal};
use crate::cache::PodInfo;

pub(super) fn filter(pod: &PodInfo, node: &Node) -> Option<Refusal> {
    let spec = &pod.pod.spec;
    let selected = spec
        .node_selector
        .iter()
        .all(|(k, v)| node.metadata.labels.get(k) == Some(v));
    let affinity = spec.affinity.as_ref().and_then(|a| a.node_affinity.as_ref());
    let required = affinity.and_then(|a| a.required.as_ref());
    let matched = required.is_none_or(|r| r.node_selector_terms.iter().any(|t| term_matches(t, node)));
    if selected && matched {
        return None;
    }
    Refusal::new(
        Plugin::NodeAffinity,
        "node(s) didn't match Pod's node affinity/selector",
    )
}

/// Whether all requirements of a term hold; an empty term matches nothing.
pub(crate) fn term_matches(term: &NodeSelectorTerm, node: &Node) -> bool {
    if term.match_expressions.is_empty() && term.match_fields.is_empty() {
        return false;
    }
    let label = |r: &Requirement| requirement_holds(r, node.metadata.labels.get(&r.key).map(String::as_str));
    let field = |r: &Requirement| r.key == "metadata.name" && requirement_holds(r, Some(&node.metadata.name));
    term.match_expressions.iter().all(label) && term.match_fields.iter().all(field)
}

fn requirement_holds(requirement: &Requirement, value: Option<&str>) -> bool {
    let listed = || value.is_some_and(|v| requirement.values.iter().any(|w| w == v));
    match requirement.operator.as_str() {
        "In" => listed(),
        "NotIn" => !listed(),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => compared(requirement, value).is_some_and(|(v, bound)| v > bound),
        "Lt" => compared(requirement, value).is_some_and(|(v, bound)| v < bound),
        _ => false,
    }
}

fn compared(requirement: &Requirement, value: Option<&str>) -> Option<(i64, i64)> {
    let [bound] = requirement.values.as_slice() else {
        return None;
    };
    Some((value?.parse().ok()?, bound.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn holds(term: &str) -> bool {
        let mut node = testing::node("n", "1");
        node.metadata.labels = [("zone", "a"), ("size", "5")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into();
        term_matches(&serde_json::from_str(term).unwrap(), &node)
    }

    #[test]
    fn operators() {
        for (requirement, expected) in [
            (r#""key":"zone","operator":"In","values":["a","b"]"#, true),
            (r#""key":"zone","operator":"NotIn","values":["a"]"#, false),
            (r#""key":"none","operator":"NotIn","values":["a"]"#, true),
            (r#""key":"none","operator":"Exists""#, false),
            (r#""key":"none","operator":"DoesNotExist""#, true),
            (r#""key":"size","operator":"Gt","values":["4"]"#, true),
            (r#""key":"size","operator":"Lt","values":["4"]"#, false),
            (r#""key":"zone","operator":"Gt","values":["4"]"#, false),
        ] {
            assert_eq!(
                holds(&format!(r#"{{"matchExpressions":[{{{requirement}}}]}}"#)),
                expected,
                "{requirement}"
            );
        }
        assert!(holds(
            r#"{"matchFields":[{"key":"metadata.name","operator":"In","values":["n"]}]}"#
        ));
        assert!(!holds("{}"), "an empty term matches nothing");
    }
}
