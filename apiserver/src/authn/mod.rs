//! Who sends a request: authenticators in order, the first that recognises a credential decides.

pub mod bootstrap;
pub mod claims;
pub mod tokens;
pub mod x509;

use crate::config::Config;
use crate::registry::Registry;
use crate::{ApiError, User};
use std::sync::Arc;

/// What the configuration gives the means for: client certificates always (TLS decides who may present one),
/// service-account tokens when there are keys, bootstrap tokens unless they are switched off.
pub fn authenticators(registry: &Arc<Registry>, config: &Config) -> Vec<Arc<dyn Authenticator>> {
    let mut all: Vec<Arc<dyn Authenticator>> = vec![Arc::new(x509::ClientCertificates)];
    if let Some(tokens) = tokens::Tokens::load(config) {
        all.push(Arc::new(tokens::BearerTokens {
            tokens,
            reader: registry.reader().clone(),
        }));
    }
    if config.bootstrap_tokens {
        all.push(Arc::new(bootstrap::BootstrapTokens {
            reader: registry.reader().clone(),
        }));
    }
    all
}

/// The token of `Authorization: Bearer ...`.
fn bearer(headers: &http::HeaderMap) -> Option<&str> {
    let value = headers.get(http::header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// One way to prove an identity.
#[async_trait::async_trait]
pub trait Authenticator: Send + Sync {
    /// `Ok(None)`: this request carries no credential of this kind. `Err`: it does, and it is bad (401).
    /// TLS certificates are in the extension [`crate::identity::PeerCertificates`].
    async fn authenticate(&self, request: &http::request::Parts) -> Result<Option<User>, ApiError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bearer_credentials_are_read() {
        let with = |value: &str| {
            let mut headers = http::HeaderMap::new();
            headers.insert("authorization", value.parse().unwrap());
            bearer(&headers).map(str::to_owned)
        };
        assert_eq!(with("Bearer abc"), Some("abc".to_owned()));
        assert_eq!(with("bearer  abc"), Some("abc".to_owned()));
        assert_eq!(with("Basic abc"), None);
        assert_eq!(with("Bearer "), None);
    }
}
