//! What a cycle's result means to the API: a binding, or a condition and an event that say why there is none.

use client::objects::{PODS, Pod};
use client::{Client, Error, ObjectReference, Patch, Recorder};
use serde_json::{Value, json};

/// Binds the Pod to the node.
pub(crate) async fn bind(client: &Client, recorder: &Recorder, pod: &Pod, node: &str) -> Result<(), Error> {
    let meta = &pod.metadata;
    let binding = json!({
        "apiVersion": "v1",
        "kind": "Binding",
        // The uid keeps a namesake created in between from being bound.
        "metadata": { "name": meta.name, "namespace": meta.namespace, "uid": meta.uid },
        "target": { "apiVersion": "v1", "kind": "Node", "name": node },
    });
    client
        .create_subresource::<Value>(&PODS, &meta.key(), "binding", &binding)
        .await?;
    let message = format!("Successfully assigned {} to {node}", meta.key());
    recorder.normal(&ObjectReference::of(&PODS, meta), "Scheduled", message);
    Ok(())
}

/// Tells the Pod's readers why it has no node.
pub(crate) async fn tell_unschedulable(
    client: &Client,
    recorder: &Recorder,
    pod: &Pod,
    message: &str,
) -> Result<(), Error> {
    recorder.warning(&ObjectReference::of(&PODS, &pod.metadata), "FailedScheduling", message);
    let Some(condition) = condition(pod, message, jiff::Timestamp::now()) else {
        return Ok(());
    };
    let patch = json!({ "metadata": { "uid": pod.metadata.uid }, "status": { "conditions": [condition] } });
    let patched = client
        .patch::<Value>(&PODS, &pod.metadata.key(), Some("status"), Patch::Strategic, &patch)
        .await;
    match patched {
        // The Pod is gone, or a namesake took its place.
        Err(error) if error.is_not_found() || error.is_conflict() => Ok(()),
        result => result.map(|_| ()),
    }
}

/// The condition to write, or `None` if the Pod says so already.
fn condition(pod: &Pod, message: &str, now: jiff::Timestamp) -> Option<Value> {
    let current = pod.condition("PodScheduled");
    if current.is_some_and(|c| c.status == "False" && c.reason == "Unschedulable" && c.message == message) {
        return None;
    }
    let since = current
        .filter(|c| c.status == "False")
        .and_then(|c| c.last_transition_time)
        .unwrap_or(now);
    Some(json!({
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": message,
        "lastTransitionTime": since.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn the_condition_is_written_once_and_keeps_its_age() {
        let now: jiff::Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        let mut pod = testing::pod("p", "1");
        let first = condition(&pod, "no room", now).unwrap();
        assert_eq!(first["lastTransitionTime"], "2026-01-02T03:04:05Z");
        pod.status.conditions = vec![serde_json::from_value(first).unwrap()];
        let later = "2026-01-02T04:00:00Z".parse().unwrap();
        assert_eq!(condition(&pod, "no room", later), None);
        assert_eq!(
            condition(&pod, "still none", later).unwrap()["lastTransitionTime"],
            "2026-01-02T03:04:05Z"
        );
    }
}
