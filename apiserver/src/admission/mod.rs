//! Admission: plugins that may change (mutate) and then may refuse (validate) a write, in one order.

mod certificates;
mod default_tolerations;
mod limit_ranger;
mod namespace_lifecycle;
mod node_restriction;
mod pod_security;
mod priority;
mod service_account;
mod taint_nodes;
mod webhooks;

use crate::registry::{Registry, Served};
use crate::{ApiError, User};
use serde_json::Value;
use std::sync::Arc;

/// What kind of write is being admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Create,
    Update,
    Delete,
    /// exec, attach, portforward, proxy.
    Connect,
}

/// The write being admitted. `object` is Null for a delete; for a subresource with its own kind (binding, eviction, scale)
/// it is that object.
pub struct AdmissionRequest<'a> {
    pub operation: Operation,
    pub group: &'a str,
    pub version: &'a str,
    pub kind: &'a str,
    /// Of the kind, which for a subresource may be another one's.
    pub kind_group: &'a str,
    pub kind_version: &'a str,
    /// The resource.
    pub served: &'a Served,
    /// The plural, without group.
    pub resource: &'a str,
    /// Empty for the object itself.
    pub subresource: &'a str,
    pub namespace: &'a str,
    /// Empty for a create with `generateName`.
    pub name: &'a str,
    pub object: &'a mut Value,
    pub old: Option<&'a Value>,
    pub user: &'a User,
    pub dry_run: bool,
    /// What admission wants to tell the user; becomes `Warning` headers.
    pub warnings: &'a mut Vec<String>,
}

impl AdmissionRequest<'_> {
    /// `pods`, `deployments.apps`.
    pub fn group_resource(&self) -> String {
        crate::request_info::group_resource(self.group, self.resource)
    }
}

/// One plugin. Both methods see every write; `mutate` runs for all plugins before any `validate`.
#[async_trait::async_trait]
pub trait Admission: Send + Sync {
    fn name(&self) -> &'static str;
    async fn mutate(&self, _request: &mut AdmissionRequest<'_>) -> Result<(), ApiError> {
        Ok(())
    }
    /// Must not change the object.
    async fn validate(&self, _request: &mut AdmissionRequest<'_>) -> Result<(), ApiError> {
        Ok(())
    }
}

/// The plugins in the order they run, which is upstream's. ResourceQuota, the last, is none of them: what it decides has to hold at
/// the moment of the write (`registry::quota`).
pub fn plugins(registry: &Arc<Registry>) -> Vec<Arc<dyn Admission>> {
    let reader = registry.reader();
    vec![
        // First, so that nothing is done for objects that have nowhere to go.
        Arc::new(namespace_lifecycle::NamespaceLifecycle { reader: reader.clone() }),
        Arc::new(limit_ranger::LimitRanger { reader: reader.clone() }),
        // Adds volumes and mounts that later plugins judge.
        Arc::new(service_account::ServiceAccount { reader: reader.clone() }),
        Arc::new(taint_nodes::TaintNodesByCondition),
        Arc::new(pod_security::PodSecurity { reader: reader.clone() }),
        Arc::new(priority::Priority { reader: reader.clone() }),
        Arc::new(default_tolerations::DefaultTolerationSeconds),
        Arc::new(node_restriction::NodeRestriction {
            reader: reader.clone(),
            registry: Arc::downgrade(registry),
        }),
        Arc::new(certificates::CertificateApproval {
            registry: Arc::downgrade(registry),
        }),
        Arc::new(certificates::CertificateSigning {
            registry: Arc::downgrade(registry),
        }),
        Arc::new(certificates::CertificateSubjectRestriction),
        // Behind everything of our own: they see, and judge, what would be stored.
        Arc::new(webhooks::Webhooks::new(reader, true)),
        Arc::new(webhooks::Webhooks::new(reader, false)),
    ]
}
