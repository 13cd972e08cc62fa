//! What becomes of objects whose owners go.

use serde_json::{Value, json};

use crate::harness::Cluster;
use crate::{config_map, deployment, pod, references};

const PODS: &str = "/api/v1/namespaces/default/pods";
const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const REPLICA_SETS: &str = "/apis/apps/v1/namespaces/default/replicasets";

#[tokio::test(flavor = "multi_thread")]
async fn in_the_background_everything_below_goes_after_the_owner() {
    let cluster = Cluster::ready().await;
    cluster.create(DEPLOYMENTS, deployment("web", 3)).await;
    cluster.count(PODS, 3).await;
    cluster.delete(&format!("{DEPLOYMENTS}/web"), "Background").await;
    cluster.goes(&format!("{DEPLOYMENTS}/web")).await;
    cluster.count(REPLICA_SETS, 0).await;
    cluster.count(PODS, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_the_foreground_the_owner_goes_last() {
    let cluster = Cluster::ready().await;
    cluster.create(DEPLOYMENTS, deployment("web", 2)).await;
    for pod in cluster.count(PODS, 2).await {
        hold(&cluster, &pod).await;
    }
    cluster.delete(&format!("{DEPLOYMENTS}/web"), "Foreground").await;
    let deleting = |list: &Value| {
        let items = list["items"].as_array().unwrap();
        items.iter().all(|pod| pod["metadata"]["deletionTimestamp"].is_string())
    };
    let pods = cluster.until(PODS, deleting).await;
    // The Pods are held back, and so is everything above them.
    assert_eq!(cluster.items(REPLICA_SETS).await.len(), 1);
    assert!(!cluster.get(&format!("{DEPLOYMENTS}/web")).await.is_null());
    for pod in pods["items"].as_array().unwrap() {
        let path = format!("{PODS}/{}", pod["metadata"]["name"].as_str().unwrap());
        let free = json!([{ "op": "remove", "path": "/metadata/finalizers" }]);
        patch(&cluster, &path, &free).await;
    }
    cluster.goes(&format!("{DEPLOYMENTS}/web")).await;
    assert!(cluster.items(REPLICA_SETS).await.is_empty());
    assert!(cluster.items(PODS).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn orphans_stay_and_have_no_owner() {
    let cluster = Cluster::ready().await;
    cluster.create(DEPLOYMENTS, deployment("web", 2)).await;
    cluster.count(PODS, 2).await;
    cluster.delete(&format!("{DEPLOYMENTS}/web"), "Orphan").await;
    cluster.goes(&format!("{DEPLOYMENTS}/web")).await;
    let sets = cluster.items(REPLICA_SETS).await;
    assert_eq!(sets.len(), 1);
    assert_eq!(sets[0]["metadata"]["ownerReferences"].as_array().map_or(0, Vec::len), 0);
    assert!(sets[0]["metadata"]["deletionTimestamp"].is_null());
    assert_eq!(cluster.items(PODS).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn orphans_stay_however_young_they_are() {
    let cluster = Cluster::ready().await;
    for number in 0..20 {
        let (owner, young) = (format!("owner-{number}"), format!("young-{number}"));
        let object = cluster.create(CONFIG_MAPS, config_map(&owner, &[])).await;
        cluster.create(CONFIG_MAPS, config_map(&young, &[&object])).await;
        cluster.delete(&format!("{CONFIG_MAPS}/{owner}"), "Orphan").await;
        cluster.goes(&format!("{CONFIG_MAPS}/{owner}")).await;
        let young = cluster.get(&format!("{CONFIG_MAPS}/{young}")).await;
        assert!(!young.is_null() && young["metadata"]["deletionTimestamp"].is_null());
        assert_eq!(young["metadata"]["ownerReferences"].as_array().map_or(0, Vec::len), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_owners_is_enough() {
    let cluster = Cluster::ready().await;
    let one = cluster.create(CONFIG_MAPS, config_map("one", &[])).await;
    let two = cluster.create(CONFIG_MAPS, config_map("two", &[])).await;
    cluster.create(CONFIG_MAPS, config_map("both", &[&one, &two])).await;
    cluster.create(CONFIG_MAPS, config_map("first", &[&one])).await;
    cluster.delete(&format!("{CONFIG_MAPS}/one"), "Background").await;
    cluster.goes(&format!("{CONFIG_MAPS}/first")).await;
    let left = |both: &Value| {
        both["metadata"]["ownerReferences"]
            .as_array()
            .is_some_and(|o| o.len() == 1)
    };
    let both = cluster.until(&format!("{CONFIG_MAPS}/both"), left).await;
    assert_eq!(both["metadata"]["ownerReferences"][0]["name"], "two");
    cluster.delete(&format!("{CONFIG_MAPS}/two"), "Foreground").await;
    cluster.goes(&format!("{CONFIG_MAPS}/both")).await;
    cluster.goes(&format!("{CONFIG_MAPS}/two")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namesake_of_the_owner_is_not_the_owner() {
    let cluster = Cluster::ready().await;
    let mut owner = cluster.create(CONFIG_MAPS, config_map("owner", &[])).await;
    owner["metadata"]["uid"] = "an earlier one".into();
    cluster.create(CONFIG_MAPS, config_map("late", &[&owner])).await;
    cluster.goes(&format!("{CONFIG_MAPS}/late")).await;
    assert!(!cluster.get(&format!("{CONFIG_MAPS}/owner")).await.is_null());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_circle_of_owners_does_not_wait_for_itself() {
    let cluster = Cluster::ready().await;
    let a = cluster.create(PODS, pod("a", &[])).await;
    let b = cluster.create(PODS, pod("b", &[&a])).await;
    let c = cluster.create(PODS, pod("c", &[&b])).await;
    let close = json!([{ "op": "add", "path": "/metadata/ownerReferences", "value": references(&[&c]) }]);
    patch(&cluster, &format!("{PODS}/a"), &close).await;
    cluster.delete(&format!("{PODS}/a"), "Foreground").await;
    cluster.count(PODS, 0).await;
}

/// Keeps an object from going, whoever deletes it.
async fn hold(cluster: &Cluster, pod: &Value) {
    let path = format!("{PODS}/{}", pod["metadata"]["name"].as_str().unwrap());
    let held = json!([{ "op": "add", "path": "/metadata/finalizers", "value": ["example.com/held"] }]);
    patch(cluster, &path, &held).await;
}

async fn patch(cluster: &Cluster, path: &str, operations: &Value) {
    let key = client::Key::new("default", path.rsplit('/').next().unwrap());
    cluster
        .api
        .patch::<Value>(&client::objects::PODS, &key, None, client::Patch::Json, operations)
        .await
        .unwrap();
}
