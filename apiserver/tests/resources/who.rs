//! Who may do what: a table of roles and requests with every way around a role that is known, then what no table says: granting,
//! certificates, nodes and reviews. A request is *refused* when the answer is 403; whatever else comes back, it was let through.

use crate::certificates::request as certificate_request;
use crate::harness::{Answer, Client, Cluster};
use http::Method;
use serde_json::{Value, json};

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const GROUP: &str = "rbac.authorization.k8s.io";

/// One role, bound to one user, and what that user may ask.
struct Case {
    what: &'static str,
    rules: Value,
    may: &'static [&'static str],
    may_not: &'static [&'static str],
}

fn rule(verbs: &str, group: &str, resources: &str) -> Value {
    json!({"verbs": words(verbs), "apiGroups": [group], "resources": words(resources)})
}

fn named(verbs: &str, group: &str, resources: &str, names: &str) -> Value {
    let mut rule = rule(verbs, group, resources);
    rule["resourceNames"] = json!(words(names));
    rule
}

fn paths(verbs: &str, paths: &str) -> Value {
    json!({"verbs": words(verbs), "nonResourceURLs": words(paths)})
}

fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

fn user(name: &str) -> Value {
    json!({"kind": "User", "name": name, "apiGroup": GROUP})
}

fn cluster_role(name: &str, rules: &Value) -> Value {
    json!({"apiVersion": format!("{GROUP}/v1"), "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules})
}

fn role(name: &str, rules: &Value) -> Value {
    json!({"apiVersion": format!("{GROUP}/v1"), "kind": "Role", "metadata": {"name": name}, "rules": rules})
}

fn binding(kind: &str, name: &str, (role_kind, role): (&str, &str), subject: Value) -> Value {
    json!({"apiVersion": format!("{GROUP}/v1"), "kind": kind, "metadata": {"name": name},
        "roleRef": {"apiGroup": GROUP, "kind": role_kind, "name": role}, "subjects": [subject]})
}

fn roles(namespace: &str) -> String {
    format!("{RBAC}/namespaces/{namespace}/roles")
}

fn bindings(namespace: &str) -> String {
    format!("{RBAC}/namespaces/{namespace}/rolebindings")
}

/// Grants `rules` to a user of that name: everywhere, or in one namespace.
async fn grant(admin: &Client, name: &str, namespace: Option<&str>, rules: Value) {
    admin
        .post(&format!("{RBAC}/clusterroles"), cluster_role(name, &rules))
        .await
        .expect(201);
    let (path, kind) = match namespace {
        None => (format!("{RBAC}/clusterrolebindings"), "ClusterRoleBinding"),
        Some(namespace) => (bindings(namespace), "RoleBinding"),
    };
    let binding = binding(kind, name, ("ClusterRole", name), user(name));
    admin.post(&path, binding).await.expect(201);
}

async fn ask(who: &Client, request: &str) -> Answer {
    let (method, path) = request.split_once(' ').unwrap();
    let method: Method = method.parse().unwrap();
    let content_type = match method {
        Method::PATCH => "application/merge-patch+json",
        _ => "application/json",
    };
    who.send(method, path, content_type, Value::Null).await
}

async fn check(cluster: &Cluster, cases: Vec<Case>, namespace: Option<&str>) {
    let admin = cluster.admin();
    let mut wrong = Vec::new();
    for (index, case) in cases.into_iter().enumerate() {
        let name = format!("user-{index}");
        grant(&admin, &name, namespace, case.rules).await;
        let somebody = cluster.user(&name, &[]);
        let asked = case.may.iter().map(|request| (request, true));
        for (request, expected) in asked.chain(case.may_not.iter().map(|request| (request, false))) {
            let answer = ask(&somebody, request).await;
            if (answer.code != 403) != expected {
                wrong.push(format!(
                    "{}: {request}: {} {}",
                    case.what, answer.code, answer.body["message"]
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn subresources() -> Vec<Case> {
    vec![
        Case {
            what: "pods do not cover their subresources",
            rules: json!([rule("*", "", "pods")]),
            may: &[
                "GET /api/v1/namespaces/default/pods/p",
                "DELETE /api/v1/namespaces/default/pods/p",
            ],
            may_not: &[
                "GET /api/v1/namespaces/default/pods/p/log",
                "GET /api/v1/namespaces/default/pods/p/exec",
                "POST /api/v1/namespaces/default/pods/p/exec",
                "POST /api/v1/namespaces/default/pods/p/attach",
                "POST /api/v1/namespaces/default/pods/p/portforward",
                "GET /api/v1/namespaces/default/pods/p/proxy",
                "POST /api/v1/namespaces/default/pods/p/eviction",
                "POST /api/v1/namespaces/default/pods/p/binding",
                "PUT /api/v1/namespaces/default/pods/p/status",
                "PATCH /api/v1/namespaces/default/pods/p/ephemeralcontainers",
                "PATCH /api/v1/namespaces/default/pods/p/resize",
                "GET /api/v1/namespaces/default/pods/p/nothing",
            ],
        },
        Case {
            what: "a subresource does not cover its parent or a sibling",
            rules: json!([rule("*", "", "pods/log")]),
            may: &["GET /api/v1/namespaces/default/pods/p/log"],
            may_not: &[
                "GET /api/v1/namespaces/default/pods/p",
                "GET /api/v1/namespaces/default/pods",
                "POST /api/v1/namespaces/default/pods/p/exec",
                "GET /api/v1/namespaces/default/pods/log",
            ],
        },
        Case {
            what: "pods/* is no pattern",
            rules: json!([rule("*", "", "pods/*")]),
            may: &[],
            may_not: &[
                "GET /api/v1/namespaces/default/pods/p/log",
                "POST /api/v1/namespaces/default/pods/p/exec",
                "GET /api/v1/namespaces/default/pods/p",
            ],
        },
        Case {
            what: "*/scale is the scale of everything",
            rules: json!([rule("*", "*", "*/scale")]),
            may: &[
                "GET /apis/apps/v1/namespaces/default/deployments/d/scale",
                "PATCH /api/v1/namespaces/default/replicationcontrollers/r/scale",
            ],
            may_not: &[
                "GET /apis/apps/v1/namespaces/default/deployments/d",
                "PUT /apis/apps/v1/namespaces/default/deployments/d/status",
                "GET /api/v1/namespaces/default/pods/p/log",
            ],
        },
        Case {
            what: "a star for resources covers subresources and groups are told apart",
            rules: json!([rule("get list", "", "*")]),
            may: &["GET /api/v1/namespaces/default/pods/p/log", "GET /api/v1/secrets"],
            may_not: &[
                "GET /apis/apps/v1/namespaces/default/deployments/d",
                "DELETE /api/v1/namespaces/default/pods/p",
                "GET /api/v1/pods?watch=true",
                "GET /metrics",
            ],
        },
        Case {
            what: "everything about resources is nothing about paths",
            rules: json!([rule("*", "*", "*")]),
            may: &["DELETE /apis/apps/v1/namespaces/default/deployments"],
            may_not: &["GET /metrics", "GET /logs/"],
        },
        Case {
            what: "reading is not running",
            rules: json!([rule("get list watch", "*", "*")]),
            may: &["GET /api/v1/namespaces/default/pods/p/log"],
            may_not: &[
                "GET /api/v1/namespaces/default/pods/p/exec?command=sh",
                "GET /api/v1/namespaces/default/pods/p/attach",
                "GET /api/v1/namespaces/default/pods/p/portforward",
                "POST /api/v1/namespaces/default/pods/p/exec?command=sh",
                "GET /api/v1/nodes/n/proxy/exec/default/p/c",
                "GET /api/v1/nodes/n/proxy/run/default/p/c",
                "GET /api/v1/nodes/n/proxy/%65xec/default/p/c",
            ],
        },
    ]
}

fn names() -> Vec<Case> {
    vec![
        Case {
            what: "a name is that name alone",
            rules: json!([named("*", "", "secrets", "s")]),
            may: &[
                "GET /api/v1/namespaces/default/secrets/s",
                "PUT /api/v1/namespaces/default/secrets/s",
                "DELETE /api/v1/namespaces/default/secrets/s",
                "GET /api/v1/namespaces/default/secrets?fieldSelector=metadata.name%3Ds",
                "GET /api/v1/namespaces/default/secrets?watch=true&timeoutSeconds=1&fieldSelector=metadata.name=s",
            ],
            may_not: &[
                "GET /api/v1/namespaces/default/secrets/t",
                "GET /api/v1/namespaces/default/secrets/s%2f",
                "GET /api/v1/namespaces/default/secrets",
                "GET /api/v1/namespaces/default/secrets?watch=true",
                "POST /api/v1/namespaces/default/secrets",
                "DELETE /api/v1/namespaces/default/secrets",
                "DELETE /api/v1/namespaces/default/secrets?fieldSelector=metadata.name=s",
                "GET /api/v1/namespaces/default/secrets?fieldSelector=metadata.name=t",
                "GET /api/v1/namespaces/default/secrets?fieldSelector=metadata.name!=s",
                "GET /api/v1/namespaces/default/secrets?fieldSelector=type=x&fieldSelector=metadata.name=s",
                "GET /api/v1/namespaces/default/secrets?labelSelector=metadata.name=s",
            ],
        },
        Case {
            what: "a name counts for subresources as well",
            rules: json!([named("create", "", "pods/exec serviceaccounts/token", "mine")]),
            may: &[
                "POST /api/v1/namespaces/default/pods/mine/exec",
                "POST /api/v1/namespaces/default/serviceaccounts/mine/token",
            ],
            may_not: &[
                "POST /api/v1/namespaces/default/pods/theirs/exec",
                "POST /api/v1/namespaces/default/serviceaccounts/default/token",
                "POST /api/v1/namespaces/default/serviceaccounts",
            ],
        },
    ]
}

fn paths_and_proxies() -> Vec<Case> {
    vec![
        Case {
            what: "a path is itself, and a star at its end what begins with it",
            rules: json!([paths("get", "/metrics /logs/*")]),
            may: &["GET /metrics", "GET /logs/", "GET /logs/a/b"],
            may_not: &[
                "GET /metrics/",
                "GET /metrics/slis",
                "GET /logs",
                "POST /metrics",
                "GET //metrics",
                "GET /METRICS",
                "GET /%6Detrics",
                "GET /api/v1/pods",
            ],
        },
        Case {
            what: "a star inside of a path is no pattern",
            rules: json!([paths("*", "/a/*/b")]),
            may: &["GET /a/*/b"],
            may_not: &["GET /a/x/b", "GET /a/"],
        },
        Case {
            what: "a path never covers a resource",
            rules: json!([paths("*", "/api/* /apis/*")]),
            may: &["GET /api/v1"],
            may_not: &[
                "GET /api/v1/pods",
                "GET /api//v1/secrets",
                "GET /apis/apps/v1/deployments",
            ],
        },
        Case {
            what: "a proxy is asked by the method's verb",
            rules: json!([rule("get", "", "nodes/proxy services/proxy pods/proxy")]),
            may: &[
                "GET /api/v1/nodes/n/proxy/metrics",
                "HEAD /api/v1/nodes/n/proxy/metrics",
                "GET /api/v1/namespaces/default/services/s/proxy/x",
                "GET /api/v1/namespaces/default/pods/p:80/proxy/",
            ],
            may_not: &[
                "POST /api/v1/nodes/n/proxy/run/default/p/c",
                "PUT /api/v1/nodes/n/proxy/x",
                "PATCH /api/v1/nodes/n/proxy/x",
                "DELETE /api/v1/nodes/n/proxy/x",
                "OPTIONS /api/v1/nodes/n/proxy/x",
                "POST /api/v1/namespaces/default/services/s/proxy/x",
                "DELETE /api/v1/namespaces/default/pods/p/proxy/x",
                "GET /api/v1/nodes/n",
            ],
        },
        Case {
            what: "nodes are not their proxies",
            rules: json!([rule("*", "", "nodes services pods")]),
            may: &["GET /api/v1/nodes/n"],
            may_not: &[
                "GET /api/v1/nodes/n/proxy/metrics",
                "GET /api/v1/namespaces/default/services/s/proxy",
                "POST /api/v1/namespaces/default/pods/p/proxy",
            ],
        },
    ]
}

#[tokio::test]
async fn a_role_grants_what_it_says_and_nothing_around_it() {
    let (cluster, _) = Cluster::ready().await;
    let all = [subresources(), names(), paths_and_proxies()];
    check(&cluster, all.into_iter().flatten().collect(), None).await;
}

#[tokio::test]
async fn a_binding_in_a_namespace_grants_nothing_outside() {
    let (cluster, _) = Cluster::ready().await;
    let cases = vec![Case {
        what: "everything in one namespace",
        rules: json!([rule("*", "*", "*"), paths("*", "*")]),
        may: &[
            "GET /api/v1/namespaces/default/secrets",
            "GET /api/v1/namespaces/default",
            "POST /api/v1/namespaces/default/pods/p/exec",
        ],
        may_not: &[
            "GET /api/v1/namespaces/kube-system/secrets",
            "GET /api/v1/namespaces/kube-system",
            "GET /api/v1/secrets",
            "GET /api/v1/secrets?fieldSelector=metadata.namespace=default",
            "GET /api/v1/namespaces",
            "POST /api/v1/namespaces",
            "GET /api/v1/nodes",
            "GET /api/v1/persistentvolumes",
            "GET /metrics",
            "POST /apis/rbac.authorization.k8s.io/v1/clusterroles",
            "POST /apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
            "POST /api/v1/namespaces/kube-system/serviceaccounts/default/token",
        ],
    }];
    check(&cluster, cases, Some("default")).await;
}

/// The namespace that is asked about is that of the path, whatever the object says.
#[tokio::test]
async fn an_object_cannot_name_another_namespace_than_its_path() {
    let (cluster, admin) = Cluster::ready().await;
    grant(&admin, "anna", Some("default"), json!([rule("*", "", "configmaps")])).await;
    let object =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": "kube-system"}});
    let anna = cluster.user("anna", &[]);
    anna.post("/api/v1/namespaces/default/configmaps", object.clone())
        .await
        .expect(400);
    anna.post("/api/v1/namespaces/kube-system/configmaps", object)
        .await
        .expect(403);
    admin
        .get("/api/v1/namespaces/kube-system/configmaps/x")
        .await
        .expect(404);
}

/// A write of a PUT or an apply that finds nothing is a create, and a stream is no patch.
#[tokio::test]
async fn one_verb_is_not_another_by_a_detour() {
    let (cluster, admin) = Cluster::ready().await;
    let pods = rule("get list", "", "pods");
    let writes = rule("get update patch", GROUP, "roles clusterroles");
    grant(
        &admin,
        "anna",
        None,
        json!([writes, pods, rule("create patch update delete", "", "pods/exec")]),
    )
    .await;
    let anna = cluster.user("anna", &[]);
    let own = role("new", &json!([pods]));
    let path = format!("{}/new", roles("default"));
    anna.put(&path, own.clone()).await.expect(403);
    let apply = format!("{path}?fieldManager=anna");
    let applied = anna
        .send(Method::PATCH, &apply, "application/apply-patch+yaml", own)
        .await;
    applied.expect(403);
    admin.get(&path).await.expect(404);
    for method in ["PATCH", "PUT", "DELETE"] {
        let answer = ask(
            &anna,
            &format!("{method} /api/v1/namespaces/default/pods/p/exec?command=sh"),
        )
        .await;
        assert_eq!(answer.code, 405, "{method}: {}", answer.body);
    }
}

/// Every way to write a role, with rules that the writer does not hold.
#[tokio::test]
async fn a_role_is_not_written_with_more_than_its_writer_holds() {
    let (cluster, admin) = Cluster::ready().await;
    let everything_about_roles = rule("create update patch get delete", GROUP, "roles clusterroles");
    grant(
        &admin,
        "anna",
        None,
        json!([everything_about_roles, rule("get", "", "pods")]),
    )
    .await;
    let anna = cluster.user("anna", &[]);
    let small = json!([rule("get", "", "pods")]);
    anna.post(&roles("default"), role("r", &small)).await.expect(201);
    let clusterroles = format!("{RBAC}/clusterroles");
    anna.post(&clusterroles, cluster_role("r", &small)).await.expect(201);
    let large = [
        json!([rule("get", "", "secrets")]),
        json!([rule("list", "", "pods")]),
        json!([rule("*", "", "pods")]),
        json!([rule("get", "*", "pods")]),
        json!([rule("get", "", "*")]),
        json!([rule("get", "", "pods/log")]),
        json!([rule("get", "", "*/log")]),
        json!([rule("get", "", "pods"), rule("get", "", "secrets")]),
        json!([named("get", "", "secrets", "s")]),
        json!([rule("escalate bind", GROUP, "roles clusterroles")]),
        json!([rule("impersonate", "", "users")]),
    ];
    for rules in &large {
        for (path, made) in [
            (roles("default"), role("r", rules)),
            (clusterroles.clone(), cluster_role("r", rules)),
        ] {
            let one = format!("{path}/r");
            anna.put(&one, made.clone()).await.expect(403);
            anna.merge(&one, json!({ "rules": rules })).await.expect(403);
            let apply = format!("{one}?fieldManager=anna&force=true");
            let kind = "application/apply-patch+yaml";
            anna.send(Method::PATCH, &apply, kind, made.clone()).await.expect(403);
            let mut other = made;
            other["metadata"]["name"] = json!("other");
            anna.post(&path, other.clone()).await.expect(403);
            anna.put(&format!("{path}/other"), other).await.expect(403);
        }
    }
    let all_paths = cluster_role("other", &json!([paths("get", "/metrics")]));
    anna.post(&clusterroles, all_paths).await.expect(403);
    // What is there already stays, and whoever may escalate may do it.
    anna.merge(
        &format!("{clusterroles}/r"),
        json!({"metadata": {"annotations": {"a": "b"}}}),
    )
    .await
    .expect(200);
    let may_escalate = json!([
        rule("create", GROUP, "clusterroles"),
        rule("escalate", GROUP, "clusterroles")
    ]);
    grant(&admin, "bob", None, may_escalate).await;
    let bob = cluster.user("bob", &[]);
    bob.post(&clusterroles, cluster_role("bobs", &large[0]))
        .await
        .expect(201);
    bob.post(&roles("default"), role("bobs", &large[0])).await.expect(403);
}

/// A role that collects others by their labels would be a way to hold what nobody granted.
#[tokio::test]
async fn roles_that_collect_and_are_collected_are_for_those_who_hold_what_they_become() {
    let (cluster, admin) = Cluster::ready().await;
    let about_roles = rule("create update patch get", GROUP, "clusterroles");
    grant(&admin, "anna", None, json!([about_roles])).await;
    let anna = cluster.user("anna", &[]);
    let clusterroles = format!("{RBAC}/clusterroles");
    let collects = json!({"clusterRoleSelectors": [{"matchLabels": {"collect": "me"}}]});
    let mut collecting = cluster_role("collecting", &json!([]));
    collecting["aggregationRule"] = collects.clone();
    let refused = anna.post(&clusterroles, collecting.clone()).await.message(403);
    assert!(refused.contains("must have cluster-admin privileges"), "{refused}");
    anna.post(&clusterroles, cluster_role("mine", &json!([])))
        .await
        .expect(201);
    anna.merge(&format!("{clusterroles}/mine"), json!({ "aggregationRule": collects }))
        .await
        .expect(403);
    // A label puts a role's rules into another role: that grants them.
    let label = json!({"metadata": {"labels": {"collect": "me"}}});
    anna.merge(&format!("{clusterroles}/cluster-admin"), label.clone())
        .await
        .expect(403);
    anna.merge(&format!("{clusterroles}/mine"), label).await.expect(200);
    admin.post(&clusterroles, collecting).await.expect(201);
    let freed = json!({"aggregationRule": null});
    anna.merge(&format!("{clusterroles}/collecting"), freed)
        .await
        .expect(403);
}

#[tokio::test]
async fn a_binding_grants_only_what_its_writer_holds_there_or_may_bind() {
    let (cluster, admin) = Cluster::ready().await;
    let about_bindings = rule("create update patch get", GROUP, "rolebindings clusterrolebindings");
    let pods = rule("get", "", "pods");
    grant(&admin, "anna", None, json!([about_bindings])).await;
    grant(&admin, "pods", Some("default"), json!([pods])).await;
    let anna = cluster.user("anna", &[]);
    let to_pods = |kind: &str, name: &str| binding(kind, name, ("ClusterRole", "pods"), user("anna"));
    // Held in no namespace.
    anna.post(&bindings("default"), to_pods("RoleBinding", "a"))
        .await
        .expect(403);
    let own = binding("RoleBinding", "annas", ("ClusterRole", "pods"), user("anna"));
    admin.post(&bindings("default"), own).await.expect(201);
    // Held in one: granted there, nowhere else, and not everywhere.
    anna.post(&bindings("default"), to_pods("RoleBinding", "a"))
        .await
        .expect(201);
    anna.post(&bindings("kube-system"), to_pods("RoleBinding", "a"))
        .await
        .expect(403);
    let everywhere = format!("{RBAC}/clusterrolebindings");
    anna.post(&everywhere, to_pods("ClusterRoleBinding", "a"))
        .await
        .expect(403);
    let admins = binding(
        "ClusterRoleBinding",
        "b",
        ("ClusterRole", "cluster-admin"),
        user("anna"),
    );
    anna.post(&everywhere, admins.clone()).await.expect(403);
    anna.put(&format!("{everywhere}/b"), admins).await.expect(403);
    // Joining those to whom something is granted is granting it.
    let subjects = json!({"subjects": [user("anna")]});
    anna.merge(&format!("{everywhere}/cluster-admin"), subjects)
        .await
        .expect(403);
    // A role that is not there may come later, with anything in it.
    let nothing = binding("RoleBinding", "c", ("Role", "nothing"), user("anna"));
    anna.post(&bindings("default"), nothing).await.expect(404);
    // `bind` is for the roles that it names.
    grant(
        &admin,
        "bob",
        None,
        json!([about_bindings, named("bind", GROUP, "clusterroles", "view")]),
    )
    .await;
    let bob = cluster.user("bob", &[]);
    let to = |role: &str| binding("ClusterRoleBinding", role, ("ClusterRole", role), user("bob"));
    bob.post(&everywhere, to("view")).await.expect(201);
    bob.post(&everywhere, to("edit")).await.expect(403);
    bob.post(&everywhere, to("cluster-admin")).await.expect(403);
}

#[tokio::test]
async fn a_binding_stays_with_its_role_and_its_kind() {
    let (cluster, admin) = Cluster::ready().await;
    let secrets = json!([rule("get", "", "secrets")]);
    admin
        .post(&roles("kube-system"), role("reader", &secrets))
        .await
        .expect(201);
    // A role of another namespace is not found from here, whatever the reference says.
    let mut foreign = binding("RoleBinding", "foreign", ("Role", "reader"), user("anna"));
    foreign["roleRef"]["namespace"] = json!("kube-system");
    let path = format!("{}?fieldValidation=Ignore", bindings("default"));
    let answer = admin.post(&path, foreign).await;
    assert!(matches!(answer.code, 201 | 404), "{}", answer.body);
    let anna = cluster.user("anna", &[]);
    anna.get("/api/v1/namespaces/kube-system/secrets/s").await.expect(403);
    anna.get("/api/v1/namespaces/default/secrets/s").await.expect(403);
    // A cluster-wide binding to a Role is refused.
    let wide = binding("ClusterRoleBinding", "wide", ("Role", "reader"), user("anna"));
    admin
        .post(&format!("{RBAC}/clusterrolebindings"), wide)
        .await
        .expect(422);
    let made = binding("RoleBinding", "fixed", ("ClusterRole", "view"), user("anna"));
    admin.post(&bindings("default"), made).await.expect(201);
    let other = json!({"roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": "cluster-admin"}});
    admin
        .merge(&format!("{}/fixed", bindings("default")), other)
        .await
        .expect(422);
}

/// Names of one kind of subject are not those of another.
#[tokio::test]
async fn subjects_are_told_apart() {
    let (cluster, admin) = Cluster::ready().await;
    let made = |name: &str, subject: Value| binding("RoleBinding", name, ("ClusterRole", "view"), subject);
    let account = json!({"kind": "ServiceAccount", "name": "bot", "namespace": "kube-system"});
    let group = json!({"kind": "Group", "name": "devs", "apiGroup": GROUP});
    for (name, subject) in [("account", account), ("group", group), ("user", user("anna"))] {
        admin.post(&bindings("default"), made(name, subject)).await.expect(201);
    }
    let pods = "/api/v1/namespaces/default/pods";
    for (name, groups, expected) in [
        ("anna", [""; 1], 200),
        ("devs", [""], 403),
        ("x", ["devs"], 200),
        ("x", ["anna"], 403),
        ("bot", [""], 403),
        ("system:serviceaccount:kube-system:bot", [""], 200),
        ("system:serviceaccount:default:bot", [""], 403),
        ("Anna", [""], 403),
        ("anna ", [""], 403),
        ("x", ["system:masters"], 200),
        ("system:masters", [""], 403),
    ] {
        let code = cluster.user(name, &groups).get(pods).await.code;
        assert_eq!(code, expected, "{name:?} in {groups:?}");
    }
}

#[tokio::test]
async fn a_certificate_is_approved_and_signed_by_those_who_may_for_its_signer() {
    const PATH: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
    const SIGNERS: &str = "certificates.k8s.io";
    let (cluster, admin) = Cluster::ready().await;
    let handles = rule(
        "get update",
        SIGNERS,
        "certificatesigningrequests certificatesigningrequests/approval certificatesigningrequests/status",
    );
    for (name, verb, signer, allowed) in [
        ("nobody", "get", "*", false),
        ("this", "approve", "example.com/a", true),
        ("domain", "approve", "example.com/*", true),
        ("sibling", "approve", "example.com/b", false),
        ("other", "approve", "other.com/*", false),
        ("signs", "sign", "example.com/a", false),
    ] {
        let object = json!({"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest",
            "metadata": {"name": name}, "spec": {"request": certificate_request("anna", &["system:masters"]),
            "signerName": "example.com/a", "usages": ["client auth"], "username": "root", "groups": ["system:masters"]}});
        let made = admin.post(PATH, object).await.expect(201);
        assert_eq!(
            made["spec"]["username"], "kubernetes-admin",
            "who asks is not for the asker to say"
        );
        grant(
            &admin,
            name,
            None,
            json!([handles, named(verb, SIGNERS, "signers", signer)]),
        )
        .await;
        let mut approved = made;
        approved["status"]["conditions"] =
            json!([{"type": "Approved", "status": "True", "reason": "r", "message": "m"}]);
        let somebody = cluster.user(name, &[]);
        // Neither the request itself nor its status is a way to approve.
        let plain = somebody
            .put(&format!("{PATH}/{name}"), approved.clone())
            .await
            .expect(200);
        assert!(plain["status"]["conditions"].is_null(), "{plain}");
        approved["metadata"] = plain["metadata"].clone();
        let answer = somebody.put(&format!("{PATH}/{name}/approval"), approved).await;
        assert_eq!(answer.code, if allowed { 200 } else { 403 }, "{name}: {}", answer.body);
    }
    let masters = json!({"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest",
        "metadata": {"name": "m"}, "spec": {"request": certificate_request("anna", &["system:masters"]),
        "signerName": "kubernetes.io/kube-apiserver-client", "usages": ["client auth"]}});
    admin.post(PATH, masters).await.expect(403);
}

/// A node, one that is its neighbour, and a pod with a secret on each.
async fn two_nodes() -> (Cluster, Client, Client) {
    let (cluster, admin) = Cluster::ready().await;
    for name in ["n1", "n2"] {
        let node = cluster.user(&format!("system:node:{name}"), &["system:nodes"]);
        let object = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}});
        node.post("/api/v1/nodes", object).await.expect(201);
        for (kind, path) in [("Secret", "secrets"), ("ConfigMap", "configmaps")] {
            let object = json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": format!("of-{name}")}});
            let path = format!("/api/v1/namespaces/default/{path}");
            admin.post(&path, object).await.expect(201);
        }
        let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": format!("of-{name}")},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
        admin
            .post("/api/v1/namespaces/default/persistentvolumeclaims", claim)
            .await
            .expect(201);
        let volume = json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": format!("of-{name}")},
            "spec": {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "hostPath": {"path": "/x"},
                "claimRef": {"namespace": "default", "name": format!("of-{name}")}}});
        admin.post("/api/v1/persistentvolumes", volume).await.expect(201);
        let of = format!("of-{name}");
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": of}, "spec": {"nodeName": name,
            "containers": [{"name": "c", "image": "i"}], "volumes": [
                {"name": "s", "secret": {"secretName": of}}, {"name": "m", "configMap": {"name": of}},
                {"name": "v", "persistentVolumeClaim": {"claimName": of}},
                {"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "t", "audience": "vault"}}]}}]}});
        admin.post("/api/v1/namespaces/default/pods", pod).await.expect(201);
    }
    let node = cluster.user("system:node:n1", &["system:nodes"]);
    (cluster, admin, node)
}

#[tokio::test]
async fn a_node_reads_what_its_pods_use_and_nothing_of_its_neighbours() {
    let (_cluster, admin, node) = two_nodes().await;
    let attachment = |name: &str, node: &str| {
        json!({"apiVersion": "storage.k8s.io/v1", "kind": "VolumeAttachment", "metadata": {"name": name},
            "spec": {"attacher": "x.io", "nodeName": node, "source": {"persistentVolumeName": "v"}}})
    };
    for name in ["n1", "n2"] {
        admin
            .post(
                "/apis/storage.k8s.io/v1/volumeattachments",
                attachment(&format!("of-{name}"), name),
            )
            .await
            .expect(201);
    }
    for of in [
        "namespaces/default/secrets",
        "namespaces/default/configmaps",
        "namespaces/default/persistentvolumeclaims",
        "persistentvolumes",
    ] {
        let at = |rest: &str| format!("GET /api/v1/{of}{rest}");
        assert_eq!(ask(&node, &at("/of-n1")).await.code, 200, "{of}");
        for other in ["/of-n2", "", "?watch=true", "/nothing"] {
            assert_eq!(ask(&node, &at(other)).await.code, 403, "{of}{other}");
        }
    }
    let one = "GET /api/v1/namespaces/default/secrets?fieldSelector=metadata.name%3Dof-";
    assert_eq!(ask(&node, &format!("{one}n1")).await.code, 200);
    assert_eq!(ask(&node, &format!("{one}n2")).await.code, 403);
    let attachments = "GET /apis/storage.k8s.io/v1/volumeattachments";
    assert_eq!(ask(&node, &format!("{attachments}/of-n1")).await.code, 200);
    assert_eq!(ask(&node, &format!("{attachments}/of-n2")).await.code, 403);
    for request in [
        "POST /api/v1/namespaces/default/secrets",
        "PUT /api/v1/namespaces/default/secrets/of-n1",
        "DELETE /api/v1/namespaces/default/pods",
        "PUT /api/v1/namespaces/default/pods/of-n1",
        "POST /api/v1/namespaces/default/pods/of-n1/exec",
        "GET /api/v1/namespaces/default/pods/of-n1/exec",
        "POST /api/v1/namespaces/default/pods/of-n1/binding",
        "PATCH /api/v1/namespaces/default/pods/of-n1/ephemeralcontainers",
        "GET /api/v1/nodes/n2/proxy/metrics",
        "DELETE /api/v1/nodes/n1",
        "DELETE /api/v1/nodes/n2",
        "GET /apis/coordination.k8s.io/v1/leases",
        "GET /apis/rbac.authorization.k8s.io/v1/clusterroles",
        "POST /apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
        "PUT /apis/certificates.k8s.io/v1/certificatesigningrequests/x/approval",
    ] {
        assert_eq!(ask(&node, request).await.code, 403, "{request}");
    }
}

#[tokio::test]
async fn a_node_writes_what_is_its_own_and_nothing_of_its_neighbours() {
    let (_cluster, admin, node) = two_nodes().await;
    let status = json!({"status": {"phase": "Running"}});
    let pod = |name: &str| format!("/api/v1/namespaces/default/pods/of-{name}");
    node.merge(&format!("{}/status", pod("n1")), status.clone())
        .await
        .expect(200);
    node.merge(&format!("{}/status", pod("n2")), status).await.expect(403);
    // Labels decide what selects a pod; its status is no way to change them.
    let labels = json!({"metadata": {"labels": {"app": "bank"}}, "status": {"phase": "Running"}});
    let kept = node.merge(&format!("{}/status", pod("n1")), labels).await;
    assert!(
        kept.code != 200 || kept.body["metadata"]["labels"].is_null(),
        "{}",
        kept.body
    );
    let eviction =
        |name: &str| json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": format!("of-{name}")}});
    node.post(&format!("{}/eviction", pod("n2")), eviction("n2"))
        .await
        .expect(403);
    let mixed = node.post(&format!("{}/eviction", pod("n1")), eviction("n2")).await;
    assert!(mixed.code >= 400 || admin.get(&pod("n2")).await.code == 200);
    admin.get(&pod("n2")).await.expect(200);
    node.delete(&pod("n2"), Value::Null).await.expect(403);

    let lease = |name: &str| json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name}, "spec": {}});
    let leases = |namespace: &str| format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases");
    let own = leases("kube-node-lease");
    node.post(&own, lease("n1")).await.expect(201);
    node.post(&own, lease("n2")).await.expect(403);
    node.post(&leases("kube-system"), lease("n1")).await.expect(403);
    admin.post(&own, lease("n2")).await.expect(201);
    admin
        .post(&leases("kube-system"), lease("kube-scheduler"))
        .await
        .expect(201);
    node.get(&format!("{own}/n1")).await.expect(200);
    node.get(&format!("{own}/n2")).await.expect(403);
    node.merge(&format!("{own}/n2"), json!({"spec": {"holderIdentity": "n1"}}))
        .await
        .expect(403);
    node.delete(&format!("{own}/n2"), Value::Null).await.expect(403);
    node.get(&format!("{}/kube-scheduler", leases("kube-system")))
        .await
        .expect(403);

    let csi = |name: &str| json!({"apiVersion": "storage.k8s.io/v1", "kind": "CSINode", "metadata": {"name": name}, "spec": {"drivers": []}});
    let csi_nodes = "/apis/storage.k8s.io/v1/csinodes";
    node.post(csi_nodes, csi("n1")).await.expect(201);
    node.post(csi_nodes, csi("n2")).await.expect(403);
    admin.post(csi_nodes, csi("n2")).await.expect(201);
    node.get(&format!("{csi_nodes}/n1")).await.expect(200);
    node.get(&format!("{csi_nodes}/n2")).await.expect(403);
    node.delete(&format!("{csi_nodes}/n2"), Value::Null).await.expect(403);

    let change = |value: &str| json!({"metadata": {"labels": {"example.com/x": value}}});
    node.merge("/api/v1/nodes/n1", change("1")).await.expect(200);
    node.merge("/api/v1/nodes/n2", change("1")).await.expect(403);
    node.merge("/api/v1/nodes/n2/status", json!({"status": {"phase": "Running"}}))
        .await
        .expect(403);
    for label in [
        "node-restriction.kubernetes.io/x",
        "node-role.kubernetes.io/control-plane",
        "k8s.io/x",
        "a.k8s.io/x",
    ] {
        let labels = json!({"metadata": {"labels": {label: "x"}}});
        for path in ["/api/v1/nodes/n1", "/api/v1/nodes/n1/status"] {
            node.merge(path, labels.clone()).await.expect(403);
        }
    }
    let taints = json!({"spec": {"taints": []}});
    node.merge("/api/v1/nodes/n1", taints).await.expect(403);
    let owner = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "gone", "uid": "1"}]);
    let owned = json!({"metadata": {"ownerReferences": owner}});
    node.merge("/api/v1/nodes/n1", owned.clone()).await.expect(403);
    node.merge("/api/v1/nodes/n1/status", owned).await.expect(403);
}

