//! From bytes to an object.
//!
//! One walk over body and schema together checks types, collects unknown and duplicate fields, drops nulls and zero
//! values that mean "absent", and canonicalises quantities, times and base64. JSON and protobuf bodies of the same object
//! decode to equal values.

mod scalars;
mod walk;

use crate::error::DecodeError;
use crate::gvk::Gvk;
use crate::limits::{STRICT_ERRORS_MAX, YAML_NODES_MAX};
use crate::protobuf;
use crate::schema::{Schema, registry};
pub(crate) use scalars::{is_zero, render_time};
use serde::Deserialize;
use serde_json::Value;
use walk::Outcome;

/// The encoding of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaType {
    /// `application/json`
    Json,
    /// `application/yaml`
    Yaml,
    /// `application/vnd.kubernetes.protobuf`
    Protobuf,
}

impl MediaType {
    /// From a Content-Type; an empty one means JSON. Parameters are ignored.
    pub fn parse(content_type: &str) -> Option<MediaType> {
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        match essence.to_ascii_lowercase().as_str() {
            "" | "application/json" | "*/*" | "application/*" => Some(MediaType::Json),
            "application/yaml" | "application/x-yaml" => Some(MediaType::Yaml),
            "application/vnd.kubernetes.protobuf" => Some(MediaType::Protobuf),
            _ => None,
        }
    }

    /// As it stands in a Content-Type.
    pub fn as_str(&self) -> &'static str {
        match self {
            MediaType::Json => "application/json",
            MediaType::Yaml => "application/yaml",
            MediaType::Protobuf => "application/vnd.kubernetes.protobuf",
        }
    }
}

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
const ACCEPTED: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf";

/// What happens to unknown and duplicate fields. They are dropped in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum FieldValidation {
    /// Silently.
    Ignore,
    /// With a warning each.
    #[default]
    Warn,
    /// The request is refused.
    Strict,
}

impl FieldValidation {
    /// The query parameter; empty means the default.
    pub fn parse(text: &str) -> Option<FieldValidation> {
        match text {
            "Ignore" => Some(FieldValidation::Ignore),
            "" | "Warn" => Some(FieldValidation::Warn),
            "Strict" => Some(FieldValidation::Strict),
            _ => None,
        }
    }
}

/// An acceptable object.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    /// With `apiVersion` and `kind`.
    pub value: Value,
    /// What it is.
    pub gvk: Gvk,
    /// For the `Warning` header.
    pub warnings: Vec<String>,
}

/// Decodes a body that should be a built-in kind. An expected kind of `DeleteOptions` accepts it in any group version.
pub fn decode(
    content_type: &str,
    body: &[u8],
    expected: &Gvk,
    validation: FieldValidation,
) -> Result<Decoded, DecodeError> {
    let media = MediaType::parse(content_type).ok_or(DecodeError::UnsupportedMediaType { accepted: ACCEPTED })?;
    let schema = schema_of(expected)?;
    let (value, warnings) = match media {
        MediaType::Json => from_json(schema, body, expected, validation)?,
        MediaType::Yaml => from_value(schema, decode_yaml(body)?, expected, validation)?,
        MediaType::Protobuf => (from_protobuf(schema, body, expected)?, Vec::new()),
    };
    identify(value, warnings, expected)
}

/// Checks an object that did not come as bytes: a patched one, or one that another component built. Nothing is defaulted.
pub fn conform(
    schema: Schema<'_>,
    value: Value,
    validation: FieldValidation,
) -> Result<(Value, Vec<String>), DecodeError> {
    let named = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_string();
    let gvk = Gvk::parse(&named("apiVersion"), &named("kind"));
    let outcome = walk::run(schema, value).map_err(|message| invalid(&gvk, message))?;
    judge(outcome, &gvk, validation)
}

/// Reads YAML (or JSON) without a schema, for apply patches.
pub fn decode_yaml(body: &[u8]) -> Result<Value, DecodeError> {
    let text = std::str::from_utf8(body).map_err(DecodeError::malformed)?;
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_nodes: YAML_NODES_MAX },
    };
    let value: Value = serde_saphyr::from_str_with_options(text, options)
        .map_err(|error| DecodeError::malformed(format!("error parsing YAML: {error}")))?;
    if value.is_object() {
        Ok(value)
    } else {
        Err(DecodeError::malformed("error parsing YAML: the body is not an object"))
    }
}

fn schema_of(expected: &Gvk) -> Result<Schema<'static>, DecodeError> {
    let found = match expected.kind.as_ref() {
        "DeleteOptions" => registry().definition("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions"),
        _ => registry().schema(expected),
    };
    found.ok_or_else(|| DecodeError::Mismatch {
        message: format!(
            "no kind {:?} is registered for version {:?}",
            expected.kind,
            expected.api_version()
        ),
    })
}

/// The two fields that every body has.
#[derive(Deserialize)]
struct Named {
    #[serde(default, rename = "apiVersion")]
    api_version: Option<String>,
    #[serde(default)]
    kind: Option<String>,
}

