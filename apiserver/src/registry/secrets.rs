//! Secrets: data in base64, a type that fixes which keys there must be and never changes.

use super::check::{self, Errors};
use super::fields::{at, child, entries, text};
use super::strategy::*;
use super::table::{AGE, NAME, age, column, name};
use super::{RequestContext, configmaps};
use crate::FieldError;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// The strategy of `secrets`.
pub struct Secrets;

const COLUMNS: &[Column] = &[
    NAME,
    column("Type", "string", "What the secret is for."),
    column("Data", "string", "How many keys it has."),
    AGE,
];

/// The keys each type needs.
const NEEDED: &[(&str, &[&str])] = &[
    ("kubernetes.io/dockercfg", &[".dockercfg"]),
    ("kubernetes.io/dockerconfigjson", &[".dockerconfigjson"]),
    ("kubernetes.io/tls", &["tls.crt", "tls.key"]),
    ("kubernetes.io/ssh-auth", &["ssh-privatekey"]),
];

#[async_trait::async_trait]
impl Strategy for Secrets {
    fn prepare_for_create(&self, _context: &RequestContext, secret: &mut Value) {
        fold_string_data(secret);
        if text(secret, "type").is_empty() {
            secret["type"] = json!("Opaque");
        }
    }

    fn prepare_for_update(&self, _context: &RequestContext, _subresource: &str, old: &Value, new: &mut Value) {
        fold_string_data(new);
        if text(new, "type").is_empty() {
            copy_field(new, old, "type");
        }
    }

    fn validate(&self, secret: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        configmaps::keys(&mut errors, secret, "data");
        configmaps::size(&mut errors, secret, &["data"]);
        let kind = text(secret, "type");
        let has = |key: &str| at(secret, "data").is_some_and(|data| data.get(key).is_some());
        for key in NEEDED.iter().filter(|(t, _)| *t == kind).flat_map(|(_, keys)| *keys) {
            if !has(key) {
                errors.push(FieldError::required(format!("data[{key}]"), ""));
            }
        }
        match kind {
            "kubernetes.io/basic-auth" if !has("username") && !has("password") => {
                errors.push(FieldError::required("data[username]", ""));
                errors.push(FieldError::required("data[password]", ""));
            }
            "kubernetes.io/service-account-token" => {
                let account =
                    at(secret, "metadata.annotations").and_then(|a| a.get("kubernetes.io/service-account.name"));
                if account.and_then(Value::as_str).unwrap_or_default().is_empty() {
                    let field = "metadata.annotations[kubernetes.io/service-account.name]";
                    errors.push(FieldError::required(field, ""));
                }
            }
            _ => {}
        }
        errors
    }

    fn validate_update(&self, _subresource: &str, new: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = self.validate(new);
        check::unchanged(&mut errors, new, old, "type");
        configmaps::immutable(&mut errors, new, old, &["data"]);
        errors
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, secret: &Value, now: jiff::Timestamp) -> Cells {
        vec![
            name(secret),
            json!(text(secret, "type")),
            json!(entries(secret, "data").count()),
            age(secret, now),
        ]
    }

    fn selectable_fields(&self) -> &'static [SelectableField] {
        const FIELDS: &[SelectableField] = &[SelectableField::text("type")];
        FIELDS
    }
}

/// `stringData` is for writing only: its plain values go into `data`.
fn fold_string_data(secret: &mut Value) {
    let Some(given) = secret.as_object_mut().and_then(|map| map.remove("stringData")) else {
        return;
    };
    for (key, value) in given.as_object().into_iter().flatten() {
        let encoded = STANDARD.encode(value.as_str().unwrap_or_default());
        child(secret, "data").insert(key.clone(), json!(encoded));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn string_data_is_stored_as_data() {
        let mut secret = json!({"stringData": {"a": "b"}});
        Secrets.prepare_for_create(&RequestContext::default(), &mut secret);
        assert_eq!(secret, json!({"data": {"a": "Yg=="}, "type": "Opaque"}));
    }

    #[test]
    fn types_need_their_keys_and_stay() {
        assert_eq!(
            Secrets
                .validate(&json!({"type": "kubernetes.io/tls", "data": {"tls.crt": ""}}))
                .len(),
            1
        );
        let (a, b) = (json!({"type": "Opaque"}), json!({"type": "x"}));
        assert_eq!(Secrets.validate_update("", &b, &a).len(), 1);
    }
}
