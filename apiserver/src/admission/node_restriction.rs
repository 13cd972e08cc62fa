//! A node may change itself, its pods and its lease, and nobody else's.

use super::{Admission, AdmissionRequest, Operation};
use crate::ApiError;
use crate::authz::node_name;
use crate::registry::Reader;
use crate::registry::fields::{at, entries, text};
use serde_json::Value;

/// See the module.
pub(super) struct NodeRestriction {
    pub reader: Reader,
}

const MIRROR_ANNOTATION: &str = "kubernetes.io/config.mirror";
const LEASE_NAMESPACE: &str = "kube-node-lease";
/// Labels under this prefix isolate workloads; a node that could set them could attract what is kept from it.
const ISOLATION_PREFIX: &str = "node-restriction.kubernetes.io/";

#[async_trait::async_trait]
impl Admission for NodeRestriction {
    fn name(&self) -> &'static str {
        "NodeRestriction"
    }

    async fn validate(&self, request: &mut AdmissionRequest<'_>) -> Result<(), ApiError> {
        let Some(node) = node_name(request.user).map(str::to_owned) else {
            return Ok(());
        };
        match (request.group, request.resource) {
            ("", "nodes") => own_node(request, &node),
            ("", "pods") => self.own_pod(request, &node).await,
            ("", "serviceaccounts") if request.subresource == "token" => self.token(request, &node).await,
            ("coordination.k8s.io", "leases") => own_lease(request, &node),
            _ => Ok(()),
        }
    }
}

fn refuse(request: &AdmissionRequest<'_>, why: &str) -> Result<(), ApiError> {
    Err(ApiError::forbidden(&request.group_resource(), request.name, why))
}

fn own_node(request: &AdmissionRequest<'_>, node: &str) -> Result<(), ApiError> {
    let name = if request.name.is_empty() {
        text(request.object, "metadata.name")
    } else {
        request.name
    };
    if name != node {
        let why = format!("node {node:?} is not allowed to modify node {name:?}");
        return refuse(request, &why);
    }
    if request.operation == Operation::Delete {
        return refuse(request, &format!("node {node:?} cannot delete itself"));
    }
    let label = |object: &Value, key: &str| at(object, "metadata.labels").and_then(|l| l.get(key)).cloned();
    for (key, value) in entries(request.object, "metadata.labels") {
        let before = request.old.and_then(|old| label(old, key));
        if key.starts_with(ISOLATION_PREFIX) && before.as_ref() != Some(value) {
            return refuse(request, &format!("is not allowed to set the following labels: {key}"));
        }
    }
    let taints = |object: &Value| at(object, "spec.taints").cloned().unwrap_or_default();
    match request.old {
        Some(old) if taints(old) != taints(request.object) => {
            refuse(request, &format!("node {node:?} is not allowed to modify taints"))
        }
        _ => Ok(()),
    }
}

fn own_lease(request: &AdmissionRequest<'_>, node: &str) -> Result<(), ApiError> {
    let name = if request.name.is_empty() {
        text(request.object, "metadata.name")
    } else {
        request.name
    };
    if request.namespace == LEASE_NAMESPACE && name == node {
        return Ok(());
    }
    refuse(
        request,
        &format!("node {node:?} may only access the lease {node:?} in namespace {LEASE_NAMESPACE:?}"),
    )
}

impl NodeRestriction {
    /// A node asks for tokens on behalf of its own pods only.
    async fn token(&self, request: &AdmissionRequest<'_>, node: &str) -> Result<(), ApiError> {
        let bound = |field: &str| text(request.object, &format!("spec.boundObjectRef.{field}")).to_owned();
        let (kind, name, uid) = (bound("kind"), bound("name"), bound("uid"));
        if kind != "Pod" || name.is_empty() || uid.is_empty() {
            return refuse(request, "node requested token not bound to a pod by name and uid");
        }
        let pod = match self.reader.local("pods", request.namespace, &name).await? {
            Some(pod) if text(&pod, "metadata.uid") == uid && text(&pod, "spec.nodeName") == node => pod,
            // This member may not have seen the pod, or its binding, yet.
            _ => self.reader.get("pods", request.namespace, &name).await?,
        };
        if text(&pod, "metadata.uid") != uid {
            return Err(ApiError::other_uid("pods", &name, &uid, text(&pod, "metadata.uid")));
        }
        if text(&pod, "spec.nodeName") != node {
            return refuse(
                request,
                "node requested token bound to a pod scheduled on a different node",
            );
        }
        Ok(())
    }

    async fn own_pod(&self, request: &AdmissionRequest<'_>, node: &str) -> Result<(), ApiError> {
        match (request.operation, request.subresource) {
            (Operation::Create, "") => mirror_of(request, node),
            (Operation::Create, "eviction") | (Operation::Delete, "") | (Operation::Update, "status") => {
                let stored = match request.old {
                    Some(old) => Some(old.clone()),
                    None => self.reader.local("pods", request.namespace, request.name).await?,
                };
                match stored.as_ref().map(|pod| text(pod, "spec.nodeName")) {
                    Some(other) if other != node => refuse(
                        request,
                        &format!("node {node:?} can only change pods with spec.nodeName set to itself"),
                    ),
                    _ => Ok(()),
                }
            }
            (Operation::Connect, _) => Ok(()),
            _ => refuse(request, "unexpected operation of a node on a pod"),
        }
    }
}

fn mirror_of(request: &AdmissionRequest<'_>, node: &str) -> Result<(), ApiError> {
    let mirror = at(request.object, "metadata.annotations").is_some_and(|a| a.get(MIRROR_ANNOTATION).is_some());
    if !mirror {
        return refuse(
            request,
            "pod does not have the mirror annotation, node can only create mirror pods",
        );
    }
    if text(request.object, "spec.nodeName") != node {
        return refuse(
            request,
            &format!("node {node:?} can only create pods with spec.nodeName set to itself"),
        );
    }
    Ok(())
}
