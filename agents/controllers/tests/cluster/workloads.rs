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

/// An object of a kind that makes Pods labelled `app=<name>` from a template.
fn workload(api_version: &str, kind: &str, name: &str, spec: Value) -> Value {
    let mut object = json!({
        "apiVersion": api_version, "kind": kind, "metadata": { "name": name },
        "spec": {
            "selector": { "matchLabels": { "app": name } },
            "template": {
                "metadata": { "labels": { "app": name } },
                "spec": { "containers": [{ "name": "c", "image": "i" }] },
            },
        },
    });
    for (field, value) in spec.as_object().unwrap() {
        object["spec"][field] = value.clone();
    }
    object
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stateful_set_makes_its_pods_in_order() {
    const SETS: &str = "/apis/apps/v1/namespaces/default/statefulsets";
    let cluster = Cluster::ready().await;
    let spec = json!({ "replicas": 2, "serviceName": "db" });
    cluster
        .create(SETS, workload("apps/v1", "StatefulSet", "db", spec))
        .await;
    let first = cluster.count(PODS, 1).await;
    assert_eq!(first[0]["metadata"]["name"], "db-0");
    assert_eq!(first[0]["spec"]["hostname"], "db-0");
    run_pods(&cluster).await;
    cluster.appears(&format!("{PODS}/db-1")).await;
    run_pods(&cluster).await;
    let path = format!("{SETS}/db");
    let done = |set: &Value| {
        let status = &set["status"];
        status["readyReplicas"] == 2 && status["currentRevision"] == status["updateRevision"]
    };
    let set = cluster.until(&path, done).await;
    let revisions = cluster
        .items("/apis/apps/v1/namespaces/default/controllerrevisions")
        .await;
    assert_eq!(revisions.len(), 1);
    assert_eq!(set["status"]["updateRevision"], revisions[0]["metadata"]["name"]);
    cluster.delete(&path, "Foreground").await;
    cluster.count(PODS, 0).await;
    cluster.goes(&path).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_set_has_a_pod_for_every_node() {
    const SETS: &str = "/apis/apps/v1/namespaces/default/daemonsets";
    let cluster = Cluster::ready().await;
    let node = |name: &str| json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": name } });
    cluster.create("/api/v1/nodes", node("a")).await;
    cluster
        .create(SETS, workload("apps/v1", "DaemonSet", "agent", json!({})))
        .await;
    cluster.count(PODS, 1).await;
    cluster.create("/api/v1/nodes", node("b")).await;
    let pods = cluster.count(PODS, 2).await;
    let here =
        "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms/0/matchFields";
    let mut nodes: Vec<&str> = pods
        .iter()
        .filter_map(|p| p.pointer(here)?[0]["values"][0].as_str())
        .collect();
    nodes.sort_unstable();
    assert_eq!(nodes, ["a", "b"]);
    let path = format!("{SETS}/agent");
    cluster
        .until(&path, |d| d["status"]["desiredNumberScheduled"] == 2)
        .await;
}

/// Ends every Pod that has not ended, as its kubelet would.
async fn end_pods(cluster: &Cluster, phase: &str) {
    for pod in cluster.items(PODS).await {
        if pod["status"]["phase"] != phase {
            let path = format!("{PODS}/{}", pod["metadata"]["name"].as_str().unwrap());
            cluster.report(&path, json!({ "phase": phase })).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_counts_its_pods_and_is_complete() {
    const JOBS: &str = "/apis/batch/v1/namespaces/default/jobs";
    let cluster = Cluster::ready().await;
    let template = json!({ "spec": { "restartPolicy": "Never", "containers": [{ "name": "c", "image": "i" }] } });
    let spec = json!({ "completions": 2, "parallelism": 1, "template": template });
    let job = json!({ "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": "sum" }, "spec": spec });
    cluster.create(JOBS, job).await;
    cluster.count(PODS, 1).await;
    end_pods(&cluster, "Succeeded").await;
    cluster.count(PODS, 2).await;
    end_pods(&cluster, "Succeeded").await;
    let path = format!("{JOBS}/sum");
    let complete = |job: &Value| {
        let conditions = job["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions
            .iter()
            .any(|c| c["type"] == "Complete" && c["status"] == "True")
    };
    let done = cluster.until(&path, complete).await;
    assert_eq!(done["status"]["succeeded"], 2);
    assert!(done["status"]["completionTime"].is_string());
    cluster.delete(&path, "Background").await;
    cluster.count(PODS, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cron_job_makes_jobs_by_its_schedule() {
    const CRON_JOBS: &str = "/apis/batch/v1/namespaces/default/cronjobs";
    let cluster = Cluster::ready().await;
    let template = json!({ "spec": { "restartPolicy": "Never", "containers": [{ "name": "c", "image": "i" }] } });
    let spec = json!({ "schedule": "@every 1s", "concurrencyPolicy": "Forbid", "jobTemplate": { "spec": { "template": template } } });
    let cron = json!({ "apiVersion": "batch/v1", "kind": "CronJob", "metadata": { "name": "often" }, "spec": spec });
    cluster.create(CRON_JOBS, cron).await;
    let jobs = cluster.count("/apis/batch/v1/namespaces/default/jobs", 1).await;
    assert_eq!(jobs[0]["metadata"]["ownerReferences"][0]["name"], "often");
    let path = format!("{CRON_JOBS}/often");
    let shown = |cron: &Value| {
        let active = cron["status"]["active"].as_array().map_or(0, Vec::len);
        active == 1 && cron["status"]["lastScheduleTime"].is_string()
    };
    cluster.until(&path, shown).await;
    cluster.count(PODS, 1).await;
}
