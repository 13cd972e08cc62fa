//! Attribute-based access: a file of policies, one JSON object a line, read once at the start.
//!
//! A policy grants what it describes and never denies. It names a user, a group or both; a resource (with its group and namespace) or
//! a path. A field that is missing matches nothing but the empty text; `*` matches everything. Subresources are not told apart from
//! their resource, which is why roles are the better choice.

use super::rules::{Action, PolicyRule};
use super::{Attributes, Authorizer, Decision, Listed};
use crate::{ApiError, User};
use serde::Deserialize;

/// Lines of a file, at most.
const POLICIES_MAX: usize = 10_000;
const VERSION: &str = "abac.authorization.kubernetes.io/v1beta1";

/// See the module.
#[derive(Debug)]
pub struct Policies(Vec<Policy>);

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Line {
    api_version: String,
    kind: String,
    spec: Policy,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Policy {
    user: String,
    group: String,
    readonly: bool,
    #[serde(rename = "apiGroup")]
    api_group: String,
    resource: String,
    namespace: String,
    non_resource_path: String,
}

impl Policies {
    /// Reads the file's text. The error is a line's number and what is wrong there.
    pub fn parse(text: &str) -> Result<Policies, (usize, String)> {
        let mut policies = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if policies.len() == POLICIES_MAX {
                return Err((index + 1, format!("a file holds at most {POLICIES_MAX} policies")));
            }
            policies.push(policy(line).map_err(|problem| (index + 1, problem))?);
        }
        Ok(Policies(policies))
    }
}

fn policy(line: &str) -> Result<Policy, String> {
    let line: Line = serde_json::from_str(line).map_err(|error| error.to_string())?;
    if line.api_version != VERSION {
        return Err(format!("apiVersion: must be {VERSION}, not {:?}", line.api_version));
    }
    if line.kind != "Policy" {
        return Err(format!("kind: must be Policy, not {:?}", line.kind));
    }
    let policy = line.spec;
    if policy.user.is_empty() && policy.group.is_empty() {
        return Err("spec: needs a user or a group, or it is nobody's".into());
    }
    Ok(policy)
}

fn matches(policy: &str, given: &str) -> bool {
    policy == "*" || policy == given
}

impl Policy {
    /// Both the user and the group, as far as they are named.
    fn is_about(&self, user: &User) -> bool {
        let by_name = self.user.is_empty() || matches(&self.user, &user.name);
        let by_group = self.group.is_empty() || self.group == "*" || user.is_in(&self.group);
        let about_somebody = !self.user.is_empty() || !self.group.is_empty();
        about_somebody && by_name && by_group
    }

    fn grants(&self, action: &Action<'_>) -> bool {
        match *action {
            Action::Resource {
                verb,
                group,
                resource,
                namespace,
                ..
            } => {
                self.covers_verb(verb)
                    && matches(&self.namespace, namespace)
                    && matches(&self.resource, resource)
                    && matches(&self.api_group, group)
            }
            Action::Path { verb, path } => self.covers_verb(verb) && self.covers_path(path),
        }
    }

    fn covers_verb(&self, verb: &str) -> bool {
        !self.readonly || matches!(verb, "get" | "list" | "watch")
    }

    fn covers_path(&self, path: &str) -> bool {
        match self.non_resource_path.strip_suffix('*') {
            Some(prefix) => path.starts_with(prefix),
            None => !self.non_resource_path.is_empty() && self.non_resource_path == path,
        }
    }

    fn verbs(&self) -> Vec<String> {
        let verbs: &[&str] = if self.readonly {
            &["get", "list", "watch"]
        } else {
            &["*"]
        };
        verbs.iter().map(|verb| verb.to_string()).collect()
    }

    /// As a rule would say it, in a namespace.
    fn listed(&self, namespace: &str) -> Vec<PolicyRule> {
        let mut rules = Vec::new();
        if !self.resource.is_empty() && matches(&self.namespace, namespace) {
            rules.push(PolicyRule {
                verbs: self.verbs(),
                api_groups: vec![self.api_group.clone()],
                resources: vec![self.resource.clone()],
                ..PolicyRule::default()
            });
        }
        if !self.non_resource_path.is_empty() {
            rules.push(PolicyRule {
                verbs: self.verbs(),
                non_resource_urls: vec![self.non_resource_path.clone()],
                ..PolicyRule::default()
            });
        }
        rules
    }
}

