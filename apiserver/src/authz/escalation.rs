//! Nobody may hand out, through a role or a binding, rights they do not hold. Pure: two lists of rules in, the rules
//! that are not covered out.

use super::rules::{PolicyRule, path_covered};

/// Of the rules in `wanted`, the atoms (one verb on one thing) that no rule in `held` covers.
pub fn uncovered(held: &[PolicyRule], wanted: &[PolicyRule]) -> Vec<PolicyRule> {
    wanted
        .iter()
        .flat_map(atoms)
        .filter(|atom| !held.iter().any(|rule| covers(rule, atom)))
        .collect()
}

/// Splits a rule so that each part can be covered by a different held rule.
fn atoms(rule: &PolicyRule) -> Vec<PolicyRule> {
    let mut found = Vec::new();
    for verb in &rule.verbs {
        for path in &rule.non_resource_urls {
            found.push(PolicyRule {
                verbs: vec![verb.clone()],
                non_resource_urls: vec![path.clone()],
                ..Default::default()
            });
        }
        for group in &rule.api_groups {
            for resource in &rule.resources {
                found.extend(named_atoms(rule, verb, group, resource));
            }
        }
    }
    found
}

fn named_atoms(rule: &PolicyRule, verb: &str, group: &str, resource: &str) -> Vec<PolicyRule> {
    let base = PolicyRule {
        verbs: vec![verb.to_owned()],
        api_groups: vec![group.to_owned()],
        resources: vec![resource.to_owned()],
        ..Default::default()
    };
    if rule.resource_names.is_empty() {
        return vec![base];
    }
    let names = rule.resource_names.iter();
    names
        .map(|name| PolicyRule {
            resource_names: vec![name.clone()],
            ..base.clone()
        })
        .collect()
}

fn covers(held: &PolicyRule, atom: &PolicyRule) -> bool {
    has_all(&held.verbs, &atom.verbs)
        && has_all(&held.api_groups, &atom.api_groups)
        && atom
            .resources
            .iter()
            .all(|wanted| held.resources.iter().any(|rule| resource_covered(rule, wanted)))
        && (held.resource_names.is_empty()
            || (!atom.resource_names.is_empty() && atom.resource_names.iter().all(|n| held.resource_names.contains(n))))
        && atom.non_resource_urls.iter().all(|wanted| {
            held.non_resource_urls
                .iter()
                .any(|rule| rule == wanted || path_covered(rule, wanted))
        })
}

fn has_all(held: &[String], wanted: &[String]) -> bool {
    wanted.iter().all(|w| held.iter().any(|h| h == "*" || h == w))
}

fn resource_covered(rule: &str, wanted: &str) -> bool {
    if rule == "*" || rule == wanted {
        return true;
    }
    match (rule.split_once('/'), wanted.split_once('/')) {
        (Some(("*", held)), Some((_, child))) => held == child,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn rules(value: Value) -> Vec<PolicyRule> {
        PolicyRule::list(&json!({ "rules": value }))
    }

    #[test]
    fn rights_held_in_pieces_cover_a_rule_that_joins_them() {
        let held = rules(json!([
            {"verbs": ["get"], "apiGroups": [""], "resources": ["pods", "services"]},
            {"verbs": ["list"], "apiGroups": [""], "resources": ["*"]}
        ]));
        let wanted = rules(json!([{"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]}]));
        assert!(uncovered(&held, &wanted).is_empty());
    }

    #[test]
    fn a_star_is_not_covered_by_a_list_of_names() {
        let held = rules(json!([{"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]}]));
        let wanted = rules(json!([{"verbs": ["*"], "apiGroups": [""], "resources": ["pods"]}]));
        assert_eq!(uncovered(&held, &wanted).len(), 1);
    }

    #[test]
    fn a_named_right_does_not_cover_the_unnamed_one() {
        let held =
            rules(json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["a"]}]));
        let one =
            rules(json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["a"]}]));
        let all = rules(json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"]}]));
        assert!(uncovered(&held, &one).is_empty());
        assert_eq!(uncovered(&held, &all).len(), 1);
    }

    #[test]
    fn paths_are_covered_by_a_prefix() {
        let held = rules(json!([{"verbs": ["get"], "nonResourceURLs": ["/api*"]}]));
        let wanted = rules(json!([{"verbs": ["get"], "nonResourceURLs": ["/apis/*", "/version"]}]));
        assert_eq!(uncovered(&held, &wanted).len(), 1);
    }
}
