//! `scale`: a workload seen as nothing but a number of replicas.

use crate::FieldError;
use crate::registry::check;
use crate::registry::columns::{label_list, selector};
use crate::registry::fields::{at, number};
use crate::registry::strategy::Projection;
use serde_json::{Map, Value, json};

/// `autoscaling/v1` Scale over `spec.replicas`.
pub(super) struct Scale;

/// The metadata a Scale shows of its workload.
const METADATA: &[&str] = &["name", "namespace", "uid", "resourceVersion", "creationTimestamp"];

/// What a Scale shows of its object's metadata.
pub(crate) fn metadata(object: &Value) -> Map<String, Value> {
    let all = at(object, "metadata");
    let found = METADATA
        .iter()
        .filter_map(|field| Some(((*field).to_owned(), all?.get(*field)?.clone())));
    found.collect()
}

impl Projection for Scale {
    fn read(&self, object: &Value) -> Value {
        let mut status = json!({"replicas": number(object, "status.replicas")});
        if let Some(given) = at(object, "spec.selector") {
            // A replication controller selects by labels alone.
            let plain = at(given, "matchLabels").is_none() && at(given, "matchExpressions").is_none();
            status["selector"] = match plain {
                true => json!(label_list(Some(given))),
                false => json!(selector(Some(given))),
            };
        }
        json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": metadata(object),
            "spec": {"replicas": number(object, "spec.replicas")}, "status": status})
    }

    fn validate(&self, scale: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        check::at_least(&mut errors, scale, "", "spec.replicas", 0);
        errors
    }

    fn write(&self, scale: &Value, object: &mut Value) {
        object["spec"]["replicas"] = json!(number(scale, "spec.replicas"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_shows_and_changes_the_replicas() {
        let mut object = json!({"metadata": {"name": "d", "labels": {}, "resourceVersion": "7"},
            "spec": {"replicas": 2, "selector": {"matchLabels": {"a": "b"}}}, "status": {"replicas": 1}});
        let mut scale = Scale.read(&object);
        assert_eq!(scale["metadata"], json!({"name": "d", "resourceVersion": "7"}));
        assert_eq!(
            (&scale["spec"]["replicas"], &scale["status"]["selector"]),
            (&json!(2), &json!("a=b"))
        );
        scale["spec"]["replicas"] = json!(5);
        Scale.write(&scale, &mut object);
        assert_eq!(object["spec"]["replicas"], 5);
    }
}
