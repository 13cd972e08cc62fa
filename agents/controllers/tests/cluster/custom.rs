//! Kinds that nobody knew when the controllers started.

use serde_json::{Value, json};

use crate::config_map;
use crate::harness::Cluster;

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const FOOS: &str = "/apis/example.com/v1/namespaces/a/foos";

#[tokio::test(flavor = "multi_thread")]
async fn custom_objects_own_others_and_go_with_their_namespace() {
    let cluster = Cluster::start().await;
    let version =
        json!({ "name": "v1", "served": true, "storage": true, "schema": { "openAPIV3Schema": { "type": "object" } } });
    let names = json!({ "plural": "foos", "kind": "Foo" });
    let spec = json!({ "group": "example.com", "scope": "Namespaced", "names": names, "versions": [version] });
    cluster
        .create(
            DEFINITIONS,
            json!({ "metadata": { "name": "foos.example.com" }, "spec": spec }),
        )
        .await;
    let established = |definition: &Value| {
        let conditions = definition["status"]["conditions"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        conditions
            .iter()
            .any(|c| c["type"] == "Established" && c["status"] == "True")
    };
    cluster
        .until(&format!("{DEFINITIONS}/foos.example.com"), established)
        .await;
    cluster
        .create("/api/v1/namespaces", json!({ "metadata": { "name": "a" } }))
        .await;
    let owner = cluster.create(FOOS, json!({ "metadata": { "name": "owner" } })).await;
    let owned = "/api/v1/namespaces/a/configmaps/owned";
    cluster
        .create("/api/v1/namespaces/a/configmaps", config_map("owned", &[&owner]))
        .await;
    cluster.delete(&format!("{FOOS}/owner"), "Background").await;
    cluster.goes(owned).await;

    cluster.create(FOOS, json!({ "metadata": { "name": "left" } })).await;
    cluster.delete("/api/v1/namespaces/a", "Background").await;
    cluster.goes("/api/v1/namespaces/a").await;
    assert!(cluster.items("/apis/example.com/v1/foos").await.is_empty());
}
