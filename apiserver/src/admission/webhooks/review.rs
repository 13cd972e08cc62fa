//! The AdmissionReview: what a webhook is asked, and what its answer means. Pure.

use super::matching::operation;
use crate::admission::{AdmissionRequest, Operation};
use crate::registry::fields::{at, flag, list, text};
use crate::{ApiError, User};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

const API_VERSION: &str = "admission.k8s.io/v1";
const KIND: &str = "AdmissionReview";

/// What a webhook says about a request.
pub(super) struct Verdict {
    /// The refusal, if it is one.
    pub refused: Option<ApiError>,
    pub patch: Option<json_patch::Patch>,
    pub warnings: Vec<String>,
}

/// The question.
pub(super) fn question(request: &AdmissionRequest<'_>, uid: &str, object: &Value, old: &Value) -> Value {
    let kind = json!({"group": request.kind_group, "version": request.kind_version, "kind": request.kind});
    let resource = json!({"group": request.group, "version": request.version, "resource": request.resource});
    let mut question = json!({
        "uid": uid, "kind": kind, "resource": resource, "requestKind": kind, "requestResource": resource,
        "name": request.name, "operation": operation(request.operation), "userInfo": user(request.user),
        "object": object, "oldObject": old, "dryRun": request.dry_run, "options": options(request),
    });
    if !request.subresource.is_empty() {
        question["subResource"] = request.subresource.into();
        question["requestSubResource"] = request.subresource.into();
    }
    if !request.namespace.is_empty() {
        question["namespace"] = request.namespace.into();
    }
    json!({"apiVersion": API_VERSION, "kind": KIND, "request": question})
}

fn user(user: &User) -> Value {
    let mut info = json!({"username": user.name, "groups": user.groups});
    if !user.uid.is_empty() {
        info["uid"] = user.uid.as_str().into();
    }
    if !user.extra.is_empty() {
        info["extra"] = json!(user.extra);
    }
    info
}

fn options(request: &AdmissionRequest<'_>) -> Value {
    let kind = match request.operation {
        Operation::Create => "CreateOptions",
        Operation::Update => "UpdateOptions",
        Operation::Delete => "DeleteOptions",
        Operation::Connect => return Value::Null,
    };
    let mut options = json!({"kind": kind, "apiVersion": "meta.k8s.io/v1"});
    if request.dry_run {
        options["dryRun"] = json!(["All"]);
    }
    options
}

/// The answer, or why it is none.
pub(super) fn answer(webhook: &str, uid: &str, body: &[u8]) -> Result<Verdict, String> {
    let review: Value = serde_json::from_slice(body).map_err(|error| format!("the answer is not JSON: {error}"))?;
    if (text(&review, "apiVersion"), text(&review, "kind")) != (API_VERSION, KIND) {
        return Err(format!("expected webhook response of {API_VERSION}, Kind={KIND}"));
    }
    let response = at(&review, "response").ok_or("webhook response was absent")?;
    if text(response, "uid") != uid {
        return Err(format!(
            "expected response.uid={uid:?}, got {:?}",
            text(response, "uid")
        ));
    }
    let warnings = list(response, "warnings")
        .iter()
        .filter_map(Value::as_str)
        .map(str::to_owned);
    Ok(Verdict {
        refused: (!flag(response, "allowed")).then(|| refusal(webhook, &response["status"])),
        patch: patch(response)?,
        warnings: warnings.collect(),
    })
}

fn patch(response: &Value) -> Result<Option<json_patch::Patch>, String> {
    let encoded = text(response, "patch");
    if encoded.is_empty() {
        return Ok(None);
    }
    if text(response, "patchType") != "JSONPatch" {
        return Err(format!(
            "webhook returned response.patchType={:?}, expected JSONPatch",
            text(response, "patchType")
        ));
    }
    let bytes = STANDARD
        .decode(encoded)
        .map_err(|error| format!("response.patch: {error}"))?;
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|error| format!("response.patch: {error}"))
}

/// Upstream's sentence; code and reason are the webhook's if it gives any.
fn refusal(webhook: &str, status: &Value) -> ApiError {
    let (message, reason) = (text(status, "message"), text(status, "reason"));
    let why = match (message, reason) {
        ("", "") => "without explanation".to_owned(),
        ("", reason) => format!(": {reason}"),
        (message, _) => format!(": {message}"),
    };
    let glue = if why.starts_with(':') { "" } else { " " };
    let code = status
        .get("code")
        .and_then(Value::as_u64)
        .filter(|code| (400..600).contains(code));
    let code = code.map_or(403, |code| code as u16);
    let known = [
        "Forbidden",
        "Invalid",
        "Conflict",
        "BadRequest",
        "NotFound",
        "Unauthorized",
        "TooManyRequests",
    ];
    let reason = known.into_iter().find(|known| *known == reason);
    let text = format!("admission webhook {webhook:?} denied the request{glue}{why}");
    let mut error = ApiError::new(code, reason.unwrap_or(if code == 403 { "Forbidden" } else { "" }), text);
    if let Some(Value::Object(details)) = at(status, "details") {
        error.details = Map::clone(details);
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(response: Value) -> Result<Verdict, String> {
        let review = json!({"apiVersion": API_VERSION, "kind": KIND, "response": response});
        answer("a.b.c", "u", review.to_string().as_bytes())
    }

    #[test]
    fn answers_are_believed_only_when_they_are_answers() {
        assert!(said(json!({"uid": "u", "allowed": true})).unwrap().refused.is_none());
        assert!(said(json!({"uid": "other", "allowed": true})).is_err());
        assert!(answer("w", "u", b"{}").is_err());
        assert!(
            said(json!({"uid": "u", "allowed": true, "patch": "W10="})).is_err(),
            "no patch type"
        );
        let patched = said(json!({"uid": "u", "allowed": true, "patch": "W10=", "patchType": "JSONPatch"}));
        assert!(patched.unwrap().patch.is_some());
    }

    #[test]
    fn refusals_are_told_as_upstream_tells_them() {
        let refused = |status: Value| said(json!({"uid": "u", "status": status})).unwrap().refused.unwrap();
        let error = refused(json!({"message": "no", "code": 400, "reason": "BadRequest"}));
        assert_eq!(error.message, "admission webhook \"a.b.c\" denied the request: no");
        assert_eq!((error.code, error.reason), (400, "BadRequest"));
        let error = refused(json!({}));
        assert_eq!(
            error.message,
            "admission webhook \"a.b.c\" denied the request without explanation"
        );
        assert_eq!((error.code, error.reason), (403, "Forbidden"));
    }
}
