//! What nodes may do. A node reads secrets, config maps and claims only where one of its pods uses them, and asks for
//! tokens only of accounts its pods run as. Its Lease and its CSINode are those of its own name. What it may write of its own node
//! and pods, admission (NodeRestriction) narrows further.

use super::rules::{Action, PolicyRule};
use super::{Attributes, Authorizer, Decision, Listed};
use crate::registry::Reader;
use crate::registry::fields::{at, list, text};
use crate::{ApiError, User};
use serde_json::Value;
use std::sync::LazyLock;

/// The group of all nodes.
pub(crate) const GROUP: &str = "system:nodes";
const USER_PREFIX: &str = "system:node:";
/// Where nodes' leases are.
pub(crate) const LEASE_NAMESPACE: &str = "kube-node-lease";
const STORAGE: &str = "storage.k8s.io";

/// The node a user is, if it is one.
pub(crate) fn node_name(user: &crate::User) -> Option<&str> {
    user.name
        .strip_prefix(USER_PREFIX)
        .filter(|name| !name.is_empty() && user.is_in(GROUP))
}

/// See the module.
pub(super) struct Nodes {
    reader: Reader,
}

impl Nodes {
    pub(super) fn new(reader: Reader) -> Nodes {
        Nodes { reader }
    }

    /// Whether a pod of `node` in the namespace satisfies `uses`.
    async fn some_pod(&self, node: &str, namespace: &str, uses: impl Fn(&Value) -> bool) -> bool {
        if namespace.is_empty() {
            return false;
        }
        let Ok(pods) = self.reader.local_items("pods", namespace).await else {
            return false;
        };
        let values = pods.iter().filter_map(|item| item.value().ok());
        values
            .filter(|pod| text(pod, "spec.nodeName") == node)
            .any(|pod| uses(&pod))
    }

    async fn may_use(&self, node: &str, resource: &str, namespace: &str, name: &str) -> bool {
        match resource {
            "secrets" => self.some_pod(node, namespace, |pod| uses(pod, "secrets", name)).await,
            "configmaps" => {
                self.some_pod(node, namespace, |pod| uses(pod, "configmaps", name))
                    .await
            }
            "persistentvolumeclaims" => self.some_pod(node, namespace, |pod| uses(pod, resource, name)).await,
            "serviceaccounts" => {
                self.some_pod(node, namespace, |pod| text(pod, "spec.serviceAccountName") == name)
                    .await
            }
            _ => false,
        }
    }

    /// A volume is used through the claim that it is bound to.
    async fn may_use_volume(&self, node: &str, name: &str) -> bool {
        let Ok(Some(volume)) = self.reader.local("persistentvolumes", "", name).await else {
            return false;
        };
        let claim = |field: &str| text(&volume, &format!("spec.claimRef.{field}")).to_owned();
        let (namespace, claim) = (claim("namespace"), claim("name"));
        self.may_use(node, "persistentvolumeclaims", &namespace, &claim).await
    }

    async fn is_attached(&self, node: &str, name: &str) -> bool {
        let attachment = self.reader.local("volumeattachments.storage.k8s.io", "", name).await;
        matches!(attachment, Ok(Some(attachment)) if text(&attachment, "spec.nodeName") == node)
    }
}

#[async_trait::async_trait]
impl Authorizer for Nodes {
    async fn authorize(&self, attributes: &Attributes) -> Decision {
        let Some(node) = node_name(&attributes.user) else {
            return no_opinion("");
        };
        let action = attributes.action();
        let Action::Resource {
            verb,
            group,
            resource,
            subresource,
            namespace,
            name,
        } = action
        else {
            return by_rules(&action);
        };
        let related = match (group, resource, subresource, verb) {
            ("", "secrets" | "configmaps" | "persistentvolumeclaims", "", "get" | "list" | "watch")
            | ("", "serviceaccounts", "token", "create")
            | ("", "serviceaccounts", "", "get") => self.may_use(node, resource, namespace, name).await,
            ("", "persistentvolumes", "", "get") => self.may_use_volume(node, name).await,
            (STORAGE, "volumeattachments", "", "get") => self.is_attached(node, name).await,
            // What is to be created has no name here; admission looks at the object's.
            ("coordination.k8s.io", "leases", "", "create") => namespace == LEASE_NAMESPACE,
            ("coordination.k8s.io", "leases", "", "get" | "update" | "patch" | "delete") => {
                namespace == LEASE_NAMESPACE && name == node
            }
            (STORAGE, "csinodes", "", "create") => true,
            (STORAGE, "csinodes", "", "get" | "update" | "patch" | "delete") => name == node,
            _ => return by_rules(&action),
        };
        match related {
            true => Decision::Allow { reason: String::new() },
            false => no_opinion(&format!("no relationship found between node '{node}' and this object")),
        }
    }

    /// What a node may do depends on the object, and cannot be listed.
    async fn rules(&self, user: &User, _namespace: &str) -> Result<Listed, ApiError> {
        let gap = || "node authorizer does not support user rule resolution".to_owned();
        Ok(Listed {
            rules: Vec::new(),
            gaps: node_name(user).map(|_| gap()).into_iter().collect(),
        })
    }
}

