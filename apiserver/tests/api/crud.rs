//! Create, read, update, patch, delete.

use crate::harness::{Api, DEPLOYMENTS, MAPS, PODS, config_map, deployment, pod};
use serde_json::json;

#[tokio::test]
async fn a_config_map_lives() {
    let api = Api::new().await;
    let created = api.post(MAPS, &config_map("x", "web")).await.expect(201);
    let metadata = &created["metadata"];
    assert_eq!((&metadata["name"], &metadata["namespace"]), (&json!("x"), &json!("a")));
    assert!(metadata["uid"].as_str().unwrap().len() == 36 && metadata["creationTimestamp"].is_string());
    let path = format!("{MAPS}/x");
    let read = api.get(&path).await.expect(200);
    assert_eq!(read, created);
    let mut changed = read.clone();
    changed["data"]["k"] = "w".into();
    let updated = api.put(&path, &changed).await.expect(200);
    assert_ne!(
        updated["metadata"]["resourceVersion"],
        read["metadata"]["resourceVersion"]
    );
    assert_eq!(updated["metadata"]["uid"], read["metadata"]["uid"]);
    let stale = api.put(&path, &changed).await;
    let message = "Operation cannot be fulfilled on configmaps \"x\": the object has been modified; \
                   please apply your changes to the latest version and try again";
    assert_eq!(stale.error(), (409, "Conflict".into(), message.into()));
    let patched = api
        .patch(&path, "merge", &json!({"data": {"k": null, "n": "1"}}))
        .await
        .expect(200);
    assert_eq!(patched["data"], json!({"n": "1"}));
    let gone = api.delete(&path).await.expect(200);
    assert_eq!(
        (&gone["status"], &gone["details"]["name"]),
        (&json!("Success"), &json!("x"))
    );
    assert_eq!(
        api.get(&path).await.error(),
        (404, "NotFound".into(), "configmaps \"x\" not found".into())
    );
}

#[tokio::test]
async fn an_update_that_changes_nothing_keeps_the_version() {
    let api = Api::new().await;
    let created = api.post(MAPS, &config_map("x", "web")).await.expect(201);
    let updated = api.put(&format!("{MAPS}/x"), &created).await.expect(200);
    assert_eq!(updated, created);
}

#[tokio::test]
async fn names_are_generated_and_taken_once() {
    let api = Api::new().await;
    let mut body = config_map("", "web");
    body["metadata"] = json!({"generateName": "cfg-"});
    let name = api.post(MAPS, &body).await.expect(201)["metadata"]["name"]
        .as_str()
        .unwrap()
        .to_string();
    assert!(name.starts_with("cfg-") && name.len() == 9, "{name}");
    api.post(MAPS, &config_map("x", "web")).await.expect(201);
    let again = api.post(MAPS, &config_map("x", "web")).await;
    assert_eq!(
        again.error(),
        (409, "AlreadyExists".into(), "configmaps \"x\" already exists".into())
    );
}

#[tokio::test]
async fn a_dry_run_does_everything_but_the_write() {
    let api = Api::new().await;
    let shown = api
        .post(&format!("{MAPS}?dryRun=All"), &config_map("x", "web"))
        .await
        .expect(201);
    assert!(shown["metadata"]["uid"].is_string() && shown["metadata"]["resourceVersion"].is_null());
    assert_eq!(api.get(&format!("{MAPS}/x")).await.code, 404);
    api.post(MAPS, &config_map("x", "web")).await.expect(201);
    let patched = api
        .patch(&format!("{MAPS}/x?dryRun=All"), "merge", &json!({"data": {"k": "new"}}))
        .await
        .expect(200);
    assert_eq!(patched["data"]["k"], "new");
    api.delete(&format!("{MAPS}/x?dryRun=All")).await.expect(200);
    assert_eq!(api.get(&format!("{MAPS}/x")).await.expect(200)["data"]["k"], "v");
}

#[tokio::test]
async fn a_pod_is_defaulted_and_its_status_is_its_own() {
    let api = Api::new().await;
    let created = api.post(PODS, &pod("p")).await.expect(201);
    assert_eq!(created["spec"]["restartPolicy"], "Always");
    assert_eq!(created["status"]["phase"], "Pending");
    let path = format!("{PODS}/p");
    let mut wanted = created.clone();
    wanted["metadata"]["labels"]["app"] = "other".into();
    wanted["status"]["phase"] = "Running".into();
    let status = api.put(&format!("{path}/status"), &wanted).await.expect(200);
    assert_eq!(
        (&status["status"]["phase"], &status["metadata"]["labels"]["app"]),
        (&json!("Running"), &json!("web"))
    );
    let patch = json!({"metadata": {"labels": {"app": "other"}}, "status": {"phase": "Failed"}});
    let object = api.patch(&path, "strategic-merge", &patch).await.expect(200);
    assert_eq!(
        (&object["status"]["phase"], &object["metadata"]["labels"]["app"]),
        (&json!("Running"), &json!("other"))
    );
}

