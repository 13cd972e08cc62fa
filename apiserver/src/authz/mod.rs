//! Who may do what: authorizers in order, the first with an opinion decides; no opinion at all is a refusal.

use crate::{RequestInfo, User};

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