fn no_opinion(reason: &str) -> Decision {
    Decision::NoOpinion {
        reason: reason.to_owned(),
    }
}

fn by_rules(action: &Action<'_>) -> Decision {
    match RULES.iter().any(|rule| rule.allows(action)) {
        true => Decision::Allow { reason: String::new() },
        false => no_opinion(""),
    }
}

/// Whether the pod refers to the object, from a volume, an environment or as a pull secret.
fn uses(pod: &Value, resource: &str, wanted: &str) -> bool {
    if wanted.is_empty() {
        return false;
    }
    let (volume, projected, reference) = match resource {
        "secrets" => ("secret.secretName", "secret.name", "secret"),
        "configmaps" => ("configMap.name", "configMap.name", "configMap"),
        _ => ("persistentVolumeClaim.claimName", "", ""),
    };
    let in_volumes = list(pod, "spec.volumes").iter().any(|v| {
        text(v, volume) == wanted
            || (!projected.is_empty()
                && list(v, "projected.sources")
                    .iter()
                    .any(|s| text(s, projected) == wanted))
    });
    let pull_secret = resource == "secrets"
        && list(pod, "spec.imagePullSecrets")
            .iter()
            .any(|s| text(s, "name") == wanted);
    in_volumes || pull_secret || (!reference.is_empty() && in_environment(pod, reference, wanted))
}

fn in_environment(pod: &Value, reference: &str, wanted: &str) -> bool {
    let lists = ["spec.containers", "spec.initContainers", "spec.ephemeralContainers"];
    let containers = lists.iter().flat_map(|path| list(pod, path));
    let (key, whole) = (
        format!("valueFrom.{reference}KeyRef.name"),
        format!("{reference}Ref.name"),
    );
    containers.into_iter().any(|container| {
        list(container, "env")
            .iter()
            .any(|variable| at(variable, &key).is_some_and(|name| name == wanted))
            || list(container, "envFrom")
                .iter()
                .any(|source| at(source, &whole).is_some_and(|name| name == wanted))
    })
}

/// What every node may do, whatever runs on it: (verbs, group, resources).
const TABLE: &[(&str, &str, &str)] = &[
    ("create", "authentication.k8s.io", "tokenreviews"),
    (
        "create",
        "authorization.k8s.io",
        "subjectaccessreviews localsubjectaccessreviews",
    ),
    ("get list watch", "", "services endpoints"),
    ("create get list watch", "", "nodes"),
    ("update patch", "", "nodes nodes/status"),
    ("create update patch", "", "events"),
    ("create update patch", "events.k8s.io", "events"),
    ("get list watch create delete", "", "pods"),
    ("update patch", "", "pods/status"),
    ("create", "", "pods/eviction"),
    (
        "create get list watch",
        "certificates.k8s.io",
        "certificatesigningrequests",
    ),
    ("get list watch", "node.k8s.io", "runtimeclasses"),
    ("get list watch", "storage.k8s.io", "csidrivers"),
    ("get list watch", "discovery.k8s.io", "endpointslices"),
];

static RULES: LazyLock<Vec<PolicyRule>> = LazyLock::new(|| {
    let words = |text: &str| text.split(' ').map(str::to_owned).collect();
    let rule = |&(verbs, group, resources): &(&str, &str, &str)| PolicyRule {
        verbs: words(verbs),
        api_groups: vec![group.to_owned()],
        resources: words(resources),
        ..PolicyRule::default()
    };
    TABLE.iter().map(rule).collect()
});

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn pods_use_what_they_mount_read_and_pull_with() {
        let pod = json!({"spec": {
            "volumes": [{"name": "a", "secret": {"secretName": "s1"}},
                {"name": "b", "projected": {"sources": [{"configMap": {"name": "c1"}}, {"secret": {"name": "s2"}}]}}],
            "imagePullSecrets": [{"name": "s3"}],
            "containers": [{"env": [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "s4", "key": "k"}}}],
                "envFrom": [{"configMapRef": {"name": "c2"}}]}]}});
        for secret in ["s1", "s2", "s3", "s4"] {
            assert!(uses(&pod, "secrets", secret), "{secret}");
        }
        assert!(
            !uses(&pod, "secrets", "c1") && !uses(&pod, "secrets", "") && !uses(&pod, "persistentvolumeclaims", "x")
        );
        assert!(uses(&pod, "configmaps", "c1") && uses(&pod, "configmaps", "c2"));
    }

    #[test]
    fn the_table_lets_a_node_work_and_not_rule() {
        let ask = |verb, group, resource, subresource| {
            let action = Action::Resource {
                verb,
                group,
                resource,
                subresource,
                namespace: "a",
                name: "x",
            };
            matches!(by_rules(&action), Decision::Allow { .. })
        };
        assert!(ask("patch", "", "pods", "status") && ask("create", "", "pods", "eviction"));
        assert!(
            !ask("get", "", "secrets", "")
                && !ask("update", "", "pods", "")
                && !ask("update", "coordination.k8s.io", "leases", "")
                && !ask("create", "apps", "deployments", "")
        );
    }
}
