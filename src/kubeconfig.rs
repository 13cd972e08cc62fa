//! Writing kubeconfig files with embedded certificates.

use std::path::Path;

use anyhow::Context;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::json;

/// Who a kubeconfig file speaks as, and to what. Paths are PEM files, embedded into the result.
pub struct Kubeconfig<'a> {
    /// `https://host:port`
    pub server: &'a str,
    pub user: &'a str,
    pub ca: &'a Path,
    pub cert: &'a Path,
    pub key: &'a Path,
}

impl Kubeconfig<'_> {
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        let (ca, cert, key) = (read(self.ca)?, read(self.cert)?, read(self.key)?);
        Kubeconfig::write_texts(path, self.server, self.user, &ca, &cert, &key)
    }

    /// The same of PEM texts.
    pub fn write_texts(path: &Path, server: &str, user: &str, ca: &str, cert: &str, key: &str) -> anyhow::Result<()> {
        let context = format!("{user}@proreus");
        let document = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "proreus", "cluster": {
                "certificate-authority-data": STANDARD.encode(ca), "server": server}}],
            "users": [{"name": user, "user": {
                "client-certificate-data": STANDARD.encode(cert), "client-key-data": STANDARD.encode(key)}}],
            "contexts": [{"name": context, "context": {"cluster": "proreus", "user": user}}],
            "current-context": context,
            "preferences": {},
        });
        let options = serde_saphyr::ser_options! {
            // Certificates stay on their line, where scripts cut them out.
            prefer_block_scalars: false,
        };
        let text = serde_saphyr::to_string_with_options(&document, options).context("cannot encode a kubeconfig")?;
        Ok(pki::write_private(path, &text)?)
    }
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_on_one_line() {
        let directory = tempfile::tempdir().unwrap();
        let pem = directory.path().join("pem");
        std::fs::write(&pem, "x y\n".repeat(100)).unwrap();
        let path = directory.path().join("admin.conf");
        let config = Kubeconfig {
            server: "https://127.0.0.1:6443",
            user: "admin",
            ca: &pem,
            cert: &pem,
            key: &pem,
        };
        config.write(&path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let embedded = STANDARD.encode(std::fs::read(&pem).unwrap());
        for field in [
            "certificate-authority-data",
            "client-certificate-data",
            "client-key-data",
        ] {
            assert!(text.contains(&format!("{field}: {embedded}\n")), "{text}");
        }
    }
}
