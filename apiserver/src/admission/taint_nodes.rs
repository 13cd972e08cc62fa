//! A new node is not ready: it gets the taint that keeps pods away until it says otherwise.

use super::{Admission, AdmissionRequest, Operation};
use crate::ApiError;
use crate::registry::fields::{child, text};
use serde_json::json;

/// See the module.
pub(super) struct TaintNodesByCondition;

const NOT_READY: &str = "node.kubernetes.io/not-ready";

#[async_trait::async_trait]
impl Admission for TaintNodesByCondition {
    fn name(&self) -> &'static str {
        "TaintNodesByCondition"
    }

    async fn mutate(&self, request: &mut AdmissionRequest<'_>) -> Result<(), ApiError> {
        let creates_node = request.operation == Operation::Create
            && (request.group, request.resource, request.subresource) == ("", "nodes", "");
        if !creates_node {
            return Ok(());
        }
        let taints = child(request.object, "spec")
            .entry("taints")
            .or_insert_with(|| json!([]));
        if let Some(taints) = taints.as_array_mut()
            && !taints
                .iter()
                .any(|t| text(t, "key") == NOT_READY && text(t, "effect") == "NoSchedule")
        {
            taints.push(json!({"key": NOT_READY, "effect": "NoSchedule"}));
        }
        Ok(())
    }
}
