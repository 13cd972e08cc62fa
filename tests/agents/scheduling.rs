//! Pods find nodes, or say why not.

use client::Key;
use client::objects::{NODES, PODS};
use serde_json::{Value, json};

use super::world::{EVENTS, World, eventually};

fn pod(name: &str, cpu: &str) -> Value {
    let container = json!({ "name": "c", "image": "v1", "resources": { "requests": { "cpu": cpu } } });
    json!({ "metadata": { "name": name }, "spec": { "containers": [container] } })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_fits_nowhere_says_so_and_waits_for_a_node() {
    let world = World::new(&["n1"]).await;
    world
        .admin
        .create::<Value>(&PODS, Some("default"), &pod("first", "3"))
        .await
        .unwrap();
    let placed = |name: &'static str| {
        let world = &world;
        async move { world.get(&PODS, "default", name).await["spec"]["nodeName"].is_string() }
    };
    eventually("the first pod is placed", || placed("first")).await;
    world
        .admin
        .create::<Value>(&PODS, Some("default"), &pod("second", "3"))
        .await
        .unwrap();
    let message = "0/1 nodes are available: 1 Insufficient cpu.";
    eventually("the condition says why", || async {
        let pod = world.get(&PODS, "default", "second").await;
        let conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions
            .iter()
            .any(|c| c["type"] == "PodScheduled" && c["reason"] == "Unschedulable" && c["message"] == message)
    })
    .await;
    eventually("the event says why", || async {
        let events = world.list(&EVENTS, "default").await;
        events
            .iter()
            .any(|e| e["reason"] == "FailedScheduling" && e["message"] == message)
    })
    .await;
    world.add_node("n2").await;
    eventually("the second pod is placed", || placed("second")).await;
    assert_eq!(world.get(&PODS, "default", "second").await["spec"]["nodeName"], "n2");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_pods_never_overfill_a_node() {
    let world = World::new(&["n1", "n2"]).await;
    for i in 0..20 {
        world
            .admin
            .create::<Value>(&PODS, Some("default"), &pod(&format!("p{i}"), "500m"))
            .await
            .unwrap();
    }
    eventually("what fits is placed", || async {
        let pods = world.list(&PODS, "default").await;
        pods.iter().filter(|p| p["spec"]["nodeName"].is_string()).count() == 16
    })
    .await;
    let pods = world.list(&PODS, "default").await;
    for node in ["n1", "n2"] {
        assert_eq!(
            pods.iter().filter(|p| p["spec"]["nodeName"] == node).count(),
            8,
            "{node}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_get_networks_of_their_own() {
    let world = World::new(&["n1", "n2", "n3"]).await;
    let networks = || async {
        let nodes = world.admin.list::<Value>(&NODES, None, "").await.unwrap().items;
        let mut networks: Vec<_> = nodes
            .iter()
            .filter_map(|n| n["spec"]["podCIDR"].as_str().map(str::to_owned))
            .collect();
        networks.sort();
        networks == ["10.244.0.0/24", "10.244.1.0/24", "10.244.2.0/24"]
    };
    eventually("three networks", networks).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cordoned_node_takes_nothing_and_a_noexecute_taint_empties_it() {
    let world = World::new(&["n1"]).await;
    world
        .admin
        .create::<Value>(&PODS, Some("default"), &pod("p", "1"))
        .await
        .unwrap();
    let running = || async { world.get(&PODS, "default", "p").await["status"]["phase"] == "Running" };
    eventually("the pod runs", running).await;
    let taints = json!({ "spec": { "taints": [{ "key": "k", "value": "v", "effect": "NoExecute" }] } });
    let node = Key::cluster("n1");
    world
        .admin
        .patch::<Value>(&NODES, &node, None, client::Patch::Merge, &taints)
        .await
        .unwrap();
    eventually("the pod is gone", || async {
        !world.exists(&PODS, "default", "p").await
    })
    .await;
}
