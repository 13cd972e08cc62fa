//! Messages to JSON values.

use super::wire::{Fields, Wire, broken, text};
use super::{Envelope, MAGIC};
use crate::codec::is_zero;
use crate::error::DecodeError;
use crate::limits::PROTOBUF_DEPTH_MAX;
use crate::quantity::Quantity;
use crate::schema::{Field, Form, Message, Presence, Schema, Slot, Type};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Number, Value};

type Read<T> = Result<T, DecodeError>;

pub fn object(schema: Schema<'_>, message: &[u8], depth: usize) -> Read<Map<String, Value>> {
    if depth > PROTOBUF_DEPTH_MAX {
        return Err(broken("too many levels"));
    }
    let mut map = Map::new();
    fill(schema, &schema.definition.message, message, depth, &mut map)?;
    map.retain(|name, value| match schema.field(name) {
        Some(field) => field.presence != Presence::OmitZero || !is_zero(schema, &field.r#type, value),
        None => true,
    });
    Ok(map)
}

/// Reads one message into the object; an inlined one shares the object of the message around it.
fn fill(schema: Schema<'_>, layout: &Message, message: &[u8], depth: usize, map: &mut Map<String, Value>) -> Read<()> {
    for field in Fields::new(message) {
        let (number, wire) = field?;
        let Ok(position) = layout.slots.binary_search_by_key(&number, |(number, _)| *number) else {
            continue;
        };
        match (&layout.slots[position].1, wire) {
            (Slot::Field(index), wire) => store(schema, &schema.definition.fields[*index], wire, depth, map)?,
            (Slot::Inline(inner), Wire::Bytes(bytes)) if depth < PROTOBUF_DEPTH_MAX => {
                fill(schema, inner, bytes, depth + 1, map)?;
            }
            (Slot::Inline(_), _) => return Err(broken("a number where a message belongs")),
        }
    }
    Ok(())
}

fn store(schema: Schema<'_>, field: &Field, wire: Wire<'_>, depth: usize, map: &mut Map<String, Value>) -> Read<()> {
    let slot = || field.name.to_string();
    match &field.r#type {
        Type::List(inner) if field.proto_wrapped => {
            map.insert(slot(), wrapped_list(schema, inner, wire, depth)?);
        }
        Type::List(inner) => {
            let list = map.entry(slot()).or_insert_with(|| Value::Array(Vec::new()));
            append(schema, inner, wire, depth, list)?;
        }
        Type::Map(inner) => {
            let (key, item) = entry(schema, inner, field.proto_wrapped, wire, depth)?;
            let entries = map.entry(slot()).or_insert_with(|| Value::Object(Map::new()));
            entries[key.as_str()] = item;
        }
        r#type => {
            if let Some(item) = value(schema, r#type, wire, depth)? {
                map.insert(slot(), item);
            }
        }
    }
    Ok(())
}

fn wrapped_list(schema: Schema<'_>, inner: &Type, wire: Wire<'_>, depth: usize) -> Read<Value> {
    let Wire::Bytes(message) = wire else {
        return Err(broken("a number where a message belongs"));
    };
    let mut list = Value::Array(Vec::new());
    for field in Fields::new(message) {
        if let (1, wire) = field? {
            append(schema, inner, wire, depth, &mut list)?;
        }
    }
    Ok(list)
}

fn append(schema: Schema<'_>, inner: &Type, wire: Wire<'_>, depth: usize, list: &mut Value) -> Read<()> {
    let Value::Array(items) = list else {
        return Ok(());
    };
    match (inner, wire) {
        (Type::Int32 | Type::Int64 | Type::Bool, Wire::Bytes(packed)) => {
            // A packed list is a message body without tags; prefixing each number with a tag would copy, so parse here.
            let mut rest = packed;
            while !rest.is_empty() {
                let end = rest
                    .iter()
                    .position(|byte| *byte < 0x80)
                    .ok_or_else(|| broken("a cut-off number"))?
                    + 1;
                let number = rest[..end]
                    .iter()
                    .rev()
                    .fold(0u64, |sum, byte| sum << 7 | u64::from(byte & 0x7f));
                items.extend(value(schema, inner, Wire::Varint(number), depth)?);
                rest = &rest[end..];
            }
        }
        _ => items.push(value(schema, inner, wire, depth)?.unwrap_or(Value::Null)),
    }
    Ok(())
}

fn entry(schema: Schema<'_>, inner: &Type, wrapped: bool, wire: Wire<'_>, depth: usize) -> Read<(String, Value)> {
    let Wire::Bytes(message) = wire else {
        return Err(broken("a number where a map entry belongs"));
    };
    let (mut key, mut item) = (String::new(), None);
    for field in Fields::new(message) {
        match (field?, inner) {
            ((1, Wire::Bytes(bytes)), _) => key = text(bytes)?,
            ((2, wire), Type::List(element)) if wrapped => item = Some(wrapped_list(schema, element, wire, depth)?),
            ((2, wire), _) => item = value(schema, inner, wire, depth)?,
            _ => {}
        }
    }
    let empty = || match inner {
        Type::List(_) => Value::Array(Vec::new()),
        Type::Ref(_) => Value::Object(Map::new()),
        _ => Value::String(String::new()),
    };
    Ok((key, item.unwrap_or_else(empty)))
}

