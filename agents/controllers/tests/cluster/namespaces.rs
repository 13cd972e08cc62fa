//! What a namespace gets, and that it goes with all that is in it.

use serde_json::{Value, json};

use crate::harness::Cluster;
use crate::{config_map, deployment};

#[tokio::test(flavor = "multi_thread")]
async fn a_new_namespace_can_run_pods_that_trust_the_cluster() {
    let cluster = Cluster::start().await;
    cluster
        .create("/api/v1/namespaces", json!({ "metadata": { "name": "a" } }))
        .await;
    cluster.appears("/api/v1/namespaces/a/serviceaccounts/default").await;
    let trust = cluster
        .appears("/api/v1/namespaces/a/configmaps/kube-root-ca.crt")
        .await;
    assert_eq!(trust["data"]["ca.crt"], "a certificate");
    for lost in ["serviceaccounts/default", "configmaps/kube-root-ca.crt"] {
        let path = format!("/api/v1/namespaces/a/{lost}");
        let uid = cluster.get(&path).await["metadata"]["uid"].clone();
        cluster.delete(&path, "Background").await;
        cluster
            .until(&path, |o| !o.is_null() && o["metadata"]["uid"] != uid)
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_namespace_goes_with_its_content() {
    let cluster = Cluster::start().await;
    cluster
        .create("/api/v1/namespaces", json!({ "metadata": { "name": "a" } }))
        .await;
    cluster.appears("/api/v1/namespaces/a/serviceaccounts/default").await;
    cluster
        .create("/apis/apps/v1/namespaces/a/deployments", deployment("web", 2))
        .await;
    cluster.count("/api/v1/namespaces/a/pods", 2).await;
    let mut held = config_map("held", &[]);
    held["metadata"]["finalizers"] = json!(["example.com/held"]);
    cluster.create("/api/v1/namespaces/a/configmaps", held).await;

    cluster.delete("/api/v1/namespaces/a", "Background").await;
    let remains = |namespace: &Value| {
        let conditions = namespace["status"]["conditions"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        conditions
            .iter()
            .any(|c| c["type"] == "NamespaceContentRemaining" && c["status"] == "True")
    };
    cluster.until("/api/v1/namespaces/a", remains).await;
    let free = json!([{ "op": "remove", "path": "/metadata/finalizers" }]);
    let config_maps = client::Resource::namespaced("", "v1", "ConfigMap", "configmaps");
    let key = client::Key::new("a", "held");
    let freed = cluster
        .api
        .patch::<Value>(&config_maps, &key, None, client::Patch::Json, &free);
    freed.await.unwrap();
    cluster.goes("/api/v1/namespaces/a").await;
    assert!(cluster.items("/api/v1/pods").await.is_empty());
}
