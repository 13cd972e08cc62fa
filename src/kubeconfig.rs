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
        let context = format!("{}@proreus", self.user);
        let document = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "proreus", "cluster": {
                "certificate-authority-data": embed(self.ca)?, "server": self.server}}],
            "users": [{"name": self.user, "user": {
                "client-certificate-data": embed(self.cert)?, "client-key-data": embed(self.key)?}}],
            "contexts": [{"name": context, "context": {"cluster": "proreus", "user": self.user}}],
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

fn embed(path: &Path) -> anyhow::Result<String> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(STANDARD.encode(bytes))
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
