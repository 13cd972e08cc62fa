//! Signing and verifying service-account tokens (JWT, ES256). What the claims mean is the API server's.

use std::path::Path;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde::{Serialize, de::DeserializeOwned};

use crate::Error;
use crate::files::{read, write_private, write_public};

/// Signs tokens with the cluster's service-account key.
#[derive(Clone)]
pub struct Signer {
    key: EncodingKey,
    key_id: String,
}

/// Verifies the signature and the time claims (`exp`, `nbf`) of tokens.
#[derive(Clone)]
pub struct Verifier {
    keys: Vec<DecodingKey>,
}

/// Writes a fresh P-256 key pair to `key_path` (PKCS#8) and its public half to `public_path`, unless they exist.
pub fn ensure_key_pair(key_path: &Path, public_path: &Path) -> Result<(), Error> {
    if key_path.exists() && public_path.exists() {
        return Ok(());
    }
    let pair = rcgen::KeyPair::generate().map_err(|e| Error::Sign(e.to_string()))?;
    write_private(key_path, &pair.serialize_pem())?;
    write_public(public_path, &pair.public_key_pem())
}

impl Signer {
    /// Reads a PKCS#8 PEM file with a P-256 key.
    pub fn load(key_path: &Path) -> Result<Signer, Error> {
        let pem = read(key_path)?;
        let key = EncodingKey::from_ec_pem(pem.as_bytes()).map_err(|e| Error::content("P-256 key", key_path, e))?;
        let pair = rcgen::KeyPair::from_pem(&pem).map_err(|e| Error::content("P-256 key", key_path, e))?;
        Ok(Signer {
            key,
            key_id: key_id(&pair.public_key_pem()),
        })
    }

    /// The compact token that carries `claims`.
    pub fn sign(&self, claims: &impl Serialize) -> Result<String, Error> {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(self.key_id.clone());
        encode(&header, claims, &self.key).map_err(|e| Error::Sign(e.to_string()))
    }
}

impl Verifier {
    /// Reads the public keys whose tokens are accepted; several overlap while keys rotate.
    pub fn load(public_paths: &[&Path]) -> Result<Verifier, Error> {
        let load = |path: &&Path| {
            let pem = read(path)?;
            DecodingKey::from_ec_pem(pem.as_bytes()).map_err(|e| Error::content("P-256 public key", *path, e))
        };
        Ok(Verifier {
            keys: public_paths.iter().map(load).collect::<Result<_, _>>()?,
        })
    }

    /// The claims of `token`, if one of the keys signed it, it has not expired and it is already valid. The issuer and
    /// the audience are the caller's to check.
    pub fn verify<C: DeserializeOwned>(&self, token: &str) -> Result<C, Error> {
        let mut validation = Validation::new(Algorithm::ES256);
        validation.validate_aud = false;
        validation.validate_nbf = true;
        validation.leeway = 10;
        let mut reason = String::from("no key to verify it with");
        for key in &self.keys {
            match decode::<C>(token, key, &validation) {
                Ok(data) => return Ok(data.claims),
                Err(error) => reason = error.to_string(),
            }
        }
        Err(Error::Token(reason))
    }
}

/// A short stable name of a public key: the start of the SHA-256 of its PEM, base64url.
fn key_id(public_pem: &str) -> String {
    use base64::Engine;
    let digest = ring::digest::digest(&ring::digest::SHA256, public_pem.as_bytes());
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&digest.as_ref()[..16])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn keys(directory: &Path) -> (Signer, Verifier) {
        let (key, public) = (directory.join("sa.key"), directory.join("sa.pub"));
        ensure_key_pair(&key, &public).unwrap();
        (Signer::load(&key).unwrap(), Verifier::load(&[&public]).unwrap())
    }

    #[test]
    fn a_signed_token_verifies_and_a_foreign_or_expired_one_does_not() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (signer, verifier) = keys(here.path());
        let (_, foreign) = keys(there.path());
        let far = 4_000_000_000_u64;
        let token = signer
            .sign(&json!({"sub": "system:serviceaccount:a:b", "exp": far}))
            .unwrap();
        assert_eq!(
            verifier.verify::<Value>(&token).unwrap()["sub"],
            "system:serviceaccount:a:b"
        );
        assert!(foreign.verify::<Value>(&token).is_err());
        let old = signer.sign(&json!({"sub": "x", "exp": 1000})).unwrap();
        assert!(verifier.verify::<Value>(&old).is_err());
        assert!(verifier.verify::<Value>("a.b.c").is_err());
    }
}
