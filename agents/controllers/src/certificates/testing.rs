//! Requests for tests.

use super::SigningRequest;
use base64::Engine;
use serde_json::{Value, json};

/// A request `r` of 2026-01-01T00:00:00Z by `who` for this leaf.
pub(crate) fn request(who: &str, signer: &str, usages: &[&str], leaf: &pki::Leaf, status: Value) -> SigningRequest {
    let pem = pki::csr::request(leaf).unwrap().request_pem;
    let pem = base64::engine::general_purpose::STANDARD.encode(pem);
    serde_json::from_value(json!({
        "metadata": { "name": "r", "creationTimestamp": "2026-01-01T00:00:00Z" },
        "spec": { "request": pem, "signerName": signer, "usages": usages, "username": who },
        "status": status,
    }))
    .unwrap()
}

/// What a kubelet of node `a` asks for as a client.
pub(crate) fn kubelet() -> pki::Leaf {
    pki::kubeadm::client("system:node:a", "system:nodes")
}

/// A condition since this time on 2026-01-01.
pub(crate) fn since(kind: &str, time: &str) -> Value {
    json!({ "type": kind, "status": "True", "lastUpdateTime": format!("2026-01-01T{time}Z") })
}

pub(crate) const CLIENT_USAGES: [&str; 2] = ["client auth", "digital signature"];
