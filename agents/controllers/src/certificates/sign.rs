//! Signs approved requests for the cluster's own signers. What a signer does not sign is marked as failed, with the reason.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use client::{Error, Outcome};
use pki::csr::{Request, Usages};
use serde_json::json;

use super::{APPROVED, DENIED, FAILED, SigningRequest, condition, each, rules, with, write};
use crate::config::Signing;
use crate::limits;
use crate::run::Context;

/// What is to become of a request.
enum Decision {
    /// Nothing, or nothing by us.
    Nothing,
    Fail(String),
    Sign(Box<Request>, Usages, Duration),
}

/// Runs the controller.
pub(crate) async fn run(context: Context, signing: Arc<Signing>) -> Result<(), Error> {
    each("csr-signing", &context, |request| {
        reconcile(&context, &signing, request)
    })
    .await
}

async fn reconcile(context: &Context, signing: &Signing, request: Arc<SigningRequest>) -> Result<Outcome, Error> {
    let status = match decide(&request, signing.duration) {
        Decision::Nothing => return Ok(Outcome::Done),
        Decision::Fail(why) => with(&request, condition(FAILED, "SignerValidationFailure", &why)),
        Decision::Sign(asked, usages, validity) => {
            match signing.authority.sign(&asked, usages, validity, SystemTime::now()) {
                Ok(certificate) => json!({ "certificate": STANDARD.encode(certificate) }),
                // Not the request's fault: an administrator may mend it, or another master's authority be better.
                Err(error) => {
                    tracing::warn!(request = request.metadata.name, %error, "cannot sign, trying again later");
                    return Ok(Outcome::After(limits::SIGNING_RETRY));
                }
            }
        }
    };
    write(&context.client, &request, "status", status).await?;
    Ok(Outcome::Done)
}

fn decide(request: &SigningRequest, longest: Duration) -> Decision {
    let approved = request.is(APPROVED) && request.condition(DENIED).is_none();
    let ours = [rules::CLIENT, rules::KUBELET_CLIENT, rules::KUBELET_SERVING];
    let open = approved && !request.is_issued() && !request.is(FAILED);
    if !open || !ours.contains(&request.spec.signer_name.as_str()) {
        return Decision::Nothing;
    }
    let asked = match request.parse() {
        Ok(asked) => asked,
        Err(why) => return Decision::Fail(why),
    };
    match rules::permits(&request.spec.signer_name, &asked, &request.spec.usages) {
        None => Decision::Nothing,
        Some(Err(why)) => Decision::Fail(why),
        Some(Ok(())) => Decision::Sign(
            Box::new(asked),
            rules::granted(&request.spec.usages),
            validity(request.spec.expiration_seconds, longest),
        ),
    }
}

/// What is asked for, within bounds; the longest if nothing is.
fn validity(seconds: Option<i64>, longest: Duration) -> Duration {
    let asked = seconds.map(|seconds| Duration::from_secs(seconds.max(0).unsigned_abs()));
    asked.map_or(longest, |asked| asked.max(limits::CERTIFICATE_MIN).min(longest))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{CLIENT_USAGES, kubelet, request, since};
    use super::*;
    use serde_json::Value;

    const YEAR: Duration = Duration::from_secs(365 * 86_400);

    fn outcome(signer: &str, usages: &[&str], status: Value) -> String {
        match decide(&request("a", signer, usages, &kubelet(), status), YEAR) {
            Decision::Nothing => "nothing".into(),
            Decision::Fail(why) => why,
            Decision::Sign(asked, usages, _) => {
                assert_eq!(asked.common_name, "system:node:a");
                assert!(usages.client && !usages.server && !usages.key_encipherment);
                "signed".into()
            }
        }
    }

    #[test]
    fn only_what_is_approved_and_open_is_signed() {
        let signer = rules::KUBELET_CLIENT;
        let with = |conditions: &[&str], certificate: &str| {
            let conditions: Vec<Value> = conditions.iter().map(|kind| since(kind, "00:00:00")).collect();
            let status = json!({ "conditions": conditions, "certificate": certificate });
            outcome(signer, &CLIENT_USAGES, status)
        };
        assert_eq!(with(&[APPROVED], ""), "signed");
        assert_eq!(with(&[], ""), "nothing");
        assert_eq!(with(&[APPROVED, DENIED], ""), "nothing");
        assert_eq!(with(&[APPROVED, FAILED], ""), "nothing");
        assert_eq!(with(&[APPROVED], "x"), "nothing");
    }

    #[test]
    fn what_is_against_the_rules_fails_and_what_is_for_others_waits() {
        let approved = || json!({ "conditions": [since(APPROVED, "00:00:00")] });
        assert_eq!(outcome("example.com/x", &CLIENT_USAGES, approved()), "nothing");
        let failed = outcome(rules::KUBELET_CLIENT, &["client auth"], approved());
        assert!(failed.contains("usages did not match"), "{failed}");
        let mut broken = request("a", rules::CLIENT, &CLIENT_USAGES, &kubelet(), approved());
        broken.spec.request = String::new();
        assert!(matches!(decide(&broken, YEAR), Decision::Fail(why) if why.contains("PEM")));
    }

    #[test]
    fn a_certificate_lives_as_long_as_is_asked_for_within_bounds() {
        let minutes = |count: u64| Duration::from_secs(count * 60);
        assert_eq!(validity(None, YEAR), YEAR);
        assert_eq!(validity(Some(3600), YEAR), minutes(60));
        assert_eq!(validity(Some(60), YEAR), minutes(10));
        assert_eq!(validity(Some(i64::MAX), YEAR), YEAR);
        assert_eq!(validity(Some(-1), YEAR), minutes(10));
        assert_eq!(validity(Some(3600), minutes(5)), minutes(5));
    }
}
