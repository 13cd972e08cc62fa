//! Server-side apply and the records of who owns what.

use crate::harness::{Answer, Client, Cluster};
use http::Method;
use serde_json::{Value, json};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

fn map(data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": data})
}

async fn apply(client: &Client, path: &str, query: &str, config: Value) -> Answer {
    let path = format!("{path}?{query}");
    client
        .send(Method::PATCH, &path, "application/apply-patch+yaml", config)
        .await
}

fn managers(object: &Value) -> Vec<(String, String, String)> {
    let entries = object["metadata"]["managedFields"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let text = |entry: &Value, field: &str| entry[field].as_str().unwrap_or_default().to_owned();
    let read = |entry: &Value| {
        (
            text(entry, "manager"),
            text(entry, "operation"),
            text(entry, "subresource"),
        )
    };
    entries.iter().map(read).collect()
}

fn manager(name: &str, operation: &str, subresource: &str) -> (String, String, String) {
    (name.into(), operation.into(), subresource.into())
}

#[tokio::test]
async fn an_apply_creates_changes_and_takes_back() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let path = format!("{MAPS}/m");
    let made = apply(&admin, &path, "fieldManager=a", map(json!({"x": "1", "y": "1"})))
        .await
        .expect(201);
    assert_eq!(managers(&made), [manager("a", "Apply", "")]);
    // Somebody else's key stays, one's own that is no longer said goes.
    let theirs = apply(&admin, &path, "fieldManager=b", map(json!({"z": "1"})))
        .await
        .expect(200);
    assert_eq!(theirs["data"], json!({"x": "1", "y": "1", "z": "1"}));
    let less = apply(&admin, &path, "fieldManager=a", map(json!({"x": "2"})))
        .await
        .expect(200);
    assert_eq!(less["data"], json!({"x": "2", "z": "1"}));
    let same = apply(&admin, &path, "fieldManager=a", map(json!({"x": "2"})))
        .await
        .expect(200);
    assert_eq!(same["metadata"]["resourceVersion"], less["metadata"]["resourceVersion"]);
}

#[tokio::test]
async fn a_conflict_names_who_and_what_and_can_be_forced() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let path = format!("{MAPS}/m");
    apply(&admin, &path, "fieldManager=a", map(json!({"x": "1"})))
        .await
        .expect(201);
    let refused = apply(&admin, &path, "fieldManager=b", map(json!({"x": "2"})))
        .await
        .expect(409);
    assert_eq!(
        refused["message"],
        "Apply failed with 1 conflict: conflict with \"a\": .data.x"
    );
    assert_eq!(
        refused["details"]["causes"][0],
        json!({"reason": "FieldManagerConflict", "message": "conflict with \"a\"", "field": ".data.x"})
    );
    let dry = apply(
        &admin,
        &path,
        "fieldManager=b&force=true&dryRun=All",
        map(json!({"x": "2"})),
    )
    .await;
    assert_eq!(dry.expect(200)["data"]["x"], "2");
    assert_eq!(admin.get(&path).await.expect(200)["data"]["x"], "1");
    let forced = apply(&admin, &path, "fieldManager=b&force=true", map(json!({"x": "2"})))
        .await
        .expect(200);
    assert_eq!(managers(&forced), [manager("b", "Apply", "")]);
}