/// A node reads what its pods use: it must not make itself a pod that uses anything.
#[tokio::test]
async fn a_node_makes_mirrors_of_its_own_files_only() {
    let (_cluster, _admin, node) = two_nodes().await;
    let pods = "/api/v1/namespaces/default/pods";
    let mirror = |name: &str, spec: Value| {
        let mut pod = json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "annotations": {"kubernetes.io/config.mirror": "x"}},
            "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "i"}]}});
        for (key, value) in spec.as_object().unwrap() {
            pod["spec"][key] = value.clone();
        }
        pod
    };
    node.post(pods, mirror("good", json!({}))).await.expect(201);
    let volume = |source: Value| {
        let mut volume = source;
        volume["name"] = json!("v");
        json!({ "volumes": [volume] })
    };
    for (what, spec) in [
        ("another node", json!({"nodeName": "n2"})),
        ("no node", json!({"nodeName": ""})),
        ("an account", json!({"serviceAccountName": "default"})),
        ("a secret", volume(json!({"secret": {"secretName": "of-n2"}}))),
        ("a config map", volume(json!({"configMap": {"name": "of-n2"}}))),
        (
            "a claim",
            volume(json!({"persistentVolumeClaim": {"claimName": "of-n2"}})),
        ),
        (
            "a projected token",
            volume(json!({"projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}})),
        ),
        ("a pull secret", json!({"imagePullSecrets": [{"name": "of-n2"}]})),
        (
            "an environment",
            json!({"containers": [{"name": "c", "image": "i",
            "envFrom": [{"secretRef": {"name": "of-n2"}}]}]}),
        ),
        (
            "a device",
            json!({"resourceClaims": [{"name": "r", "resourceClaimName": "x"}]}),
        ),
    ] {
        let answer = node.post(pods, mirror("bad", spec)).await;
        assert_eq!(answer.code, 403, "{what}: {}", answer.body);
    }
    let mut plain = mirror("bad", json!({}));
    plain["metadata"]["annotations"] = json!({});
    node.post(pods, plain).await.expect(403);
    let mut owned = mirror("bad", json!({}));
    owned["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "x", "uid": "1"}]);
    node.post(pods, owned).await.expect(403);
}

#[tokio::test]
async fn a_node_asks_for_the_tokens_that_its_pods_want() {
    let (_cluster, admin, node) = two_nodes().await;
    let uid = admin.get("/api/v1/namespaces/default/pods/of-n1").await.expect(200)["metadata"]["uid"].clone();
    let ask = async |audiences: Value| {
        let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": audiences,
            "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "of-n1", "uid": uid}}});
        let path = "/api/v1/namespaces/default/serviceaccounts/default/token";
        node.post(path, request).await.code
    };
    assert_eq!(ask(json!([])).await, 201, "its own API token");
    assert_eq!(ask(json!(["vault"])).await, 201, "one that its pod wants");
    assert_eq!(ask(json!(["bank"])).await, 403, "one that nobody wants");
    assert_eq!(ask(json!(["vault", "bank"])).await, 403);
    let more = rule("request-serviceaccounts-token-audience", "", "bank");
    grant(&admin, "system:node:n1", None, json!([more])).await;
    assert_eq!(ask(json!(["bank"])).await, 201, "one that a role grants");
}

#[tokio::test]
async fn reviews_answer_as_requests_are_answered() {
    let (cluster, admin) = Cluster::ready().await;
    grant(
        &admin,
        "anna",
        Some("default"),
        json!([rule("get fly", "", "pods"), named("get", "", "secrets", "s")]),
    )
    .await;
    grant(&admin, "carla", None, json!([rule("unknown", "", "pods")])).await;
    let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    let review = async |spec: Value| {
        let object = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec});
        admin.post(path, object).await.expect(201)["status"]["allowed"] == true
    };
    let of =
        async |user: &str, attributes: Value| review(json!({"user": user, "resourceAttributes": attributes})).await;
    let pods = |verb: &str, namespace: &str| json!({"verb": verb, "resource": "pods", "namespace": namespace});
    assert!(of("anna", pods("get", "default")).await);
    assert!(
        of("anna", pods("fly", "default")).await,
        "any verb can be granted and asked about"
    );
    assert!(!of("anna", pods("swim", "default")).await);
    assert!(!of("carla", pods("swim", "default")).await, "a verb is itself");
    assert!(!of("anna", pods("*", "default")).await);
    assert!(!of("anna", pods("get", "kube-system")).await);
    assert!(!of("anna", pods("get", "")).await);
    let secret = |name: &str| json!({"verb": "get", "resource": "secrets", "namespace": "default", "name": name});
    assert!(of("anna", secret("s")).await && !of("anna", secret("t")).await && !of("anna", secret("")).await);
    let log = json!({"verb": "get", "resource": "pods", "subresource": "log", "namespace": "default"});
    assert!(!of("anna", log).await);
    assert!(review(json!({"groups": ["system:masters"], "resourceAttributes": pods("delete", "")})).await);
    assert!(!review(json!({"user": "system:masters", "resourceAttributes": pods("delete", "")})).await);
    let to_path = json!({"user": "anna", "groups": ["system:authenticated"],
        "nonResourceAttributes": {"path": "/version", "verb": "get"}});
    assert!(review(to_path).await);
    // Asking about others is a right of its own; asking about oneself is not.
    let anna = cluster.user("anna", &["system:authenticated"]);
    anna.post(path, json!({})).await.expect(403);
    let local = "/apis/authorization.k8s.io/v1/namespaces/default/localsubjectaccessreviews";
    anna.post(local, json!({})).await.expect(403);
}

/// `kubectl auth can-i --list`.
#[tokio::test]
async fn everybody_can_list_what_they_may() {
    let (cluster, admin) = Cluster::ready().await;
    grant(&admin, "anna", Some("default"), json!([rule("get", "", "pods")])).await;
    grant(
        &admin,
        "bob",
        None,
        json!([rule("*", "apps", "*"), paths("get", "/metrics")]),
    )
    .await;
    let list = async |name: &str, groups: &[&str], namespace: &str| {
        let object = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview",
            "spec": {"namespace": namespace}});
        let path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
        let groups = [groups, &["system:authenticated"]].concat();
        cluster.user(name, &groups).post(path, object).await.expect(201)["status"].clone()
    };
    let has = |status: &Value, rule: &Value| {
        let list = if rule["nonResourceURLs"].is_null() {
            "resourceRules"
        } else {
            "nonResourceRules"
        };
        status[list].as_array().unwrap().contains(rule)
    };
    let pods = rule("get", "", "pods");
    let annas = list("anna", &[], "default").await;
    assert!(has(&annas, &pods), "{annas}");
    assert_eq!(annas["incomplete"], false);
    assert!(!has(&list("anna", &[], "kube-system").await, &pods));
    let bobs = list("bob", &[], "kube-system").await;
    assert!(
        has(&bobs, &rule("*", "apps", "*")) && has(&bobs, &paths("get", "/metrics")),
        "{bobs}"
    );
    let masters = list("root", &["system:masters"], "default").await;
    assert!(
        has(&masters, &rule("*", "*", "*")) && has(&masters, &paths("*", "*")),
        "{masters}"
    );
    let node = list("system:node:n1", &["system:nodes"], "default").await;
    assert_eq!(node["incomplete"], true, "what a node may depends on the object");
}
