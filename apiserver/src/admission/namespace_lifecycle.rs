//! Nothing is created in a namespace that does not exist or is going away, and the namespaces the cluster itself lives in
//! stay.

use super::{Admission, AdmissionRequest, Operation};
use crate::ApiError;
use crate::registry::{Reader, home};
use storage::Freshness;

/// See the module.
pub(super) struct NamespaceLifecycle {
    pub reader: Reader,
}

const IMMORTAL: &[&str] = &["default", "kube-system", "kube-public"];

#[async_trait::async_trait]
impl Admission for NamespaceLifecycle {
    fn name(&self) -> &'static str {
        "NamespaceLifecycle"
    }

    /// Changes nothing, but stands with the mutating half: the plugins behind it look into the namespace, and their errors
    /// would hide that there is none.
    async fn mutate(&self, request: &mut AdmissionRequest<'_>) -> Result<(), ApiError> {
        if request.group.is_empty() && request.resource == "namespaces" {
            let deleting = request.operation == Operation::Delete && IMMORTAL.contains(&request.name);
            return match deleting {
                true => Err(ApiError::forbidden(
                    "namespaces",
                    request.name,
                    "this namespace may not be deleted",
                )),
                false => Ok(()),
            };
        }
        let asks_only = request.group == "authorization.k8s.io";
        if request.namespace.is_empty() || request.operation != Operation::Create || asks_only {
            return Ok(());
        }
        let resource = request.group_resource();
        home::open(&self.reader, request.namespace, Freshness::Any, &resource, request.name)
            .await
            .map(drop)
    }
}
