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
        let text = serde_saphyr::to_string(&document).context("cannot encode a kubeconfig")?;
        Ok(pki::write_private(path, &text)?)
    }
}

fn embed(path: &Path) -> anyhow::Result<String> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(STANDARD.encode(bytes))
}
