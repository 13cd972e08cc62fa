//! Pods stay five minutes on a node that stopped answering, unless they say otherwise.

use super::{Admission, AdmissionRequest, Operation};
use crate::ApiError;
use crate::registry::fields::{child, text};
use serde_json::{Value, json};

/// See the module.
pub(super) struct DefaultTolerationSeconds;

const SECONDS: i64 = 300;
const KEYS: &[&str] = &["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];

#[async_trait::async_trait]
impl Admission for DefaultTolerationSeconds {
    fn name(&self) -> &'static str {
        "DefaultTolerationSeconds"
    }

    async fn mutate(&self, request: &mut AdmissionRequest<'_>) -> Result<(), ApiError> {
        let of_pod = (request.group, request.resource, request.subresource) == ("", "pods", "");
        if of_pod && matches!(request.operation, Operation::Create | Operation::Update) {
            add(request.object);
        }
        Ok(())
    }
}

fn add(pod: &mut Value) {
    let tolerations = child(pod, "spec").entry("tolerations").or_insert_with(|| json!([]));
    let Some(tolerations) = tolerations.as_array_mut() else {
        return;
    };
    for key in KEYS {
        if !tolerations.iter().any(|t| tolerates(t, key)) {
            tolerations
                .push(json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": SECONDS}));
        }
    }
}

/// An empty key or effect stands for all.
fn tolerates(toleration: &Value, key: &str) -> bool {
    let (own, effect) = (text(toleration, "key"), text(toleration, "effect"));
    (own == key || own.is_empty()) && matches!(effect, "NoExecute" | "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tolerations_are_added_once_and_only_where_missing() {
        let mut pod = json!({"spec": {"tolerations": [{"key": KEYS[0], "operator": "Exists", "effect": "NoExecute"}]}});
        add(&mut pod);
        add(&mut pod);
        assert_eq!(pod["spec"]["tolerations"].as_array().unwrap().len(), 2);
        let mut all = json!({"spec": {"tolerations": [{"operator": "Exists"}]}});
        add(&mut all);
        assert_eq!(all["spec"]["tolerations"].as_array().unwrap().len(), 1);
    }
}
