//! Bootstrap tokens: what they vouch for, and that they end.

use http::Method;
use serde_json::{Value, json};

use crate::harness::Cluster;

const SECRETS: &str = "/api/v1/namespaces/kube-system/secrets";
const CLUSTER_INFO: &str = "/api/v1/namespaces/kube-public/configmaps/cluster-info";
const SECRET: &str = "0123456789abcdef";

async fn token(cluster: &Cluster, id: &str, more: Value) {
    let mut data = json!({ "token-id": id, "token-secret": SECRET, "usage-bootstrap-signing": "true" });
    data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let name = format!("bootstrap-token-{id}");
    let secret = json!({ "apiVersion": "v1", "kind": "Secret", "type": "bootstrap.kubernetes.io/token",
        "metadata": { "name": name }, "stringData": data });
    cluster.create(SECRETS, secret).await;
}

/// The tokens whose signature of the kubeconfig is there and right.
fn signed_with(map: &Value) -> Vec<String> {
    let content = map["data"]["kubeconfig"].as_str().unwrap_or_default();
    let entries = map["data"].as_object().cloned().unwrap_or_default();
    let signatures = entries
        .iter()
        .filter_map(|(key, value)| Some((key.strip_prefix("jws-kubeconfig-")?, value)));
    signatures
        .filter(|(id, value)| pki::jws::verify(value.as_str().unwrap(), content, id, SECRET))
        .map(|(id, _)| id.to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn cluster_info_is_signed_with_every_token_that_is_for_it() {
    let cluster = Cluster::start().await;
    token(&cluster, "aaaaaa", json!({})).await;
    token(&cluster, "bbbbbb", json!({ "usage-bootstrap-signing": "false" })).await;
    let map = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "cluster-info" },
        "data": { "kubeconfig": "the cluster" } });
    cluster.create("/api/v1/namespaces/kube-public/configmaps", map).await;
    cluster.until(CLUSTER_INFO, |map| signed_with(map) == ["aaaaaa"]).await;
    token(&cluster, "cccccc", json!({})).await;
    cluster
        .until(CLUSTER_INFO, |map| signed_with(map) == ["aaaaaa", "cccccc"])
        .await;
    let mut map = cluster.get(CLUSTER_INFO).await;
    map["data"]["kubeconfig"] = json!("another cluster");
    map["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    cluster.send(Method::PUT, CLUSTER_INFO, &map).await.unwrap();
    cluster
        .until(CLUSTER_INFO, |map| signed_with(map) == ["aaaaaa", "cccccc"])
        .await;
    cluster
        .delete(&format!("{SECRETS}/bootstrap-token-aaaaaa"), "Background")
        .await;
    let left = cluster.until(CLUSTER_INFO, |map| signed_with(map) == ["cccccc"]).await;
    assert!(left["data"].get("jws-kubeconfig-aaaaaa").is_none());
    assert_eq!(left["data"]["kubeconfig"], "another cluster");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_token_goes_and_others_stay() {
    let cluster = Cluster::start().await;
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(2);
    token(&cluster, "aaaaaa", json!({ "expiration": "2020-01-01T00:00:00Z" })).await;
    token(
        &cluster,
        "bbbbbb",
        json!({ "expiration": soon.strftime("%Y-%m-%dT%H:%M:%SZ").to_string() }),
    )
    .await;
    token(&cluster, "cccccc", json!({ "expiration": "2999-01-01T00:00:00Z" })).await;
    cluster.goes(&format!("{SECRETS}/bootstrap-token-aaaaaa")).await;
    cluster.goes(&format!("{SECRETS}/bootstrap-token-bbbbbb")).await;
    assert!(
        !cluster
            .get(&format!("{SECRETS}/bootstrap-token-cccccc"))
            .await
            .is_null()
    );
}