#[tokio::test]
async fn a_bound_pod_is_deleted_gracefully() {
    let api = Api::new().await;
    api.post(PODS, &pod("p")).await.expect(201);
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}});
    api.post("/api/v1/nodes", &node).await.expect(201);
    let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n1"}});
    let path = format!("{PODS}/p");
    api.post(&format!("{path}/binding"), &binding).await.expect(201);
    assert_eq!(api.post(&format!("{path}/binding"), &binding).await.code, 409);
    assert_eq!(api.get(&path).await.expect(200)["spec"]["nodeName"], "n1");
    let marked = api.delete(&path).await.expect(200);
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 30);
    let uid = marked["metadata"]["uid"].as_str().unwrap();
    let wrong =
        json!({"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0, "preconditions": {"uid": "x"}});
    let refused = api
        .raw(
            "DELETE",
            &path,
            &[("content-type", "application/json")],
            wrong.to_string(),
        )
        .await;
    assert_eq!(refused.code, 409, "{}", refused.text);
    let right =
        json!({"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0, "preconditions": {"uid": uid}});
    api.raw(
        "DELETE",
        &path,
        &[("content-type", "application/json")],
        right.to_string(),
    )
    .await
    .expect(200);
    assert_eq!(api.get(&path).await.code, 404);
}

#[tokio::test]
async fn finalizers_hold_an_object_back_until_they_are_gone() {
    let api = Api::new().await;
    let mut body = config_map("x", "web");
    body["metadata"]["finalizers"] = json!(["example.com/wait"]);
    api.post(MAPS, &body).await.expect(201);
    let path = format!("{MAPS}/x");
    let held = api.delete(&path).await.expect(200);
    assert!(held["metadata"]["deletionTimestamp"].is_string());
    let late = api
        .patch(
            &path,
            "merge",
            &json!({"metadata": {"finalizers": ["example.com/wait", "example.com/b"]}}),
        )
        .await;
    assert!(
        late.error().2.contains("no new finalizers can be added"),
        "{}",
        late.text
    );
    api.patch(&path, "merge", &json!({"metadata": {"finalizers": null}}))
        .await
        .expect(200);
    assert_eq!(api.get(&path).await.code, 404);
}

#[tokio::test]
async fn propagation_policies_become_finalizers() {
    let api = Api::new().await;
    api.post(DEPLOYMENTS, &deployment("d", 1)).await.expect(201);
    let held = api
        .delete(&format!("{DEPLOYMENTS}/d?propagationPolicy=Foreground"))
        .await
        .expect(200);
    assert_eq!(held["metadata"]["finalizers"], json!(["foregroundDeletion"]));
    let gone = api
        .delete(&format!("{DEPLOYMENTS}/d?propagationPolicy=Background"))
        .await
        .expect(200);
    assert_eq!(gone["status"], "Success");
}

#[tokio::test]
async fn a_deployment_counts_generations_and_scales() {
    let api = Api::new().await;
    let created = api.post(DEPLOYMENTS, &deployment("d", 1)).await.expect(201);
    assert_eq!(created["metadata"]["generation"], 1);
    let path = format!("{DEPLOYMENTS}/d");
    let labelled = api
        .patch(&path, "merge", &json!({"metadata": {"labels": {"x": "y"}}}))
        .await
        .expect(200);
    assert_eq!(labelled["metadata"]["generation"], 1);
    let scale = api.get(&format!("{path}/scale")).await.expect(200);
    assert_eq!(
        (&scale["kind"], &scale["spec"]["replicas"]),
        (&json!("Scale"), &json!(1))
    );
    let scaled = api
        .patch(&format!("{path}/scale"), "merge", &json!({"spec": {"replicas": 3}}))
        .await
        .expect(200);
    assert_eq!(scaled["spec"]["replicas"], 3);
    let read = api.get(&path).await.expect(200);
    assert_eq!(
        (&read["spec"]["replicas"], &read["metadata"]["generation"]),
        (&json!(3), &json!(2))
    );
}

#[tokio::test]
async fn a_collection_is_deleted_by_selector() {
    let api = Api::new().await;
    for (name, app) in [("x", "web"), ("y", "web"), ("z", "db")] {
        api.post(MAPS, &config_map(name, app)).await.expect(201);
    }
    let deleted = api.delete(&format!("{MAPS}?labelSelector=app%3Dweb")).await.expect(200);
    assert_eq!(deleted["items"].as_array().unwrap().len(), 2);
    let left = api.get(MAPS).await.expect(200);
    assert_eq!(left["items"].as_array().unwrap().len(), 1);
    assert_eq!(left["items"][0]["metadata"]["name"], "z");
}

#[tokio::test]
async fn a_namespace_goes_when_it_is_finalized() {
    let api = Api::new().await;
    let marked = api.delete("/api/v1/namespaces/a").await.expect(200);
    assert_eq!(marked["status"]["phase"], "Terminating");
    assert_eq!(api.post(MAPS, &config_map("x", "web")).await.code, 403);
    let mut finalized = marked.clone();
    finalized["spec"]["finalizers"] = json!([]);
    api.put("/api/v1/namespaces/a/finalize", &finalized).await.expect(200);
    assert_eq!(api.get("/api/v1/namespaces/a").await.code, 404);
}

#[tokio::test]
async fn a_lease_is_created_by_its_first_update() {
    let api = Api::new().await;
    let path = "/apis/coordination.k8s.io/v1/namespaces/a/leases/l";
    let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "l"}, "spec": {"holderIdentity": "x"}});
    let missing = api.patch(path, "merge", &json!({})).await;
    assert_eq!(missing.error().2, "leases.coordination.k8s.io \"l\" not found");
    let mut gone = api.put(path, &lease).await.expect(201);
    api.delete(path).await.expect(200);
    gone["spec"]["holderIdentity"] = "y".into();
    assert_eq!(api.put(path, &gone).await.code, 409);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_patches_of_one_object_all_take_effect() {
    let api = std::sync::Arc::new(Api::new().await);
    api.post(MAPS, &config_map("x", "web")).await.expect(201);
    let patches: Vec<_> = (0..24)
        .map(|i| {
            let api = api.clone();
            tokio::spawn(async move {
                let patch = json!({"data": {format!("k{i}"): "v"}});
                api.patch(&format!("{MAPS}/x"), "merge", &patch).await.expect(200);
            })
        })
        .collect();
    for patch in patches {
        patch.await.unwrap();
    }
    let data = api.get(&format!("{MAPS}/x")).await.expect(200)["data"]
        .as_object()
        .unwrap()
        .len();
    assert_eq!(data, 25);
}

#[tokio::test]
async fn an_event_is_one_object_in_two_groups() {
    let api = Api::new().await;
    let about = json!({"kind": "Pod", "namespace": "a", "name": "p"});
    let event = json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e"}, "type": "Normal",
        "regarding": about, "note": "hello", "reason": "Because", "action": "Greet", "eventTime": "2026-01-01T00:00:00.000000Z",
        "reportingController": "test", "reportingInstance": "test-1"});
    let modern = "/apis/events.k8s.io/v1/namespaces/a/events";
    let created = api.post(modern, &event).await.expect(201);
    assert_eq!(
        (&created["note"], &created["apiVersion"]),
        (&json!("hello"), &json!("events.k8s.io/v1"))
    );
    let core = api.get("/api/v1/namespaces/a/events/e").await.expect(200);
    assert_eq!(
        (&core["message"], &core["involvedObject"]["name"]),
        (&json!("hello"), &json!("p"))
    );
    let patched = api
        .patch(&format!("{modern}/e"), "merge", &json!({"note": "bye"}))
        .await
        .expect(200);
    assert_eq!(patched["note"], "bye");
    let listed = api
        .get(&format!("{modern}?fieldSelector=regarding.name%3Dp"))
        .await
        .expect(200);
    assert_eq!(listed["items"], json!([patched]));
    assert_eq!(
        api.get("/api/v1/namespaces/a/events/e").await.expect(200)["message"],
        "bye"
    );
}

#[tokio::test]
async fn a_moved_fence_has_a_reason_of_its_own() {
    let api = Api::new().await;
    let fence = apiserver::Fence {
        key: b"/proreus/fence".to_vec(),
        token: 1,
    };
    let user = apiserver::User::new("system:kube-scheduler", &["system:masters"]);
    let mut local = api.server.local(user, Some(fence));
    let request = http::Request::builder()
        .method("POST")
        .uri(MAPS)
        .header("content-type", "application/json");
    let request = request
        .body(apiserver::Body::from(config_map("x", "web").to_string()))
        .unwrap();
    let response = tower::Service::call(&mut local, request).await.unwrap();
    assert_eq!(response.status(), 409);
    let bytes = axum_bytes(response).await;
    let status: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(status["reason"], "FenceLost");
}

async fn axum_bytes(response: http::Response<apiserver::Body>) -> bytes::Bytes {
    http_body_util::BodyExt::collect(response.into_body())
        .await
        .unwrap()
        .to_bytes()
}
