//! Who sends a request: authenticators in order, the first that recognises a credential decides.

use crate::{ApiError, User};

/// One way to prove an identity.
#[async_trait::async_trait]
pub trait Authenticator: Send + Sync {
    /// `Ok(None)`: this request carries no credential of this kind. `Err`: it does, and it is bad (401).
    /// TLS certificates are in the extension [`crate::identity::PeerCertificates`].
    async fn authenticate(&self, request: &http::request::Parts) -> Result<Option<User>, ApiError>;
}
