//! One RBAC rule against one action: who may do it is decided elsewhere, what a rule says is decided here. Pure.

use serde::Deserialize;
use serde_json::Value;

/// What somebody wants to do, in the words RBAC rules are written in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action<'a> {
    /// A request for an API resource. Empty strings stand for "none": no namespace, no name, the core group.
    Resource {
        verb: &'a str,
        group: &'a str,
        resource: &'a str,
        subresource: &'a str,
        namespace: &'a str,
        name: &'a str,
    },
    /// A request for any other path, such as `/healthz`.
    Path { verb: &'a str, path: &'a str },
}

impl Action<'_> {
    /// The namespace the action happens in, empty for cluster-wide actions and paths.
    pub fn namespace(&self) -> &str {
        match self {
            Action::Resource { namespace, .. } => namespace,
            Action::Path { .. } => "",
        }
    }
}

/// `rbac.authorization.k8s.io/v1` PolicyRule.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PolicyRule {
    pub verbs: Vec<String>,
    pub api_groups: Vec<String>,
    pub resources: Vec<String>,
    pub resource_names: Vec<String>,
    #[serde(rename = "nonResourceURLs")]
    pub non_resource_urls: Vec<String>,
}

impl PolicyRule {
    /// Reads the `rules` of a role object. A rule that cannot be read grants nothing.
    pub fn list(object: &Value) -> Vec<PolicyRule> {
        let rules = object.get("rules").and_then(Value::as_array);
        rules
            .into_iter()
            .flatten()
            .filter_map(|rule| PolicyRule::deserialize(without_nulls(rule)).ok())
            .collect()
    }

    /// The rules that together grant everything.
    pub fn everything() -> [PolicyRule; 2] {
        let star = || vec!["*".to_owned()];
        let resources = PolicyRule {
            verbs: star(),
            api_groups: star(),
            resources: star(),
            ..PolicyRule::default()
        };
        let paths = PolicyRule {
            verbs: star(),
            non_resource_urls: star(),
            ..PolicyRule::default()
        };
        [resources, paths]
    }

    /// Whether this rule grants `action`.
    pub fn allows(&self, action: &Action<'_>) -> bool {
        match *action {
            Action::Resource {
                verb,
                group,
                resource,
                subresource,
                name,
                ..
            } => {
                matches(&self.verbs, verb)
                    && matches(&self.api_groups, group)
                    && self.names_resource(resource, subresource)
                    && (self.resource_names.is_empty() || self.resource_names.iter().any(|n| n == name))
            }
            Action::Path { verb, path } => matches(&self.verbs, verb) && self.names_path(path),
        }
    }

    /// `pods` does not cover `pods/log`; `*` covers both, `*/log` covers the log of everything.
    fn names_resource(&self, resource: &str, subresource: &str) -> bool {
        self.resources.iter().any(|rule| match rule.split_once('/') {
            None if rule == "*" => true,
            None => subresource.is_empty() && rule == resource,
            Some((parent, child)) => {
                !subresource.is_empty() && child == subresource && (parent == "*" || parent == resource)
            }
        })
    }

    fn names_path(&self, path: &str) -> bool {
        self.non_resource_urls.iter().any(|rule| path_covered(rule, path))
    }
}

/// `/api/*` covers everything that begins with `/api/`; without a star paths are compared whole.
pub(super) fn path_covered(rule: &str, path: &str) -> bool {
    match rule.strip_suffix('*') {
        Some(prefix) => path.starts_with(prefix),
        None => rule == path,
    }
}

fn matches(list: &[String], wanted: &str) -> bool {
    list.iter().any(|item| item == "*" || item == wanted)
}

/// `null` means "absent" in Kubernetes objects, but serde takes it for a value of the wrong type.
pub(crate) fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.iter().filter(|(_, v)| !v.is_null());
            Value::Object(kept.map(|(k, v)| (k.clone(), without_nulls(v))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(without_nulls).collect()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rule(value: Value) -> PolicyRule {
        PolicyRule::deserialize(value).unwrap()
    }

    fn on<'a>(verb: &'a str, group: &'a str, resource: &'a str, subresource: &'a str, name: &'a str) -> Action<'a> {
        Action::Resource {
            verb,
            group,
            resource,
            subresource,
            namespace: "default",
            name,
        }
    }

    #[test]
    fn a_rule_grants_what_it_names_and_no_more() {
        let pods = rule(json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}));
        assert!(pods.allows(&on("get", "", "pods", "", "a")));
        assert!(!pods.allows(&on("list", "", "pods", "", "")));
        assert!(!pods.allows(&on("get", "apps", "pods", "", "a")));
        assert!(!pods.allows(&on("get", "", "pods", "log", "a")));
    }

    #[test]
    fn subresources_are_named_whole_or_by_star() {
        let one = rule(json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["pods/log"]}));
        let every = rule(json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*/scale"]}));
        let all = rule(json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}));
        assert!(one.allows(&on("get", "", "pods", "log", "a")));
        assert!(!one.allows(&on("get", "", "pods", "", "a")));
        assert!(every.allows(&on("get", "apps", "deployments", "scale", "a")));
        assert!(!every.allows(&on("get", "apps", "deployments", "status", "a")));
        assert!(all.allows(&on("get", "apps", "deployments", "status", "a")));
        assert!(!all.allows(&Action::Path {
            verb: "get",
            path: "/healthz"
        }));
    }

    #[test]
    fn resource_names_keep_list_out_unless_it_names_one() {
        let named = rule(
            json!({"verbs": ["get", "list"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["a"]}),
        );
        assert!(named.allows(&on("get", "", "secrets", "", "a")));
        assert!(!named.allows(&on("get", "", "secrets", "", "b")));
        assert!(!named.allows(&on("list", "", "secrets", "", "")));
    }

    #[test]
    fn paths_match_whole_or_by_prefix() {
        let paths = rule(json!({"verbs": ["get"], "nonResourceURLs": ["/healthz", "/apis/*"]}));
        assert!(paths.allows(&Action::Path {
            verb: "get",
            path: "/healthz"
        }));
        assert!(!paths.allows(&Action::Path {
            verb: "get",
            path: "/healthz/ping"
        }));
        assert!(paths.allows(&Action::Path {
            verb: "get",
            path: "/apis/apps/v1"
        }));
        assert!(!paths.allows(&Action::Path {
            verb: "post",
            path: "/healthz"
        }));
    }

    #[test]
    fn an_unreadable_rule_grants_nothing() {
        let role = json!({"rules": [{"verbs": "all"}, {"verbs": ["get"], "resources": null}]});
        assert_eq!(PolicyRule::list(&role).len(), 1);
    }
}
