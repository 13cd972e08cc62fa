//! Which webhooks a request is for. Pure.

use super::Hook;
use crate::admission::Operation;
use crate::registry::fields::{at, list, text};
use api::LabelSelector;
use serde_json::Value;

/// What of a request decides.
pub(super) struct Subject<'a> {
    pub operation: Operation,
    pub group: &'a str,
    pub version: &'a str,
    pub resource: &'a str,
    pub subresource: &'a str,
    pub namespaced: bool,
    /// Labels of the namespace it happens in, or of the namespace it is about; `None` for what has no namespace.
    pub namespace_labels: Option<&'a Value>,
    /// Null where there is none.
    pub object: &'a Value,
    pub old: &'a Value,
}

/// Configurations judge everything but themselves: a broken one could never be repaired.
pub(super) fn is_exempt(group: &str) -> bool {
    group == "admissionregistration.k8s.io"
}

/// Whether a webhook is to be called. The error is a selector that cannot be read.
pub(super) fn is_for(hook: &Hook, subject: &Subject<'_>) -> Result<bool, String> {
    if !list(&hook.webhook, "rules")
        .iter()
        .any(|rule| rule_matches(rule, subject))
    {
        return Ok(false);
    }
    if let Some(labels) = subject.namespace_labels
        && !selects(&hook.webhook["namespaceSelector"], &[labels])?
    {
        return Ok(false);
    }
    let labels = |object: &'_ Value| at(object, "metadata.labels").cloned().unwrap_or_default();
    let (new, old) = (labels(subject.object), labels(subject.old));
    let candidates: Vec<&Value> = [(subject.object, &new), (subject.old, &old)]
        .into_iter()
        .filter(|(object, _)| !object.is_null())
        .map(|(_, labels)| labels)
        .collect();
    selects(&hook.webhook["objectSelector"], &candidates)
}

/// Whether a selector takes any of these labels. One that says nothing takes everything.
fn selects(selector: &Value, candidates: &[&Value]) -> Result<bool, String> {
    if selector.as_object().is_none_or(serde_json::Map::is_empty) {
        return Ok(true);
    }
    let selector = LabelSelector::from_object(selector).map_err(|error| error.to_string())?;
    Ok(candidates.iter().any(|labels| selector.matches(labels)))
}

fn rule_matches(rule: &Value, subject: &Subject<'_>) -> bool {
    let has = |key: &str, wanted: &str| {
        let mut words = list(rule, key).iter().filter_map(Value::as_str);
        words.any(|word| word == "*" || word == wanted)
    };
    let scope = match text(rule, "scope") {
        "Cluster" => !subject.namespaced,
        "Namespaced" => subject.namespaced,
        _ => true,
    };
    let mut resources = list(rule, "resources").iter().filter_map(Value::as_str);
    scope
        && has("operations", operation(subject.operation))
        && has("apiGroups", subject.group)
        && has("apiVersions", subject.version)
        && resources.any(|pattern| resource_matches(pattern, subject.resource, subject.subresource))
}

/// `pods`, `pods/status`, `pods/*`, `*/scale`, `*` (no subresources), `*/*`.
fn resource_matches(pattern: &str, resource: &str, subresource: &str) -> bool {
    let (wanted, sub) = pattern.split_once('/').unwrap_or((pattern, ""));
    (wanted == "*" || wanted == resource) && (sub == "*" || sub == subresource)
}

/// As rules and reviews spell it.
pub(super) fn operation(operation: Operation) -> &'static str {
    match operation {
        Operation::Create => "CREATE",
        Operation::Update => "UPDATE",
        Operation::Delete => "DELETE",
        Operation::Connect => "CONNECT",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn resources_and_subresources_match_by_pattern() {
        for (pattern, resource, subresource, expected) in [
            ("pods", "pods", "", true),
            ("pods", "pods", "status", false),
            ("pods/status", "pods", "status", true),
            ("pods/*", "pods", "exec", true),
            ("*", "pods", "", true),
            ("*", "pods", "exec", false),
            ("*/scale", "deployments", "scale", true),
            ("*/*", "pods", "", true),
        ] {
            assert_eq!(
                resource_matches(pattern, resource, subresource),
                expected,
                "{pattern} {resource}/{subresource}"
            );
        }
    }

    #[test]
    fn selectors_look_at_namespace_and_object() {
        let hook = |selectors: Value| {
            let mut webhook = json!({"name": "a.b.c", "rules": [{"operations": ["CREATE"], "apiGroups": [""],
                "apiVersions": ["v1"], "resources": ["pods"], "scope": "*"}]});
            webhook
                .as_object_mut()
                .unwrap()
                .extend(selectors.as_object().unwrap().clone());
            Hook { webhook, id: 0 }
        };
        let object = json!({"metadata": {"labels": {"app": "web"}}});
        let labels = json!({"team": "a"});
        let subject = |operation| Subject {
            operation,
            group: "",
            version: "v1",
            resource: "pods",
            subresource: "",
            namespaced: true,
            namespace_labels: Some(&labels),
            object: &object,
            old: &Value::Null,
        };
        let called = |selectors: Value| is_for(&hook(selectors), &subject(Operation::Create)).unwrap();
        assert!(called(json!({})));
        assert!(called(json!({"namespaceSelector": {"matchLabels": {"team": "a"}}})));
        assert!(!called(json!({"namespaceSelector": {"matchLabels": {"team": "b"}}})));
        assert!(called(
            json!({"objectSelector": {"matchExpressions": [{"key": "app", "operator": "Exists"}]}})
        ));
        assert!(!called(json!({"objectSelector": {"matchLabels": {"app": "other"}}})));
        assert!(!is_for(&hook(json!({})), &subject(Operation::Update)).unwrap());
    }
}
