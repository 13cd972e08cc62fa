//! What may change in a pod that exists. The rest of the spec is a fact: containers were started from it.

use crate::FieldError;
use crate::registry::check::Errors;
use crate::registry::fields::{at, list, same, text};
use serde_json::{Value, json};

const MESSAGE: &str = "pod updates may not change fields other than `spec.containers[*].image`,\
`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),\
`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// Appends what the update `old -> new` may not do.
pub(super) fn validate(errors: &mut Errors, new: &Value, old: &Value) {
    for key in ["containers", "initContainers"] {
        let path = format!("spec.{key}");
        if list(new, &path).len() != list(old, &path).len() {
            let detail = "pod updates may not add or remove containers";
            errors.push(FieldError::forbidden(path, detail));
            return;
        }
    }
    validate_deadline(errors, new, old);
    validate_tolerations(errors, new, old);
    validate_gates(errors, new, old);
    if !same(Some(&fixed_part(new)), Some(&fixed_part(old))) {
        errors.push(FieldError::forbidden("spec", MESSAGE));
    }
}

/// The spec without what may change.
fn fixed_part(pod: &Value) -> Value {
    let mut spec = pod.get("spec").cloned().unwrap_or_default();
    for key in ["containers", "initContainers"] {
        for container in spec.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten() {
            container.as_object_mut().map(|c| c.remove("image"));
        }
    }
    if let Some(spec) = spec.as_object_mut() {
        for key in ["activeDeadlineSeconds", "tolerations", "schedulingGates"] {
            spec.remove(key);
        }
        if spec
            .get("terminationGracePeriodSeconds")
            .and_then(Value::as_i64)
            .is_some_and(|s| s < 0)
        {
            spec.insert("terminationGracePeriodSeconds".into(), json!(1));
        }
    }
    spec
}

/// A deadline may appear or come closer, never move away.
fn validate_deadline(errors: &mut Errors, new: &Value, old: &Value) {
    let path = "spec.activeDeadlineSeconds";
    let (new, old) = (
        at(new, path).and_then(Value::as_i64),
        at(old, path).and_then(Value::as_i64),
    );
    match (new, old) {
        (Some(new), Some(old)) if new > old => {
            let detail = "must be less than or equal to previous value";
            errors.push(FieldError::invalid(path, &json!(new), detail));
        }
        (None, Some(old)) => {
            let detail = "must not update from a positive integer to nil value";
            errors.push(FieldError::invalid(path, &json!(old), detail));
        }
        _ => {}
    }
}

fn validate_tolerations(errors: &mut Errors, new: &Value, old: &Value) {
    let kept = |wanted: &Value| {
        list(new, "spec.tolerations").iter().any(|t| {
            ["key", "operator", "value", "effect"]
                .iter()
                .all(|f| text(t, f) == text(wanted, f))
        })
    };
    if !list(old, "spec.tolerations").iter().all(kept) {
        let detail = "existing toleration can not be modified except its tolerationSeconds";
        errors.push(FieldError::forbidden("spec.tolerations", detail));
    }
}

fn validate_gates(errors: &mut Errors, new: &Value, old: &Value) {
    let old: Vec<&str> = list(old, "spec.schedulingGates")
        .iter()
        .map(|g| text(g, "name"))
        .collect();
    for gate in list(new, "spec.schedulingGates") {
        if !old.contains(&text(gate, "name")) {
            let detail = format!(
                "only deletion is allowed, but found new scheduling gate '{}'",
                text(gate, "name")
            );
            errors.push(FieldError::forbidden("spec.schedulingGates", &detail));
        }
    }
}

/// Of an update through `ephemeralcontainers` only that list is taken.
pub(super) fn keep_all_but_ephemeral(new: &mut Value, old: &Value) {
    let wanted = at(new, "spec.ephemeralContainers").cloned();
    let version = at(new, "metadata.resourceVersion").cloned();
    *new = old.clone();
    if let Some(version) = version {
        new["metadata"]["resourceVersion"] = version;
    }
    if let Some(wanted) = wanted {
        new["spec"]["ephemeralContainers"] = wanted;
    }
}

