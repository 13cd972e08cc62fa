//! Canonical forms of the texts that mean more than text.

use crate::schema::{Form, Schema, Type};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::Value;

/// RFC 3339 in UTC, to the second or to the microsecond.
pub(crate) fn canonical_time(text: &str, micro: bool) -> Result<String, String> {
    let layout = "2006-01-02T15:04:05Z07:00";
    let time: Timestamp = text
        .parse()
        .map_err(|_| format!("parsing time {text:?} as {layout:?}: cannot parse {text:?}"))?;
    Ok(render_time(time, micro))
}

/// The canonical text of a time.
pub(crate) fn render_time(time: Timestamp, micro: bool) -> String {
    let format = if micro {
        "%Y-%m-%dT%H:%M:%S.%6fZ"
    } else {
        "%Y-%m-%dT%H:%M:%SZ"
    };
    time.strftime(format).to_string()
}

/// Base64 as it was, without line breaks.
pub(super) fn canonical_base64(text: &str) -> Result<String, String> {
    let plain: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    match STANDARD.decode(&plain) {
        Ok(_) => Ok(plain),
        Err(base64::DecodeError::InvalidByte(offset, _)) => Err(format!("illegal base64 data at input byte {offset}")),
        Err(_) => Err(format!("illegal base64 data at input byte {}", plain.len())),
    }
}

/// Whether the value is what its type has when nothing is said. Structs and special scalars never count as zero, except
/// an `IntOrString`, whose zero is 0 or the empty text.
pub(crate) fn is_zero(schema: Schema<'_>, r#type: &Type, value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag && *r#type == Type::Bool,
        Value::Number(number) => number.as_f64() == Some(0.0) && scalar(schema, r#type),
        Value::String(text) => text.is_empty() && scalar(schema, r#type),
        Value::Array(items) => items.is_empty() && matches!(r#type, Type::List(_)),
        Value::Object(entries) => entries.is_empty() && matches!(r#type, Type::Map(_)),
    }
}

fn scalar(schema: Schema<'_>, r#type: &Type) -> bool {
    match schema.follow(r#type) {
        Some(target) => target.definition.form == Form::IntOrString,
        None => true,
    }
}
