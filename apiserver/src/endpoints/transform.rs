//! The forms of an object besides itself: Table rows and metadata only.

use super::query::Query;
use crate::registry::Served;
use crate::{ApiError, FieldError};
use bytes::{BufMut, Bytes, BytesMut};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use storage::Item;

/// What a row shows of its object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IncludeObject {
    None,
    Metadata,
    Object,
}

impl IncludeObject {
    pub(crate) fn parse(query: &Query) -> Result<IncludeObject, ApiError> {
        match query.text("includeObject") {
            "" | "Metadata" => Ok(IncludeObject::Metadata),
            "None" => Ok(IncludeObject::None),
            "Object" => Ok(IncludeObject::Object),
            other => {
                let problem =
                    FieldError::not_supported("includeObject", &other.into(), &["Metadata", "None", "Object"]);
                Err(ApiError::invalid("TableOptions.meta.k8s.io", "", vec![problem]))
            }
        }
    }
}

/// The column definitions of a resource, as JSON.
pub(crate) fn columns(served: &Served) -> Value {
    let columns = served.strategy.columns().iter().map(|column| {
        json!({
            "name": column.name, "type": column.r#type, "format": column.format,
            "description": column.description, "priority": column.priority,
        })
    });
    Value::Array(columns.collect())
}

/// What stands before the rows of a table.
pub(crate) fn table_head(served: &Served, metadata: &Value) -> String {
    let columns = columns(served);
    format!(
        r#"{{"kind":"Table","apiVersion":"meta.k8s.io/v1","metadata":{metadata},"columnDefinitions":{columns},"rows":["#
    )
}

/// What stands behind them.
pub(crate) const TABLE_TAIL: &str = "]}";

/// Appends one row. `json` is the object with its resourceVersion.
pub(crate) fn write_row(
    out: &mut BytesMut,
    served: &Served,
    json: &[u8],
    include: IncludeObject,
    now: Timestamp,
) -> Result<(), ApiError> {
    let object: Value = serde_json::from_slice(json).map_err(ApiError::internal)?;
    let cells = Value::Array(served.strategy.cells(&object, now));
    out.put_slice(b"{\"cells\":");
    serde_json::to_writer(out.writer(), &cells).map_err(ApiError::internal)?;
    out.put_slice(b",\"object\":");
    match include {
        IncludeObject::None => out.put_slice(b"null"),
        IncludeObject::Metadata => write_partial(out, json)?,
        IncludeObject::Object => out.put_slice(json),
    }
    out.put_slice(b"}");
    Ok(())
}

#[derive(Deserialize)]
struct OnlyMetadata<'a> {
    #[serde(borrow)]
    metadata: &'a RawValue,
}

/// Appends the object as PartialObjectMetadata: its metadata's bytes, without building the object.
pub(crate) fn write_partial(out: &mut BytesMut, json: &[u8]) -> Result<(), ApiError> {
    let object: OnlyMetadata<'_> = serde_json::from_slice(json).map_err(ApiError::internal)?;
    let metadata = object.metadata.get();
    out.reserve(metadata.len() + 80);
    out.put_slice(br#"{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":"#);
    out.put_slice(metadata.as_bytes());
    out.put_slice(b"}");
    Ok(())
}

/// A table of one object.
pub(crate) fn table_of(served: &Served, json: &[u8], include: IncludeObject) -> Result<Bytes, ApiError> {
    let object: OnlyMetadata<'_> = serde_json::from_slice(json).map_err(ApiError::internal)?;
    let metadata: Value = serde_json::from_str(object.metadata.get()).map_err(ApiError::internal)?;
    let head = table_head(served, &json!({"resourceVersion": metadata["resourceVersion"]}));
    let mut out = BytesMut::with_capacity(head.len() + json.len() + 256);
    out.put_slice(head.as_bytes());
    write_row(&mut out, served, json, include, Timestamp::now())?;
    out.put_slice(TABLE_TAIL.as_bytes());
    Ok(out.freeze())
}

/// One object as metadata only.
pub(crate) fn partial_of(json: &[u8]) -> Result<Bytes, ApiError> {
    let mut out = BytesMut::new();
    write_partial(&mut out, json)?;
    Ok(out.freeze())
}

/// One object as protobuf, in its envelope.
pub(crate) fn protobuf_of(json: &[u8]) -> Result<Bytes, ApiError> {
    let object: Value = serde_json::from_slice(json).map_err(ApiError::internal)?;
    protobuf(&object)
}

/// An object as protobuf, in its envelope.
pub(crate) fn protobuf(object: &Value) -> Result<Bytes, ApiError> {
    api::encode_protobuf(object)
        .map(Bytes::from)
        .map_err(ApiError::internal)
}

/// Whether a kind has a protobuf form.
pub(crate) fn has_protobuf(served: &Served) -> bool {
    api::registry().schema(&served.info.gvk()).is_some()
}

/// The item as JSON, appended with what follows it in a list.
pub(crate) fn write_item(out: &mut BytesMut, item: &Item, first: bool) {
    if !first {
        out.put_slice(b",");
    }
    item.write_json(out);
}
