//! Approves kubelets' requests for client certificates, if whoever asks may: a new node by the right to create
//! `certificatesigningrequests/nodeclient`, a node for itself by `.../selfnodeclient`. Everything else is for people to
//! approve.

use std::sync::Arc;

use client::{Error, Outcome, Resource};
use serde::Deserialize;
use serde_json::json;

use super::{APPROVED, DENIED, SigningRequest, condition, each, rules, with, write};
use crate::limits;
use crate::run::Context;

const REVIEWS: Resource = Resource::cluster(
    "authorization.k8s.io",
    "v1",
    "SubjectAccessReview",
    "subjectaccessreviews",
);

/// A right that is reason enough to approve: the subresource that stands for it, and what is said on approval.
type Ground = (&'static str, &'static str);

const SELF: Ground = (
    "selfnodeclient",
    "Auto approving self kubelet client certificate after SubjectAccessReview.",
);
const NODE: Ground = (
    "nodeclient",
    "Auto approving kubelet client certificate after SubjectAccessReview.",
);

/// Runs the controller.
pub(crate) async fn run(context: Context) -> Result<(), Error> {
    each("csr-approving", &context, |request| reconcile(&context, request)).await
}

async fn reconcile(context: &Context, request: Arc<SigningRequest>) -> Result<Outcome, Error> {
    let grounds = grounds(&request);
    for (right, message) in &grounds {
        if may(context, &request, right).await? {
            let approved = with(&request, condition(APPROVED, "AutoApproved", message));
            write(&context.client, &request, "approval", approved).await?;
            return Ok(Outcome::Done);
        }
    }
    match grounds.is_empty() {
        true => Ok(Outcome::Done),
        // The right may yet be granted.
        false => Ok(Outcome::After(limits::APPROVAL_RETRY)),
    }
}

/// The rights any of which is enough, in the order they are asked for; none if there is nothing to decide here.
fn grounds(request: &SigningRequest) -> Vec<Ground> {
    let decided = request.is_issued() || request.condition(APPROVED).or(request.condition(DENIED)).is_some();
    if decided || request.spec.signer_name != rules::KUBELET_CLIENT {
        return Vec::new();
    }
    match request.parse() {
        Ok(asked) if rules::kubelet_client(&asked, &request.spec.usages).is_ok() => {
            let own = asked.common_name == request.spec.username;
            own.then_some(SELF).into_iter().chain([NODE]).collect()
        }
        _ => Vec::new(),
    }
}

#[derive(Deserialize)]
struct Review {
    status: ReviewStatus,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ReviewStatus {
    allowed: bool,
}

async fn may(context: &Context, request: &SigningRequest, right: &str) -> Result<bool, Error> {
    let spec = &request.spec;
    let attributes = json!({ "group": "certificates.k8s.io", "resource": "certificatesigningrequests", "version": "*",
        "verb": "create", "subresource": right });
    let review = json!({ "spec": { "user": spec.username, "uid": spec.uid, "groups": spec.groups, "extra": spec.extra,
        "resourceAttributes": attributes } });
    let answer: Review = context.client.create(&REVIEWS, None, &review).await?;
    Ok(answer.status.allowed)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{CLIENT_USAGES, kubelet, request, since};
    use super::*;
    use serde_json::Value;

    fn rights(who: &str, signer: &str, usages: &[&str], status: Value) -> Vec<&'static str> {
        let request = request(who, signer, usages, &kubelet(), status);
        grounds(&request).into_iter().map(|(right, _)| right).collect()
    }

    #[test]
    fn a_kubelets_request_is_approved_by_who_asks() {
        let of = |who| rights(who, rules::KUBELET_CLIENT, &CLIENT_USAGES, json!({}));
        assert_eq!(of("system:node:a"), ["selfnodeclient", "nodeclient"]);
        assert_eq!(of("system:bootstrap:abcdef"), ["nodeclient"]);
        assert_eq!(of("system:node:b"), ["nodeclient"]);
    }

    #[test]
    fn what_is_decided_or_not_a_kubelets_is_let_alone() {
        let none: [&str; 0] = [];
        for status in [
            json!({ "conditions": [since(APPROVED, "00:00:00")] }),
            json!({ "conditions": [since(DENIED, "00:00:00")] }),
            json!({ "certificate": "x" }),
        ] {
            assert_eq!(rights("a", rules::KUBELET_CLIENT, &CLIENT_USAGES, status), none);
        }
        assert_eq!(rights("a", rules::CLIENT, &CLIENT_USAGES, json!({})), none);
        assert_eq!(rights("a", rules::KUBELET_SERVING, &CLIENT_USAGES, json!({})), none);
        assert_eq!(rights("a", rules::KUBELET_CLIENT, &["client auth"], json!({})), none);
    }
}
