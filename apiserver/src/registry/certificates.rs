//! Certificate signing requests: what is asked for is fixed, who asks is set by the server. Whether it is granted is said through
//! `approval`, and what became of it through `status`, each by those who may (admission asks per signer).

mod validate;

use super::RequestContext;
use super::declared::schema_problems;
use super::fields::{at, list, rfc3339, text};
use super::strategy::*;
use super::table::{NAME, age, column, human_duration, name};
use crate::FieldError;
use jiff::Timestamp;
use serde_json::{Value, json};

/// The name code uses for the resource.
pub(crate) const RESOURCE: &str = "certificatesigningrequests.certificates.k8s.io";

/// The request itself. The error says what is wrong with it.
pub(crate) fn parse(request: &Value) -> Result<pki::csr::Request, String> {
    pki::csr::Request::parse(&validate::decoded(request, "spec.request"))
}

const APPROVED: &str = "Approved";
const DENIED: &str = "Denied";
const FAILED: &str = "Failed";

/// The strategy of `certificatesigningrequests`.
pub struct Requests;

const COLUMNS: &[Column] = &[
    NAME,
    super::table::AGE,
    column("SignerName", "string", "Who is to sign."),
    column("Requestor", "string", "Who asks."),
    column("RequestedDuration", "string", "For how long."),
    column("Condition", "string", "What became of it."),
];

#[async_trait::async_trait]
impl Strategy for Requests {
    /// Everybody may call a request what they like.
    fn name_rule(&self) -> NameRule {
        NameRule::PathSegment
    }

    fn subresource(&self, name: &str) -> Option<Subresource<'_>> {
        matches!(name, "approval" | "status").then_some(Subresource::Object)
    }

    /// Who asks is who the server says it is; nothing is granted yet.
    fn prepare_for_create(&self, context: &RequestContext, request: &mut Value) {
        request["status"] = json!({});
        let Value::Object(spec) = &mut request["spec"] else {
            return;
        };
        let user = &context.user;
        spec.insert("username".into(), json!(user.name));
        for (field, value, given) in [
            ("uid", json!(user.uid), !user.uid.is_empty()),
            ("groups", json!(user.groups), !user.groups.is_empty()),
            ("extra", json!(user.extra), !user.extra.is_empty()),
        ] {
            match given {
                true => spec.insert(field.into(), value),
                false => spec.remove(field),
            };
        }
    }

    fn prepare_for_update(&self, _context: &RequestContext, subresource: &str, old: &Value, new: &mut Value) {
        copy_field(new, old, "spec");
        match subresource {
            "" => copy_field(new, old, "status"),
            "approval" => {
                let conditions = at(new, "status.conditions").cloned();
                keep_all_but(new, old, "status");
                copy_field(new, old, "status");
                set_conditions(new, conditions);
                stamp(new, old);
            }
            _ => {
                keep_all_but(new, old, "status");
                // What the signer sends back of the approval may be old, as long as it takes nothing away.
                preserve(new, old, APPROVED);
                preserve(new, old, DENIED);
                stamp(new, old);
            }
        }
    }

    fn validate(&self, request: &Value) -> Vec<FieldError> {
        let mut errors = schema_problems(request);
        validate::spec(&mut errors, &request["spec"]);
        errors
    }

    fn validate_update(&self, subresource: &str, new: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        validate::status(&mut errors, new);
        validate::change(&mut errors, subresource, new, old);
        errors
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, request: &Value, now: Timestamp) -> Cells {
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
    }

    fn selectable_fields(&self) -> &'static [SelectableField] {
        const FIELDS: &[SelectableField] = &[SelectableField::text("spec.signerName")];
        FIELDS
    }
}

fn set_conditions(request: &mut Value, conditions: Option<Value>) {
    if !request["status"].is_object() {
        request["status"] = json!({});
    }
    match conditions {
        Some(conditions) => request["status"]["conditions"] = conditions,
        None => remove(&mut request["status"], "conditions"),
    }
}

/// Keeps the conditions of a type as they were. If their number changed, validation says so.
fn preserve(new: &mut Value, old: &Value, kind: &str) {
    let Some(Value::Array(conditions)) = new.get_mut("status").and_then(|status| status.get_mut("conditions")) else {
        return;
    };
    let of_kind = |condition: &&Value| text(condition, "type") == kind;
    let before: Vec<&Value> = list(old, "status.conditions").iter().filter(of_kind).collect();
    let now: Vec<&mut Value> = conditions
        .iter_mut()
        .filter(|condition| text(condition, "type") == kind)
        .collect();
    if before.len() == now.len() {
        now.into_iter()
            .zip(before)
            .for_each(|(now, before)| *now = before.clone());
    }
}

/// Fills in when each condition was updated and when it came to be.
fn stamp(new: &mut Value, old: &Value) {
    let now = json!(rfc3339(Timestamp::now()));
    let Some(Value::Array(conditions)) = new.get_mut("status").and_then(|status| status.get_mut("conditions")) else {
        return;
    };
    for condition in conditions.iter_mut().filter(|condition| condition.is_object()) {
        if text(condition, "lastUpdateTime").is_empty() {
            condition["lastUpdateTime"] = now.clone();
        }
        if text(condition, "lastTransitionTime").is_empty() {
            let same = |before: &&Value| ["type", "status"].iter().all(|f| text(before, f) == text(condition, f));
            let before = list(old, "status.conditions").iter().find(same);
            let since = before.and_then(|before| at(before, "lastTransitionTime")).cloned();
            condition["lastTransitionTime"] = since.unwrap_or_else(|| now.clone());
        }
    }
}

fn has(request: &Value, kind: &str) -> bool {
    list(request, "status.conditions")
        .iter()
        .any(|c| text(c, "type") == kind)
}

fn condition(request: &Value) -> String {
    let mut words: Vec<&str> = match (has(request, DENIED), has(request, APPROVED)) {
        (true, _) => vec![DENIED],
        (_, true) => vec![APPROVED],
        _ => vec!["Pending"],
    };
    if has(request, FAILED) {
        words.push(FAILED);
    }
    if !text(request, "status.certificate").is_empty() {
        words.push("Issued");
    }
    words.join(",")
}

#[cfg(test)]
mod tests;
