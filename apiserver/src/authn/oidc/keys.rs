//! The public keys of an issuer: found through its discovery document, kept for an hour, asked for again when a token names one that
//! is not known.

use super::part;
use crate::outbound::remote::Remote;
use arc_swap::ArcSwapOption;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, Validation, decode, decode_header};
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// Between two tries to fetch keys, at least: whoever invents key ids cannot make this server ask more often.
pub const RETRY: Duration = Duration::from_secs(10);
/// Keys older than this are fetched again, so that one that was withdrawn does not count for long.
const REFRESH: Duration = Duration::from_secs(3600);
/// Keys older than this count for nothing: an issuer that cannot be reached for so long cannot withdraw any.
const STALE: Duration = Duration::from_secs(24 * 3600);
const TIMEOUT: Duration = Duration::from_secs(10);
const KEYS_MAX: usize = 128;
/// A modulus shorter than this, in bytes, can be broken.
const RSA_BYTES_MIN: usize = 256;

/// See the module.
pub struct Keys {
    issuer: String,
    discovery: Remote,
    ca: Vec<u8>,
    known: ArcSwapOption<Known>,
    /// When keys were last asked for; held while they are.
    tried: Mutex<Option<Instant>>,
}

struct Known {
    keys: Vec<Key>,
    since: Instant,
}

struct Key {
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    key: DecodingKey,
}

impl Keys {
    /// The keys that `issuer` publishes. `discovery`: where it says so, under `ca` (PEM).
    pub fn new(issuer: &str, discovery: &str, ca: &[u8]) -> Result<Keys, String> {
        Ok(Keys {
            issuer: issuer.into(),
            discovery: Remote::new(discovery, ca)?,
            ca: ca.to_vec(),
            known: ArcSwapOption::empty(),
            tried: Mutex::default(),
        })
    }

    /// The claims of a token, if one of the keys signed it. When it is valid and for whom is the caller's to check.
    pub(super) async fn verify(&self, token: &str) -> Result<Value, String> {
        let header = decode_header(token)
            .map_err(|_| "its header cannot be read, or names an algorithm that is not supported")?;
        // What a header calls critical changes what the token means, in ways that are not known here.
        let raw = token
            .split('.')
            .next()
            .and_then(part)
            .ok_or("its header cannot be read")?;
        if raw.get("crit").is_some() {
            return Err("its header has critical parts that are not known".into());
        }
        let (id, algorithm) = (header.kid.as_deref(), header.alg);
        let known = self.current().await?;
        match claims(&known, token, id, algorithm) {
            Ok(claims) => Ok(claims),
            // The key may be newer than what is known.
            Err(Unverified::NoKey) => {
                let newer = self.newer_than(known.since).await?;
                claims(&newer, token, id, algorithm).map_err(|error| error.to_string())
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// Keys that are fresh, or as fresh as can be had.
    async fn current(&self) -> Result<Arc<Known>, String> {
        let known = self.known.load_full();
        let age = known.as_ref().map(|known| known.since.elapsed());
        match (known, age) {
            (Some(known), Some(age)) if age < REFRESH => Ok(known),
            // While somebody fetches them, the others go on with what there is.
            (Some(known), Some(age)) if age < STALE && self.tried.try_lock().is_err() => Ok(known),
            (Some(known), Some(age)) if age < STALE => match self.newer_than(known.since).await {
                Ok(newer) => Ok(newer),
                Err(why) => {
                    tracing::debug!(issuer = self.issuer, why, "cannot refresh an issuer's keys");
                    Ok(known)
                }
            },
            (known, _) => self.newer_than_any(known.map(|known| known.since)).await,
        }
    }

    async fn newer_than(&self, since: Instant) -> Result<Arc<Known>, String> {
        self.newer_than_any(Some(since)).await
    }

    async fn newer_than_any(&self, since: Option<Instant>) -> Result<Arc<Known>, String> {
        let mut tried = self.tried.lock().await;
        // Somebody else may have fetched them meanwhile.
        if let Some(known) = self.known.load_full()
            && Some(known.since) > since
        {
            return Ok(known);
        }
        if tried.is_some_and(|tried| tried.elapsed() < RETRY) {
            return Err("its issuer's keys are not known, and were asked for a moment ago".into());
        }
        *tried = Some(Instant::now());
        let keys = self.fetch().await;
        let keys =
            keys.inspect_err(|why| tracing::warn!(issuer = self.issuer, why, "cannot fetch an issuer's keys"))?;
        let known = Arc::new(Known {
            keys,
            since: Instant::now(),
        });
        self.known.store(Some(known.clone()));
        Ok(known)
    }

    async fn fetch(&self) -> Result<Vec<Key>, String> {
        let document = self.discovery.get(TIMEOUT).await?;
        if document["issuer"] != self.issuer.as_str() {
            return Err("the discovery document is of another issuer".into());
        }
        let place = document["jwks_uri"]
            .as_str()
            .ok_or("the discovery document has no jwks_uri")?;
        let keys = Remote::new(place, &self.ca)?.get(TIMEOUT).await?;
        let keys = keys["keys"].as_array().ok_or("the issuer's keys have no list")?;
        Ok(keys.iter().take(KEYS_MAX).filter_map(key).collect())
    }
}

#[derive(Debug, PartialEq, thiserror::Error)]
enum Unverified {
    #[error("its key is not one of its issuer's")]
    NoKey,
    #[error("its signature is not good")]
    Signature,
}

fn claims(known: &Known, token: &str, id: Option<&str>, algorithm: Algorithm) -> Result<Value, Unverified> {
    let meant = |key: &&Key| match (id, key.id.as_deref()) {
        (Some(wanted), Some(id)) => wanted == id,
        _ => true,
    };
    let mut outcome = Unverified::NoKey;
    for key in known.keys.iter().filter(meant) {
        if !key.algorithms.contains(&algorithm) {
            continue;
        }
        let mut validation = Validation::new(algorithm);
        // The rules look at the claims, all at one time.
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        match decode::<Value>(token, &key.key, &validation) {
            Ok(data) => return Ok(data.claims),
            Err(_) if id.is_some() && key.id.is_some() => outcome = Unverified::Signature,
            Err(_) => {}
        }
    }
    Err(outcome)
}

/// A published key, if tokens can be signed with it. What it is for is decided here, by its kind, and never by a token.
fn key(published: &Value) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(published.clone()).ok()?;
    if !matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature)) {
        return None;
    }
    let kind: &[Algorithm] = match &jwk.algorithm {
        AlgorithmParameters::RSA(rsa) => {
            let modulus = URL_SAFE_NO_PAD.decode(&rsa.n).ok()?;
            let length = modulus.iter().skip_while(|byte| **byte == 0).count();
            if length < RSA_BYTES_MIN {
                return None;
            }
            AlgorithmFamily::Rsa.algorithms()
        }
        AlgorithmParameters::EllipticCurve(ec) => match ec.curve {
            EllipticCurve::P256 => &[Algorithm::ES256],
            EllipticCurve::P384 => &[Algorithm::ES384],
            _ => return None,
        },
        // Symmetric keys that somebody published are everybody's.
        _ => return None,
    };
    let named = jwk.common.key_algorithm;
    let algorithms: Vec<Algorithm> = kind
        .iter()
        .copied()
        .filter(|algorithm| named.is_none_or(|named| named == KeyAlgorithm::from(*algorithm)))
        .collect();
    (!algorithms.is_empty()).then_some(Key {
        id: jwk.common.key_id.clone(),
        algorithms,
        key: DecodingKey::from_jwk(&jwk).ok()?,
    })
}
