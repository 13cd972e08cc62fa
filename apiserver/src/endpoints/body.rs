//! Request bodies: bounded, then decoded by the schema of the kind that the path expects.

use crate::registry::{RequestContext, Served};
use crate::{ApiError, Body, limits};
use api::{DecodeError, FieldValidation, Gvk, structural};
use bytes::Bytes;
use http::{HeaderMap, header};
use http_body_util::BodyExt;
use serde_json::Value;

/// The whole body, or 413. One that is too large is read to its end all the same, within reason: a client that is still sending
/// would see its stream or connection reset instead of the answer.
pub(crate) async fn read(body: Body) -> Result<Bytes, ApiError> {
    let mut body = std::pin::pin!(body);
    let (mut chunks, mut total): (Vec<Bytes>, usize) = (Vec::new(), 0);
    while total <= limits::DRAINED_BYTES_MAX {
        let Some(frame) = body.frame().await else { break };
        let frame = frame
            .map_err(|error| ApiError::bad_request(format!("the body of the request could not be read: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        total += data.len();
        match total > limits::BODY_BYTES_MAX {
            true => chunks.clear(),
            false => chunks.push(data),
        }
    }
    if total > limits::BODY_BYTES_MAX {
        return Err(ApiError::too_large(limits::BODY_BYTES_MAX));
    }
    match chunks.len() {
        1 => Ok(chunks.remove(0)),
        _ => Ok(chunks.concat().into()),
    }
}

/// The Content-Type, or the empty string.
pub(crate) fn content_type(headers: &HeaderMap) -> &str {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

/// Decodes and defaults an object of a kind. Warnings go to the context.
pub(crate) fn decode(
    context: &RequestContext,
    content_type: &str,
    body: &[u8],
    expected: &Gvk,
    validation: FieldValidation,
) -> Result<Value, ApiError> {
    let decoded = api::decode(content_type, body, expected, validation).map_err(refuse)?;
    decoded.warnings.into_iter().for_each(|warning| context.warn(warning));
    let mut object = decoded.value;
    api::default_object(&decoded.gvk, &mut object);
    Ok(object)
}

/// [`decode`] for an object of a resource.
pub(crate) fn decode_object(
    context: &RequestContext,
    served: &Served,
    content_type: &str,
    body: &[u8],
    validation: FieldValidation,
) -> Result<Value, ApiError> {
    let gvk = served.info.gvk();
    let Some(custom) = &served.custom else {
        return decode(context, content_type, body, &gvk, validation);
    };
    let decoded = structural::decode(content_type, body, &gvk, custom.node(), validation);
    let (mut object, warnings) = decoded.map_err(refuse)?;
    warnings.into_iter().for_each(|warning| context.warn(warning));
    custom.node().fill(&mut object);
    Ok(object)
}

/// The schema of a resource's objects.
pub(crate) fn schema(served: &Served) -> Result<api::Schema<'_>, ApiError> {
    served
        .schema()
        .ok_or_else(|| ApiError::internal("a resource without a schema"))
}

/// Brings an object that was computed (patched) into the form of a decoded one.
pub(crate) fn conform(
    context: &RequestContext,
    served: &Served,
    object: Value,
    validation: FieldValidation,
) -> Result<Value, ApiError> {
    let mut object = checked(context, served, object, validation)?;
    served.fill(&mut object);
    Ok(object)
}

/// [`conform`] without defaulting.
pub(crate) fn checked(
    context: &RequestContext,
    served: &Served,
    object: Value,
    validation: FieldValidation,
) -> Result<Value, ApiError> {
    let (object, warnings) = served.conform(object, validation).map_err(refuse)?;
    warnings.into_iter().for_each(|warning| context.warn(warning));
    Ok(object)
}

fn refuse(error: DecodeError) -> ApiError {
    match error.http_status() {
        415 => ApiError::new(415, "UnsupportedMediaType", error.to_string()),
        _ => ApiError::bad_request(error.to_string()),
    }
}
