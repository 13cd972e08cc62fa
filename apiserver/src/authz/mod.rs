//! Who may do what: authorizers in order, the first with an opinion decides; no opinion at all is a refusal.

pub mod abac;
pub mod chain;
pub(crate) mod escalation;
mod node;
mod rbac;
pub(crate) mod resolver;
pub mod rules;
pub(crate) mod streams;
pub mod webhook;

use crate::config::Config;
use crate::registry::Registry;
use crate::{ApiError, RequestInfo, User};
use rules::PolicyRule;
use std::sync::Arc;

pub(crate) use node::{LEASE_NAMESPACE, node_name};
pub use rbac::Rbac;

use node::Nodes;

/// The authorizer of a server.
pub fn authorizer(registry: &Arc<Registry>, config: &Config) -> Arc<dyn Authorizer> {
    let rbac = Arc::new(Rbac::new(registry.reader().clone()));
    Arc::new(chain::Chain::new(&config.access.modes, &rbac))
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

    /// What a user may do in a namespace, as far as that can be listed.
    async fn rules(&self, user: &User, namespace: &str) -> Result<Listed, ApiError>;
}

/// What somebody may do.
#[derive(Clone, Debug, Default)]
pub struct Listed {
    pub rules: Vec<PolicyRule>,
    /// Why more may be allowed than the rules say.
    pub gaps: Vec<String>,
}

impl Listed {
    /// These rules and no others.
    pub fn complete(rules: Vec<PolicyRule>) -> Listed {
        Listed {
            rules,
            gaps: Vec::new(),
        }
    }
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
