//! JSON values to messages.

use super::wire::{put_bytes, put_double, put_int};
use crate::error::EncodeError;
use crate::schema::{Field, Form, Message, Schema, Slot, Type};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value};

/// Why a value cannot be written; the caller adds the field.
type Write = Result<(), String>;

pub fn object(schema: Schema<'_>, value: &Value, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let field_error = |(definition, field, reason): (String, String, String)| EncodeError::Field {
        definition,
        field,
        reason,
    };
    let Some(map) = value.as_object() else {
        return Err(field_error((
            schema.definition.bare_name().to_string(),
            ".".to_string(),
            mismatch(value),
        )));
    };
    fill(schema, &schema.definition.message, map, out)
        .map_err(|reason| field_error((schema.definition.bare_name().to_string(), reason.0, reason.1)))
}

fn fill(
    schema: Schema<'_>,
    layout: &Message,
    map: &Map<String, Value>,
    out: &mut Vec<u8>,
) -> Result<(), (String, String)> {
    for (number, slot) in &layout.slots {
        match slot {
            Slot::Field(index) => {
                let field = &schema.definition.fields[*index];
                if let Some(value) = map.get(field.name.as_ref()).filter(|value| !value.is_null()) {
                    put_field(schema, field, *number, value, out).map_err(|reason| (field.name.to_string(), reason))?;
                }
            }
            Slot::Inline(inner) => {
                let mut nested = Vec::new();
                fill(schema, inner, map, &mut nested)?;
                if !nested.is_empty() {
                    put_bytes(out, *number, &nested);
                }
            }
        }
    }
    Ok(())
}

fn mismatch(value: &Value) -> String {
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    format!("unexpected {found}")
}

fn put_field(schema: Schema<'_>, field: &Field, number: u32, value: &Value, out: &mut Vec<u8>) -> Write {
    match (&field.r#type, value) {
        (Type::List(inner), Value::Array(_)) if field.proto_wrapped => put_wrapped(schema, inner, number, value, out),
        (Type::List(inner), Value::Array(items)) => items
            .iter()
            .try_for_each(|item| put_value(schema, inner, number, item, out)),
        (Type::Map(inner), Value::Object(entries)) => {
            for (key, item) in entries {
                let mut entry = Vec::new();
                put_bytes(&mut entry, 1, key.as_bytes());
                match inner.as_ref() {
                    Type::List(element) if field.proto_wrapped => put_wrapped(schema, element, 2, item, &mut entry)?,
                    inner => put_value(schema, inner, 2, item, &mut entry)?,
                }
                put_bytes(out, number, &entry);
            }
            Ok(())
        }
        (r#type, value) => put_value(schema, r#type, number, value, out),
    }
}

fn put_wrapped(schema: Schema<'_>, inner: &Type, number: u32, value: &Value, out: &mut Vec<u8>) -> Write {
    let mut nested = Vec::new();
    for item in value.as_array().ok_or_else(|| mismatch(value))? {
        put_value(schema, inner, 1, item, &mut nested)?;
    }
    put_bytes(out, number, &nested);
    Ok(())
}

fn put_value(schema: Schema<'_>, r#type: &Type, number: u32, value: &Value, out: &mut Vec<u8>) -> Write {
    match (r#type, value) {
        (Type::String, Value::String(text)) => put_bytes(out, number, text.as_bytes()),
        (Type::Bytes, Value::String(text)) => {
            let bytes = STANDARD.decode(text).map_err(|error| error.to_string())?;
            put_bytes(out, number, &bytes);
        }
        (Type::Bool, Value::Bool(flag)) => put_int(out, number, i64::from(*flag)),
        (Type::Int32 | Type::Int64, Value::Number(integer)) => {
            put_int(out, number, integer.as_i64().ok_or_else(|| mismatch(value))?);
        }
        (Type::Double, Value::Number(double)) => {
            put_double(out, number, double.as_f64().ok_or_else(|| mismatch(value))?);
        }
        (Type::Ref(id), value) => {
            let mut nested = Vec::new();
            special(schema.registry.get(*id), value, &mut nested)?;
            put_bytes(out, number, &nested);
        }
        _ => return Err(mismatch(value)),
    }
    Ok(())
}

fn special(schema: Schema<'_>, value: &Value, out: &mut Vec<u8>) -> Write {
    match (schema.definition.form, value) {
        (Form::Struct | Form::Any, Value::Object(map)) => {
            fill(schema, &schema.definition.message, map, out)
                .map_err(|(field, reason)| format!("{field}: {reason}"))?;
        }
        (Form::Quantity, Value::String(text)) => put_bytes(out, 1, text.as_bytes()),
        (Form::IntOrString, Value::String(text)) => {
            put_int(out, 1, 1);
            put_int(out, 2, 0);
            put_bytes(out, 3, text.as_bytes());
        }
        (Form::IntOrString, Value::Number(integer)) => {
            put_int(out, 1, 0);
            put_int(out, 2, integer.as_i64().ok_or_else(|| mismatch(value))?);
            put_bytes(out, 3, b"");
        }
        (Form::Time | Form::MicroTime, Value::String(text)) => {
            let time: Timestamp = text.parse().map_err(|_| format!("{text:?} is not a time"))?;
            put_int(out, 1, time.duration_since(Timestamp::UNIX_EPOCH).as_secs());
            put_int(out, 2, i64::from(time.subsec_nanosecond()));
        }
        (Form::Raw, value) => put_bytes(out, 1, value.to_string().as_bytes()),
        (Form::SchemaOrBool, Value::Bool(flag)) => put_int(out, 1, i64::from(*flag)),
        (Form::SchemaOrBool, Value::Object(_)) => {
            put_int(out, 1, 1);
            put_props(schema, 2, value, out)?;
        }
        (Form::SchemaOrArray | Form::SchemaOrStrings, Value::Object(_)) => put_props(schema, 1, value, out)?,
        (Form::SchemaOrArray, Value::Array(items)) => {
            items.iter().try_for_each(|item| put_props(schema, 2, item, out))?;
        }
        (Form::SchemaOrStrings, Value::Array(items)) => {
            items
                .iter()
                .try_for_each(|item| put_value(schema, &Type::String, 2, item, out))?;
        }
        _ => return Err(mismatch(value)),
    }
    Ok(())
}

fn put_props(schema: Schema<'_>, number: u32, value: &Value, out: &mut Vec<u8>) -> Write {
    let props = schema
        .registry
        .definition(crate::schema::SCHEMA_PROPS)
        .ok_or("the registry lacks JSONSchemaProps")?;
    let mut nested = Vec::new();
    let map = value.as_object().ok_or_else(|| mismatch(value))?;
    fill(props, &props.definition.message, map, &mut nested).map_err(|(field, reason)| format!("{field}: {reason}"))?;
    put_bytes(out, number, &nested);
    Ok(())
}
