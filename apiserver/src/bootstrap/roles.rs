//! The roles and bindings every cluster has, as tables. A rule is (verbs, group, resources), words separated by spaces; the
//! core group is "". Names and meaning are upstream's, as far as the resources exist here.
//!
//! Left out: aggregation. `admin`, `edit` and `view` list what they grant instead of collecting it by label.

use serde_json::{Value, json};

type Rule = (&'static str, &'static str, &'static str);

const READ: &str = "get list watch";
const WRITE: &str = "create delete deletecollection patch update";
const APPS: &str = "apps";
const RBAC: &str = "rbac.authorization.k8s.io";
const COORDINATION: &str = "coordination.k8s.io";
const DISCOVERY: &str = "discovery.k8s.io";
const AUTHENTICATION: &str = "authentication.k8s.io";
const AUTHORIZATION: &str = "authorization.k8s.io";

const WORKLOADS: &str = "daemonsets deployments deployments/scale replicasets replicasets/scale statefulsets \
    statefulsets/scale";

const VIEW: &[Rule] = &[
    (
        READ,
        "",
        "bindings configmaps endpoints events limitranges namespaces namespaces/status persistentvolumeclaims \
        persistentvolumeclaims/status pods pods/log pods/status replicationcontrollers replicationcontrollers/scale \
        replicationcontrollers/status resourcequotas resourcequotas/status serviceaccounts services services/status",
    ),
    (
        READ,
        APPS,
        "controllerrevisions daemonsets daemonsets/status deployments deployments/scale deployments/status \
        replicasets replicasets/scale replicasets/status statefulsets statefulsets/scale statefulsets/status",
    ),
    (
        READ,
        "autoscaling",
        "horizontalpodautoscalers horizontalpodautoscalers/status",
    ),
    (READ, "batch", "cronjobs cronjobs/status jobs jobs/status"),
    (READ, "policy", "poddisruptionbudgets poddisruptionbudgets/status"),
    (READ, "networking.k8s.io", "ingresses ingresses/status networkpolicies"),
    (READ, DISCOVERY, "endpointslices"),
    (READ, "events.k8s.io", "events"),
];

const EDIT: &[Rule] = &[
    (
        READ,
        "",
        "pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy",
    ),
    ("impersonate", "", "serviceaccounts"),
    (WRITE, "", "pods pods/attach pods/exec pods/portforward pods/proxy"),
    ("create", "", "pods/eviction serviceaccounts/token"),
    (
        WRITE,
        "",
        "configmaps events persistentvolumeclaims replicationcontrollers replicationcontrollers/scale secrets \
        serviceaccounts services services/proxy",
    ),
    (WRITE, APPS, WORKLOADS),
    (WRITE, "autoscaling", "horizontalpodautoscalers"),
    (WRITE, "batch", "cronjobs jobs"),
    (WRITE, "policy", "poddisruptionbudgets"),
    (WRITE, "networking.k8s.io", "ingresses networkpolicies"),
    (
        "create delete deletecollection get list patch update watch",
        COORDINATION,
        "leases",
    ),
    ("update patch", "", "pods/ephemeralcontainers pods/resize"),
];

const ADMIN: &[Rule] = &[
    ("create", AUTHORIZATION, "localsubjectaccessreviews"),
    (
        "create delete deletecollection get list patch update watch",
        RBAC,
        "rolebindings roles",
    ),
];

const BASIC_USER: &[Rule] = &[
    (
        "create",
        AUTHORIZATION,
        "selfsubjectaccessreviews selfsubjectrulesreviews",
    ),
    ("create", AUTHENTICATION, "selfsubjectreviews"),
];

const SCHEDULER: &[Rule] = &[
    ("create patch update", "", "events"),
    ("create patch update", "events.k8s.io", "events"),
    ("create get list watch update patch", COORDINATION, "leases"),
    (
        READ,
        "",
        "namespaces nodes persistentvolumeclaims persistentvolumes replicationcontrollers services",
    ),
    ("delete get list watch", "", "pods"),
    ("create", "", "bindings pods/binding"),
    ("patch update", "", "pods/status"),
    (READ, APPS, "replicasets statefulsets"),
    (READ, "policy", "poddisruptionbudgets"),
    (
        READ,
        "storage.k8s.io",
        "csidrivers csinodes csistoragecapacities storageclasses volumeattachments",
    ),
    (READ, "scheduling.k8s.io", "priorityclasses"),
    ("create", AUTHENTICATION, "tokenreviews"),
    ("create", AUTHORIZATION, "subjectaccessreviews"),
];

/// All controllers run as one user, so its role is what upstream's controllers have together: the garbage collector and the
/// namespace controller alone read and delete everything.
const CONTROLLERS: &[Rule] = &[
    ("get list watch patch update delete deletecollection", "*", "*"),
    (
        "create",
        "",
        "configmaps endpoints events namespaces/finalize persistentvolumeclaims pods pods/eviction secrets serviceaccounts \
        serviceaccounts/token services",
    ),
    ("create", "events.k8s.io", "events"),
    ("create", APPS, "controllerrevisions replicasets"),
    ("create", "batch", "jobs"),
    ("create", COORDINATION, "leases"),
    ("create", DISCOVERY, "endpointslices"),
    ("create", AUTHENTICATION, "tokenreviews"),
    ("create", AUTHORIZATION, "subjectaccessreviews"),
];

const NODE_PROXIER: &[Rule] = &[
    ("list watch", "", "endpoints services"),
    ("get list watch", "", "nodes"),
    ("list watch", DISCOVERY, "endpointslices"),
    ("create patch update", "", "events"),
    ("create patch update", "events.k8s.io", "events"),
];

const DNS: &[Rule] = &[
    ("list watch", "", "endpoints services namespaces pods"),
    ("list watch", DISCOVERY, "endpointslices"),
];

const KUBELET_API: &[Rule] = &[
    ("get list watch proxy", "", "nodes"),
    ("*", "", "nodes/log nodes/metrics nodes/proxy nodes/stats"),
];

const BOOTSTRAPPER: &[Rule] = &[(
    "create get list watch",
    "certificates.k8s.io",
    "certificatesigningrequests",
)];

const CERTIFICATES: &str = "certificates.k8s.io";

/// What approves, signs and cleans up requests for certificates may do with them.
const CERTIFICATE_CONTROLLER: &[Rule] = &[
    ("delete get list watch", CERTIFICATES, "certificatesigningrequests"),
    (
        "update patch",
        CERTIFICATES,
        "certificatesigningrequests/approval certificatesigningrequests/status",
    ),
    ("create", AUTHORIZATION, "subjectaccessreviews"),
];

const SIGNERS: &[&str] = &[
    "kube-apiserver-client",
    "kube-apiserver-client-kubelet",
    "kubelet-serving",
];

/// Roles that grant paths: (name, paths).
const PATHS: &[(&str, &str)] = &[
    (
        "system:discovery",
        "/api /api/* /apis /apis/* /healthz /livez /openapi /openapi/* /readyz /version /version/",
    ),
    (
        "system:public-info-viewer",
        "/healthz /livez /readyz /version /version/",
    ),
    (
        "system:monitoring",
        "/healthz /healthz/* /livez /livez/* /metrics /metrics/slis /readyz /readyz/*",
    ),
    (
        "system:service-account-issuer-discovery",
        "/.well-known/openid-configuration /openid/v1/jwks",
    ),
];

/// (role, kind of subject, subject).
const BINDINGS: &[(&str, &str, &str, &str)] = &[
    ("cluster-admin", "cluster-admin", "Group", "system:masters"),
    (
        "kubeadm:cluster-admins",
        "cluster-admin",
        "Group",
        "kubeadm:cluster-admins",
    ),
    (
        "kubeadm:get-nodes",
        "kubeadm:get-nodes",
        "Group",
        "system:bootstrappers:kubeadm:default-node-token",
    ),
    (
        "kubeadm:kubelet-bootstrap",
        "system:node-bootstrapper",
        "Group",
        "system:bootstrappers:kubeadm:default-node-token",
    ),
    (
        "system:basic-user",
        "system:basic-user",
        "Group",
        "system:authenticated",
    ),
    ("system:discovery", "system:discovery", "Group", "system:authenticated"),
    (
        "system:public-info-viewer",
        "system:public-info-viewer",
        "Group",
        "system:authenticated system:unauthenticated",
    ),
    ("system:monitoring", "system:monitoring", "Group", "system:monitoring"),
    (
        "system:service-account-issuer-discovery",
        "system:service-account-issuer-discovery",
        "Group",
        "system:serviceaccounts",
    ),
    (
        "system:kube-scheduler",
        "system:kube-scheduler",
        "User",
        "system:kube-scheduler",
    ),
    (
        "system:kube-controller-manager",
        "system:kube-controller-manager",
        "User",
        "system:kube-controller-manager",
    ),
    ("system:kube-dns", "system:kube-dns", "User", "system:kube-dns"),
    (
        "system:controller:certificate-controller",
        "system:controller:certificate-controller",
        "User",
        "system:kube-controller-manager",
    ),
    // With a token a machine gets its first certificate, and with that the next one, without anybody's approval.
    (
        "kubeadm:node-autoapprove-bootstrap",
        "system:certificates.k8s.io:certificatesigningrequests:nodeclient",
        "Group",
        "system:bootstrappers:kubeadm:default-node-token",
    ),
    (
        "kubeadm:node-autoapprove-certificate-rotation",
        "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient",
        "Group",
        "system:nodes",
    ),
    // Every node runs the service proxy and answers cluster DNS under its own name.
    ("system:node-proxier", "system:node-proxier", "Group", "system:nodes"),
    ("system:node-dns", "system:kube-dns", "Group", "system:nodes"),
    ("system:kube-proxy", "system:node-proxier", "User", "system:kube-proxy"),
];

/// Every default role and binding, roles first.
pub(super) fn all() -> Vec<(&'static str, Value)> {
    let mut all: Vec<Value> = vec![cluster_admin()];
    let view = VIEW.to_vec();
    let edit = [VIEW, EDIT].concat();
    let admin = [VIEW, EDIT, ADMIN].concat();
    for (name, rules) in [
        ("admin", admin.as_slice()),
        ("edit", edit.as_slice()),
        ("view", view.as_slice()),
        ("system:basic-user", BASIC_USER),
        ("system:kube-scheduler", SCHEDULER),
        ("system:kube-controller-manager", CONTROLLERS),
        ("system:node-proxier", NODE_PROXIER),
        ("system:kube-dns", DNS),
        ("system:kubelet-api-admin", KUBELET_API),
        ("system:node-bootstrapper", BOOTSTRAPPER),
        ("kubeadm:get-nodes", &[("get", "", "nodes")]),
        (
            "system:certificates.k8s.io:certificatesigningrequests:nodeclient",
            &[("create", CERTIFICATES, "certificatesigningrequests/nodeclient")],
        ),
        (
            "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient",
            &[("create", CERTIFICATES, "certificatesigningrequests/selfnodeclient")],
        ),
        // Bound to nobody, as upstream: the node authorizer grants nodes what they need, object by object.
        ("system:node", &[(READ, "", "nodes services endpoints")]),
    ] {
        all.push(role(name, rules.iter().map(resource_rule).collect()));
    }
    all.extend(
        PATHS
            .iter()
            .map(|(name, paths)| role(name, vec![path_rule("get", paths)])),
    );
    all.extend(SIGNERS.iter().map(|signer| approver(signer)));
    all.push(certificate_controller());
    let roles = all
        .into_iter()
        .map(|role| ("clusterroles.rbac.authorization.k8s.io", role));
    roles
        .chain(BINDINGS.iter().map(binding))
        .chain(cluster_info())
        .collect()
}

/// A rule for some objects by name.
fn named_rule(verb: &str, group: &str, resource: &str, names: &[String]) -> Value {
    json!({"verbs": [verb], "apiGroups": [group], "resources": [resource], "resourceNames": names})
}

fn signer(name: &str) -> String {
    format!("kubernetes.io/{name}")
}

/// For whoever shall approve what one of the cluster's own signers signs.
fn approver(name: &str) -> Value {
    let rule = named_rule("approve", CERTIFICATES, "signers", &[signer(name)]);
    role(&format!("system:certificates.k8s.io:{name}-approver"), vec![rule])
}

fn certificate_controller() -> Value {
    let mut rules: Vec<Value> = CERTIFICATE_CONTROLLER.iter().map(resource_rule).collect();
    let approved = [signer("kube-apiserver-client-kubelet")];
    rules.push(named_rule("approve", CERTIFICATES, "signers", &approved));
    let signed: Vec<String> = SIGNERS.iter().map(|name| signer(name)).collect();
    rules.push(named_rule("sign", CERTIFICATES, "signers", &signed));
    role("system:controller:certificate-controller", rules)
}

/// Anybody may read where the cluster is and by which certificate to know it: whoever holds a token can tell that it is true.
fn cluster_info() -> [(&'static str, Value); 2] {
    const NAME: &str = "kubeadm:bootstrap-signer-clusterinfo";
    let metadata = || {
        let mut metadata = metadata(NAME);
        metadata["namespace"] = json!("kube-public");
        metadata
    };
    let rule = named_rule("get", "", "configmaps", &["cluster-info".to_owned()]);
    let role = json!({"apiVersion": format!("{RBAC}/v1"), "kind": "Role", "metadata": metadata(), "rules": [rule]});
    let binding = json!({"apiVersion": format!("{RBAC}/v1"), "kind": "RoleBinding", "metadata": metadata(),
        "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": NAME},
        "subjects": [{"apiGroup": RBAC, "kind": "User", "name": crate::identity::ANONYMOUS}]});
    [
        ("roles.rbac.authorization.k8s.io", role),
        ("rolebindings.rbac.authorization.k8s.io", binding),
    ]
}

fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

fn resource_rule((verbs, group, resources): &Rule) -> Value {
    json!({"verbs": words(verbs), "apiGroups": [group], "resources": words(resources)})
}

fn path_rule(verbs: &str, paths: &str) -> Value {
    json!({"verbs": words(verbs), "nonResourceURLs": words(paths)})
}

fn metadata(name: &str) -> Value {
    json!({"name": name, "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
        "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"}})
}

