//! Workloads: objects that carry a pod template and a selector that has to match it.

mod columns;
pub(crate) mod scale;
mod validate;

use super::check::{self, Errors};
use super::strategy::*;
use super::{RequestContext, Strategy};
use crate::FieldError;
use serde_json::{Value, json};

/// `scale` of whatever has `spec.replicas` and `status.replicas`.
pub(super) const SCALE: Subresource<'static> = Subresource::Projection(&scale::Scale);

/// Which workload: the rules they share are one strategy, the rest are tables by kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workload {
    Deployment,
    ReplicaSet,
    StatefulSet,
    DaemonSet,
}

#[async_trait::async_trait]
impl Strategy for Workload {
    fn tracks_generation(&self) -> bool {
        true
    }

    fn prepare_for_create(&self, _context: &RequestContext, object: &mut Value) {
        if let Some(map) = object.as_object_mut() {
            map.insert("status".into(), self.initial_status());
        }
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        validate::workload(&mut errors, *self, object);
        errors
    }

    fn validate_update(&self, subresource: &str, new: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        match subresource {
            "" => {
                validate::workload(&mut errors, *self, new);
                check::unchanged(&mut errors, new, old, "spec.selector");
                validate::fixed_stateful_fields(&mut errors, *self, new, old);
            }
            "status" => validate::status(&mut errors, *self, new),
            _ => {}
        }
        errors
    }

    fn columns(&self) -> &'static [Column] {
        columns::columns(*self)
    }

    fn cells(&self, object: &Value, now: jiff::Timestamp) -> Cells {
        columns::cells(*self, object, now)
    }

    fn selectable_fields(&self) -> &'static [SelectableField] {
        const REPLICAS: &[SelectableField] = &[SelectableField::of("status.replicas", "0")];
        if *self == Workload::ReplicaSet { REPLICAS } else { &[] }
    }

    fn subresource(&self, name: &str) -> Option<Subresource<'_>> {
        match name {
            "status" => Some(Subresource::Object),
            "scale" if *self != Workload::DaemonSet => Some(SCALE),
            _ => None,
        }
    }
}

impl Workload {
    /// Status fields that are required by the schema start at zero.
    fn initial_status(self) -> Value {
        match self {
            Workload::Deployment => json!({}),
            Workload::ReplicaSet | Workload::StatefulSet => json!({"replicas": 0}),
            Workload::DaemonSet => json!({"currentNumberScheduled": 0, "numberMisscheduled": 0,
                "desiredNumberScheduled": 0, "numberReady": 0}),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment() -> Value {
        json!({"metadata": {"name": "web"}, "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"restartPolicy": "Always",
                "containers": [{"name": "c", "image": "i"}]}}}})
    }

    fn problems(change: impl Fn(&mut Value)) -> Vec<String> {
        let mut object = deployment();
        change(&mut object);
        Workload::Deployment
            .validate(&object)
            .iter()
            .map(|e| e.to_string())
            .collect()
    }

    #[test]
    fn the_selector_has_to_match_the_template() {
        assert_eq!(problems(|_| {}), Vec::<String>::new());
        let found = problems(|d| d["spec"]["selector"]["matchLabels"]["app"] = json!("other"));
        assert!(
            found[0].starts_with("spec.template.metadata.labels: Invalid value: {\"app\":\"web\"}"),
            "{found:?}"
        );
        assert!(problems(|d| d["spec"]["selector"] = json!({}))[0].starts_with("spec.selector: Invalid value"));
        assert_eq!(
            problems(|d| d["spec"]["selector"] = Value::Null)[0],
            "spec.selector: Required value"
        );
    }

    #[test]
    fn templates_are_checked_as_pods_are() {
        let found = problems(|d| d["spec"]["template"]["spec"]["restartPolicy"] = json!("Never"));
        assert!(
            found[0].starts_with("spec.template.spec.restartPolicy: Unsupported value: \"Never\""),
            "{found:?}"
        );
        let found = problems(|d| d["spec"]["template"]["spec"]["containers"] = json!([]));
        assert_eq!(found, ["spec.template.spec.containers: Required value"]);
        assert_eq!(problems(|d| d["spec"]["replicas"] = json!(-1)).len(), 1);
    }

    #[test]
    fn the_selector_is_fixed() {
        let mut new = deployment();
        new["spec"]["selector"]["matchLabels"]["x"] = json!("y");
        new["spec"]["template"]["metadata"]["labels"]["x"] = json!("y");
        let found = Workload::Deployment.validate_update("", &new, &deployment());
        assert_eq!(found.len(), 1);
        assert!(found[0].message.ends_with("field is immutable"));
    }
}
