//! Kubernetes' protobuf form, driven by the schema: no generated messages.
//!
//! On the wire an object is the magic `k8s\0`, then a `runtime.Unknown` that names its kind and holds the message. Go
//! writes every scalar that is not a pointer, zero or not; decoding drops those that mean "absent", so that an object
//! decodes alike from JSON and from protobuf.
//!
//! Left out: groups and packed fields on encoding (upstream writes neither), custom resources (they have no protobuf).

mod read;
mod wire;
mod write;

use crate::error::{DecodeError, EncodeError};
use crate::gvk::Gvk;
use crate::schema::{Schema, registry};
use serde_json::Value;
use wire::{Fields, Wire};

/// What a protobuf body starts with.
pub const MAGIC: &[u8; 4] = b"k8s\0";

/// A `runtime.Unknown`: the names of the object and its message.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Envelope {
    pub api_version: String,
    pub kind: String,
    pub raw: Vec<u8>,
}

impl Envelope {
    pub fn parse(body: &[u8]) -> Result<Envelope, DecodeError> {
        let rest = body.strip_prefix(MAGIC).ok_or_else(|| {
            DecodeError::malformed("provided data does not appear to be a protobuf message, expected prefix \"k8s\\0\"")
        })?;
        let mut envelope = Envelope::default();
        for field in Fields::new(rest) {
            match field? {
                (1, Wire::Bytes(names)) => envelope.read_names(names)?,
                (2, Wire::Bytes(raw)) => envelope.raw = raw.to_vec(),
                (3, Wire::Bytes(encoding)) if !encoding.is_empty() => {
                    return Err(DecodeError::malformed(
                        "the content encoding of the body is not supported",
                    ));
                }
                _ => {}
            }
        }
        Ok(envelope)
    }

    fn read_names(&mut self, names: &[u8]) -> Result<(), DecodeError> {
        for field in Fields::new(names) {
            match field? {
                (1, Wire::Bytes(text)) => self.api_version = wire::text(text)?,
                (2, Wire::Bytes(text)) => self.kind = wire::text(text)?,
                _ => {}
            }
        }
        Ok(())
    }
}

/// Decodes an enveloped object of whatever built-in kind it says it is.
pub fn decode_protobuf(body: &[u8]) -> Result<Value, DecodeError> {
    let envelope = Envelope::parse(body)?;
    let gvk = Gvk::parse(&envelope.api_version, &envelope.kind);
    let schema = registry().schema(&gvk).ok_or_else(|| {
        DecodeError::malformed(format!(
            "no kind {:?} is registered for version {:?}",
            gvk.kind,
            gvk.api_version()
        ))
    })?;
    let mut value = decode_message(schema, &envelope.raw)?;
    value["apiVersion"] = envelope.api_version.into();
    value["kind"] = envelope.kind.into();
    Ok(value)
}

/// Decodes a bare message.
pub(crate) fn decode_message(schema: Schema<'_>, message: &[u8]) -> Result<Value, DecodeError> {
    read::object(schema, message, 0).map(Value::Object)
}

/// Encodes an object, enveloped, by its `apiVersion` and `kind`.
pub fn encode_protobuf(value: &Value) -> Result<Vec<u8>, EncodeError> {
    let unknown = |kind: String| EncodeError::UnknownKind { kind };
    let gvk = Gvk::from_object(value).ok_or_else(|| unknown("an object without kind".to_string()))?;
    let schema = registry().schema(&gvk).ok_or_else(|| unknown(gvk.to_string()))?;
    let mut raw = Vec::new();
    encode_protobuf_raw(schema, value, &mut raw)?;
    Ok(envelop(&gvk, &raw))
}

/// Puts a bare message into its envelope.
pub fn envelop(gvk: &Gvk, raw: &[u8]) -> Vec<u8> {
    let mut names = Vec::new();
    wire::put_bytes(&mut names, 1, gvk.api_version().as_bytes());
    wire::put_bytes(&mut names, 2, gvk.kind.as_bytes());
    let mut out = Vec::with_capacity(raw.len() + names.len() + 16);
    out.extend_from_slice(MAGIC);
    wire::put_bytes(&mut out, 1, &names);
    wire::put_bytes(&mut out, 2, raw);
    wire::put_bytes(&mut out, 3, b"");
    wire::put_bytes(&mut out, 4, b"");
    out
}

/// Encodes the bare message of an object, without envelope.
pub fn encode_protobuf_raw(schema: Schema<'_>, value: &Value, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    write::object(schema, value, out)
}

#[cfg(test)]
mod tests;
