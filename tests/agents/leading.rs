//! Leadership: shown in the Lease objects, and ended by the fence.

use client::objects::PODS;
use serde_json::{Value, json};

use super::rolling::deployment;
use super::world::{DEPLOYMENTS, LEASES, World, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn the_lease_objects_name_the_leader() {
    let world = World::new(&[]).await;
    for name in ["kube-scheduler", "kube-controller-manager"] {
        let held = || async { world.get(&LEASES, "kube-system", name).await["spec"]["holderIdentity"] == "test" };
        eventually(name, held).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deposed_leader_stops_and_changes_nothing_more() {
    let mut world = World::new(&["n1"]).await;
    world.depose().await;
    world
        .admin
        .create::<Value>(&DEPLOYMENTS, Some("default"), &deployment("web", 2, "v1"))
        .await
        .unwrap();
    let pod = json!({ "metadata": { "name": "p" }, "spec": { "containers": [{ "name": "c", "image": "i" }] } });
    world.admin.create::<Value>(&PODS, Some("default"), &pod).await.unwrap();
    let error = (&mut world.scheduler).await.unwrap().unwrap_err();
    assert!(matches!(error, scheduler::Error::FenceLost { .. }), "{error}");
    let error = (&mut world.controllers).await.unwrap().unwrap_err();
    assert!(matches!(error, controllers::Error::FenceLost { .. }), "{error}");
    let pods = world.list(&PODS, "default").await;
    assert_eq!(pods.len(), 1, "no replica was made");
    assert!(pods[0]["spec"]["nodeName"].is_null(), "nothing was bound");
}
