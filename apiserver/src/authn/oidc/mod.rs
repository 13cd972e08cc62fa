//! Tokens of issuers outside of the cluster, as the field `jwt` of an AuthenticationConfiguration names them.
//!
//! **Theory.** A token says who issued it; one that names another issuer is left to others. The issuer publishes its keys, at an
//! address that its discovery document names; a token is good if one of them signed it with an algorithm made for that key, if it is
//! for one of the audiences, and if it is valid now. Claims then become name, groups and uid.
//!
//! **Promises.** Only asymmetric algorithms count, and only with a key of their kind. Nobody becomes `system:` anything by a token from
//! outside, neither by name nor by group: without CEL an administrator could not rule that out. Keys are asked for at most every
//! [`keys::RETRY`], whatever tokens come.
//!
//! **Left out.** CEL expressions, distributed claims, ES512 and EdDSA.

mod claims;
mod keys;

pub use claims::{Mapped, Rules};
pub use keys::Keys;

use super::{Accepted, TokenKind, shared};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use std::sync::Arc;

/// One issuer whose tokens are believed.
pub struct Issuer {
    pub rules: Rules,
    pub keys: Keys,
}

/// Accepts the tokens of an issuer, for every audience of this API server.
pub struct OfIssuer {
    pub issuer: Arc<Issuer>,
    /// The audiences of this API server.
    pub audiences: Vec<String>,
}

#[async_trait::async_trait]
impl TokenKind for OfIssuer {
    async fn check(&self, token: &str, audiences: &[String]) -> Result<Option<Accepted>, String> {
        let Issuer { rules, keys } = &*self.issuer;
        if said_issuer(token).as_deref() != Some(&rules.url) {
            return Ok(None);
        }
        let Some(audiences) = shared(&self.audiences, audiences) else {
            return Err(format!(
                "a token of {} is not for the audiences {audiences:?}",
                rules.url
            ));
        };
        let refused = |why: String| format!("oidc: a token of {}: {why}", rules.url);
        let claims = keys.verify(token).await.map_err(refused)?;
        let user = rules
            .user(&claims, jiff::Timestamp::now().as_second())
            .map_err(refused)?;
        Ok(Some(Accepted { user, audiences }))
    }
}

/// Who issued a token, as it says itself. Nothing is verified.
fn said_issuer(token: &str) -> Option<String> {
    let mut parts = token.split('.');
    let (_, payload, _, None) = (parts.next()?, parts.next()?, parts.next()?, parts.next()) else {
        return None;
    };
    part(payload)?.get("iss")?.as_str().map(str::to_owned)
}

/// One of the first two parts of a token.
fn part(text: &str) -> Option<Value> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_looks_like_a_token_names_an_issuer() {
        let payload = URL_SAFE_NO_PAD.encode(r#"{"iss": "https://a"}"#);
        assert_eq!(said_issuer(&format!("x.{payload}.y")).as_deref(), Some("https://a"));
        for other in [
            "",
            "a.b.c",
            &payload,
            &format!("x.{payload}"),
            &format!("x.{payload}.y.z"),
        ] {
            assert_eq!(said_issuer(other), None, "{other}");
        }
    }
}
