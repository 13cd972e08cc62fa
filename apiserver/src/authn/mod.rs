//! Who sends a request: authenticators in order, the first that recognises a credential decides.

pub mod anonymous;
mod bearer;
pub mod bootstrap;
pub mod claims;
pub mod front_proxy;
pub mod oidc;
pub mod static_tokens;
pub mod tokens;
pub mod webhook;
pub mod x509;

pub use bearer::{Accepted, Bearers, TokenKind};

use crate::config::Config;
use crate::registry::Registry;
use crate::{ApiError, User};
use std::sync::Arc;

/// What the configuration gives the means for: front proxies, client certificates always (TLS decides who may present one), and
/// whatever `bearers` accept.
pub fn authenticators(config: &Config, bearers: &Arc<Bearers>) -> Vec<Arc<dyn Authenticator>> {
    let mut all: Vec<Arc<dyn Authenticator>> = Vec::new();
    if let Some(proxy) = &config.access.front_proxy {
        all.push(proxy.clone());
    }
    all.push(Arc::new(x509::ClientCertificates {
        verifier: config.access.users.clone(),
        shared: config.access.front_proxy.is_some(),
    }));
    all.push(bearers.clone());
    all
}

/// The kinds of bearer tokens, cheapest first: those of the file, bootstrap tokens unless they are switched off, those of service
/// accounts when there are keys, of issuers outside, and last what only a webhook knows.
pub fn bearers(registry: &Arc<Registry>, config: &Config) -> Arc<Bearers> {
    let audiences = vec![config.service_account_issuer.clone()];
    let mut kinds: Vec<Arc<dyn TokenKind>> = Vec::new();
    if let Some(tokens) = &config.access.static_tokens {
        kinds.push(Arc::new(static_tokens::OfFile {
            tokens: tokens.clone(),
            audiences: audiences.clone(),
        }));
    }
    if config.bootstrap_tokens {
        kinds.push(Arc::new(bootstrap::BootstrapTokens {
            reader: registry.reader().clone(),
            audiences: audiences.clone(),
        }));
    }
    if let Some(tokens) = tokens::Tokens::load(config) {
        kinds.push(Arc::new(tokens::OfAccounts {
            tokens,
            reader: registry.reader().clone(),
        }));
    }
    for issuer in &config.access.issuers {
        kinds.push(Arc::new(oidc::OfIssuer {
            issuer: issuer.clone(),
            audiences: audiences.clone(),
        }));
    }
    if let Some(reviewer) = &config.access.reviewer {
        kinds.push(Arc::new(webhook::OfWebhook {
            reviewer: reviewer.clone(),
            audiences: audiences.clone(),
        }));
    }
    Arc::new(Bearers { kinds, audiences })
}

/// Of the audiences that are asked for, those in `ours`; `None` if there are none.
fn shared(ours: &[String], wanted: &[String]) -> Option<Vec<String>> {
    let both: Vec<String> = wanted
        .iter()
        .filter(|audience| ours.contains(audience))
        .cloned()
        .collect();
    (!both.is_empty()).then_some(both)
}

/// The token of `Authorization: Bearer ...`.
pub(crate) fn bearer(headers: &http::HeaderMap) -> Option<&str> {
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