fn from_json(
    schema: Schema<'_>,
    body: &[u8],
    expected: &Gvk,
    validation: FieldValidation,
) -> Result<(Value, Vec<String>), DecodeError> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let outcome = walk::run(schema, &mut deserializer);
    let outcome = match outcome {
        Ok(outcome) => deserializer.end().map(|()| outcome).map_err(malformed_json)?,
        // A body of another kind fails at a field that has another type there; say what it really is.
        Err(message) => match serde_json::from_slice::<Named>(body) {
            Ok(named) => {
                check_identity(named.api_version.as_deref(), named.kind.as_deref(), expected)?;
                return Err(invalid(expected, message));
            }
            Err(error) if error.is_data() => return Err(invalid(expected, message)),
            Err(error) => return Err(malformed_json(error)),
        },
    };
    check_value_identity(&outcome.value, expected)?;
    judge(outcome, expected, validation)
}

pub(crate) fn malformed_json(error: serde_json::Error) -> DecodeError {
    DecodeError::malformed(format!("couldn't get version/kind; json parse error: {error}"))
}

fn from_value(
    schema: Schema<'_>,
    body: Value,
    expected: &Gvk,
    validation: FieldValidation,
) -> Result<(Value, Vec<String>), DecodeError> {
    check_value_identity(&body, expected)?;
    let outcome = walk::run(schema, body).map_err(|message| invalid(expected, message))?;
    judge(outcome, expected, validation)
}

fn from_protobuf(schema: Schema<'_>, body: &[u8], expected: &Gvk) -> Result<Value, DecodeError> {
    let envelope = protobuf::Envelope::parse(body)?;
    check_identity(Some(&envelope.api_version), Some(&envelope.kind), expected)?;
    let mut value = protobuf::decode_message(schema, &envelope.raw)?;
    if !envelope.kind.is_empty() {
        value["apiVersion"] = envelope.api_version.into();
        value["kind"] = envelope.kind.into();
    }
    Ok(value)
}

fn invalid(gvk: &Gvk, message: String) -> DecodeError {
    DecodeError::Invalid {
        kind: gvk.kind.to_string(),
        version: gvk.version.to_string(),
        message,
    }
}

/// The `metadata` of an object whose other fields are of no known type; yields it with what is unknown or there twice.
pub(crate) fn metadata(metadata: Value, gvk: &Gvk) -> Result<(Value, Vec<String>), DecodeError> {
    let schema = registry()
        .definition(OBJECT_META)
        .ok_or_else(|| DecodeError::malformed("no ObjectMeta"))?;
    let outcome = walk::run_below(schema, "metadata", metadata).map_err(|message| invalid(gvk, message))?;
    Ok((outcome.value, outcome.strict_errors))
}

fn judge(outcome: Outcome, gvk: &Gvk, validation: FieldValidation) -> Result<(Value, Vec<String>), DecodeError> {
    judge_fields(outcome.value, outcome.strict_errors, gvk, validation)
}

/// What unknown and duplicate fields come to.
pub(crate) fn judge_fields(
    value: Value,
    mut errors: Vec<String>,
    gvk: &Gvk,
    validation: FieldValidation,
) -> Result<(Value, Vec<String>), DecodeError> {
    errors.truncate(STRICT_ERRORS_MAX);
    match validation {
        FieldValidation::Ignore => Ok((value, Vec::new())),
        FieldValidation::Warn => Ok((value, errors)),
        FieldValidation::Strict if errors.is_empty() => Ok((value, errors)),
        FieldValidation::Strict => Err(DecodeError::Strict {
            kind: gvk.kind.to_string(),
            version: gvk.version.to_string(),
            errors,
        }),
    }
}

pub(crate) fn check_value_identity(value: &Value, expected: &Gvk) -> Result<(), DecodeError> {
    let text = |key: &str| value.get(key).and_then(Value::as_str);
    check_identity(text("apiVersion"), text("kind"), expected)
}

/// Either name may be missing; one that is there must be right.
fn check_identity(api_version: Option<&str>, kind: Option<&str>, expected: &Gvk) -> Result<(), DecodeError> {
    let (api_version, kind) = (api_version.unwrap_or_default(), kind.unwrap_or_default());
    if !kind.is_empty() && kind != expected.kind {
        return Err(DecodeError::Mismatch {
            message: format!(
                "{kind} in version {:?} cannot be handled as a {}: the kind of the body does not match the URL",
                api_version.rsplit('/').next().unwrap_or_default(),
                expected.kind
            ),
        });
    }
    if expected.kind != "DeleteOptions" && !api_version.is_empty() && api_version != expected.api_version() {
        return Err(DecodeError::Mismatch {
            message: format!(
                "the API version in the data ({api_version}) does not match the expected API version ({})",
                expected.api_version()
            ),
        });
    }
    Ok(())
}

fn identify(mut value: Value, warnings: Vec<String>, expected: &Gvk) -> Result<Decoded, DecodeError> {
    let gvk = match Gvk::from_object(&value) {
        Some(found) if expected.kind == "DeleteOptions" => found,
        _ => expected.clone(),
    };
    value["apiVersion"] = gvk.api_version().into();
    value["kind"] = gvk.kind.as_ref().into();
    Ok(Decoded { value, gvk, warnings })
}

#[cfg(test)]
mod tests;
