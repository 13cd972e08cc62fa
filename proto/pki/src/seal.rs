//! Sealing files that travel through the API: whoever may read the Secret they lie in learns nothing without the key.
//!
//! AES-256-GCM with the nonce before the ciphertext, as kubeadm seals what `upload-certs` uploads; the key is 32 bytes, which
//! people carry as 64 hexadecimal digits. A key is made for one upload of a few files, so random nonces do not meet.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};

use crate::pin::{hex, unhex};

const KEY_LENGTH: usize = 32;

/// What seals and opens.
pub struct SealKey([u8; KEY_LENGTH]);

impl SealKey {
    /// A new key.
    pub fn generate() -> Result<SealKey, String> {
        let mut bytes = [0; KEY_LENGTH];
        let filled = SystemRandom::new().fill(&mut bytes);
        filled.map_err(|_| "the system gives no random bytes")?;
        Ok(SealKey(bytes))
    }

    /// Reads a key as it is printed. The error does not repeat it.
    pub fn parse(text: &str) -> Result<SealKey, String> {
        let bytes = unhex(text).and_then(|bytes| bytes.try_into().ok());
        bytes
            .map(SealKey)
            .ok_or_else(|| format!("must be {} hexadecimal digits", 2 * KEY_LENGTH))
    }

    /// The key for people to carry.
    pub fn reveal(&self) -> String {
        hex(&self.0)
    }

    /// Seals `content`.
    pub fn seal(&self, content: &[u8]) -> Result<Vec<u8>, String> {
        let mut nonce = [0; NONCE_LEN];
        let filled = SystemRandom::new().fill(&mut nonce);
        filled.map_err(|_| "the system gives no random bytes")?;
        let mut sealed = content.to_vec();
        let done =
            self.cipher()?
                .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut sealed);
        done.map_err(|_| "it is too long to be sealed")?;
        Ok([&nonce[..], &sealed].concat())
    }

    /// Opens what [`SealKey::seal`] made with the same key; anything else is refused.
    pub fn open(&self, sealed: &[u8]) -> Result<Vec<u8>, String> {
        let wrong = "it was sealed with another key, or changed since";
        let (nonce, rest) = sealed.split_at_checked(NONCE_LEN).ok_or(wrong)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| wrong)?;
        let mut content = rest.to_vec();
        let opened = self.cipher()?.open_in_place(nonce, Aad::empty(), &mut content);
        let length = opened.map_err(|_| wrong)?.len();
        content.truncate(length);
        Ok(content)
    }

    fn cipher(&self) -> Result<LessSafeKey, String> {
        let key = UnboundKey::new(&AES_256_GCM, &self.0).map_err(|_| "the key is not usable")?;
        Ok(LessSafeKey::new(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_key_opens_what_was_sealed_and_not_changed() {
        let key = SealKey::generate().unwrap();
        let sealed = key.seal(b"secret").unwrap();
        assert_ne!(sealed, key.seal(b"secret").unwrap(), "nonces differ");
        let again = SealKey::parse(&key.reveal()).unwrap();
        assert_eq!(again.open(&sealed).unwrap(), b"secret");
        assert!(SealKey::generate().unwrap().open(&sealed).is_err());
        for place in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[place] ^= 1;
            assert!(key.open(&changed).is_err(), "byte {place}");
        }
        assert!(key.open(b"short").is_err());
    }

    #[test]
    fn a_key_has_64_digits_and_is_not_repeated_when_it_is_wrong() {
        for wrong in ["", "abcd", &"g".repeat(64), &"a".repeat(65)] {
            let error = SealKey::parse(wrong).err().unwrap();
            assert!(wrong.is_empty() || !error.contains(wrong), "{error}");
        }
    }
}