#[tokio::test]
async fn every_other_write_is_recorded_too() {
    let (_cluster, admin) = Cluster::ready().await;
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "d"}}, "template": {"metadata": {"labels": {"app": "d"}},
            "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
    let made = admin
        .post(&format!("{DEPLOYMENTS}?fieldManager=maker"), deployment.clone())
        .await
        .expect(201);
    assert_eq!(managers(&made), [manager("maker", "Update", "")]);
    let entry = &made["metadata"]["managedFields"][0];
    assert_eq!(
        (&entry["fieldsType"], &entry["apiVersion"]),
        (&json!("FieldsV1"), &json!("apps/v1"))
    );
    assert_eq!(entry["fieldsV1"]["f:spec"]["f:replicas"], json!({}));
    assert_eq!(
        entry["fieldsV1"]["f:spec"]["f:template"]["f:spec"]["f:containers"]["k:{\"name\":\"c\"}"]["f:image"],
        json!({})
    );
    let path = format!("{DEPLOYMENTS}/d");
    let status = json!({"status": {"replicas": 2}});
    admin
        .patch(&format!("{path}/status?fieldManager=controller"), status)
        .await
        .expect(200);
    let scaled = admin
        .patch(&format!("{path}?fieldManager=scaler"), json!({"spec": {"replicas": 3}}))
        .await
        .expect(200);
    let mut found = managers(&scaled);
    found.sort();
    assert_eq!(
        found,
        [
            manager("controller", "Update", "status"),
            manager("maker", "Update", ""),
            manager("scaler", "Update", "")
        ]
    );
    // A write that changes nothing leaves no trace.
    let same = admin
        .patch(&format!("{path}?fieldManager=idle"), json!({"spec": {"replicas": 3}}))
        .await
        .expect(200);
    assert_eq!(
        same["metadata"]["resourceVersion"],
        scaled["metadata"]["resourceVersion"]
    );
    // The scaler's replicas are its own now: applying other ones is a conflict with it alone.
    let mut wanted = deployment;
    wanted["spec"]["replicas"] = json!(5);
    let refused = apply(&admin, &path, "fieldManager=x", wanted).await.message(409);
    assert!(
        refused.contains("conflict with \"scaler\" using apps/v1 at "),
        "{refused}"
    );
}

#[tokio::test]
async fn the_status_is_applied_through_its_subresource_only() {
    let (_cluster, admin) = Cluster::ready().await;
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}});
    admin.post("/api/v1/nodes", node).await.expect(201);
    let config = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n", "labels": {"a": "b"}},
        "status": {"conditions": [{"type": "Odd", "status": "True"}]}});
    let whole = apply(&admin, "/api/v1/nodes/n", "fieldManager=m", config.clone())
        .await
        .expect(200);
    assert_eq!(whole["metadata"]["labels"]["a"], "b");
    assert!(whole["status"].get("conditions").is_none(), "{whole}");
    let status = apply(&admin, "/api/v1/nodes/n/status", "fieldManager=m", config)
        .await
        .expect(200);
    assert_eq!(status["status"]["conditions"][0]["type"], "Odd");
    assert!(managers(&status).contains(&manager("m", "Apply", "status")));
}

#[tokio::test]
async fn clients_may_rewrite_the_records_and_an_apply_says_who_it_is() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let path = format!("{MAPS}/m");
    let nobody = apply(&admin, &path, "", map(json!({}))).await.message(422);
    assert!(
        nobody.contains("fieldManager: Required value: is required for apply patch"),
        "{nobody}"
    );
    let made = apply(&admin, &path, "fieldManager=a", map(json!({"x": "1"})))
        .await
        .expect(201);
    let mut renamed = made.clone();
    renamed["metadata"]["managedFields"][0]["manager"] = json!("z");
    let renamed = admin.put(&path, renamed).await.expect(200);
    assert_eq!(managers(&renamed), [manager("z", "Apply", "")]);
    let mut reset = renamed;
    reset["metadata"]["managedFields"] = json!([{}]);
    let reset = admin.put(&path, reset).await.expect(200);
    assert_eq!(managers(&reset), []);
    let carried = apply(&admin, &path, "fieldManager=a", made).await.message(400);
    assert_eq!(carried, "metadata.managedFields must be nil");
    let other = apply(
        &admin,
        &path,
        "fieldManager=a",
        json!({"apiVersion": "v1", "kind": "Secret"}),
    )
    .await;
    other.expect(400);
}

/// Applying what does not exist creates it, which takes more than the right to patch.
#[tokio::test]
async fn creating_by_apply_needs_the_right_to_create() {
    let (cluster, admin) = Cluster::ready().await;
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "r"},
        "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["patch", "get"]}]});
    let roles = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
    admin.post(&format!("{roles}/roles"), role).await.expect(201);
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "r"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"},
        "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "p"}]});
    admin.post(&format!("{roles}/rolebindings"), binding).await.expect(201);
    let patcher = cluster.user("p", &["system:authenticated"]);
    let path = format!("{MAPS}/m");
    apply(&patcher, &path, "fieldManager=a", map(json!({"x": "1"})))
        .await
        .expect(403);
    apply(&admin, &path, "fieldManager=a", map(json!({"x": "1"})))
        .await
        .expect(201);
    apply(&patcher, &path, "fieldManager=a", map(json!({"x": "2"})))
        .await
        .expect(200);
}
