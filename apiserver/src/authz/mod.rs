//! Who may do what: authorizers in order, the first with an opinion decides; no opinion at all is a refusal.

pub(crate) mod escalation;
mod node;
mod rbac;
pub(crate) mod resolver;
pub(crate) mod rules;
pub(crate) mod streams;

use crate::config::Config;
use crate::registry::Registry;
use crate::{RequestInfo, User};
use std::sync::Arc;

pub(crate) use node::{LEASE_NAMESPACE, node_name};
pub use rbac::Rbac;

/// The authorizer of a server.
pub fn authorizer(registry: &Arc<Registry>, _config: &Config) -> Arc<dyn Authorizer> {
    Arc::new(Standard::new(Arc::new(Rbac::new(registry.reader().clone()))))
}

/// What authorization looks at.
#[derive(Clone, Debug)]
pub struct Attributes {
    pub user: User,
    pub info: RequestInfo,
}

/// An authorizer's answer. The reason is shown to the user on a refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    Allow { reason: String },
    Deny { reason: String },
    NoOpinion { reason: String },
}

/// One source of permissions.
#[async_trait::async_trait]
pub trait Authorizer: Send + Sync {
    async fn authorize(&self, attributes: &Attributes) -> Decision;
}

impl Attributes {
    /// The action in the words of RBAC rules.
    pub(crate) fn action(&self) -> rules::Action<'_> {
        let info = &self.info;
        if info.is_resource {
            rules::Action::Resource {
                verb: &info.verb,
                group: &info.group,
                resource: &info.resource,
                subresource: &info.subresource,
                namespace: &info.namespace,
                name: &info.name,
            }
        } else {
            rules::Action::Path {
                verb: &info.verb,
                path: &info.path,
            }
        }
    }
}

/// The cluster's authorizer: masters may do everything, nodes what their pods need, everyone else what RBAC grants.
pub struct Standard {
    rbac: Arc<Rbac>,
    nodes: node::Nodes,
}

impl Standard {
    /// Reads roles, bindings and pods through `rbac`'s reader.
    pub fn new(rbac: Arc<Rbac>) -> Standard {
        Standard {
            nodes: node::Nodes::new(rbac.reader().clone()),
            rbac,
        }
    }
}

#[async_trait::async_trait]
impl Authorizer for Standard {
    async fn authorize(&self, attributes: &Attributes) -> Decision {
        if attributes.user.is_in(crate::identity::MASTERS) {
            return Decision::Allow { reason: String::new() };
        }
        match self.nodes.authorize(attributes).await {
            // What a node may not do as a node it may still be granted like anyone else.
            Decision::NoOpinion { reason } if reason.is_empty() => self.rbac.authorize(attributes).await,
            Decision::NoOpinion { reason } => match self.rbac.authorize(attributes).await {
                Decision::NoOpinion { .. } => Decision::NoOpinion { reason },
                decision => decision,
            },
            decision => decision,
        }
    }
}