fn role(name: &str, rules: Vec<Value>) -> Value {
    json!({"apiVersion": format!("{RBAC}/v1"), "kind": "ClusterRole", "metadata": metadata(name), "rules": rules})
}

fn cluster_admin() -> Value {
    role(
        "cluster-admin",
        vec![resource_rule(&("*", "*", "*")), path_rule("*", "*")],
    )
}

fn binding((name, role, kind, subjects): &(&str, &str, &str, &str)) -> (&'static str, Value) {
    let subject = |name: &str| json!({"apiGroup": RBAC, "kind": kind, "name": name});
    let object = json!({"apiVersion": format!("{RBAC}/v1"), "kind": "ClusterRoleBinding", "metadata": metadata(name),
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": role},
        "subjects": words(subjects).into_iter().map(subject).collect::<Vec<_>>()});
    ("clusterrolebindings.rbac.authorization.k8s.io", object)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authz::resolver::{Binding, Grants, RoleRef, Who};
    use crate::authz::rules::{Action, PolicyRule};
    use crate::registry::Strategy;
    use crate::registry::rbac::{Bindings, Roles};
    use std::sync::Arc;

    fn grants() -> Grants {
        let mut grants = Grants::default();
        for (resource, object) in all() {
            let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
            let (name, namespace) = (text("name"), text("namespace"));
            let rules = || Arc::new(PolicyRule::list(&object));
            let binding = || Arc::new(Binding::parse(&object).unwrap());
            match resource.split_once('.').unwrap().0 {
                "clusterroles" => drop(grants.roles.insert(RoleRef::Cluster(name), rules())),
                "roles" => drop(grants.roles.insert(RoleRef::Namespaced { namespace, name }, rules())),
                "clusterrolebindings" => grants.cluster_bindings.push(binding()),
                _ => grants.bindings.entry(namespace).or_default().push(binding()),
            }
        }
        grants
    }

    #[test]
    fn the_defaults_are_valid_and_every_binding_has_its_role() {
        for (resource, object) in all() {
            let cluster = resource.starts_with("cluster");
            let problems = match object["roleRef"].is_null() {
                true => Roles { cluster }.validate(&object),
                false => Bindings { cluster }.validate(&object),
            };
            assert!(problems.is_empty(), "{object}: {problems:?}");
        }
        let grants = grants();
        for binding in grants.cluster_bindings.iter().chain(grants.bindings.values().flatten()) {
            assert!(grants.roles.contains_key(&binding.role), "{}", binding.name);
        }
    }

    #[test]
    fn the_defaults_grant_what_components_do() {
        let grants = grants();
        let can = |name: &str, groups: &[&str], verb, group, resource, subresource| {
            let groups: Vec<String> = groups.iter().map(|g| (*g).to_owned()).collect();
            let action = Action::Resource {
                verb,
                group,
                resource,
                subresource,
                namespace: "a",
                name: "x",
            };
            grants.find(Who { name, groups: &groups }, &action).is_some()
        };
        assert!(can(
            "kubernetes-admin",
            &["kubeadm:cluster-admins"],
            "delete",
            "apps",
            "deployments",
            ""
        ));
        assert!(can("system:kube-scheduler", &[], "create", "", "pods", "binding"));
        assert!(!can("system:kube-scheduler", &[], "create", "", "pods", ""));
        assert!(can("system:kube-controller-manager", &[], "create", "", "pods", ""));
        assert!(!can("anna", &["system:authenticated"], "get", "", "pods", ""));
        assert!(can(
            "anna",
            &["system:authenticated"],
            "create",
            AUTHORIZATION,
            "selfsubjectaccessreviews",
            ""
        ));
    }

    #[test]
    fn strangers_see_health_and_cluster_info_only() {
        let grants = grants();
        let groups = vec!["system:unauthenticated".to_owned()];
        let who = || Who {
            name: "system:anonymous",
            groups: &groups,
        };
        let can = |path| grants.find(who(), &Action::Path { verb: "get", path }).is_some();
        assert!(can("/readyz") && can("/version") && !can("/api") && !can("/metrics"));
        let reads = |verb, namespace, name| {
            let action = Action::Resource {
                verb,
                group: "",
                resource: "configmaps",
                subresource: "",
                namespace,
                name,
            };
            grants.find(who(), &action).is_some()
        };
        assert!(reads("get", "kube-public", "cluster-info"));
        assert!(!reads("list", "kube-public", ""));
        assert!(!reads("get", "kube-public", "other"));
        assert!(!reads("get", "kube-system", "cluster-info"));
    }

    #[test]
    fn joining_is_granted_to_tokens_and_nodes_and_signing_to_the_controllers() {
        let grants = grants();
        let can = |name: &str, group: &str, verb, resource, subresource, object| {
            let groups = [group.to_owned()];
            let action = Action::Resource {
                verb,
                group: CERTIFICATES,
                resource,
                subresource,
                namespace: "",
                name: object,
            };
            grants.find(Who { name, groups: &groups }, &action).is_some()
        };
        let requests = "certificatesigningrequests";
        let token = "system:bootstrappers:kubeadm:default-node-token";
        assert!(can("system:bootstrap:a", token, "create", requests, "", ""));
        assert!(can("system:bootstrap:a", token, "create", requests, "nodeclient", ""));
        assert!(!can(
            "system:bootstrap:a",
            "system:bootstrappers",
            "create",
            requests,
            "nodeclient",
            ""
        ));
        assert!(can(
            "system:node:a",
            "system:nodes",
            "create",
            requests,
            "selfnodeclient",
            ""
        ));
        assert!(!can(
            "system:node:a",
            "system:nodes",
            "create",
            requests,
            "nodeclient",
            ""
        ));
        let controllers = |verb, signer| can("system:kube-controller-manager", "", verb, "signers", "", signer);
        assert!(controllers("sign", "kubernetes.io/kubelet-serving"));
        assert!(controllers("approve", "kubernetes.io/kube-apiserver-client-kubelet"));
        assert!(!controllers("approve", "kubernetes.io/kubelet-serving"));
        assert!(!controllers("sign", "example.com/other"));
    }
}
