//! Bootstrap tokens: how a machine that is about to join signs in before it has a certificate.

use super::{Accepted, TokenKind, shared};
use crate::User;
use crate::registry::Reader;
use crate::registry::fields::text;
use api::bootstrap_tokens::{self, BootstrapToken};
use jiff::Timestamp;
use serde_json::Value;

/// Accepts bootstrap tokens, for every audience of this API server. What is not of their form is left to others.
pub struct BootstrapTokens {
    pub reader: Reader,
    /// The audiences of this API server.
    pub audiences: Vec<String>,
}

#[async_trait::async_trait]
impl TokenKind for BootstrapTokens {
    async fn check(&self, token: &str, audiences: &[String]) -> Result<Option<Accepted>, String> {
        let Some(parts) = bootstrap_tokens::parse(token) else {
            return Ok(None);
        };
        let why = || format!("a bootstrap token is not for the audiences {audiences:?}");
        let audiences = shared(&self.audiences, audiences).ok_or_else(why)?;
        let user = check(&self.reader, parts).await?;
        Ok(Some(Accepted { user, audiences }))
    }
}

/// The user of a token, which is `(id, secret)`, as this member knows it now: one that lags takes a token for a moment
/// after it was removed elsewhere, and refuses one that was just made there. `Err` is why it is bad.
async fn check(reader: &Reader, token: (&str, &str)) -> Result<User, String> {
    let name = format!("{}{}", bootstrap_tokens::NAME_PREFIX, token.0);
    // Only what is here: a stranger's guess must not cost the leader anything.
    let stored = reader.local("secrets", bootstrap_tokens::NAMESPACE, &name).await;
    let stored = stored.map_err(|error| error.to_string())?;
    user(stored.as_ref(), token, Timestamp::now())
}

fn user(stored: Option<&Value>, (id, secret): (&str, &str), now: Timestamp) -> Result<User, String> {
    let stored = stored
        .filter(|stored| text(stored, "metadata.deletionTimestamp").is_empty())
        .and_then(read)
        .ok_or("there is no such token")?;
    // Compared as digests: how long that takes tells nothing of the secret.
    let digest = |text: &str| ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    if stored.id != id || digest(&stored.secret).as_ref() != digest(secret).as_ref() {
        return Err("the secret is another".into());
    }
    if stored.has_expired(now) {
        return Err("it has expired".into());
    }
    if !stored.authenticates {
        return Err("it is not meant for signing in".into());
    }
    Ok(User {
        name: stored.user(),
        groups: stored.groups()?,
        ..User::default()
    })
}

fn read(secret: &Value) -> Option<BootstrapToken> {
    let data = serde_json::from_value(secret.get("data")?.clone()).ok()?;
    BootstrapToken::read(text(secret, "metadata.name"), text(secret, "type"), &data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use serde_json::json;

    fn secret(more: &[(&str, &str)]) -> Value {
        let mut data = json!({});
        let all = [
            ("token-id", "abcdef"),
            ("token-secret", "0123456789abcdef"),
            ("usage-bootstrap-authentication", "true"),
        ];
        for (key, value) in all.iter().chain(more) {
            data[key] = json!(base64::engine::general_purpose::STANDARD.encode(value));
        }
        json!({"metadata": {"name": "bootstrap-token-abcdef"}, "type": "bootstrap.kubernetes.io/token", "data": data})
    }

    const TOKEN: (&str, &str) = ("abcdef", "0123456789abcdef");

    fn ask(secret: &Value, token: (&str, &str)) -> Result<User, String> {
        user(Some(secret), token, "2026-01-01T00:00:00Z".parse().unwrap())
    }

    #[test]
    fn a_good_token_is_a_bootstrapper() {
        let group = "system:bootstrappers:kubeadm:default-node-token";
        let user = ask(&secret(&[("auth-extra-groups", group)]), TOKEN).unwrap();
        assert_eq!(
            user,
            User::new("system:bootstrap:abcdef", &["system:bootstrappers", group])
        );
    }

    #[test]
    fn anything_amiss_is_a_refusal() {
        assert!(ask(&secret(&[]), ("abcdef", "0123456789abcdeg")).is_err());
        assert!(ask(&secret(&[("token-id", "fedcba")]), TOKEN).is_err());
        assert!(ask(&secret(&[("expiration", "2025-01-01T00:00:00Z")]), TOKEN).is_err());
        assert!(ask(&secret(&[("usage-bootstrap-authentication", "false")]), TOKEN).is_err());
        assert!(ask(&secret(&[("auth-extra-groups", "system:masters")]), TOKEN).is_err());
        let mut going = secret(&[]);
        going["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        assert!(ask(&going, TOKEN).is_err());
        let mut other = secret(&[]);
        other["type"] = json!("Opaque");
        assert!(ask(&other, TOKEN).is_err());
        assert!(user(None, TOKEN, Timestamp::UNIX_EPOCH).is_err());
    }
}
