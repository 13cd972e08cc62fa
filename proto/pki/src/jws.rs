//! Detached signatures over `cluster-info`: whoever knows a bootstrap token's secret can tell that the text is the cluster's.
//!
//! They are JWS (RFC 7515) in compact form with HS256, the token's id as `kid` and the payload left out, as kubeadm makes and
//! checks them.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;

/// The signature of `content` with the token's secret.
pub fn sign(content: &str, token_id: &str, token_secret: &str) -> String {
    let header = header(token_id);
    let key = hmac::Key::new(hmac::HMAC_SHA256, token_secret.as_bytes());
    let mac = hmac::sign(&key, signed_part(&header, content).as_bytes());
    format!("{header}..{}", URL_SAFE_NO_PAD.encode(mac))
}

/// Whether `signature` is the one [`sign`] makes. Takes as long for a wrong one as for the right one.
pub fn verify(signature: &str, content: &str, token_id: &str, token_secret: &str) -> bool {
    let header = header(token_id);
    let mac = signature
        .strip_prefix(&format!("{header}.."))
        .and_then(|mac| URL_SAFE_NO_PAD.decode(mac).ok());
    let key = hmac::Key::new(hmac::HMAC_SHA256, token_secret.as_bytes());
    mac.is_some_and(|mac| hmac::verify(&key, signed_part(&header, content).as_bytes(), &mac).is_ok())
}

fn header(token_id: &str) -> String {
    let id = serde_json::Value::from(token_id);
    URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"HS256","kid":{id}}}"#))
}

fn signed_part(header: &str, content: &str) -> String {
    format!("{header}.{}", URL_SAFE_NO_PAD.encode(content))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTENT: &str = "The keys to this cluster hang beside the door.";

    /// Computed by another implementation of HMAC-SHA256 over the same parts.
    #[test]
    fn the_signature_is_a_compact_jws_without_its_payload() {
        let signature = sign(CONTENT, "kettle", "a9f3c27d51e80b46");
        assert_eq!(
            signature,
            "eyJhbGciOiJIUzI1NiIsImtpZCI6ImtldHRsZSJ9..83qM0C-LYN7jOOoZfJBcxy_uqclg3Df4iimsxuFzEBU"
        );
    }

    #[test]
    fn only_the_same_content_id_and_secret_verify() {
        let signature = sign(CONTENT, "abcdef", "secret");
        assert!(verify(&signature, CONTENT, "abcdef", "secret"));
        assert!(!verify(&signature, "other", "abcdef", "secret"));
        assert!(!verify(&signature, CONTENT, "fedcba", "secret"));
        assert!(!verify(&signature, CONTENT, "abcdef", "other"));
        assert!(!verify("", CONTENT, "abcdef", "secret"));
    }
}
