//! The rows. A row is written with a builder so that verbs and subresources that most resources share are derived.

use super::{Name, Resource, Subresource};

/// A row: a resource that is known at compile time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    group: &'static str,
    version: &'static str,
    name: &'static str,
    singular: &'static str,
    kind: &'static str,
    namespaced: bool,
    short_names: &'static [&'static str],
    categories: &'static [&'static str],
    verbs: &'static [&'static str],
    subresources: &'static [SubRow],
}

/// A subresource of a row.
#[derive(Debug, Clone, Copy)]
struct SubRow {
    name: &'static str,
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    verbs: &'static [&'static str],
}

impl Row {
    /// In the form that custom resources have too.
    pub(super) fn resource(&self) -> Resource {
        let names = |list: &'static [&'static str]| list.iter().map(|name| Name::Borrowed(name)).collect();
        let subresources = self.subresources.iter().map(|row| Subresource {
            name: row.name.into(),
            group: row.group.into(),
            version: row.version.into(),
            kind: row.kind.into(),
            verbs: row.verbs,
        });
        Resource {
            group: self.group.into(),
            version: self.version.into(),
            name: self.name.into(),
            singular: self.singular.into(),
            kind: self.kind.into(),
            list_kind: format!("{}List", self.kind).into(),
            namespaced: self.namespaced,
            short_names: names(self.short_names),
            categories: names(self.categories),
            verbs: self.verbs,
            subresources: subresources.collect(),
        }
    }
}

/// What a stored resource can do.
pub const STANDARD: &[&str] = &[
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];
/// Stored, but never deleted as a collection.
const NO_COLLECTION: &[&str] = &["create", "delete", "get", "list", "patch", "update", "watch"];
/// Asked, never stored.
const CREATE: &[&str] = &["create"];
const UPDATE: &[&str] = &["update"];
const GET: &[&str] = &["get"];
const READ_WRITE: &[&str] = &["get", "patch", "update"];
const STREAM: &[&str] = &["create", "get"];
const PROXY: &[&str] = &["create", "delete", "get", "patch", "update"];
const ALL: &[&str] = &["all"];

const fn stored(
    group: &'static str,
    version: &'static str,
    name: &'static str,
    singular: &'static str,
    kind: &'static str,
) -> Row {
    Row {
        group,
        version,
        name,
        singular,
        kind,
        namespaced: true,
        short_names: &[],
        categories: &[],
        verbs: STANDARD,
        subresources: &[],
    }
}

/// A review: posted, answered, forgotten.
const fn review(group: &'static str, name: &'static str, singular: &'static str, kind: &'static str) -> Row {
    stored(group, "v1", name, singular, kind).verbs(CREATE).cluster()
}

impl Row {
    const fn cluster(mut self) -> Row {
        self.namespaced = false;
        self
    }

    const fn verbs(mut self, verbs: &'static [&'static str]) -> Row {
        self.verbs = verbs;
        self
    }

    const fn short(mut self, names: &'static [&'static str]) -> Row {
        self.short_names = names;
        self
    }

    const fn category(mut self, names: &'static [&'static str]) -> Row {
        self.categories = names;
        self
    }

    const fn with(mut self, subresources: &'static [SubRow]) -> Row {
        self.subresources = subresources;
        self
    }
}

const fn sub(
    name: &'static str,
    (group, version, kind): (&'static str, &'static str, &'static str),
    verbs: &'static [&'static str],
) -> SubRow {
    SubRow {
        name,
        group,
        version,
        kind,
        verbs,
    }
}

const fn status(group: &'static str, version: &'static str, kind: &'static str) -> SubRow {
    sub("status", (group, version, kind), READ_WRITE)
}

const SCALE: SubRow = sub("scale", ("autoscaling", "v1", "Scale"), READ_WRITE);

