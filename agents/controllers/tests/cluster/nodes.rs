//! Nodes: their networks, their taints, and the Pods on them.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::Cluster;
use crate::pod;

const NODES: &str = "/api/v1/nodes";
const PODS: &str = "/api/v1/namespaces/default/pods";

async fn node(cluster: &Cluster, name: &str, ready: &str) {
    cluster.create(NODES, json!({ "metadata": { "name": name } })).await;
    report(cluster, name, ready).await;
}

async fn report(cluster: &Cluster, name: &str, ready: &str) {
    let condition = json!({ "type": "Ready", "status": ready, "lastHeartbeatTime": "2026-01-01T00:00:00Z" });
    cluster
        .report(&format!("{NODES}/{name}"), json!({ "conditions": [condition] }))
        .await;
}

fn taints(node: &Value) -> BTreeSet<String> {
    let taints = node["spec"]["taints"].as_array().cloned().unwrap_or_default();
    let short = |t: &Value| format!("{}:{}", t["key"].as_str().unwrap(), t["effect"].as_str().unwrap());
    taints
        .iter()
        .map(|t| short(t).replace("node.kubernetes.io/", ""))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_node_gets_its_own_network() {
    let cluster = Cluster::start().await;
    for name in ["a", "b", "c"] {
        cluster.create(NODES, json!({ "metadata": { "name": name } })).await;
    }
    let mut networks = BTreeSet::new();
    for name in ["a", "b", "c"] {
        let has_network = |node: &Value| node["spec"]["podCIDR"].is_string();
        let node = cluster.until(&format!("{NODES}/{name}"), has_network).await;
        assert_eq!(node["spec"]["podCIDRs"], json!([node["spec"]["podCIDR"]]));
        networks.insert(node["spec"]["podCIDR"].as_str().unwrap().to_owned());
    }
    let expected = ["10.244.0.0/24", "10.244.1.0/24", "10.244.2.0/24"];
    assert_eq!(networks, expected.map(String::from).into());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_tainted_while_it_is_not_ready() {
    let cluster = Cluster::start().await;
    node(&cluster, "well", "True").await;
    node(&cluster, "ill", "False").await;
    let ill = BTreeSet::from(["not-ready:NoSchedule".to_owned(), "not-ready:NoExecute".to_owned()]);
    cluster.until(&format!("{NODES}/ill"), |n| taints(n) == ill).await;
    cluster.until(&format!("{NODES}/well"), |n| taints(n).is_empty()).await;
    report(&cluster, "ill", "True").await;
    cluster.until(&format!("{NODES}/ill"), |n| taints(n).is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_leave_a_node_whose_taint_they_do_not_bear() {
    let cluster = Cluster::ready().await;
    node(&cluster, "n", "True").await;
    cluster.until(&format!("{NODES}/n"), |n| taints(n).is_empty()).await;
    let mut bearing = pod("bearing", &[]);
    bearing["spec"]["tolerations"] = json!([{ "key": "broken", "operator": "Exists" }]);
    let mut bearing_a_while = pod("a-while", &[]);
    bearing_a_while["spec"]["tolerations"] =
        json!([{ "key": "broken", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 1 }]);
    for (name, pod) in [
        ("plain", pod("plain", &[])),
        ("bearing", bearing),
        ("a-while", bearing_a_while),
    ] {
        cluster.create(PODS, pod).await;
        let binding = json!({ "metadata": { "name": name }, "target": { "kind": "Node", "name": "n" } });
        cluster.create(&format!("{PODS}/{name}/binding"), binding).await;
    }
    let key = client::Key::cluster("n");
    let taint = json!({ "spec": { "taints": [{ "key": "broken", "effect": "NoExecute" }] } });
    cluster
        .api
        .patch::<Value>(&client::objects::NODES, &key, None, client::Patch::Merge, &taint)
        .await
        .unwrap();
    // No kubelet ends them, so they linger.
    let leaves = |pod: &Value| {
        let conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
        pod["metadata"]["deletionTimestamp"].is_string() && conditions.iter().any(|c| c["type"] == "DisruptionTarget")
    };
    cluster.until(&format!("{PODS}/plain"), leaves).await;
    cluster.until(&format!("{PODS}/a-while"), leaves).await;
    let bearing = cluster.get(&format!("{PODS}/bearing")).await;
    assert!(bearing["metadata"]["deletionTimestamp"].is_null());
}
