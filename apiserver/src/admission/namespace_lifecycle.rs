//! Nothing is created in a namespace that does not exist or is going away, and the namespaces the cluster itself lives in
//! stay.

use super::{Admission, AdmissionRequest, Operation};
use crate::ApiError;
use crate::registry::Reader;
use crate::registry::fields::{at, text};
use serde_json::Value;

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
        let namespace = self.find(request.namespace).await?;
        if at(&namespace, "metadata.deletionTimestamp").is_none() && text(&namespace, "status.phase") != "Terminating" {
            return Ok(());
        }
        let why = format!(
            "unable to create new content in namespace {} because it is being terminated",
            request.namespace
        );
        let error = ApiError::forbidden(&request.group_resource(), request.name, &why);
        let message = format!("namespace {} is being terminated", request.namespace);
        Err(error.cause("NamespaceTerminating", &message, "metadata.namespace"))
    }
}

impl NamespaceLifecycle {
    /// This member's copy will do; a namespace that is not here yet is looked up where it must be.
    async fn find(&self, name: &str) -> Result<Value, ApiError> {
        match self.reader.local("namespaces", "", name).await? {
            Some(found) => Ok(found),
            None => self.reader.get("namespaces", "", name).await,
        }
    }
}
