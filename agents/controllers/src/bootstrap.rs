//! Bootstrap tokens: `cluster-info` is signed with each of them, and those that are over are removed.

pub(crate) mod clean;
pub(crate) mod sign;

use std::collections::BTreeMap;

use api::bootstrap_tokens::{self, BootstrapToken};
use client::{Meta, Projection, Resource, Scope};
use serde::Deserialize;

/// The Secret of a token.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct TokenSecret {
    pub metadata: Meta,
    #[serde(rename = "type")]
    kind: String,
    /// In base64.
    data: BTreeMap<String, String>,
}

impl Projection for TokenSecret {
    const RESOURCE: Resource = Resource::namespaced("", "v1", "Secret", "secrets");

    fn meta(&self) -> &Meta {
        &self.metadata
    }
}

impl TokenSecret {
    fn token(&self) -> Option<BootstrapToken> {
        BootstrapToken::read(&self.metadata.name, &self.kind, &self.data)
    }
}

/// Only these Secrets are followed.
pub(crate) fn tokens() -> Scope {
    Scope {
        namespace: Some(bootstrap_tokens::NAMESPACE.into()),
        fields: Some(format!("type={}", bootstrap_tokens::SECRET_TYPE)),
        ..Scope::default()
    }
}

#[cfg(test)]
mod testing {
    use super::TokenSecret;
    use base64::Engine;
    use serde_json::json;

    /// The Secret of a token with this id and further entries.
    pub(super) fn secret(id: &str, more: &[(&str, &str)]) -> TokenSecret {
        let mut data = json!({});
        let all = [
            ("token-id", id),
            ("token-secret", "0123456789abcdef"),
            ("usage-bootstrap-signing", "true"),
        ];
        for (key, value) in all.iter().chain(more) {
            data[key] = json!(base64::engine::general_purpose::STANDARD.encode(value));
        }
        let name = format!("bootstrap-token-{id}");
        let secret = json!({ "metadata": { "name": name }, "type": "bootstrap.kubernetes.io/token", "data": data });
        serde_json::from_value(secret).unwrap()
    }
}
