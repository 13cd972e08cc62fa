//! Patches: a change described by the client, applied to whatever the object is when the write happens.
//!
//! The patch is parsed once per request and applied on every attempt of the update loop, each time to the current object.

use crate::ApiError;
use serde_json::Value;

/// The media types a PATCH may have, in the order error messages list them.
pub const MEDIA_TYPES: &[&str] = &[
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
];

/// A parsed patch.
#[derive(Clone, Debug)]
pub enum Patch {
    /// RFC 6902.
    Json(json_patch::Patch),
    /// RFC 7386.
    Merge(Value),
}

impl Patch {
    /// Parses a body by its media type (without parameters).
    pub fn parse(media_type: &str, body: &[u8]) -> Result<Patch, ApiError> {
        let broken = |error: serde_json::Error| ApiError::bad_request(format!("error decoding patch: {error}"));
        match media_type {
            "application/json-patch+json" => serde_json::from_slice(body).map(Patch::Json).map_err(broken),
            "application/merge-patch+json" => serde_json::from_slice(body).map(Patch::Merge).map_err(broken),
            _ => Err(ApiError::unsupported_media_type(MEDIA_TYPES)),
        }
    }

    /// The object as it would be after the patch. `version` is `v1` or `apps/v1`; together with `kind` it selects merge keys.
    pub fn apply(&self, original: &Value, _version: &str, _kind: &str) -> Result<Value, ApiError> {
        let mut patched = original.clone();
        match self {
            Patch::Json(patch) => json_patch::patch(&mut patched, patch).map_err(|error| {
                ApiError::new(
                    422,
                    "Invalid",
                    format!("the server rejected our request due to an error in our request: {error}"),
                )
            })?,
            Patch::Merge(patch) => json_patch::merge(&mut patched, patch),
        }
        Ok(patched)
    }
}
