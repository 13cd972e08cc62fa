//! A Deployment's life: rollout, endpoints, update, rollback, scaling.

use client::objects::PODS;
use client::{Key, Patch};
use serde_json::{Value, json};

use super::world::{DEPLOYMENTS, ENDPOINTS, REPLICA_SETS, SERVICES, SLICES, World, eventually};

pub fn deployment(name: &str, replicas: i32, image: &str) -> Value {
    json!({
        "metadata": { "name": name },
        "spec": {
            "replicas": replicas,
            "selector": { "matchLabels": { "app": name } },
            "template": {
                "metadata": { "labels": { "app": name } },
                "spec": { "containers": [{ "name": "c", "image": image, "ports": [{ "name": "http", "containerPort": 8080 }] }] },
            },
        },
    })
}

/// Whether the Deployment says that everything runs this image and nothing else.
async fn settled(world: &World, name: &str, replicas: i64, image: &str) -> bool {
    let deployment = world.get(&DEPLOYMENTS, "default", name).await;
    let status = &deployment["status"];
    let number = |field: &str| status[field].as_i64().unwrap_or(0);
    let pods = world.list(&PODS, "default").await;
    let running = |p: &&Value| p["metadata"]["labels"]["app"] == name && p["metadata"]["deletionTimestamp"].is_null();
    let images: Vec<_> = pods
        .iter()
        .filter(running)
        .map(|p| p["spec"]["containers"][0]["image"].clone())
        .collect();
    number("observedGeneration") == deployment["metadata"]["generation"].as_i64().unwrap_or(-1)
        && (
            number("replicas"),
            number("updatedReplicas"),
            number("availableReplicas"),
        ) == (replicas, replicas, replicas)
        && images.len() as i64 == replicas
        && images.iter().all(|i| i == image)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_rolls_out_updates_and_goes_back() {
    let world = World::new(&["n1", "n2", "n3"]).await;
    world.usable(&["n1", "n2", "n3"]).await;
    world
        .admin
        .create::<Value>(&DEPLOYMENTS, Some("default"), &deployment("web", 3, "v1"))
        .await
        .unwrap();
    eventually("three pods of v1", || settled(&world, "web", 3, "v1")).await;
    let pods = world.list(&PODS, "default").await;
    let mut nodes: Vec<_> = pods.iter().filter_map(|p| p["spec"]["nodeName"].as_str()).collect();
    nodes.sort();
    assert_eq!(nodes, ["n1", "n2", "n3"], "replicas are spread");

    let key = Key::new("default", "web");
    let to = |image: &str| json!({ "spec": { "template": { "spec": { "containers": [{ "name": "c", "image": image }] } } } });
    world
        .admin
        .patch::<Value>(&DEPLOYMENTS, &key, None, Patch::Strategic, &to("v2"))
        .await
        .unwrap();
    eventually("three pods of v2", || settled(&world, "web", 3, "v2")).await;
    let deployment = world.get(&DEPLOYMENTS, "default", "web").await;
    assert_eq!(
        deployment["metadata"]["annotations"]["deployment.kubernetes.io/revision"],
        "2"
    );
    let conditions = deployment["status"]["conditions"].as_array().unwrap();
    let progressing = conditions.iter().find(|c| c["type"] == "Progressing").unwrap();
    assert_eq!(progressing["reason"], "NewReplicaSetAvailable");
    assert_eq!(world.list(&REPLICA_SETS, "default").await.len(), 2);

    world
        .admin
        .patch::<Value>(&DEPLOYMENTS, &key, None, Patch::Strategic, &to("v1"))
        .await
        .unwrap();
    eventually("three pods of v1 again", || settled(&world, "web", 3, "v1")).await;
    assert_eq!(
        world.list(&REPLICA_SETS, "default").await.len(),
        2,
        "the old set is used again"
    );
    let deployment = world.get(&DEPLOYMENTS, "default", "web").await;
    assert_eq!(
        deployment["metadata"]["annotations"]["deployment.kubernetes.io/revision"],
        "3"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_scales_through_the_scale_subresource() {
    let world = World::new(&["n1"]).await;
    world
        .admin
        .create::<Value>(&DEPLOYMENTS, Some("default"), &deployment("web", 1, "v1"))
        .await
        .unwrap();
    eventually("one pod", || settled(&world, "web", 1, "v1")).await;
    let key = Key::new("default", "web");
    for replicas in [5, 2, 0] {
        let scale = json!({ "spec": { "replicas": replicas } });
        world
            .admin
            .patch::<Value>(&DEPLOYMENTS, &key, Some("scale"), Patch::Merge, &scale)
            .await
            .unwrap();
        eventually("the new size", || settled(&world, "web", replicas, "v1")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_finds_its_pods() {
    let world = World::new(&["n1"]).await;
    let service = json!({
        "metadata": { "name": "web" },
        "spec": { "selector": { "app": "web" }, "ports": [{ "port": 80, "targetPort": "http" }] },
    });
    world
        .admin
        .create::<Value>(&SERVICES, Some("default"), &service)
        .await
        .unwrap();
    world
        .admin
        .create::<Value>(&DEPLOYMENTS, Some("default"), &deployment("web", 2, "v1"))
        .await
        .unwrap();
    eventually("two ready endpoints on port 8080", || async {
        let slices = world.list(&SLICES, "default").await;
        let ours: Vec<_> = slices
            .iter()
            .filter(|s| s["metadata"]["labels"]["kubernetes.io/service-name"] == "web")
            .collect();
        let endpoints: Vec<_> = ours
            .iter()
            .flat_map(|s| s["endpoints"].as_array().cloned().unwrap_or_default())
            .collect();
        let ready = endpoints.iter().filter(|e| e["conditions"]["ready"] == true).count();
        ours.len() == 1 && ready == 2 && ours[0]["ports"][0]["port"] == 8080
    })
    .await;
    eventually("the older form says the same", || async {
        let endpoints = world.get(&ENDPOINTS, "default", "web").await;
        endpoints["subsets"][0]["addresses"]
            .as_array()
            .is_some_and(|a| a.len() == 2)
    })
    .await;
}
