//! Pins: a certificate authority named by a digest that people can carry from one machine to another.
//!
//! A pin is `sha256:` and the SHA-256, in hexadecimal, of the authority's public key as it stands in the certificate
//! (SubjectPublicKeyInfo), as kubeadm writes it. It stays the same when the certificate is renewed for the same key.

/// What every pin begins with.
const PREFIX: &str = "sha256:";
/// Bytes of a SHA-256.
const DIGEST_LENGTH: usize = 32;

/// The public key that is expected of an authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin(Vec<u8>);

impl Pin {
    /// Reads a pin as it is printed. The error says what is wrong.
    pub fn parse(text: &str) -> Result<Pin, String> {
        let digits = text
            .strip_prefix(PREFIX)
            .ok_or_else(|| format!("{text:?} does not begin with {PREFIX}"))?;
        let bytes = unhex(digits).filter(|bytes| bytes.len() == DIGEST_LENGTH);
        bytes
            .map(Pin)
            .ok_or_else(|| format!("{text:?} has to have 64 hexadecimal digits behind {PREFIX}"))
    }

    /// The pin of the first certificate of a PEM text. The error says why it is none.
    pub fn of(cert_pem: &str) -> Result<Pin, String> {
        let (_, block) = x509_parser::pem::parse_x509_pem(cert_pem.as_bytes()).map_err(|e| e.to_string())?;
        let certificate = block.parse_x509().map_err(|e| e.to_string())?;
        let digest = ring::digest::digest(&ring::digest::SHA256, certificate.public_key().raw);
        Ok(Pin(digest.as_ref().to_vec()))
    }
}

impl std::fmt::Display for Pin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{PREFIX}{}", hex(&self.0))
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes of hexadecimal digits, two a byte.
pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| (byte as char).to_digit(16);
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| match pair {
            [high, low] => u8::try_from(digit(*high)? * 16 + digit(*low)?).ok(),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Ca;

    /// Made with openssl, which also gave the digest of its public key.
    const CERTIFICATE: &str = include_str!("pin/ca.crt");
    const DIGEST: &str = include_str!("pin/ca.sha256");

    #[test]
    fn a_pin_is_the_digest_of_the_public_key() {
        assert_eq!(Pin::of(CERTIFICATE).unwrap().to_string(), DIGEST.trim());
    }

    #[test]
    fn a_pin_is_read_as_it_is_written_and_differs_from_that_of_another_key() {
        let pin = |name: &str| Pin::of(Ca::generate(name).unwrap().cert_pem()).unwrap();
        let (one, other) = (pin("kubernetes"), pin("kubernetes"));
        assert_eq!(Pin::parse(&one.to_string()).unwrap(), one);
        assert_ne!(one, other);
        for wrong in ["", "sha256:", "sha256:abc", "md5:00", &one.to_string()[..70]] {
            assert!(Pin::parse(wrong).is_err(), "{wrong}");
        }
        assert!(Pin::of("nonsense").is_err());
    }
}
