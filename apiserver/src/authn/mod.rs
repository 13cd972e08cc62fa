//! Who sends a request: authenticators in order, the first that recognises a credential decides.

pub mod claims;
pub mod tokens;
pub mod x509;

use crate::config::Config;
use crate::registry::Registry;
use crate::{ApiError, User};
use std::sync::Arc;

/// What the configuration gives the means for: client certificates always (TLS decides who may present one),
/// service-account tokens when there are keys.
pub fn authenticators(registry: &Arc<Registry>, config: &Config) -> Vec<Arc<dyn Authenticator>> {
    let mut all: Vec<Arc<dyn Authenticator>> = vec![Arc::new(x509::ClientCertificates)];
    if let Some(tokens) = tokens::Tokens::load(config) {
        all.push(Arc::new(tokens::BearerTokens {
            tokens,
            reader: registry.reader().clone(),
        }));
    }
    all
}

/// One way to prove an identity.
#[async_trait::async_trait]
pub trait Authenticator: Send + Sync {
    /// `Ok(None)`: this request carries no credential of this kind. `Err`: it does, and it is bad (401).
    /// TLS certificates are in the extension [`crate::identity::PeerCertificates`].
    async fn authenticate(&self, request: &http::request::Parts) -> Result<Option<User>, ApiError>;
}
