//! Service-account tokens: issued for TokenRequest, accepted as bearer tokens.
//!
//! **Promise.** A token dies with what it is bound to: the account, the pod, the node or the secret. Each use reads them
//! from this member's own view of the store, so a deletion takes effect as soon as this member has applied it.

use super::claims::{Bound, Claims, Reference};
use super::{Accepted, TokenKind};
use crate::config::Config;
use crate::registry::Reader;
use crate::{ApiError, User};
use serde_json::Value;
use std::sync::Arc;

/// The keys and names tokens are made with.
#[derive(Clone)]
pub struct Tokens {
    pub signer: pki::jwt::Signer,
    pub verifier: pki::jwt::Verifier,
    /// The `iss` of issued tokens and the only one accepted.
    pub issuer: String,
    /// Audiences that mean this API server; the first is given to tokens that ask for none. Never empty.
    pub audiences: Vec<String>,
}

impl Tokens {
    /// Tokens of `issuer`, which is also their audience.
    pub fn new(signer: pki::jwt::Signer, verifier: pki::jwt::Verifier, issuer: impl Into<String>) -> Tokens {
        let issuer = issuer.into();
        Tokens {
            signer,
            verifier,
            audiences: vec![issuer.clone()],
            issuer,
        }
    }

    /// From the key files of the configuration. Without keys, or with unreadable ones, the server runs on without service
    /// accounts and says so: certificates still work, and an administrator needs them to repair this.
    pub fn load(config: &Config) -> Option<Arc<Tokens>> {
        let signing = config.service_account_signing_key.as_ref()?;
        let keys: Vec<&std::path::Path> = config.service_account_keys.iter().map(|path| path.as_path()).collect();
        let loaded = pki::jwt::Signer::load(signing).and_then(|s| Ok((s, pki::jwt::Verifier::load(&keys)?)));
        match loaded {
            Ok((signer, verifier)) => Some(Arc::new(Tokens::new(
                signer,
                verifier,
                config.service_account_issuer.clone(),
            ))),
            Err(error) => {
                tracing::error!(%error, "service-account tokens are neither issued nor accepted: cannot read the keys");
                None
            }
        }
    }

    /// A token for a service account that is valid from now on for `seconds`.
    pub fn issue(&self, audiences: Vec<String>, bound: Bound, seconds: i64) -> Result<(String, Claims), ApiError> {
        let now = jiff::Timestamp::now().as_second();
        let claims = Claims {
            aud: if audiences.is_empty() {
                vec![self.audiences[0].clone()]
            } else {
                audiences
            },
            exp: now + seconds,
            iat: now,
            iss: self.issuer.clone(),
            jti: uuid::Uuid::new_v4().to_string(),
            sub: super::claims::user(&bound.namespace, &bound.serviceaccount.name).name,
            kubernetes: bound,
            nbf: now,
        };
        let token = self.signer.sign(&claims).map_err(ApiError::internal)?;
        Ok((token, claims))
    }

    /// The user of a token and which of `audiences` (ours, when empty) it was made for. `Err` is why it is bad.
    pub async fn check(
        &self,
        reader: &Reader,
        token: &str,
        audiences: &[String],
    ) -> Result<(User, Vec<String>), String> {
        let claims: Claims = self.verifier.verify(token).map_err(|e| e.to_string())?;
        if claims.iss != self.issuer {
            return Err(format!(
                "token was issued by {:?}, not by {:?}",
                claims.iss, self.issuer
            ));
        }
        let wanted = if audiences.is_empty() {
            &self.audiences
        } else {
            audiences
        };
        let matching: Vec<String> = wanted.iter().filter(|a| claims.aud.contains(a)).cloned().collect();
        if matching.is_empty() {
            return Err(format!(
                "token audiences {:?} is invalid for the target audiences {wanted:?}",
                claims.aud
            ));
        }
        still_bound(reader, &claims.kubernetes).await?;
        Ok((claims.user(), matching))
    }
}

async fn still_bound(reader: &Reader, bound: &Bound) -> Result<(), String> {
    let namespace = bound.namespace.as_str();
    exists(reader, "serviceaccounts", namespace, &bound.serviceaccount).await?;
    for (resource, namespace, reference) in [
        ("pods", namespace, &bound.pod),
        ("secrets", namespace, &bound.secret),
        ("nodes", "", &bound.node),
    ] {
        // A pod's token names its node for information; it is bound to the node only when to nothing closer.
        let only_told = resource == "nodes" && bound.pod.is_some();
        if let Some(reference) = reference.as_ref().filter(|_| !only_told) {
            exists(reader, resource, namespace, reference).await?;
        }
    }
    Ok(())
}

/// This member's copy decides. What it does not have may just not have arrived here yet, so that is asked for.
async fn exists(reader: &Reader, resource: &str, namespace: &str, reference: &Reference) -> Result<(), String> {
    let failed = |error: ApiError| format!("{resource} {:?}: {error}", reference.name);
    let found: Value = match reader
        .local(resource, namespace, &reference.name)
        .await
        .map_err(failed)?
    {
        Some(found) if reference.is(&found) => return Ok(()),
        _ => reader.get(resource, namespace, &reference.name).await.map_err(failed)?,
    };
    match reference.is(&found) {
        true => Ok(()),
        false => Err(format!(
            "{resource} {:?} is not the one the token was made for",
            reference.name
        )),
    }
}

/// Accepts service-account tokens.
pub struct OfAccounts {
    pub tokens: Arc<Tokens>,
    pub reader: Reader,
}

#[async_trait::async_trait]
impl TokenKind for OfAccounts {
    async fn check(&self, token: &str, audiences: &[String]) -> Result<Option<Accepted>, String> {
        let (user, audiences) = self.tokens.check(&self.reader, token, audiences).await?;
        Ok(Some(Accepted { user, audiences }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(directory: &std::path::Path) -> Tokens {
        let (key, public) = (directory.join("sa.key"), directory.join("sa.pub"));
        pki::jwt::ensure_key_pair(&key, &public).unwrap();
        let (signer, verifier) = (
            pki::jwt::Signer::load(&key).unwrap(),
            pki::jwt::Verifier::load(&[&public]).unwrap(),
        );
        Tokens::new(signer, verifier, "https://kubernetes.default.svc.cluster.local")
    }

    #[test]
    fn issued_claims_read_back_and_name_the_account() {
        let here = tempfile::tempdir().unwrap();
        let tokens = tokens(here.path());
        let bound = Bound {
            namespace: "a".into(),
            serviceaccount: Reference {
                name: "bot".into(),
                uid: "1".into(),
            },
            pod: Some(Reference {
                name: "p".into(),
                uid: "2".into(),
            }),
            ..Bound::default()
        };
        let (token, claims) = tokens.issue(Vec::new(), bound, 600).unwrap();
        assert_eq!(tokens.verifier.verify::<Claims>(&token).unwrap(), claims);
        let user = claims.user();
        assert_eq!(user.name, "system:serviceaccount:a:bot");
        assert_eq!(user.groups, ["system:serviceaccounts", "system:serviceaccounts:a"]);
        assert_eq!(user.extra["authentication.kubernetes.io/pod-name"], ["p"]);
        assert_eq!(claims.aud, ["https://kubernetes.default.svc.cluster.local"]);
    }
}
