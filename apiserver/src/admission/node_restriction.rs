//! A node may change itself, its pods and its lease, and nobody else's.

use super::{Admission, AdmissionRequest, Operation};
use crate::authz::{Attributes, Decision, LEASE_NAMESPACE, node_name};
use crate::registry::fields::{at, entries, list, text};
use crate::registry::{Reader, Registry, certificates};
use crate::{ApiError, RequestInfo};
use serde_json::Value;
use std::sync::Weak;

/// See the module.
pub(super) struct NodeRestriction {
    pub reader: Reader,
    /// For what a role may grant a node beyond what it needs.
    pub registry: Weak<Registry>,
}

const MIRROR_ANNOTATION: &str = "kubernetes.io/config.mirror";
/// The labels under Kubernetes' own domains that a node may give itself; upstream's list. With any other it could attract
/// workloads that are kept from it.
const OWN_LABELS: [&str; 12] = [
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/instance-type",
    "beta.kubernetes.io/os",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "kubernetes.io/arch",
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "node.kubernetes.io/instance-type",
    "node.kubernetes.io/windows-build",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
];
/// As are all labels of these domains and those below them.
const OWN_DOMAINS: [&str; 2] = ["kubelet.kubernetes.io", "node.kubernetes.io"];
const KUBERNETES_DOMAINS: [&str; 2] = ["kubernetes.io", "k8s.io"];

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
            ("storage.k8s.io", "csinodes") => own_csi_node(request, &node),
            ("certificates.k8s.io", "certificatesigningrequests") => own_certificate(request),
            _ => Ok(()),
        }
    }
}

fn refuse(request: &AdmissionRequest<'_>, why: &str) -> Result<(), ApiError> {
    Err(ApiError::forbidden(&request.group_resource(), request.name, why))
}

fn is_nodes_own(label: &str) -> bool {
    let domain = label.split_once('/').map_or("", |(domain, _)| domain);
    let within = |domains: [&str; 2]| {
        domains.iter().any(|of| {
            let above = domain.strip_suffix(of);
            above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
        })
    };
    !within(KUBERNETES_DOMAINS) || within(OWN_DOMAINS) || OWN_LABELS.contains(&label)
}

/// Labels that were added, changed or taken away.
fn changed_labels(old: Option<&Value>, new: &Value) -> Vec<String> {
    let empty = Value::Null;
    let (old, path) = (old.unwrap_or(&empty), "metadata.labels");
    let differs = |key: &str| {
        let label = |object: &Value| at(object, path).and_then(|labels| labels.get(key)).cloned();
        label(old) != label(new)
    };
    let all: std::collections::BTreeSet<&String> =
        entries(old, path).chain(entries(new, path)).map(|(k, _)| k).collect();
    all.into_iter().filter(|key| differs(key)).cloned().collect()
}

fn name<'a>(request: &'a AdmissionRequest<'_>) -> &'a str {
    match request.name {
        "" => text(request.object, "metadata.name"),
        name => name,
    }
}

fn own_node(request: &AdmissionRequest<'_>, node: &str) -> Result<(), ApiError> {
    let name = name(request);
    if name != node {
        let why = format!("node {node:?} is not allowed to modify node {name:?}");
        return refuse(request, &why);
    }
    if request.operation == Operation::Delete {
        return refuse(request, &format!("node {node:?} cannot delete itself"));
    }
    let changed: Vec<String> = changed_labels(request.old, request.object)
        .into_iter()
        .filter(|key| !is_nodes_own(key))
        .collect();
    if !changed.is_empty() {
        let why = format!("is not allowed to modify labels: {}", changed.join(", "));
        return refuse(request, &why);
    }
    // Whoever a node belongs to takes it along when it goes: a node could so have itself deleted, and come back as it likes.
    let owners = |object: &Value| list(object, "metadata.ownerReferences").to_vec();
    if owners(request.object) != request.old.map(owners).unwrap_or_default() {
        return refuse(
            request,
            &format!("node {node:?} is not allowed to modify ownerReferences"),
        );
    }
    let taints = |object: &Value| at(object, "spec.taints").cloned().unwrap_or_default();
    match request.old {
        Some(old) if taints(old) != taints(request.object) => {
            refuse(request, &format!("node {node:?} is not allowed to modify taints"))
        }
        _ => Ok(()),
    }
}

/// The signers of kubelets' certificates.
const KUBELET_SIGNERS: [&str; 2] = [
    "kubernetes.io/kube-apiserver-client-kubelet",
    "kubernetes.io/kubelet-serving",
];

