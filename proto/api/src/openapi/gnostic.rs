//! The protobuf form of an OpenAPI v2 document, which clients know as `com.github.proto-openapi.spec.v2@v1.0+protobuf`.
//!
//! The message types mirror the JSON: one message per kind of object, maps as lists of named values, `x-` keys and
//! defaults as YAML text. Only the fields that [`super::openapi_v2`] writes are known here; another key of the document is
//! dropped.

use serde_json::{Map, Value};

/// What a field of a message holds.
#[derive(Clone, Copy)]
enum Holds {
    Text,
    Texts,
    Flag,
    Message(&'static Shape),
    /// An object whose keys are data, as a message whose field 1 (or the one given) repeats (name, value) pairs.
    Named(&'static Shape, u32),
    /// One text or a list of them, in a message of its own.
    TypeItem,
    /// A schema, wrapped as often as the numbers say.
    Wrapped(&'static Shape, &'static [u32]),
    /// Parameters: which message one is depends on where it is sent.
    Parameters,
    /// Any value, as YAML.
    Any,
}

/// The fields of a message: JSON key, field number, content. `extensions` takes the `x-` keys.
struct Shape {
    fields: &'static [(&'static str, u32, Holds)],
    extensions: u32,
}

static DOCUMENT: Shape = Shape {
    fields: &[
        ("swagger", 1, Holds::Text),
        ("info", 2, Holds::Message(&INFO)),
        ("paths", 8, Holds::Named(&PATH_ITEM, 2)),
        ("definitions", 9, Holds::Named(&SCHEMA, 1)),
    ],
    extensions: 16,
};
static INFO: Shape = Shape {
    fields: &[("title", 1, Holds::Text), ("version", 2, Holds::Text)],
    extensions: 7,
};
static PATH_ITEM: Shape = Shape {
    fields: &[
        ("get", 2, Holds::Message(&OPERATION)),
        ("put", 3, Holds::Message(&OPERATION)),
        ("post", 4, Holds::Message(&OPERATION)),
        ("delete", 5, Holds::Message(&OPERATION)),
        ("patch", 8, Holds::Message(&OPERATION)),
        ("parameters", 9, Holds::Parameters),
    ],
    extensions: 10,
};
static OPERATION: Shape = Shape {
    fields: &[
        ("description", 3, Holds::Text),
        ("operationId", 5, Holds::Text),
        ("produces", 6, Holds::Texts),
        ("consumes", 7, Holds::Texts),
        ("parameters", 8, Holds::Parameters),
        ("responses", 9, Holds::Wrapped(&RESPONSE, &[])),
        ("schemes", 10, Holds::Texts),
    ],
    extensions: 13,
};
static RESPONSE: Shape = Shape {
    fields: &[
        ("description", 1, Holds::Text),
        ("schema", 2, Holds::Wrapped(&SCHEMA, &[1])),
    ],
    extensions: 5,
};
static BODY_PARAMETER: Shape = Shape {
    fields: &[
        ("description", 1, Holds::Text),
        ("name", 2, Holds::Text),
        ("in", 3, Holds::Text),
        ("required", 4, Holds::Flag),
        ("schema", 5, Holds::Message(&SCHEMA)),
    ],
    extensions: 6,
};
static QUERY_PARAMETER: Shape = Shape {
    fields: &[
        ("required", 1, Holds::Flag),
        ("in", 2, Holds::Text),
        ("description", 3, Holds::Text),
        ("name", 4, Holds::Text),
        ("type", 6, Holds::Text),
        ("uniqueItems", 20, Holds::Flag),
    ],
    extensions: 23,
};
static PATH_PARAMETER: Shape = Shape {
    fields: &[
        ("required", 1, Holds::Flag),
        ("in", 2, Holds::Text),
        ("description", 3, Holds::Text),
        ("name", 4, Holds::Text),
        ("type", 5, Holds::Text),
        ("uniqueItems", 19, Holds::Flag),
    ],
    extensions: 22,
};
static SCHEMA: Shape = Shape {
    fields: &[
        ("$ref", 1, Holds::Text),
        ("format", 2, Holds::Text),
        ("title", 3, Holds::Text),
        ("description", 4, Holds::Text),
        ("default", 5, Holds::Any),
        ("required", 19, Holds::Texts),
        ("additionalProperties", 21, Holds::Wrapped(&SCHEMA, &[1])),
        ("type", 22, Holds::TypeItem),
        ("items", 23, Holds::Wrapped(&SCHEMA, &[1])),
        ("properties", 25, Holds::Named(&SCHEMA, 1)),
    ],
    extensions: 31,
};

/// Encodes a document of version 2.
pub fn gnostic(document: &Value) -> Vec<u8> {
    message(&DOCUMENT, document)
}

fn message(shape: &Shape, value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    let Value::Object(map) = value else { return out };
    for (key, number, holds) in shape.fields {
        if let Some(value) = map.get(*key) {
            field(&mut out, *number, *holds, value);
        }
    }
    extensions(&mut out, shape.extensions, map);
    out
}

