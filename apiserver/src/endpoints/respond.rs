//! Answers with one object.

use super::negotiate::{Encoding, JSON, Output, PROTOBUF, Shape};
use super::transform::{self, IncludeObject};
use crate::registry::Served;
use crate::{ApiError, Body};
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::Value;

/// An answer with a body of a media type.
pub(crate) fn bytes(code: u16, media: &'static str, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    response
}

/// JSON.
pub(crate) fn json(code: u16, value: &Value) -> Response<Body> {
    bytes(code, JSON, value.to_string())
}

/// An object of a resource in the form that was agreed on.
pub(crate) fn object(
    code: u16,
    served: &Served,
    json: Bytes,
    output: Output,
    include: IncludeObject,
) -> Result<Response<Body>, ApiError> {
    let json = match output.shape {
        Shape::Object => served.show(json)?,
        Shape::Table | Shape::Partial => served.show_row(json)?,
    };
    Ok(match (output.shape, output.encoding) {
        (Shape::Object, Encoding::Json) => bytes(code, JSON, json),
        (Shape::Object, Encoding::Protobuf) => bytes(code, PROTOBUF, transform::protobuf_of(&json)?),
        (Shape::Table, _) => bytes(code, JSON, transform::table_of(served, &json, include)?),
        (Shape::Partial, _) => bytes(code, JSON, transform::partial_of(&json)?),
    })
}

/// An object that is not of the resource itself (scale, token, review): no table of it exists.
pub(crate) fn foreign(code: u16, value: &Value, output: Output) -> Result<Response<Body>, ApiError> {
    match output.encoding {
        Encoding::Json => Ok(json(code, value)),
        Encoding::Protobuf => Ok(bytes(code, PROTOBUF, transform::protobuf(value)?)),
    }
}
