use crate::harness::Cluster;
use serde_json::json;

const ROLES: &str = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles";
const BINDINGS: &str = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings";

#[tokio::test]
async fn a_binding_grants_from_the_next_request_on() {
    let (cluster, admin) = Cluster::ready().await;
    let anna = cluster.user("anna", &[]);
    let pods = "/api/v1/namespaces/default/pods";
    let refused = anna.get(pods).await.message(403);
    assert_eq!(
        refused,
        "pods is forbidden: User \"anna\" cannot list resource \"pods\" in API group \"\" in the namespace \"default\""
    );
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "reader"},
        "rules": [{"verbs": ["list"], "apiGroups": [""], "resources": ["pods"]}]});
    admin.post(ROLES, role).await.expect(201);
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": "anna"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
        "subjects": [{"kind": "User", "name": "anna", "apiGroup": "rbac.authorization.k8s.io"}]});
    admin.post(BINDINGS, binding).await.expect(201);
    anna.get(pods).await.expect(200);
    anna.get("/api/v1/pods").await.expect(403);
    admin
        .delete(&format!("{BINDINGS}/anna"), serde_json::Value::Null)
        .await
        .expect(200);
    anna.get(pods).await.expect(403);
}

#[tokio::test]
async fn nobody_grants_more_than_they_have() {
    let (cluster, admin) = Cluster::ready().await;
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": "boss"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin"},
        "subjects": [{"kind": "User", "name": "bob", "apiGroup": "rbac.authorization.k8s.io"}]});
    admin.post(BINDINGS, binding).await.expect(201);
    let bob = cluster.user("bob", &[]);
    let role = |name: &str, resource: &str| {
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": name},
            "rules": [{"verbs": ["get"], "apiGroups": [""], "resources": [resource]}]})
    };
    bob.post(ROLES, role("small", "pods")).await.expect(201);
    let refused = bob.post(ROLES, role("large", "nodes")).await.message(403);
    assert!(
        refused.contains("attempting to grant RBAC permissions not currently held"),
        "{refused}"
    );
}

#[tokio::test]
async fn reviews_answer_what_requests_would_find() {
    let (cluster, admin) = Cluster::ready().await;
    let ask = |namespace: &str| {
        json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {"verb": "list", "resource": "pods", "namespace": namespace}}})
    };
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    assert_eq!(
        admin.post(path, ask("default")).await.expect(201)["status"]["allowed"],
        true
    );
    let anna = cluster.user("anna", &[]);
    assert_eq!(
        anna.post(path, ask("default")).await.expect(201)["status"]["allowed"],
        false
    );
    let who = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let me = anna
        .post("/apis/authentication.k8s.io/v1/selfsubjectreviews", who)
        .await
        .expect(201);
    assert_eq!(me["status"]["userInfo"]["username"], "anna");
}

#[tokio::test]
async fn a_token_lives_as_long_as_its_pod() {
    let (_cluster, admin) = Cluster::ready().await;
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let pod = admin.post("/api/v1/namespaces/default/pods", pod).await.expect(201);
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
        "spec": {"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": pod["metadata"]["uid"]}}});
    let issued = admin
        .post("/api/v1/namespaces/default/serviceaccounts/default/token", request)
        .await
        .expect(201);
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
        "spec": {"token": issued["status"]["token"]}});
    let path = "/apis/authentication.k8s.io/v1/tokenreviews";
    let found = admin.post(path, review.clone()).await.expect(201);
    assert_eq!(found["status"]["authenticated"], true, "{found}");
    assert_eq!(
        found["status"]["user"]["username"],
        "system:serviceaccount:default:default"
    );
    admin
        .delete("/api/v1/namespaces/default/pods/p", serde_json::Value::Null)
        .await
        .expect(200);
    let gone = admin.post(path, review).await.expect(201);
    assert_eq!(gone["status"]["authenticated"], false);
}

#[tokio::test]
async fn a_node_touches_only_what_is_its_own() {
    let (cluster, admin) = Cluster::ready().await;
    let node = cluster.user("system:node:n1", &["system:nodes"]);
    let object = |name: &str| json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}});
    let made = node.post("/api/v1/nodes", object("n1")).await.expect(201);
    assert_eq!(made["spec"]["taints"][0]["key"], "node.kubernetes.io/not-ready");
    node.post("/api/v1/nodes", object("n2")).await.expect(403);
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"a": "b"}});
    admin
        .post("/api/v1/namespaces/default/secrets", secret)
        .await
        .expect(201);
    let path = "/api/v1/namespaces/default/secrets/s";
    node.get(path).await.expect(403);
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"nodeName": "n1",
        "containers": [{"name": "c", "image": "i"}], "volumes": [{"name": "v", "secret": {"secretName": "s"}}]}});
    admin.post("/api/v1/namespaces/default/pods", pod).await.expect(201);
    assert_eq!(node.get(path).await.expect(200)["data"]["a"], "Yg==");
    node.get("/api/v1/namespaces/default/secrets").await.expect(403);
}

/// A node that is taken over must not get tokens of accounts whose pods run elsewhere.
#[tokio::test]
async fn a_node_gets_tokens_for_its_own_pods_only() {
    let (cluster, admin) = Cluster::ready().await;
    let mut uids = Vec::new();
    for (name, node) in [("mine", "n1"), ("theirs", "n2")] {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"nodeName": node,
            "containers": [{"name": "c", "image": "i"}]}});
        let pod = admin.post("/api/v1/namespaces/default/pods", pod).await.expect(201);
        uids.push(pod["metadata"]["uid"].clone());
    }
    let node = cluster.user("system:node:n1", &["system:nodes"]);
    let ask = async |name: &str, uid: &serde_json::Value| {
        let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "spec": {"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid}}});
        node.post("/api/v1/namespaces/default/serviceaccounts/default/token", request)
            .await
    };
    ask("mine", &uids[0]).await.expect(201);
    let refused = ask("theirs", &uids[1]).await.message(403);
    assert!(refused.contains("scheduled on a different node"), "{refused}");
    ask("mine", &uids[1]).await.expect(409);
    ask("nobody", &uids[0]).await.expect(404);
}

#[tokio::test]
async fn a_node_labels_itself_only_as_nodes_may() {
    let (cluster, admin) = Cluster::ready().await;
    let node = cluster.user("system:node:n1", &["system:nodes"]);
    let labels = json!({"kubernetes.io/hostname": "n1", "example.com/rack": "7", "node.kubernetes.io/x": "y"});
    let object = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1", "labels": labels}});
    node.post("/api/v1/nodes", object).await.expect(201);
    let path = "/api/v1/nodes/n1";
    let with = |labels: serde_json::Value| json!({"metadata": {"labels": labels}});
    for label in [
        "node-role.kubernetes.io/control-plane",
        "node-restriction.kubernetes.io/safe",
        "k8s.io/x",
    ] {
        let refused = node.patch(path, with(json!({ label: "" }))).await.message(403);
        assert!(refused.contains(label), "{refused}");
    }
    node.patch(path, with(json!({"example.com/rack": "8"})))
        .await
        .expect(200);
    let safe = "node-restriction.kubernetes.io/safe";
    admin.patch(path, with(json!({ safe: "yes" }))).await.expect(200);
    let refused = node.patch(path, with(json!({ safe: null }))).await.message(403);
    assert!(refused.contains(safe), "taking it away counts too: {refused}");
}