fn own_certificate(request: &AdmissionRequest<'_>) -> Result<(), ApiError> {
    let asks = request.operation == Operation::Create && request.subresource.is_empty();
    if !asks || !KUBELET_SIGNERS.contains(&text(request.object, "spec.signerName")) {
        return Ok(());
    }
    match certificates::parse(request.object) {
        Ok(parsed) if parsed.common_name == request.user.name => Ok(()),
        Ok(_) => refuse(
            request,
            &format!("can only create a node CSR with CN={}", request.user.name),
        ),
        Err(problem) => refuse(request, &format!("unable to parse csr: {problem}")),
    }
}

fn own_lease(request: &AdmissionRequest<'_>, node: &str) -> Result<(), ApiError> {
    let name = name(request);
    if request.namespace == LEASE_NAMESPACE && name == node {
        return Ok(());
    }
    refuse(
        request,
        &format!("node {node:?} may only access the lease {node:?} in namespace {LEASE_NAMESPACE:?}"),
    )
}

fn own_csi_node(request: &AdmissionRequest<'_>, node: &str) -> Result<(), ApiError> {
    match name(request) == node {
        true => Ok(()),
        false => refuse(request, &format!("node {node:?} may only access the CSINode {node:?}")),
    }
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
        self.audience(request, &pod).await
    }

    /// A token is for whom the pod wants one: a node that is taken over must not speak for its pods to everybody else.
    async fn audience(&self, request: &AdmissionRequest<'_>, pod: &Value) -> Result<(), ApiError> {
        let asked: Vec<&str> = list(request.object, "spec.audiences")
            .iter()
            .filter_map(Value::as_str)
            .collect();
        let audience = match asked.as_slice() {
            [] => "",
            [one] => one,
            _ => return refuse(request, "node may only request 0 or 1 audiences"),
        };
        let registry = self
            .registry
            .upgrade()
            .ok_or_else(|| ApiError::unavailable("the server is stopping"))?;
        let own = registry.config().service_account_issuer.as_str();
        // No audience means that of this API server.
        let meant = |audience: &str| {
            if audience.is_empty() {
                own.to_owned()
            } else {
                audience.to_owned()
            }
        };
        if self
            .audiences_of(pod)
            .await?
            .iter()
            .any(|wanted| meant(wanted) == meant(audience))
        {
            return Ok(());
        }
        let info = RequestInfo {
            verb: "request-serviceaccounts-token-audience".into(),
            is_resource: true,
            version: "v1".into(),
            resource: audience.into(),
            namespace: request.namespace.into(),
            name: request.name.into(),
            ..RequestInfo::default()
        };
        let attributes = Attributes {
            user: request.user.clone(),
            info,
        };
        match registry.access()?.authorizer.authorize(&attributes).await {
            Decision::Allow { .. } => Ok(()),
            _ => refuse(request, &format!("audience {audience:?} not found in pod spec volume")),
        }
    }

    /// For whom the pod's volumes want tokens.
    async fn audiences_of(&self, pod: &Value) -> Result<Vec<String>, ApiError> {
        let mut found = Vec::new();
        for volume in list(pod, "spec.volumes") {
            let tokens = list(volume, "projected.sources").iter();
            let tokens =
                tokens.filter_map(|source| source.get("serviceAccountToken").filter(|token| token.is_object()));
            found.extend(tokens.map(|token| text(token, "audience").to_owned()));
            let driver = text(volume, "csi.driver");
            if driver.is_empty() {
                continue;
            }
            if let Some(driver) = self.reader.local("csidrivers.storage.k8s.io", "", driver).await? {
                let requests = list(&driver, "spec.tokenRequests").iter();
                found.extend(requests.map(|request| text(request, "audience").to_owned()));
            }
        }
        Ok(found)
    }

    async fn own_pod(&self, request: &AdmissionRequest<'_>, node: &str) -> Result<(), ApiError> {
        match (request.operation, request.subresource) {
            (Operation::Create, "") => self.mirror_of(request, node).await,
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

impl NodeRestriction {
    async fn mirror_of(&self, request: &AdmissionRequest<'_>, node: &str) -> Result<(), ApiError> {
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
        let owners = list(request.object, "metadata.ownerReferences");
        if owners.is_empty() {
            return Ok(());
        }
        let own = self.reader.local("nodes", "", node).await?;
        let is_own = |owner: &Value| {
            let uid = own.as_ref().map(|own| text(own, "metadata.uid"));
            (text(owner, "apiVersion"), text(owner, "kind"), text(owner, "name")) == ("v1", "Node", node)
                && uid == Some(text(owner, "uid"))
        };
        match owners.len() == 1 && is_own(&owners[0]) {
            true => Ok(()),
            false => refuse(
                request,
                &format!("node {node:?} can only create pods whose one owner is itself"),
            ),
        }
    }
}
