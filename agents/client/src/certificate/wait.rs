//! Following one request until something became of it.

use std::sync::Arc;

use base64::Engine;
use serde::Deserialize;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::REQUESTS;
use crate::{Cache, Client, Error, Meta, Projection, Resource, Scope};

/// Why there is no certificate.
pub(super) enum Refused {
    /// This request will never get one.
    Final(String),
    /// Not yet.
    Late(String),
    Error(Error),
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Refused::Error(error)
    }
}

/// What is read of a request.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct Asked {
    metadata: Meta,
    status: Status,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct Status {
    conditions: Vec<Condition>,
    /// PEM in base64.
    certificate: String,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    message: String,
}

impl Projection for Asked {
    const RESOURCE: Resource = REQUESTS;

    fn meta(&self) -> &Meta {
        &self.metadata
    }
}

/// The certificate that the request called `name` gets.
pub(super) async fn certificate(client: &Client, name: &str) -> Result<String, Refused> {
    let stop = CancellationToken::new();
    let _stop = stop.clone().drop_guard();
    let scope = Scope::fields(format!("metadata.name={name}"));
    let requests = Cache::<Asked>::follow(client.clone(), REQUESTS, scope, stop);
    let changed = Arc::new(Notify::new());
    let told = changed.clone();
    let _subscription = requests.subscribe(move |_| told.notify_one());
    requests.synced().await;
    loop {
        match requests.get("", name) {
            // It existed a moment ago.
            None => return Err(Refused::Final(format!("the request {name} was deleted"))),
            Some(request) => {
                if let Some(end) = end(name, &request.status) {
                    return end;
                }
            }
        }
        changed.notified().await;
    }
}

/// What became of a request, if anything did.
fn end(name: &str, status: &Status) -> Option<Result<String, Refused>> {
    let refused = status
        .conditions
        .iter()
        .find(|condition| matches!(condition.kind.as_str(), "Denied" | "Failed"));
    if let Some(condition) = refused {
        let (kind, message) = (&condition.kind, &condition.message);
        return Some(Err(Refused::Final(format!("the request {name} is {kind}: {message}"))));
    }
    if status.certificate.is_empty() {
        return None;
    }
    let bytes = base64::engine::general_purpose::STANDARD.decode(&status.certificate);
    let text = bytes.ok().and_then(|bytes| String::from_utf8(bytes).ok());
    Some(text.ok_or_else(|| Refused::Final(format!("the request {name} got what is no certificate"))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn a_request_ends_with_a_certificate_or_a_refusal() {
        let end = |status: Value| match end("x", &serde_json::from_value(status).unwrap()) {
            None => "open".to_owned(),
            Some(Ok(certificate)) => certificate,
            Some(Err(Refused::Final(why))) => why,
            Some(Err(_)) => "another error".to_owned(),
        };
        assert_eq!(end(json!({})), "open");
        assert_eq!(end(json!({ "conditions": [{ "type": "Approved" }] })), "open");
        assert_eq!(end(json!({ "certificate": "YQ==" })), "a");
        let denied = json!({ "conditions": [{ "type": "Denied", "message": "no" }] });
        assert_eq!(end(denied), "the request x is Denied: no");
    }
}
