//! Removes requests nobody needs any more: an hour after they were denied, failed, or approved and signed, a day after they were
//! approved and nobody signed, or made and nobody decided, and when the certificate they got is over. Whoever asked has fetched its certificate long before.

use std::sync::Arc;
use std::time::Duration;

use client::{DeleteOptions, Error, Outcome, Preconditions};
use jiff::{SignedDuration, Timestamp};

use super::{APPROVED, DENIED, FAILED, REQUESTS, SigningRequest, each, text};
use crate::limits;
use crate::run::Context;

/// Runs the controller.
pub(crate) async fn run(context: Context) -> Result<(), Error> {
    each("csr-cleaner", &context, |request| reconcile(&context, request)).await
}

async fn reconcile(context: &Context, request: Arc<SigningRequest>) -> Result<Outcome, Error> {
    let Some(due) = due(&request) else {
        return Ok(Outcome::Done);
    };
    let left = Duration::try_from(due.duration_since(Timestamp::now())).unwrap_or_default();
    if !left.is_zero() {
        return Ok(Outcome::After(left.min(limits::LOOK_MAX)));
    }
    let options = DeleteOptions {
        preconditions: Some(Preconditions {
            uid: Some(request.metadata.uid.clone()),
            resource_version: Some(request.metadata.resource_version.clone()),
        }),
        ..DeleteOptions::default()
    };
    match context
        .client
        .delete(&REQUESTS, &request.metadata.key(), &options)
        .await
    {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(Outcome::Done),
    }
}

/// When a request is of no more use. `None` if it does not say since when it is what it is.
fn due(request: &SigningRequest) -> Option<Timestamp> {
    let conditions = &request.status.conditions;
    if conditions.is_empty() {
        return after(request.metadata.creation_timestamp, limits::REQUEST_PENDING_MAX);
    }
    let decided = conditions.iter().filter_map(|condition| {
        let wait = match condition.kind.as_str() {
            // Its signer may be away.
            APPROVED if !request.is_issued() => limits::REQUEST_PENDING_MAX,
            APPROVED | DENIED | FAILED => limits::REQUEST_DECIDED_MAX,
            _ => return None,
        };
        after(condition.last_update_time, wait)
    });
    decided.chain(certificate_end(request)).min()
}

fn after(time: Option<Timestamp>, wait: Duration) -> Option<Timestamp> {
    let wait = SignedDuration::try_from(wait).ok()?;
    time?.checked_add(wait).ok()
}

fn certificate_end(request: &SigningRequest) -> Option<Timestamp> {
    let end = pki::pem_expiry(&text(&request.status.certificate)).ok()?;
    Timestamp::try_from(end).ok()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{kubelet, request, since};
    use super::*;
    use base64::Engine;
    use serde_json::{Value, json};

    fn due_at(status: Value) -> Option<String> {
        let request = request("a", "example.com/x", &["any"], &kubelet(), status);
        due(&request).map(|due| due.to_string())
    }

    #[test]
    fn a_request_goes_an_hour_after_its_decision_or_a_day_without_one() {
        let decided = |kind| due_at(json!({ "conditions": [since(kind, "05:00:00")] }));
        assert_eq!(due_at(json!({})).unwrap(), "2026-01-02T00:00:00Z");
        for kind in [DENIED, FAILED] {
            assert_eq!(decided(kind).unwrap(), "2026-01-01T06:00:00Z", "{kind}");
        }
        assert_eq!(
            decided(APPROVED).unwrap(),
            "2026-01-02T05:00:00Z",
            "nobody has signed it"
        );
        let issued = json!({ "conditions": [since(APPROVED, "05:00:00")], "certificate": "eA==" });
        assert_eq!(due_at(issued).unwrap(), "2026-01-01T06:00:00Z");
        assert_eq!(decided("SomebodysOwn"), None);
        assert_eq!(
            due_at(json!({ "conditions": [{ "type": DENIED, "status": "True" }] })),
            None
        );
        let twice = json!({ "conditions": [since(APPROVED, "05:00:00"), since(FAILED, "04:00:00")] });
        assert_eq!(due_at(twice).unwrap(), "2026-01-01T05:00:00Z");
    }

    #[test]
    fn a_request_goes_with_its_certificate() {
        let ca = pki::Ca::generate("x").unwrap();
        let asked = pki::csr::Request::parse(&pki::csr::request(&kubelet()).unwrap().request_pem).unwrap();
        let hour = Duration::from_secs(3600);
        let now: Timestamp = "2026-01-01T05:00:00Z".parse().unwrap();
        let signed = ca.sign(&asked, pki::csr::Usages::default(), hour / 2, now.into());
        let certificate = base64::engine::general_purpose::STANDARD.encode(signed.unwrap());
        let issued = json!({ "conditions": [since(APPROVED, "05:00:00")], "certificate": certificate });
        assert_eq!(due_at(issued).unwrap(), "2026-01-01T05:30:00Z");
    }
}
