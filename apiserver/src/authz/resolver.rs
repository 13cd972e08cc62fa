//! Which rules a user holds: bindings name subjects and a role, roles name rules. Pure over [`Grants`], which the
//! caller builds from the stored objects.

use super::rules::{Action, PolicyRule};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;

/// The person or program that asks: all that RBAC knows of a user.
#[derive(Debug, Clone, Copy)]
pub struct Who<'a> {
    pub name: &'a str,
    pub groups: &'a [String],
}

/// A subject of a binding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    User(String),
    Group(String),
    /// Kept as the user name a service account signs in under.
    ServiceAccount(String),
}

impl Subject {
    fn parse(subject: &Value, binding_namespace: &str) -> Option<Subject> {
        let text = |field: &str| subject.get(field).and_then(Value::as_str).unwrap_or_default();
        let name = text("name").to_owned();
        match text("kind") {
            "User" => Some(Subject::User(name)),
            "Group" => Some(Subject::Group(name)),
            "ServiceAccount" => {
                let namespace = Some(text("namespace"))
                    .filter(|n| !n.is_empty())
                    .unwrap_or(binding_namespace);
                Some(Subject::ServiceAccount(format!(
                    "system:serviceaccount:{namespace}:{name}"
                )))
            }
            _ => None,
        }
    }

    fn is(&self, who: Who<'_>) -> bool {
        match self {
            Subject::User(name) => *name == who.name,
            Subject::Group(group) => who.groups.contains(group),
            Subject::ServiceAccount(user) => user == who.name,
        }
    }
}

/// A RoleBinding or ClusterRoleBinding, read once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    pub name: String,
    /// Empty for a ClusterRoleBinding.
    pub namespace: String,
    pub subjects: Vec<Subject>,
    pub role: RoleRef,
}

/// What a binding points at.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RoleRef {
    Cluster(String),
    Namespaced { namespace: String, name: String },
}

impl Binding {
    /// Reads a binding object; `None` when it points at nothing RBAC knows.
    pub fn parse(object: &Value) -> Option<Binding> {
        let meta = object.get("metadata")?;
        let text = |value: &Value, field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        let namespace = text(meta, "namespace");
        let role = RoleRef::parse(object.get("roleRef")?, &namespace)?;
        let subjects = object.get("subjects").and_then(Value::as_array);
        let subjects = subjects
            .into_iter()
            .flatten()
            .filter_map(|s| Subject::parse(s, &namespace))
            .collect();
        Some(Binding {
            name: text(meta, "name"),
            namespace,
            subjects,
            role,
        })
    }
}

impl RoleRef {
    /// Reads a `roleRef`. A ClusterRoleBinding (no namespace) can only point at a ClusterRole.
    pub fn parse(reference: &Value, namespace: &str) -> Option<RoleRef> {
        let name = reference.get("name").and_then(Value::as_str)?.to_owned();
        match reference.get("kind").and_then(Value::as_str)? {
            "ClusterRole" => Some(RoleRef::Cluster(name)),
            "Role" if !namespace.is_empty() => Some(RoleRef::Namespaced {
                namespace: namespace.to_owned(),
                name,
            }),
            _ => None,
        }
    }
}

/// Every role and binding of the cluster at one moment.
#[derive(Debug, Clone, Default)]
pub struct Grants {
    pub roles: HashMap<RoleRef, Arc<Vec<PolicyRule>>>,
    pub cluster_bindings: Vec<Arc<Binding>>,
    /// By namespace.
    pub bindings: HashMap<String, Vec<Arc<Binding>>>,
}

impl Grants {
    /// The first binding that grants `action` to `who`.
    pub fn find<'a>(&'a self, who: Who<'a>, action: &Action<'_>) -> Option<&'a Binding> {
        self.bindings_for(who, action.namespace())
            .find(|binding| self.rules_of(&binding.role).iter().any(|rule| rule.allows(action)))
    }

    /// All rules `who` holds in `namespace` (only cluster-wide ones when it is empty).
    pub fn rules(&self, who: Who<'_>, namespace: &str) -> Vec<PolicyRule> {
        self.bindings_for(who, namespace)
            .flat_map(|b| self.rules_of(&b.role).iter().cloned())
            .collect()
    }

    /// The rules of a role, empty when it does not exist.
    pub fn rules_of(&self, role: &RoleRef) -> &[PolicyRule] {
        self.roles.get(role).map_or(&[], |rules| rules.as_slice())
    }

    fn bindings_for<'a>(&'a self, who: Who<'a>, namespace: &str) -> impl Iterator<Item = &'a Binding> {
        let local = (!namespace.is_empty()).then(|| self.bindings.get(namespace)).flatten();
        let all = self.cluster_bindings.iter().chain(local.into_iter().flatten());
        all.map(Arc::as_ref)
            .filter(move |binding| binding.subjects.iter().any(|s| s.is(who)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn grants() -> Grants {
        let mut grants = Grants::default();
        let view = json!({"rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]});
        let view = Arc::new(PolicyRule::list(&view));
        grants.roles.insert(RoleRef::Cluster("view".into()), view.clone());
        grants.roles.insert(
            RoleRef::Namespaced {
                namespace: "a".into(),
                name: "view".into(),
            },
            view,
        );
        let local = json!({"metadata": {"name": "b", "namespace": "a"}, "roleRef": {"kind": "Role", "name": "view"},
            "subjects": [{"kind": "ServiceAccount", "name": "bot"}, {"kind": "Group", "name": "devs"}]});
        grants
            .bindings
            .insert("a".into(), vec![Arc::new(Binding::parse(&local).unwrap())]);
        let wide = json!({"metadata": {"name": "w"}, "roleRef": {"kind": "ClusterRole", "name": "view"},
            "subjects": [{"kind": "User", "name": "root"}]});
        grants.cluster_bindings.push(Arc::new(Binding::parse(&wide).unwrap()));
        grants
    }

    fn get_pod(namespace: &str) -> Action<'_> {
        Action::Resource {
            verb: "get",
            group: "",
            resource: "pods",
            subresource: "",
            namespace,
            name: "p",
        }
    }

    fn allowed(name: &str, groups: &[&str], namespace: &str) -> bool {
        let groups: Vec<String> = groups.iter().map(|g| g.to_string()).collect();
        grants()
            .find(Who { name, groups: &groups }, &get_pod(namespace))
            .is_some()
    }

    #[test]
    fn a_role_binding_grants_in_its_namespace_only() {
        assert!(allowed("system:serviceaccount:a:bot", &[], "a"));
        assert!(!allowed("system:serviceaccount:a:bot", &[], "b"));
        assert!(!allowed("system:serviceaccount:a:bot", &[], ""));
        assert!(allowed("anna", &["devs"], "a"));
        assert!(!allowed("anna", &["ops"], "a"));
    }

    #[test]
    fn a_cluster_binding_grants_everywhere() {
        assert!(allowed("root", &[], "a"));
        assert!(allowed("root", &[], ""));
    }

    #[test]
    fn a_cluster_binding_cannot_point_at_a_role() {
        let bad = json!({"metadata": {"name": "w"}, "roleRef": {"kind": "Role", "name": "view"}});
        assert_eq!(Binding::parse(&bad), None);
    }
}