/// Of an update through `resize` only the resources of containers are taken, and how they are resized.
pub(super) fn keep_all_but_resources(new: &mut Value, old: &Value) {
    let wanted = std::mem::replace(new, old.clone());
    if let Some(version) = at(&wanted, "metadata.resourceVersion") {
        new["metadata"]["resourceVersion"] = version.clone();
    }
    for key in ["containers", "initContainers"] {
        let path = format!("spec.{key}");
        let kept = new["spec"].get_mut(key).and_then(Value::as_array_mut);
        for container in kept.into_iter().flatten() {
            let same = list(&wanted, &path)
                .iter()
                .find(|c| text(c, "name") == text(container, "name"));
            for field in ["resources", "resizePolicy"] {
                if let Some(value) = same.and_then(|same| same.get(field)) {
                    container[field] = value.clone();
                }
            }
        }
    }
}

/// A resize changes amounts of cpu and memory, and not what kind of pod it is.
pub(super) fn validate_resize(errors: &mut Errors, new: &Value, old: &Value) {
    if api::pods::qos_class(new) != api::pods::qos_class(old) {
        let detail = "Pod QOS Class may not change as a result of resizing";
        errors.push(FieldError::invalid("spec", &json!(api::pods::qos_class(new)), detail));
    }
    for key in ["containers", "initContainers"] {
        let path = format!("spec.{key}");
        for (index, (after, before)) in list(new, &path).iter().zip(list(old, &path)).enumerate() {
            let others = |container: &Value| {
                let mut resources = container.get("resources").cloned().unwrap_or_default();
                for amounts in ["requests", "limits"] {
                    if let Some(Value::Object(map)) = resources.get_mut(amounts) {
                        map.retain(|resource, _| !matches!(resource.as_str(), "cpu" | "memory"));
                    }
                }
                resources
            };
            if !same(Some(&others(after)), Some(&others(before))) {
                let detail = "only cpu and memory resources are mutable";
                errors.push(FieldError::forbidden(format!("{path}[{index}].resources"), detail));
            }
        }
    }
}

/// Ephemeral containers may be added and nothing else.
pub(super) fn validate_ephemeral(errors: &mut Errors, new: &Value, old: &Value) {
    let path = "spec.ephemeralContainers";
    for before in list(old, path) {
        let after = list(new, path).iter().find(|c| text(c, "name") == text(before, "name"));
        if !same(after, Some(before)) {
            let detail = format!(
                "existing ephemeral containers \"{}\" may not be changed\n",
                text(before, "name")
            );
            errors.push(FieldError::forbidden(path, detail.trim_end()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod() -> Value {
        json!({"spec": {"containers": [{"name": "c", "image": "a"}], "nodeName": "n", "tolerations": [{"key": "k"}]}})
    }

    fn problems(change: impl Fn(&mut Value)) -> usize {
        let mut new = pod();
        change(&mut new);
        let mut errors = Errors::new();
        validate(&mut errors, &new, &pod());
        errors.len()
    }

    #[test]
    fn a_resize_takes_amounts_and_nothing_else() {
        let pod = |requests: Value| {
            json!({"metadata": {"name": "p"}, "spec": {"containers": [
            {"name": "c", "image": "a", "resources": {"requests": requests}}]}})
        };
        let old = pod(json!({"cpu": "1"}));
        let mut new = pod(json!({"cpu": "2"}));
        new["spec"]["containers"][0]["image"] = json!("b");
        keep_all_but_resources(&mut new, &old);
        assert_eq!(new, pod(json!({"cpu": "2"})));
        let problems = |new: &Value| {
            let mut errors = Errors::new();
            validate_resize(&mut errors, new, &old);
            errors.len()
        };
        assert_eq!(problems(&new), 0);
        assert_eq!(problems(&pod(json!({}))), 1, "it would be another class");
        assert_eq!(problems(&pod(json!({"cpu": "1", "example.com/gpu": "1"}))), 1);
    }

    #[test]
    fn image_and_new_tolerations_may_change_and_the_rest_may_not() {
        assert_eq!(problems(|p| p["spec"]["containers"][0]["image"] = json!("b")), 0);
        assert_eq!(
            problems(|p| p["spec"]["tolerations"] = json!([{"key": "k", "tolerationSeconds": 3}, {"key": "x"}])),
            0
        );
        assert_eq!(problems(|p| p["spec"]["activeDeadlineSeconds"] = json!(3)), 0);
        assert_eq!(problems(|p| p["spec"]["tolerations"] = json!([])), 1);
        assert_eq!(problems(|p| p["spec"]["nodeName"] = json!("other")), 1);
        assert_eq!(problems(|p| p["spec"]["containers"][0]["command"] = json!(["x"])), 1);
        assert_eq!(problems(|p| p["spec"]["containers"] = json!([])), 1);
    }
}
