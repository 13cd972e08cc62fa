use crate::harness::{Client, Cluster};
use serde_json::{Value, json};

const PODS: &str = "/api/v1/namespaces/default/pods";

fn pod(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"containers": [{"name": "c", "image": "busybox"}]}})
}

async fn bind(client: &Client, name: &str, node: &str) -> crate::harness::Answer {
    let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name},
        "target": {"apiVersion": "v1", "kind": "Node", "name": node}});
    client.post(&format!("{PODS}/{name}/binding"), binding).await
}

#[tokio::test]
async fn a_created_pod_is_complete() {
    let (_cluster, admin) = Cluster::ready().await;
    let made = admin.post(PODS, pod("a")).await.expect(201);
    assert_eq!(made["status"]["phase"], "Pending");
    assert_eq!(made["status"]["qosClass"], "BestEffort");
    assert_eq!(made["spec"]["serviceAccountName"], "default");
    assert_eq!(made["spec"]["priority"], 0);
    assert_eq!(made["spec"]["restartPolicy"], "Always");
    assert_eq!(made["spec"]["tolerations"].as_array().unwrap().len(), 2);
    let mount = &made["spec"]["containers"][0]["volumeMounts"][0];
    assert_eq!(mount["mountPath"], "/var/run/secrets/kubernetes.io/serviceaccount");
    assert_eq!(mount["name"], made["spec"]["volumes"][0]["name"]);
    let rows = admin.table(PODS).await;
    assert_eq!(rows[0][..4], [json!("a"), json!("0/1"), json!("Pending"), json!("0")]);
}

#[tokio::test]
async fn a_pod_is_bound_once() {
    let (_cluster, admin) = Cluster::ready().await;
    admin.post(PODS, pod("a")).await.expect(201);
    bind(&admin, "a", "n1").await.expect(201);
    let again = bind(&admin, "a", "n2").await;
    assert_eq!(again.body["reason"], "Conflict");
    assert!(again.message(409).contains("already assigned to node \"n1\""));
    let found = admin
        .get(&format!("{PODS}?fieldSelector=spec.nodeName%3Dn1"))
        .await
        .expect(200);
    assert_eq!(found["items"].as_array().unwrap().len(), 1);
    assert_eq!(found["items"][0]["status"]["conditions"][0]["type"], "PodScheduled");
}

#[tokio::test]
async fn a_pod_on_a_node_goes_in_two_steps_and_any_other_at_once() {
    let (_cluster, admin) = Cluster::ready().await;
    admin.post(PODS, pod("free")).await.expect(201);
    admin.delete(&format!("{PODS}/free"), Value::Null).await.expect(200);
    admin.get(&format!("{PODS}/free")).await.expect(404);

    admin.post(PODS, pod("bound")).await.expect(201);
    bind(&admin, "bound", "n1").await.expect(201);
    let marked = admin.delete(&format!("{PODS}/bound"), Value::Null).await.expect(200);
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 30);
    assert_eq!(admin.table(PODS).await[0][2], "Terminating");
    admin
        .delete(&format!("{PODS}/bound"), json!({"gracePeriodSeconds": 0}))
        .await
        .expect(200);
    admin.get(&format!("{PODS}/bound")).await.expect(404);
}

#[tokio::test]
async fn only_the_image_of_a_running_pod_may_change() {
    let (_cluster, admin) = Cluster::ready().await;
    admin.post(PODS, pod("a")).await.expect(201);
    let image = json!({"spec": {"containers": [{"name": "c", "image": "other"}]}});
    let changed = admin.patch(&format!("{PODS}/a"), image).await.expect(200);
    assert_eq!(changed["spec"]["containers"][0]["image"], "other");
    let command = json!({"spec": {"containers": [{"name": "c", "command": ["x"]}]}});
    let refused = admin.patch(&format!("{PODS}/a"), command).await.message(422);
    assert!(
        refused.contains("spec: Forbidden: pod updates may not change fields other than"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_status_is_written_through_its_subresource_only() {
    let (_cluster, admin) = Cluster::ready().await;
    admin.post(PODS, pod("a")).await.expect(201);
    let status = json!({"status": {"phase": "Running", "podIP": "10.244.0.5"}, "spec": {"nodeName": "sneaky"}});
    let unchanged = admin
        .patch(&format!("{PODS}/a"), json!({"status": {"phase": "Running"}}))
        .await
        .expect(200);
    assert_eq!(unchanged["status"]["phase"], "Pending");
    let written = admin.patch(&format!("{PODS}/a/status"), status).await.expect(200);
    assert_eq!(written["status"]["podIP"], "10.244.0.5");
    assert_eq!(written["spec"].get("nodeName"), None);
}

#[tokio::test]
async fn an_eviction_deletes() {
    let (_cluster, admin) = Cluster::ready().await;
    admin.post(PODS, pod("a")).await.expect(201);
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "a"}});
    let mut tried = eviction.clone();
    tried["deleteOptions"] = json!({"dryRun": ["All"]});
    admin
        .post(&format!("{PODS}/a/eviction"), tried.clone())
        .await
        .expect(201);
    admin.get(&format!("{PODS}/a")).await.expect(200);
    tried["deleteOptions"] = json!({"dryRun": ["Some"]});
    admin.post(&format!("{PODS}/a/eviction"), tried).await.expect(422);
    admin.post(&format!("{PODS}/a/eviction"), eviction).await.expect(201);
    admin.get(&format!("{PODS}/a")).await.expect(404);
}

#[tokio::test]
async fn a_pod_without_account_or_namespace_is_refused() {
    let (_cluster, admin) = Cluster::ready().await;
    let mut stranger = pod("a");
    stranger["spec"]["serviceAccountName"] = json!("nobody");
    let refused = admin.post(PODS, stranger).await.message(403);
    assert!(
        refused.ends_with("service account default/nobody: serviceaccount \"nobody\" not found"),
        "{refused}"
    );
    let nowhere = admin
        .post("/api/v1/namespaces/nowhere/pods", pod("a"))
        .await
        .message(404);
    assert_eq!(nowhere, "namespaces \"nowhere\" not found");
}

#[tokio::test]
async fn a_resize_changes_resources_where_an_update_may_not() {
    let (_cluster, admin) = Cluster::ready().await;
    let container = |cpu: &str| json!({"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu}}});
    let pod =
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [container("1")]}});
    admin.post("/api/v1/namespaces/default/pods", pod).await.expect(201);
    let path = "/api/v1/namespaces/default/pods/p";
    let larger = json!({"spec": {"containers": [container("2")]}});
    assert_eq!(admin.patch(path, larger.clone()).await.code, 422);
    let resized = admin.patch(&format!("{path}/resize"), larger).await.expect(200);
    assert_eq!(resized["spec"]["containers"][0]["resources"]["requests"]["cpu"], "2");
    assert_eq!(resized["metadata"]["generation"], 2);
    let bare = json!({"spec": {"containers": [{"name": "c", "resources": {"requests": null}}]}});
    let refused = admin.patch(&format!("{path}/resize"), bare).await.message(422);
    assert!(
        refused.contains("Pod QOS Class may not change as a result of resizing"),
        "{refused}"
    );
}
