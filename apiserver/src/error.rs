//! Why a request was refused. [`ApiError`] is what every part of the server returns; `status` turns it into a `metav1.Status`.
//!
//! The texts are part of the API in practice: kubectl prints them and scripts match them, so they follow upstream's formats.

use serde_json::{Map, Value, json};

/// One problem with one field. Rendered as `path: problem`.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldError {
    /// `spec.containers[0].name`; empty for the object itself.
    pub field: String,
    /// The machine-readable reason in `details.causes`.
    pub reason: &'static str,
    /// The rendered problem, without the field.
    pub message: String,
}

impl FieldError {
    fn new(field: impl Into<String>, reason: &'static str, message: String) -> FieldError {
        FieldError {
            field: field.into(),
            reason,
            message,
        }
    }

    /// The field has to be given.
    pub fn required(field: impl Into<String>, detail: &str) -> FieldError {
        FieldError::new(field, "FieldValueRequired", with_detail("Required value", detail))
    }

    /// The value is malformed.
    pub fn invalid(field: impl Into<String>, value: &Value, detail: &str) -> FieldError {
        FieldError::new(
            field,
            "FieldValueInvalid",
            with_detail(&format!("Invalid value: {}", shown(value)), detail),
        )
    }

    /// The value may not be set here.
    pub fn forbidden(field: impl Into<String>, detail: &str) -> FieldError {
        FieldError::new(field, "FieldValueForbidden", with_detail("Forbidden", detail))
    }

    /// The value is not one of a closed set.
    pub fn not_supported(field: impl Into<String>, value: &Value, supported: &[&str]) -> FieldError {
        let list: Vec<String> = supported.iter().map(|v| format!("{v:?}")).collect();
        let detail = if list.is_empty() {
            String::new()
        } else {
            format!("supported values: {}", list.join(", "))
        };
        FieldError::new(
            field,
            "FieldValueNotSupported",
            with_detail(&format!("Unsupported value: {}", shown(value)), &detail),
        )
    }

    /// The value appears twice where it must be unique.
    pub fn duplicate(field: impl Into<String>, value: &Value) -> FieldError {
        FieldError::new(
            field,
            "FieldValueDuplicate",
            format!("Duplicate value: {}", shown(value)),
        )
    }

    /// The value names something that does not exist.
    pub fn not_found(field: impl Into<String>, value: &Value) -> FieldError {
        FieldError::new(field, "FieldValueNotFound", format!("Not found: {}", shown(value)))
    }

    /// The value has more than `max` bytes.
    pub fn too_long(field: impl Into<String>, max: usize) -> FieldError {
        FieldError::new(
            field,
            "FieldValueTooLong",
            format!("Too long: may not be more than {max} bytes"),
        )
    }

    /// The list has more than `max` items.
    pub fn too_many(field: impl Into<String>, actual: usize, max: usize) -> FieldError {
        FieldError::new(
            field,
            "FieldValueTooMany",
            format!("Too many: {actual}: must have at most {max} items"),
        )
    }

    /// The value was changed and may not be.
    pub fn immutable(field: impl Into<String>, value: &Value) -> FieldError {
        FieldError::invalid(field, value, "field is immutable")
    }

    /// The value has the wrong JSON type.
    pub fn type_invalid(field: impl Into<String>, value: &Value, detail: &str) -> FieldError {
        FieldError::new(
            field,
            "FieldValueTypeInvalid",
            with_detail(&format!("Invalid value: {}", shown(value)), detail),
        )
    }
}

impl std::fmt::Display for FieldError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.field.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.field, self.message)
        }
    }
}

fn with_detail(message: &str, detail: &str) -> String {
    if detail.is_empty() {
        message.to_string()
    } else {
        format!("{message}: {detail}")
    }
}

/// Strings are quoted, everything else is compact JSON, as upstream prints field values.
fn shown(value: &Value) -> String {
    value.to_string()
}

/// A refusal with everything its Status will carry.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    pub code: u16,
    /// `NotFound`, `Conflict`, ...; empty is upstream's "unknown".
    pub reason: &'static str,
    pub message: String,
    /// `Status.details`; empty when there is nothing to say.
    pub details: Map<String, Value>,
    /// A token that continues an expired list, in `Status.metadata.continue`.
    pub resume: Option<String>,
}

impl ApiError {
    /// Any code, reason and message.
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> ApiError {
        ApiError {
            code,
            reason,
            message: message.into(),
            details: Map::new(),
            resume: None,
        }
    }

    /// 404 for an object. `resource` is `pods` or `deployments.apps`.
    pub fn not_found(resource: &str, name: &str) -> ApiError {
        ApiError::new(404, "NotFound", format!("{resource} {name:?} not found")).about(resource, name)
    }

    /// 404 for a path that names no resource.
    pub fn no_such_path() -> ApiError {
        ApiError::new(404, "NotFound", "the server could not find the requested resource")
    }

    /// 409 on create.
    pub fn already_exists(resource: &str, name: &str) -> ApiError {
        ApiError::new(409, "AlreadyExists", format!("{resource} {name:?} already exists")).about(resource, name)
    }

    /// 409 with a reason.
    pub fn conflict(resource: &str, name: &str, why: &str) -> ApiError {
        ApiError::new(
            409,
            "Conflict",
            format!("Operation cannot be fulfilled on {resource} {name:?}: {why}"),
        )
        .about(resource, name)
    }