/// A single value; `None` for the zero time.
fn value(schema: Schema<'_>, r#type: &Type, wire: Wire<'_>, depth: usize) -> Read<Option<Value>> {
    let value = match (r#type, wire) {
        (Type::String, Wire::Bytes(bytes)) => Value::String(text(bytes)?),
        (Type::Bytes, Wire::Bytes(bytes)) => Value::String(STANDARD.encode(bytes)),
        (Type::Bool, Wire::Varint(number)) => Value::Bool(number != 0),
        (Type::Int32, Wire::Varint(number)) => (number as i32).into(),
        (Type::Int64, Wire::Varint(number)) => (number as i64).into(),
        (Type::Double, Wire::Fixed64(bits)) => Number::from_f64(f64::from_bits(bits))
            .map(Value::Number)
            .ok_or_else(|| broken("a number that is not finite"))?,
        (Type::Ref(id), Wire::Bytes(bytes)) => return special(schema.registry.get(*id), bytes, depth + 1),
        _ => return Err(broken("a field of the wrong wire type")),
    };
    Ok(Some(value))
}

fn special(schema: Schema<'_>, bytes: &[u8], depth: usize) -> Read<Option<Value>> {
    match schema.definition.form {
        Form::Struct | Form::Any | Form::Unknown => object(schema, bytes, depth).map(|map| Some(Value::Object(map))),
        Form::Quantity => quantity(bytes),
        Form::IntOrString => int_or_string(bytes).map(Some),
        Form::Time => time(bytes, false),
        Form::MicroTime => time(bytes, true),
        Form::Raw => raw(bytes),
        Form::SchemaOrArray | Form::SchemaOrBool | Form::SchemaOrStrings => schema_or(schema, bytes, depth).map(Some),
    }
}

fn quantity(message: &[u8]) -> Read<Option<Value>> {
    let mut written = String::from("0");
    for field in Fields::new(message) {
        if let (1, Wire::Bytes(bytes)) = field? {
            written = text(bytes)?;
        }
    }
    let quantity = Quantity::parse(if written.is_empty() { "0" } else { &written }).map_err(DecodeError::malformed)?;
    Ok(Some(quantity.to_string().into()))
}

fn int_or_string(message: &[u8]) -> Read<Value> {
    let (mut is_text, mut number, mut written) = (false, 0i32, String::new());
    for field in Fields::new(message) {
        match field? {
            (1, Wire::Varint(kind)) => is_text = kind == 1,
            (2, Wire::Varint(value)) => number = value as i32,
            (3, Wire::Bytes(bytes)) => written = text(bytes)?,
            _ => {}
        }
    }
    Ok(if is_text { written.into() } else { number.into() })
}

fn time(message: &[u8], micro: bool) -> Read<Option<Value>> {
    if message.is_empty() {
        return Ok(None);
    }
    let (mut seconds, mut nanos) = (0i64, 0i32);
    for field in Fields::new(message) {
        match field? {
            (1, Wire::Varint(value)) => seconds = value as i64,
            (2, Wire::Varint(value)) => nanos = value as i32,
            _ => {}
        }
    }
    let time = Timestamp::new(seconds, if micro { nanos } else { 0 }).map_err(|_| broken("a time out of range"))?;
    Ok(Some(crate::codec::render_time(time, micro).into()))
}

/// Embedded objects are JSON, or enveloped protobuf when a Go client embedded a built-in kind.
fn raw(message: &[u8]) -> Read<Option<Value>> {
    let mut found = None;
    for field in Fields::new(message) {
        if let (1, Wire::Bytes(bytes)) = field? {
            found = Some(bytes);
        }
    }
    match found {
        None | Some([]) => Ok(None),
        Some(bytes) if bytes.starts_with(MAGIC) && Envelope::parse(bytes).is_ok() => {
            super::decode_protobuf(bytes).map(Some)
        }
        Some(bytes) => match serde_json::from_slice(bytes) {
            Ok(value) => Ok(Some(value)),
            Err(error) => Err(DecodeError::malformed(format!("embedded object: {error}"))),
        },
    }
}

fn schema_or(schema: Schema<'_>, message: &[u8], depth: usize) -> Read<Value> {
    let props = schema
        .registry
        .definition(crate::schema::SCHEMA_PROPS)
        .ok_or_else(|| broken("an unknown schema"))?;
    let form = schema.definition.form;
    let (mut single, mut list, mut allows) = (None, Vec::new(), false);
    for field in Fields::new(message) {
        match (form, field?) {
            (Form::SchemaOrBool, (1, Wire::Varint(flag))) => allows = flag != 0,
            (Form::SchemaOrBool, (2, Wire::Bytes(bytes))) | (_, (1, Wire::Bytes(bytes))) => {
                single = Some(Value::Object(object(props, bytes, depth)?));
            }
            (Form::SchemaOrArray, (2, Wire::Bytes(bytes))) => list.push(Value::Object(object(props, bytes, depth)?)),
            (Form::SchemaOrStrings, (2, Wire::Bytes(bytes))) => list.push(Value::String(text(bytes)?)),
            _ => {}
        }
    }
    Ok(match (single, form) {
        (Some(schema), _) => schema,
        (None, Form::SchemaOrBool) => Value::Bool(allows),
        (None, _) => Value::Array(list),
    })
}
