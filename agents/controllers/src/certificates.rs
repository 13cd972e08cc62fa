//! Requests for certificates: what the approver, the signer and the cleaner read of them. The cluster's own signers are
//! `kubernetes.io/kube-apiserver-client`, `.../kube-apiserver-client-kubelet` and `.../kubelet-serving`; whom other signers
//! belong to, those serve.

pub(crate) mod approve;
pub(crate) mod clean;
mod rules;
pub(crate) mod sign;

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use client::{Client, Error, Outcome, Patch, Projection, Resource, WorkQueue};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::limits;
use crate::objects::{Condition, kind};
use crate::run::Context;

pub(crate) const REQUESTS: Resource = Resource::cluster(
    "certificates.k8s.io",
    "v1",
    "CertificateSigningRequest",
    "certificatesigningrequests",
);

const APPROVED: &str = "Approved";
const DENIED: &str = "Denied";
const FAILED: &str = "Failed";

kind!(SigningRequest, RequestSpec, RequestStatus, REQUESTS);

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct RequestSpec {
    /// PEM in base64.
    pub request: String,
    pub signer_name: String,
    pub usages: Vec<String>,
    pub expiration_seconds: Option<i64>,
    pub username: String,
    pub uid: String,
    pub groups: Vec<String>,
    pub extra: BTreeMap<String, Vec<String>>,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct RequestStatus {
    pub conditions: Vec<Condition>,
    /// PEM in base64.
    pub certificate: String,
}

/// A condition that holds.
fn condition(kind: &str, reason: &str, message: &str) -> Condition {
    Condition {
        kind: kind.into(),
        status: "True".into(),
        reason: reason.into(),
        message: message.into(),
        ..Condition::default()
    }
}

impl SigningRequest {
    fn condition(&self, kind: &str) -> Option<&Condition> {
        self.status.conditions.iter().find(|condition| condition.kind == kind)
    }

    fn is(&self, kind: &str) -> bool {
        self.condition(kind).is_some_and(|condition| condition.status == "True")
    }

    fn is_issued(&self) -> bool {
        !self.status.certificate.is_empty()
    }

    /// What is asked for. The error says what is wrong with it.
    fn parse(&self) -> Result<pki::csr::Request, String> {
        pki::csr::Request::parse(&text(&self.spec.request))
    }
}

/// Looks at every request, and again whenever it changes.
async fn each<F>(
    component: &'static str,
    context: &Context,
    reconcile: impl Fn(Arc<SigningRequest>) -> F,
) -> Result<(), Error>
where
    F: Future<Output = Result<Outcome, Error>>,
{
    let requests = context.informers.watch::<SigningRequest>();
    let queue = Arc::new(WorkQueue::new());
    let to = queue.clone();
    let _subscription = requests.subscribe(move |change| to.add(change.key()));
    client::work(component, queue, limits::WORKERS, context.stop.clone(), |key| {
        let looking = requests.get_key(&key).map(&reconcile);
        async move {
            match looking {
                Some(looking) => looking.await,
                None => Ok(Outcome::Done),
            }
        }
    })
    .await
}

/// Text that the API carries as base64; empty if it is none.
fn text(encoded: &str) -> String {
    let bytes = STANDARD.decode(encoded).unwrap_or_default();
    String::from_utf8(bytes).unwrap_or_default()
}

/// Writes to a subresource of the request as it was observed; a conflict if it has changed since. That it is gone is fine.
async fn write(client: &Client, request: &SigningRequest, subresource: &str, status: Value) -> Result<(), Error> {
    let meta = &request.metadata;
    let metadata = json!({ "uid": meta.uid, "resourceVersion": meta.resource_version });
    let body = json!({ "metadata": metadata, "status": status });
    let written = client
        .patch::<Value>(
            &SigningRequest::RESOURCE,
            &meta.key(),
            Some(subresource),
            Patch::Merge,
            &body,
        )
        .await;
    match written {
        Err(error) if error.is_not_found() => Ok(()),
        written => written.map(|_| ()),
    }
}

/// The conditions with one more.
fn with(request: &SigningRequest, condition: Condition) -> Value {
    let mut conditions = request.status.conditions.clone();
    conditions.push(condition);
    json!({ "conditions": conditions })
}

#[cfg(test)]
mod testing;
