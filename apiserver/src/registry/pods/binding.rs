//! `pods/binding`: the scheduler's one write. It happens once: a pod that has a node refuses every other.

use crate::registry::fields::{at, child, entries, list, text};
use crate::registry::strategy::{Action, Reply, Strategy};
use crate::{ApiError, FieldError};
use serde_json::{Value, json};

/// The strategy of `bindings`: the same write under an older path, where the pod is named by the binding itself.
pub struct Bindings;

#[async_trait::async_trait]
impl Strategy for Bindings {
    fn stored(&self) -> bool {
        false
    }

    async fn act(&self, action: Action<'_>) -> Result<Reply, ApiError> {
        let name = text(&action.object, "metadata.name").to_owned();
        bind(Action { name: &name, ..action }).await
    }
}

/// Assigns the pod to the node the binding names.
pub(super) async fn bind(action: Action<'_>) -> Result<Reply, ApiError> {
    let binding = &action.object;
    let problems = validate(binding);
    if !problems.is_empty() {
        return Err(ApiError::invalid("Binding", action.name, problems));
    }
    let now = jiff::Timestamp::now();
    let assign_once = |pod: &mut Value| assign(pod, binding, now);
    let (registry, context) = (action.registry, action.context);
    registry
        .update(context, "pods", "binding", action.namespace, action.name, assign_once)
        .await?;
    let success = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
    Ok(Reply::created(success))
}

fn validate(binding: &Value) -> Vec<FieldError> {
    let mut problems = Vec::new();
    let kind = text(binding, "target.kind");
    if !matches!(kind, "" | "Node") {
        problems.push(FieldError::not_supported(
            "target.kind",
            &json!(kind),
            &["Node", "<empty>"],
        ));
    }
    if text(binding, "target.name").is_empty() {
        problems.push(FieldError::required("target.name", ""));
    }
    problems
}

fn assign(pod: &mut Value, binding: &Value, now: jiff::Timestamp) -> Result<(), ApiError> {
    let name = text(pod, "metadata.name").to_owned();
    let conflict = |why: String| Err(ApiError::conflict("pods/binding", &name, &why));
    let (wanted, uid) = (text(binding, "metadata.uid"), text(pod, "metadata.uid"));
    if !wanted.is_empty() && wanted != uid {
        return conflict(format!(
            "Precondition failed: UID in precondition: {wanted}, UID in object meta: {uid}"
        ));
    }
    if at(pod, "metadata.deletionTimestamp").is_some() {
        return conflict(format!("pod {name} is being deleted, cannot be assigned to a host"));
    }
    let node = text(pod, "spec.nodeName");
    if !node.is_empty() {
        return conflict(format!("pod {name} is already assigned to node \"{node}\""));
    }
    if !list(pod, "spec.schedulingGates").is_empty() {
        return conflict(format!("pod {name} has non-empty .spec.schedulingGates"));
    }
    pod["spec"]["nodeName"] = json!(text(binding, "target.name"));
    for (key, value) in entries(binding, "metadata.annotations") {
        child(&mut pod["metadata"], "annotations").insert(key.clone(), value.clone());
    }
    mark_scheduled(pod, now);
    Ok(())
}

fn mark_scheduled(pod: &mut Value, now: jiff::Timestamp) {
    let condition = json!({"type": "PodScheduled", "status": "True", "lastProbeTime": null,
        "lastTransitionTime": super::super::fields::rfc3339(now)});
    let status = child(pod, "status");
    let conditions = status.entry("conditions").or_insert_with(|| json!([]));
    match conditions.as_array_mut() {
        Some(list) => {
            list.retain(|c| text(c, "type") != "PodScheduled");
            list.push(condition);
        }
        None => *conditions = json!([condition]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_bound_once() {
        let binding = json!({"target": {"kind": "Node", "name": "n1"}});
        let mut pod = json!({"metadata": {"name": "p"}, "spec": {}});
        assign(&mut pod, &binding, jiff::Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(pod["spec"]["nodeName"], "n1");
        assert_eq!(pod["status"]["conditions"][0]["status"], "True");
        let refused = assign(&mut pod, &binding, jiff::Timestamp::UNIX_EPOCH).unwrap_err();
        assert_eq!((refused.code, refused.reason), (409, "Conflict"));
    }
}
