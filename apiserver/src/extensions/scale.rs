//! `scale` of a custom resource: where its definition says the numbers are.

use crate::FieldError;
use crate::registry::check;
use crate::registry::fields::{at, number, text};
use crate::registry::strategy::Projection;
use crate::registry::workloads::scale::metadata;
use serde_json::{Value, json};

/// `autoscaling/v1` Scale over paths like `spec.replicas`.
pub(super) struct Scale {
    spec: String,
    status: String,
    selector: Option<String>,
}

impl Scale {
    /// From a `CustomResourceSubresourceScale`.
    pub(super) fn of(scale: &Value) -> Scale {
        let path = |key: &str| text(scale, key).trim_start_matches('.').to_owned();
        Scale {
            spec: path("specReplicasPath"),
            status: path("statusReplicasPath"),
            selector: Some(path("labelSelectorPath")).filter(|path| !path.is_empty()),
        }
    }
}

impl Projection for Scale {
    fn read(&self, object: &Value) -> Value {
        let mut status = json!({"replicas": number(object, &self.status)});
        if let Some(selector) = self.selector.as_ref().and_then(|path| at(object, path)) {
            status["selector"] = selector.clone();
        }
        json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": metadata(object),
            "spec": {"replicas": number(object, &self.spec)}, "status": status})
    }

    fn validate(&self, scale: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        check::at_least(&mut errors, scale, "", "spec.replicas", 0);
        errors
    }

    fn write(&self, scale: &Value, object: &mut Value) {
        let mut place = object;
        for step in self.spec.split('.') {
            if !place.is_object() {
                *place = json!({});
            }
            place = &mut place[step];
        }
        *place = json!(number(scale, "spec.replicas"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_where_the_definition_says() {
        let scale = Scale::of(
            &json!({"specReplicasPath": ".spec.size.n", "statusReplicasPath": ".status.n",
            "labelSelectorPath": ".status.selector"}),
        );
        let mut object = json!({"metadata": {"name": "a"}, "spec": {}, "status": {"n": 2, "selector": "a=b"}});
        assert_eq!(scale.read(&object)["status"], json!({"replicas": 2, "selector": "a=b"}));
        scale.write(&json!({"spec": {"replicas": 7}}), &mut object);
        assert_eq!(object["spec"]["size"]["n"], 7);
    }
}
