//! The contract every runtime keeps, run here on the in-memory one. The real one is tested in `tests/containerd.rs`.

use super::fake::Fake;
use super::*;

fn labels(uid: &str) -> std::collections::HashMap<String, String> {
    [(label::POD_UID.to_owned(), uid.to_owned())].into()
}

fn sandbox(uid: &str) -> v1::PodSandboxConfig {
    let metadata = Some(v1::PodSandboxMetadata {
        name: uid.into(),
        uid: uid.into(),
        ..Default::default()
    });
    v1::PodSandboxConfig {
        metadata,
        labels: labels(uid),
        ..Default::default()
    }
}

fn container(uid: &str, name: &str) -> v1::ContainerConfig {
    let metadata = Some(v1::ContainerMetadata {
        name: name.into(),
        attempt: 0,
    });
    v1::ContainerConfig {
        metadata,
        labels: labels(uid),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_container_lives_and_dies_with_its_sandbox() {
    let runtime = Fake::default();
    let pod = runtime.run_pod_sandbox(sandbox("u"), "").await.unwrap();
    let id = runtime
        .create_container(&pod, container("u", "c"), sandbox("u"))
        .await
        .unwrap();
    runtime.start_container(&id).await.unwrap();
    let status = runtime.container_status(&id).await.unwrap();
    assert_eq!(status.state, v1::ContainerState::ContainerRunning as i32);
    runtime.stop_pod_sandbox(&pod).await.unwrap();
    let status = runtime.container_status(&id).await.unwrap();
    assert_eq!(status.state, v1::ContainerState::ContainerExited as i32);
    runtime.remove_pod_sandbox(&pod).await.unwrap();
    assert!(runtime.list_containers(None).await.unwrap().is_empty());
}

#[tokio::test]
async fn lists_can_be_narrowed_to_one_pod() {
    let runtime = Fake::default();
    for uid in ["a", "b"] {
        let pod = runtime.run_pod_sandbox(sandbox(uid), "").await.unwrap();
        runtime
            .create_container(&pod, container(uid, "c"), sandbox(uid))
            .await
            .unwrap();
    }
    assert_eq!(runtime.list_pod_sandbox(None).await.unwrap().len(), 2);
    assert_eq!(runtime.list_pod_sandbox(Some("a")).await.unwrap().len(), 1);
    assert_eq!(runtime.list_containers(Some("b")).await.unwrap().len(), 1);
}

#[tokio::test]
async fn stopping_what_is_gone_succeeds() {
    let runtime = Fake::default();
    runtime.stop_pod_sandbox("x").await.unwrap();
    runtime.remove_pod_sandbox("x").await.unwrap();
    runtime.stop_container("x", 1).await.unwrap();
    runtime.remove_container("x").await.unwrap();
}