    /// 409 because the caller's resourceVersion is not the current one.
    pub fn modified(resource: &str, name: &str) -> ApiError {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        ApiError::conflict(resource, name, why)
    }

    /// 422 with one cause per field. `kind` is `Pod` or `Deployment.apps`.
    pub fn invalid(kind: &str, name: &str, errors: Vec<FieldError>) -> ApiError {
        let rendered: Vec<String> = errors.iter().map(FieldError::to_string).collect();
        let problems = if rendered.len() == 1 {
            rendered[0].clone()
        } else {
            format!("[{}]", rendered.join(", "))
        };
        let causes = errors
            .iter()
            .map(|e| json!({"reason": e.reason, "message": e.message, "field": if e.field.is_empty() { "<nil>" } else { &e.field }}))
            .collect();
        let mut error =
            ApiError::new(422, "Invalid", format!("{kind} {name:?} is invalid: {problems}")).about(kind, name);
        error.details.insert("causes".into(), Value::Array(causes));
        error
    }

    /// 403 by authorization or admission: `pods "x" is forbidden: why`.
    pub fn forbidden(resource: &str, name: &str, why: &str) -> ApiError {
        let message = match (resource.is_empty(), name.is_empty()) {
            (true, _) => format!("forbidden: {why}"),
            (false, true) => format!("{resource} is forbidden: {why}"),
            (false, false) => format!("{resource} {name:?} is forbidden: {why}"),
        };
        ApiError::new(403, "Forbidden", message).about(resource, name)
    }

    /// 401.
    pub fn unauthorized() -> ApiError {
        ApiError::new(401, "Unauthorized", "Unauthorized")
    }

    /// 400.
    pub fn bad_request(message: impl Into<String>) -> ApiError {
        ApiError::new(400, "BadRequest", message)
    }

    /// 405.
    pub fn method_not_allowed(resource: &str, action: &str) -> ApiError {
        ApiError::new(
            405,
            "MethodNotAllowed",
            format!("{action} is not supported on resources of kind {resource:?}"),
        )
    }

    /// 406 with the media types this endpoint can produce.
    pub fn not_acceptable(offered: &[&str]) -> ApiError {
        let message = format!("only the following media types are accepted: {}", offered.join(", "));
        ApiError::new(406, "NotAcceptable", message)
    }

    /// 415 with the media types this endpoint can read.
    pub fn unsupported_media_type(accepted: &[&str]) -> ApiError {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {}",
            accepted.join(", ")
        );
        ApiError::new(415, "UnsupportedMediaType", message)
    }

    /// 410: the revision asked for has been compacted.
    pub fn expired(message: impl Into<String>) -> ApiError {
        ApiError::new(410, "Expired", message)
    }

    /// 413.
    pub fn too_large(limit: usize) -> ApiError {
        ApiError::new(
            413,
            "RequestEntityTooLarge",
            format!("Request entity too large: limit is {limit}"),
        )
    }

    /// 429 that asks the client to come back.
    pub fn too_many_requests(message: impl Into<String>, retry_after_seconds: u32) -> ApiError {
        ApiError::new(429, "TooManyRequests", message).retry_after(retry_after_seconds)
    }

    /// 504: the server could not finish in time.
    pub fn timeout(message: impl Into<String>) -> ApiError {
        ApiError::new(504, "Timeout", message)
    }

    /// 503: a local condition that passes.
    pub fn unavailable(message: impl Into<String>) -> ApiError {
        ApiError::new(503, "ServiceUnavailable", message).retry_after(1)
    }

    /// 500.
    pub fn internal(message: impl std::fmt::Display) -> ApiError {
        ApiError::new(500, "InternalError", format!("Internal error occurred: {message}"))
    }

    /// Names the resource (or kind) and object in `details`. `resource` may be `deployments.apps`.
    pub fn about(mut self, resource: &str, name: &str) -> ApiError {
        let (kind, group) = resource.split_once('.').unwrap_or((resource, ""));
        for (key, value) in [("name", name), ("group", group), ("kind", kind)] {
            if !value.is_empty() {
                self.details.insert(key.into(), value.into());
            }
        }
        self
    }

    /// Sets `details.retryAfterSeconds` and thereby the `Retry-After` header.
    pub fn retry_after(mut self, seconds: u32) -> ApiError {
        self.details.insert("retryAfterSeconds".into(), seconds.into());
        self
    }

    /// Adds a cause to `details.causes`.
    pub fn cause(mut self, reason: &str, message: &str, field: &str) -> ApiError {
        let causes = self.details.entry("causes").or_insert_with(|| json!([]));
        if let Value::Array(causes) = causes {
            let mut cause = json!({"reason": reason, "message": message});
            if !field.is_empty() {
                cause["field"] = field.into();
            }
            causes.push(cause);
        }
        self
    }

    /// 409 because the object that has the name is not the one that was meant.
    pub fn other_uid(resource: &str, name: &str, wanted: &str, found: &str) -> ApiError {
        let why = format!("Precondition failed: UID in precondition: {wanted}, UID in object meta: {found}");
        ApiError::conflict(resource, name, &why)
    }

    /// Whether this is [`ApiError::other_uid`].
    pub fn is_other_uid(&self) -> bool {
        self.code == 409 && self.message.contains("UID in precondition")
    }

    /// Whether this is the 404 of a missing object.
    pub fn is_not_found(&self) -> bool {
        self.code == 404
    }
}

/// Why a listener stopped.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("the listening socket failed: {0}")]
    Accept(std::io::Error),
}
