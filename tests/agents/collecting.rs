//! What goes with what: owners and dependents, namespaces and their content.

use client::objects::PODS;
use client::{DeleteOptions, Key, Propagation};
use serde_json::{Value, json};

use super::rolling::deployment;
use super::world::{ACCOUNTS, CONFIG_MAPS, DEPLOYMENTS, NAMESPACES, REPLICA_SETS, World, eventually};

async fn with_deployment() -> World {
    let world = World::new(&["n1"]).await;
    world
        .admin
        .create::<Value>(&DEPLOYMENTS, Some("default"), &deployment("web", 2, "v1"))
        .await
        .unwrap();
    let available = || async { world.get(&DEPLOYMENTS, "default", "web").await["status"]["availableReplicas"] == 2 };
    eventually("two pods", available).await;
    world
}

async fn delete(world: &World, policy: Propagation) {
    let options = DeleteOptions::default().propagate(policy);
    world
        .admin
        .delete(&DEPLOYMENTS, &Key::new("default", "web"), &options)
        .await
        .unwrap();
}

async fn all_gone(world: &World) -> bool {
    world.list(&DEPLOYMENTS, "default").await.is_empty()
        && world.list(&REPLICA_SETS, "default").await.is_empty()
        && world.list(&PODS, "default").await.is_empty()
}

#[tokio::test(flavor = "multi_thread")]
async fn background_deletion_takes_everything_below_with_it() {
    let world = with_deployment().await;
    delete(&world, Propagation::Background).await;
    eventually("nothing is left", || all_gone(&world)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn foreground_deletion_takes_the_owner_last() {
    let world = with_deployment().await;
    delete(&world, Propagation::Foreground).await;
    eventually("nothing is left", || async {
        let left = world.list(&PODS, "default").await.len();
        let owner = world.exists(&DEPLOYMENTS, "default", "web").await;
        assert!(
            owner || left == 0 || world.list(&PODS, "default").await.is_empty(),
            "the owner went first"
        );
        all_gone(&world).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orphans_stay() {
    let world = with_deployment().await;
    delete(&world, Propagation::Orphan).await;
    eventually("the deployment is gone", || async {
        !world.exists(&DEPLOYMENTS, "default", "web").await
    })
    .await;
    let sets = world.list(&REPLICA_SETS, "default").await;
    assert_eq!(sets.len(), 1);
    assert!(
        sets[0]["metadata"]["ownerReferences"]
            .as_array()
            .is_none_or(Vec::is_empty)
    );
    assert_eq!(world.list(&PODS, "default").await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_is_furnished_and_goes_with_its_content() {
    let world = World::new(&["n1"]).await;
    let namespace = json!({ "metadata": { "name": "a" } });
    world
        .admin
        .create::<Value>(&NAMESPACES, None, &namespace)
        .await
        .unwrap();
    eventually("an account and the root certificate", || async {
        world.exists(&ACCOUNTS, "a", "default").await
            && world.get(&CONFIG_MAPS, "a", "kube-root-ca.crt").await["data"]["ca.crt"] == "the root certificate"
    })
    .await;
    world
        .admin
        .create::<Value>(&DEPLOYMENTS, Some("a"), &deployment("web", 2, "v1"))
        .await
        .unwrap();
    eventually("two pods", || async { world.list(&PODS, "a").await.len() == 2 }).await;
    world
        .admin
        .delete(&NAMESPACES, &Key::cluster("a"), &DeleteOptions::default())
        .await
        .unwrap();
    eventually("the namespace is gone", || async {
        !world.exists(&NAMESPACES, "", "a").await
    })
    .await;
    assert!(world.list(&PODS, "a").await.is_empty() && world.list(&DEPLOYMENTS, "a").await.is_empty());
}
