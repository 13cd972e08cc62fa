//! Certificate signing requests: what is asked for is fixed, who asks is set by the server, and whether it is granted is said through
//! `approval` by those who may.

use super::RequestContext;
use super::check::{self, Errors};
use super::declared::{Declared, PLAIN};
use super::fields::{at, list, number, text};
use super::strategy::{SelectableField, Subresource};
use super::table::{NAME, age, column, human_duration, name};
use crate::FieldError;
use base64::Engine;
use serde_json::{Value, json};

/// The shortest certificate that may be asked for, as upstream decided.
const SECONDS_MIN: i64 = 600;

/// `certificatesigningrequests.certificates.k8s.io`.
pub const REQUESTS: Declared = Declared {
    columns: &[
        NAME,
        super::table::AGE,
        column("SignerName", "string", "Who is to sign."),
        column("Requestor", "string", "Who asks."),
        column("RequestedDuration", "string", "For how long."),
        column("Condition", "string", "What became of it."),
    ],
    cells: |request, now| {
        let duration = match at(request, "spec.expirationSeconds").and_then(Value::as_i64) {
            Some(seconds) => human_duration(seconds),
            None => "<none>".to_owned(),
        };
        vec![
            name(request),
            age(request, now),
            json!(text(request, "spec.signerName")),
            json!(text(request, "spec.username")),
            json!(duration),
            json!(condition(request)),
        ]
    },
    check: request,
    fixed: &["spec"],
    subresources: &[("approval", Subresource::Object), ("status", Subresource::Object)],
    fields: &[SelectableField::text("spec.signerName")],
    name_rule: super::strategy::NameRule::PathSegment,
    prepare: requested_by,
    ..PLAIN
};

/// Who asks is who the server says it is; nothing is granted yet.
fn requested_by(context: &RequestContext, request: &mut Value) {
    let user = &context.user;
    request["spec"]["username"] = json!(user.name);
    request["spec"]["groups"] = json!(user.groups);
    for (field, value) in [("uid", json!(user.uid)), ("extra", json!(user.extra))] {
        let given = !matches!(&value, Value::String(text) if text.is_empty())
            && !matches!(&value, Value::Object(map) if map.is_empty());
        match given {
            true => request["spec"][field] = value,
            false => {
                if let Value::Object(spec) = &mut request["spec"] {
                    spec.remove(field);
                }
            }
        }
    }
}

fn condition(request: &Value) -> String {
    let has = |kind: &str| {
        list(request, "status.conditions")
            .iter()
            .any(|c| text(c, "type") == kind)
    };
    let mut words: Vec<&str> = match (has("Denied"), has("Approved")) {
        (true, _) => vec!["Denied"],
        (_, true) => vec!["Approved"],
        _ => vec!["Pending"],
    };
    if has("Failed") {
        words.push("Failed");
    }
    if !text(request, "status.certificate").is_empty() {
        words.push("Issued");
    }
    words.join(",")
}

fn request(errors: &mut Errors, request: &Value) {
    let spec = &request["spec"];
    let pem = base64::engine::general_purpose::STANDARD
        .decode(text(spec, "request"))
        .unwrap_or_default();
    let pem = String::from_utf8_lossy(&pem);
    if !pem.contains("-----BEGIN CERTIFICATE REQUEST-----") && !pem.contains("-----BEGIN NEW CERTIFICATE REQUEST-----")
    {
        let detail = "PEM block type must be CERTIFICATE REQUEST";
        errors.push(FieldError::invalid("spec.request", &spec["request"], detail));
    }
    let signer = text(spec, "signerName");
    if !signer.is_empty()
        && signer
            .split_once('/')
            .is_none_or(|(domain, path)| !domain.contains('.') || path.is_empty())
    {
        let detail = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
        errors.push(FieldError::invalid("spec.signerName", &json!(signer), detail));
    }
    if list(spec, "usages").is_empty() {
        errors.push(FieldError::required("spec.usages", "usages must be provided"));
    }
    if at(spec, "expirationSeconds").is_some() && number(spec, "expirationSeconds") < SECONDS_MIN {
        check::at_least(errors, spec, "spec", "expirationSeconds", SECONDS_MIN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_condition_tells_the_whole_story() {
        let with = |types: &[&str], certificate: &str| {
            let conditions: Vec<Value> = types.iter().map(|kind| json!({"type": kind})).collect();
            condition(&json!({"status": {"conditions": conditions, "certificate": certificate}}))
        };
        assert_eq!(with(&[], ""), "Pending");
        assert_eq!(with(&["Approved"], "x"), "Approved,Issued");
        assert_eq!(with(&["Denied", "Failed"], ""), "Denied,Failed");
    }
}