fn field(out: &mut Vec<u8>, number: u32, holds: Holds, value: &Value) {
    match holds {
        Holds::Text => bytes(out, number, value.as_str().unwrap_or_default().as_bytes()),
        Holds::Texts => texts(out, number, value),
        Holds::Flag => {
            if value.as_bool() == Some(true) {
                varint(out, u64::from(number) << 3);
                varint(out, 1);
            }
        }
        Holds::Message(shape) => bytes(out, number, &message(shape, value)),
        Holds::Named(shape, inner) => {
            let mut map = Vec::new();
            for (name, value) in value.as_object().into_iter().flatten() {
                bytes(&mut map, inner, &named(name, &message(shape, value)));
            }
            bytes(out, number, &map);
        }
        Holds::TypeItem => {
            let mut item = Vec::new();
            match value {
                Value::Array(_) => texts(&mut item, 1, value),
                _ => bytes(&mut item, 1, value.as_str().unwrap_or_default().as_bytes()),
            }
            bytes(out, number, &item);
        }
        Holds::Wrapped(shape, []) => bytes(out, number, &responses(shape, value)),
        Holds::Wrapped(shape, wrappers) => {
            let inner = wrappers
                .iter()
                .rev()
                .fold(message(shape, value), |inner, number| wrapped(*number, &inner));
            bytes(out, number, &inner);
        }
        Holds::Parameters => {
            for parameter in value.as_array().into_iter().flatten() {
                // ParametersItem.parameter, then one of Parameter's two forms.
                bytes(out, number, &wrapped(1, &self::parameter(parameter)));
            }
        }
        Holds::Any => bytes(out, number, &any(value)),
    }
}

/// `Responses`: the code names a `ResponseValue`, whose field 1 is the response.
fn responses(shape: &Shape, value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    for (code, response) in value.as_object().into_iter().flatten() {
        bytes(&mut out, 1, &named(code, &wrapped(1, &message(shape, response))));
    }
    out
}

fn parameter(value: &Value) -> Vec<u8> {
    match value["in"].as_str() {
        Some("body") => wrapped(1, &message(&BODY_PARAMETER, value)),
        Some("path") => wrapped(2, &wrapped(4, &message(&PATH_PARAMETER, value))),
        _ => wrapped(2, &wrapped(3, &message(&QUERY_PARAMETER, value))),
    }
}

fn extensions(out: &mut Vec<u8>, number: u32, map: &Map<String, Value>) {
    for (key, value) in map.iter().filter(|(key, _)| key.starts_with("x-")) {
        bytes(out, number, &named(key, &any(value)));
    }
}

/// `Any`: the value as YAML text in field 2. JSON is YAML.
fn any(value: &Value) -> Vec<u8> {
    wrapped(2, format!("{value}\n").as_bytes())
}

/// A (name, value) pair.
fn named(name: &str, value: &[u8]) -> Vec<u8> {
    let mut pair = wrapped(1, name.as_bytes());
    bytes(&mut pair, 2, value);
    pair
}

fn texts(out: &mut Vec<u8>, number: u32, value: &Value) {
    for text in value.as_array().into_iter().flatten().filter_map(Value::as_str) {
        bytes(out, number, text.as_bytes());
    }
}

fn wrapped(number: u32, inner: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(inner.len() + 8);
    bytes(&mut out, number, inner);
    out
}

fn bytes(out: &mut Vec<u8>, number: u32, content: &[u8]) {
    varint(out, u64::from(number) << 3 | 2);
    varint(out, content.len() as u64);
    out.extend_from_slice(content);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_document_in_protobuf() {
        let document = json!({"swagger": "2.0", "definitions": {"A": {"type": "object", "x-k": {"a": 1}}}});
        let schema = [
            b"\xb2\x01\x08\x0a\x06object".as_slice(),
            b"\xfa\x01\x11\x0a\x03x-k\x12\x0a\x12\x08{\"a\":1}\n",
        ]
        .concat();
        let pair = [b"\x0a\x01A\x12".as_slice(), &[schema.len() as u8], &schema].concat();
        let map = [b"\x0a".as_slice(), &[pair.len() as u8], &pair].concat();
        let expected = [b"\x0a\x032.0\x4a".as_slice(), &[map.len() as u8], &map].concat();
        assert_eq!(gnostic(&document), expected);
    }

    #[test]
    fn parameters_say_where_they_are_sent() {
        let body = parameter(&json!({"name": "body", "in": "body", "schema": {"$ref": "#/definitions/A"}}));
        assert_eq!(body[0], 1 << 3 | 2);
        let query = parameter(&json!({"name": "dryRun", "in": "query", "type": "string"}));
        assert_eq!((query[0], query[2]), (2 << 3 | 2, 3 << 3 | 2));
    }
}
