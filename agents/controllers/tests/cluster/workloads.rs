//! Deployments and Services, with a test in the kubelet's place.

use serde_json::{Value, json};

use crate::deployment;
use crate::harness::Cluster;

const PODS: &str = "/api/v1/namespaces/default/pods";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

/// Says of every Pod that it runs and is ready.
async fn run_pods(cluster: &Cluster) {
    for (i, pod) in cluster.items(PODS).await.iter().enumerate() {
        let path = format!("{PODS}/{}", pod["metadata"]["name"].as_str().unwrap());
        let condition = json!({ "type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z" });
        let ip = format!("10.244.0.{}", i + 2);
        let status = json!({ "phase": "Running", "podIP": ip, "podIPs": [{ "ip": ip }], "conditions": [condition] });
        cluster.report(&path, status).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_runs_and_scales() {
    let cluster = Cluster::ready().await;
    cluster.create(DEPLOYMENTS, deployment("web", 3)).await;
    cluster.count(PODS, 3).await;
    run_pods(&cluster).await;
    let path = format!("{DEPLOYMENTS}/web");
    cluster.until(&path, |d| d["status"]["availableReplicas"] == 3).await;
    let scale = json!({ "spec": { "replicas": 1 } });
    let deployments = client::Resource::namespaced("apps", "v1", "Deployment", "deployments");
    let key = client::Key::new("default", "web");
    let scaled = cluster
        .api
        .patch::<Value>(&deployments, &key, None, client::Patch::Merge, &scale);
    scaled.await.unwrap();
    cluster.count(PODS, 1).await;
    cluster.until(&path, |d| d["status"]["replicas"] == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_services_endpoints_are_its_ready_pods() {
    let cluster = Cluster::ready().await;
    let service = json!({
        "metadata": { "name": "web" },
        "spec": { "selector": { "app": "web" }, "ports": [{ "port": 80, "targetPort": 8080 }] },
    });
    cluster.create("/api/v1/namespaces/default/services", service).await;
    cluster.create(DEPLOYMENTS, deployment("web", 2)).await;
    cluster.count(PODS, 2).await;
    run_pods(&cluster).await;
    let ready = |list: &Value| {
        let slices = list["items"].as_array().unwrap();
        let endpoints = slices
            .iter()
            .flat_map(|s| s["endpoints"].as_array().cloned().unwrap_or_default());
        endpoints.filter(|e| e["conditions"]["ready"] == true).count() == 2
    };
    let slices =
        "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices?labelSelector=kubernetes.io%2Fservice-name%3Dweb";
    let list = cluster.until(slices, ready).await;
    assert_eq!(list["items"][0]["ports"][0]["port"], 8080);
    let addresses = |e: &Value| e["subsets"][0]["addresses"].as_array().map_or(0, Vec::len) == 2;
    cluster
        .until("/api/v1/namespaces/default/endpoints/web", addresses)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_says_how_many_pods_may_go() {
    const BUDGETS: &str = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
    let cluster = Cluster::ready().await;
    let spec = json!({ "maxUnavailable": 1, "selector": { "matchLabels": { "app": "web" } } });
    let budget = json!({ "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
        "metadata": { "name": "web" }, "spec": spec });
    cluster.create(BUDGETS, budget).await;
    cluster.create(DEPLOYMENTS, deployment("web", 3)).await;
    cluster.count(PODS, 3).await;
    let path = format!("{BUDGETS}/web");
    let shows = |status: &Value, allowed: i64, healthy: i64| {
        let numbers = ["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"];
        numbers.map(|n| status["status"][n].as_i64()) == [allowed, healthy, 2, 3].map(Some)
    };
    cluster.until(&path, |b| shows(b, 0, 0)).await;
    run_pods(&cluster).await;
    cluster.until(&path, |b| shows(b, 1, 3)).await;
    let name = cluster.items(PODS).await[0]["metadata"]["name"]
        .as_str()
        .unwrap()
        .to_owned();
    let eviction = json!({ "apiVersion": "policy/v1", "kind": "Eviction", "metadata": { "name": name } });
    cluster.create(&format!("{PODS}/{name}/eviction"), eviction).await;
    // Its successor is not ready, so nobody else may go.
    cluster.until(&path, |b| shows(b, 0, 2)).await;
}