const POD: &[SubRow] = &[
    sub("attach", ("", "v1", "PodAttachOptions"), STREAM),
    sub("binding", ("", "v1", "Binding"), CREATE),
    sub("ephemeralcontainers", ("", "v1", "Pod"), READ_WRITE),
    sub("eviction", ("policy", "v1", "Eviction"), CREATE),
    sub("exec", ("", "v1", "PodExecOptions"), STREAM),
    sub("log", ("", "v1", "Pod"), GET),
    sub("portforward", ("", "v1", "PodPortForwardOptions"), STREAM),
    sub("proxy", ("", "v1", "PodProxyOptions"), PROXY),
    sub("resize", ("", "v1", "Pod"), READ_WRITE),
    status("", "v1", "Pod"),
];

const EXTENSIONS: &str = "apiextensions.k8s.io";
const REGISTRATION: &str = "admissionregistration.k8s.io";
const FLOW: &str = "flowcontrol.apiserver.k8s.io";
const NETWORKING: &str = "networking.k8s.io";
const STORAGE: &str = "storage.k8s.io";
const AUTHENTICATION: &str = "authentication.k8s.io";
const AUTHORIZATION: &str = "authorization.k8s.io";
const RBAC: &str = "rbac.authorization.k8s.io";

/// Every resource served, in the order of discovery.
pub(super) const ROWS: &[Row] = &[
    stored("", "v1", "bindings", "binding", "Binding").verbs(CREATE),
    stored("", "v1", "configmaps", "configmap", "ConfigMap").short(&["cm"]),
    stored("", "v1", "endpoints", "endpoints", "Endpoints").short(&["ep"]),
    stored("", "v1", "events", "event", "Event").short(&["ev"]),
    stored("", "v1", "limitranges", "limitrange", "LimitRange").short(&["limits"]),
    stored("", "v1", "namespaces", "namespace", "Namespace")
        .cluster()
        .short(&["ns"])
        .verbs(NO_COLLECTION)
        .with(&[
            sub("finalize", ("", "v1", "Namespace"), UPDATE),
            status("", "v1", "Namespace"),
        ]),
    stored("", "v1", "nodes", "node", "Node")
        .cluster()
        .short(&["no"])
        .with(&[
            sub("proxy", ("", "v1", "NodeProxyOptions"), PROXY),
            status("", "v1", "Node"),
        ]),
    stored(
        "",
        "v1",
        "persistentvolumeclaims",
        "persistentvolumeclaim",
        "PersistentVolumeClaim",
    )
    .short(&["pvc"])
    .with(&[status("", "v1", "PersistentVolumeClaim")]),
    stored("", "v1", "persistentvolumes", "persistentvolume", "PersistentVolume")
        .cluster()
        .short(&["pv"])
        .with(&[status("", "v1", "PersistentVolume")]),
    stored("", "v1", "pods", "pod", "Pod")
        .short(&["po"])
        .category(ALL)
        .with(POD),
    stored("", "v1", "podtemplates", "podtemplate", "PodTemplate"),
    stored(
        "",
        "v1",
        "replicationcontrollers",
        "replicationcontroller",
        "ReplicationController",
    )
    .short(&["rc"])
    .category(ALL)
    .with(&[SCALE, status("", "v1", "ReplicationController")]),
    stored("", "v1", "resourcequotas", "resourcequota", "ResourceQuota")
        .short(&["quota"])
        .with(&[status("", "v1", "ResourceQuota")]),
    stored("", "v1", "secrets", "secret", "Secret"),
    stored("", "v1", "serviceaccounts", "serviceaccount", "ServiceAccount")
        .short(&["sa"])
        .with(&[sub("token", (AUTHENTICATION, "v1", "TokenRequest"), CREATE)]),
    stored("", "v1", "services", "service", "Service")
        .short(&["svc"])
        .category(ALL)
        .with(&[
            sub("proxy", ("", "v1", "ServiceProxyOptions"), PROXY),
            status("", "v1", "Service"),
        ]),
    stored(
        "apps",
        "v1",
        "controllerrevisions",
        "controllerrevision",
        "ControllerRevision",
    ),
    stored("apps", "v1", "daemonsets", "daemonset", "DaemonSet")
        .short(&["ds"])
        .category(ALL)
        .with(&[status("apps", "v1", "DaemonSet")]),
    stored("apps", "v1", "deployments", "deployment", "Deployment")
        .short(&["deploy"])
        .category(ALL)
        .with(&[SCALE, status("apps", "v1", "Deployment")]),
    stored("apps", "v1", "replicasets", "replicaset", "ReplicaSet")
        .short(&["rs"])
        .category(ALL)
        .with(&[SCALE, status("apps", "v1", "ReplicaSet")]),
    stored("apps", "v1", "statefulsets", "statefulset", "StatefulSet")
        .short(&["sts"])
        .category(ALL)
        .with(&[SCALE, status("apps", "v1", "StatefulSet")]),
    stored("events.k8s.io", "v1", "events", "event", "Event").short(&["ev"]),
    review(
        AUTHENTICATION,
        "selfsubjectreviews",
        "selfsubjectreview",
        "SelfSubjectReview",
    ),
    review(AUTHENTICATION, "tokenreviews", "tokenreview", "TokenReview"),
    stored(
        AUTHORIZATION,
        "v1",
        "localsubjectaccessreviews",
        "localsubjectaccessreview",
        "LocalSubjectAccessReview",
    )
    .verbs(CREATE),
    review(
        AUTHORIZATION,
        "selfsubjectaccessreviews",
        "selfsubjectaccessreview",
        "SelfSubjectAccessReview",
    ),
    review(
        AUTHORIZATION,
        "selfsubjectrulesreviews",
        "selfsubjectrulesreview",
        "SelfSubjectRulesReview",
    ),
    review(
        AUTHORIZATION,
        "subjectaccessreviews",
        "subjectaccessreview",
        "SubjectAccessReview",
    ),
    stored(
        "autoscaling",
        "v2",
        "horizontalpodautoscalers",
        "horizontalpodautoscaler",
        "HorizontalPodAutoscaler",
    )
    .short(&["hpa"])
    .category(ALL)
    .with(&[status("autoscaling", "v2", "HorizontalPodAutoscaler")]),
    // Behind the second version, which is the one that is stored.
    stored(
        "autoscaling",
        "v1",
        "horizontalpodautoscalers",
        "horizontalpodautoscaler",
        "HorizontalPodAutoscaler",
    )
    .short(&["hpa"])
    .category(ALL)
    .with(&[status("autoscaling", "v1", "HorizontalPodAutoscaler")]),
    stored("batch", "v1", "cronjobs", "cronjob", "CronJob")
        .short(&["cj"])
        .category(ALL)
        .with(&[status("batch", "v1", "CronJob")]),
    stored("batch", "v1", "jobs", "job", "Job")
        .category(ALL)
        .with(&[status("batch", "v1", "Job")]),
    stored(
        "certificates.k8s.io",
        "v1",
        "certificatesigningrequests",
        "certificatesigningrequest",
        "CertificateSigningRequest",
    )
    .cluster()
    .short(&["csr"])
    .with(&[
        sub(
            "approval",
            ("certificates.k8s.io", "v1", "CertificateSigningRequest"),
            READ_WRITE,
        ),
        status("certificates.k8s.io", "v1", "CertificateSigningRequest"),
    ]),
    stored(
        EXTENSIONS,
        "v1",
        "customresourcedefinitions",
        "customresourcedefinition",
        "CustomResourceDefinition",
    )
    .cluster()
    .short(&["crd", "crds"])
    .category(&["api-extensions"])
    .with(&[status(EXTENSIONS, "v1", "CustomResourceDefinition")]),
    stored(NETWORKING, "v1", "ingressclasses", "ingressclass", "IngressClass").cluster(),
    stored(NETWORKING, "v1", "ingresses", "ingress", "Ingress")
        .short(&["ing"])
        .with(&[status(NETWORKING, "v1", "Ingress")]),
    stored(NETWORKING, "v1", "ipaddresses", "ipaddress", "IPAddress")
        .cluster()
        .short(&["ip"]),
    stored(NETWORKING, "v1", "networkpolicies", "networkpolicy", "NetworkPolicy").short(&["netpol"]),
    stored(NETWORKING, "v1", "servicecidrs", "servicecidr", "ServiceCIDR")
        .cluster()
        .with(&[status(NETWORKING, "v1", "ServiceCIDR")]),
    stored(
        "policy",
        "v1",
        "poddisruptionbudgets",
        "poddisruptionbudget",
        "PodDisruptionBudget",
    )
    .short(&["pdb"])
    .with(&[status("policy", "v1", "PodDisruptionBudget")]),
    stored(
        RBAC,
        "v1",
        "clusterrolebindings",
        "clusterrolebinding",
        "ClusterRoleBinding",
    )
    .cluster(),
    stored(RBAC, "v1", "clusterroles", "clusterrole", "ClusterRole").cluster(),
    stored(RBAC, "v1", "rolebindings", "rolebinding", "RoleBinding"),
    stored(RBAC, "v1", "roles", "role", "Role"),
    stored(STORAGE, "v1", "csidrivers", "csidriver", "CSIDriver").cluster(),
    stored(STORAGE, "v1", "csinodes", "csinode", "CSINode").cluster(),
    stored(
        STORAGE,
        "v1",
        "csistoragecapacities",
        "csistoragecapacity",
        "CSIStorageCapacity",
    ),
    stored(STORAGE, "v1", "storageclasses", "storageclass", "StorageClass")
        .cluster()
        .short(&["sc"]),
    stored(
        STORAGE,
        "v1",
        "volumeattachments",
        "volumeattachment",
        "VolumeAttachment",
    )
    .cluster()
    .with(&[status(STORAGE, "v1", "VolumeAttachment")]),
    stored(
        STORAGE,
        "v1",
        "volumeattributesclasses",
        "volumeattributesclass",
        "VolumeAttributesClass",
    )
    .cluster()
    .short(&["vac"]),
    stored(
        REGISTRATION,
        "v1",
        "mutatingwebhookconfigurations",
        "mutatingwebhookconfiguration",
        "MutatingWebhookConfiguration",
    )
    .cluster(),
    stored(
        REGISTRATION,
        "v1",
        "validatingadmissionpolicies",
        "validatingadmissionpolicy",
        "ValidatingAdmissionPolicy",
    )
    .cluster()
    .with(&[status(REGISTRATION, "v1", "ValidatingAdmissionPolicy")]),
    stored(
        REGISTRATION,
        "v1",
        "validatingadmissionpolicybindings",
        "validatingadmissionpolicybinding",
        "ValidatingAdmissionPolicyBinding",
    )
    .cluster(),
    stored(
        REGISTRATION,
        "v1",
        "validatingwebhookconfigurations",
        "validatingwebhookconfiguration",
        "ValidatingWebhookConfiguration",
    )
    .cluster(),
    stored(
        "scheduling.k8s.io",
        "v1",
        "priorityclasses",
        "priorityclass",
        "PriorityClass",
    )
    .cluster()
    .short(&["pc"]),
    stored("coordination.k8s.io", "v1", "leases", "lease", "Lease"),
    stored(
        "discovery.k8s.io",
        "v1",
        "endpointslices",
        "endpointslice",
        "EndpointSlice",
    ),
    stored(FLOW, "v1", "flowschemas", "flowschema", "FlowSchema")
        .cluster()
        .with(&[status(FLOW, "v1", "FlowSchema")]),
    stored(
        FLOW,
        "v1",
        "prioritylevelconfigurations",
        "prioritylevelconfiguration",
        "PriorityLevelConfiguration",
    )
    .cluster()
    .with(&[status(FLOW, "v1", "PriorityLevelConfiguration")]),
    stored("node.k8s.io", "v1", "runtimeclasses", "runtimeclass", "RuntimeClass").cluster(),
];