#[async_trait::async_trait]
impl Authorizer for Policies {
    async fn authorize(&self, attributes: &Attributes) -> Decision {
        let action = attributes.action();
        let granted = |policy: &Policy| policy.is_about(&attributes.user) && policy.grants(&action);
        match self.0.iter().any(granted) {
            true => Decision::Allow { reason: String::new() },
            false => Decision::NoOpinion {
                reason: "No policy matched.".into(),
            },
        }
    }

    async fn rules(&self, user: &User, namespace: &str) -> Result<Listed, ApiError> {
        let own = self.0.iter().filter(|policy| policy.is_about(user));
        Ok(Listed::complete(
            own.flat_map(|policy| policy.listed(namespace)).collect(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn one(spec: Value) -> Policy {
        let line = json!({"apiVersion": VERSION, "kind": "Policy", "spec": spec});
        policy(&line.to_string()).unwrap()
    }

    fn on<'a>(verb: &'a str, group: &'a str, resource: &'a str, namespace: &'a str) -> Action<'a> {
        Action::Resource {
            verb,
            group,
            resource,
            subresource: "",
            namespace,
            name: "x",
        }
    }

    #[test]
    fn a_policy_is_about_the_user_and_the_group_that_it_names() {
        let about = |spec: Value, name: &str, groups: &[&str]| one(spec).is_about(&User::new(name, groups));
        assert!(about(json!({"user": "anna"}), "anna", &[]));
        assert!(!about(json!({"user": "anna"}), "bob", &["anna"]));
        assert!(about(json!({"user": "*"}), "bob", &[]));
        assert!(about(json!({"group": "devs"}), "bob", &["devs"]));
        assert!(!about(json!({"group": "devs"}), "devs", &[]));
        assert!(!about(json!({"user": "anna", "group": "devs"}), "anna", &[]));
        assert!(!about(json!({"user": "anna", "group": "devs"}), "bob", &["devs"]));
        assert!(about(json!({"user": "anna", "group": "devs"}), "anna", &["devs"]));
    }

    #[test]
    fn a_policy_grants_what_it_describes_and_no_more() {
        let pods = one(json!({"user": "a", "namespace": "x", "resource": "pods", "readonly": true}));
        assert!(pods.grants(&on("list", "", "pods", "x")));
        for refused in [
            on("delete", "", "pods", "x"),
            on("list", "", "pods", "y"),
            on("list", "", "pods", ""),
            on("list", "apps", "pods", "x"),
            on("list", "", "secrets", "x"),
        ] {
            assert!(!pods.grants(&refused), "{refused:?}");
        }
        assert!(!pods.grants(&Action::Path {
            verb: "get",
            path: "/x"
        }));
        let all = one(json!({"user": "a", "namespace": "*", "resource": "*", "apiGroup": "*"}));
        assert!(all.grants(&on("delete", "apps", "deployments", "")));
        assert!(!all.grants(&Action::Path { verb: "get", path: "/" }));
        let nothing = one(json!({"user": "a"}));
        assert!(
            !nothing.grants(&on("get", "", "pods", "")) && !nothing.grants(&Action::Path { verb: "get", path: "" })
        );
    }

    #[test]
    fn paths_match_whole_or_by_prefix() {
        let grants = |spec: &str, path: &str| {
            let policy = one(json!({"user": "a", "nonResourcePath": spec, "readonly": true}));
            policy.grants(&Action::Path { verb: "get", path })
        };
        assert!(grants("/version", "/version") && !grants("/version", "/version/"));
        assert!(grants("/healthz*", "/healthz/ping") && !grants("/healthz*", "/health") && grants("*", "/x"));
        let reads = one(json!({"user": "a", "nonResourcePath": "*", "readonly": true}));
        assert!(!reads.grants(&Action::Path {
            verb: "post",
            path: "/x"
        }));
    }

    #[test]
    fn a_line_that_is_wrong_is_named() {
        let good = json!({"apiVersion": VERSION, "kind": "Policy", "spec": {"user": "a"}}).to_string();
        assert_eq!(Policies::parse(&format!("# a note\n\n{good}\n")).unwrap().0.len(), 1);
        for (line, words) in [
            ("{\"user\": \"anna\"}", "apiVersion"),
            (&good.replace("v1beta1", "v1"), "apiVersion"),
            (&good.replace("Policy", "Role"), "kind"),
            (&good.replace("\"user\"", "\"users\""), "users"),
            (&good.replace("\"a\"", "\"\""), "nobody's"),
            ("not json", "expected"),
        ] {
            let (number, problem) = Policies::parse(&format!("{good}\n{line}")).err().unwrap();
            assert_eq!(number, 2, "{line}: {problem}");
            assert!(problem.contains(words), "{line}: {problem}");
        }
    }
}
