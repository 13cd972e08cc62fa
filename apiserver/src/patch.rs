//! Patches: a change described by the client, applied to whatever the object is when the write happens.
//!
//! The patch is parsed once per request and applied on every attempt of the update loop, each time to the current object.
//! What a patch may not touch (name, uid, status outside its subresource) the update itself keeps.

use crate::ApiError;
use api::Gvk;
use serde_json::Value;

/// The media types a PATCH may have, in the order error messages list them.
pub const MEDIA_TYPES: &[&str] = &[
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
];

/// Operations one JSON patch may have: each can copy the whole object.
const OPERATIONS_MAX: usize = 10_000;

/// A parsed patch.
#[derive(Clone, Debug)]
pub enum Patch {
    /// RFC 6902.
    Json(json_patch::Patch),
    /// RFC 7386.
    Merge(Value),
    /// Kubernetes' own: lists merge by key, with directives.
    Strategic(Value),
}

impl Patch {
    /// Parses a body by its media type (without parameters).
    pub fn parse(media_type: &str, body: &[u8]) -> Result<Patch, ApiError> {
        match media_type {
            "application/json-patch+json" => {
                let patch: json_patch::Patch = decoded(body)?;
                match patch.0.len() {
                    count if count > OPERATIONS_MAX => {
                        let message =
                            format!("The allowed maximum operations in a JSON patch is {OPERATIONS_MAX}, got {count}");
                        Err(ApiError::new(413, "RequestEntityTooLarge", message))
                    }
                    _ => Ok(Patch::Json(patch)),
                }
            }
            "application/merge-patch+json" => Ok(Patch::Merge(object(decoded(body)?)?)),
            "application/strategic-merge-patch+json" => Ok(Patch::Strategic(object(decoded(body)?)?)),
            _ => Err(ApiError::unsupported_media_type(MEDIA_TYPES)),
        }
    }

    /// The object as it would be after the patch. `version` is `v1` or `apps/v1`; together with `kind` it selects merge keys.
    pub fn apply(&self, original: &Value, version: &str, kind: &str) -> Result<Value, ApiError> {
        match self {
            Patch::Json(patch) => {
                let mut patched = original.clone();
                let mut copied_bytes = 0;
                for operation in &patch.0 {
                    copied_bytes += copied(operation, &patched);
                    if copied_bytes > crate::limits::BODY_BYTES_MAX {
                        return Err(ApiError::too_large(crate::limits::BODY_BYTES_MAX));
                    }
                    let one = std::slice::from_ref(operation);
                    json_patch::patch(&mut patched, one).map_err(|error| refused(&error))?;
                }
                object(patched)
            }
            Patch::Merge(patch) => Ok(api::merge_patch(original.clone(), patch.clone())),
            Patch::Strategic(patch) => {
                let schema = api::registry().schema(&Gvk::parse(version, kind));
                // Without a schema there are no merge keys, and clients know to use another patch.
                let schema = schema.ok_or_else(|| {
                    let others = MEDIA_TYPES.iter().filter(|media| !media.contains("strategic"));
                    ApiError::unsupported_media_type(&others.copied().collect::<Vec<_>>())
                })?;
                api::strategic_merge(schema, original.clone(), patch.clone()).map_err(|error| refused(&error))
            }
        }
    }
}

/// How much an operation copies. Copies of copies double: a small patch could grow an object without end.
fn copied(operation: &json_patch::PatchOperation, object: &Value) -> usize {
    match operation {
        json_patch::PatchOperation::Copy(copy) => object
            .pointer(copy.from.as_str())
            .map_or(0, |value| value.to_string().len()),
        _ => 0,
    }
}

fn decoded<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|error| ApiError::bad_request(format!("error decoding patch: {error}")))
}

/// Anything but an object would replace the whole object.
fn object(value: Value) -> Result<Value, ApiError> {
    match value.is_object() {
        true => Ok(value),
        false => Err(ApiError::bad_request(
            "error decoding patch: the patch and its result have to be JSON objects",
        )),
    }
}

/// 422: the patch is well formed, but not for this object.
fn refused(error: &dyn std::fmt::Display) -> ApiError {
    let message = format!("the server rejected our request due to an error in our request: {error}");
    ApiError::new(422, "Invalid", message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn patched(media_type: &str, patch: Value) -> Result<Value, ApiError> {
        let pod = json!({"metadata": {"name": "p", "labels": {"a": "1"}},
            "spec": {"containers": [{"name": "c", "image": "old"}, {"name": "d", "image": "kept"}]}});
        Patch::parse(media_type, patch.to_string().as_bytes())?.apply(&pod, "v1", "Pod")
    }

    #[test]
    fn json_patches_apply_in_order_and_tests_can_fail() {
        let replace = json!([{"op": "test", "path": "/metadata/labels/a", "value": "1"},
            {"op": "replace", "path": "/spec/containers/0/image", "value": "new"}]);
        assert_eq!(
            patched(MEDIA_TYPES[0], replace).unwrap()["spec"]["containers"][0]["image"],
            "new"
        );
        let failing = json!([{"op": "test", "path": "/metadata/labels/a", "value": "2"}]);
        assert_eq!(patched(MEDIA_TYPES[0], failing).unwrap_err().code, 422);
    }

    #[test]
    fn merge_patches_replace_lists_and_strategic_ones_merge_them() {
        let patch =
            json!({"metadata": {"labels": {"a": null}}, "spec": {"containers": [{"name": "c", "image": "new"}]}});
        let merged = patched(MEDIA_TYPES[1], patch.clone()).unwrap();
        assert_eq!(merged["spec"]["containers"].as_array().unwrap().len(), 1);
        assert_eq!(merged["metadata"]["labels"], json!({}));
        let strategic = patched(MEDIA_TYPES[2], patch).unwrap();
        let containers = strategic["spec"]["containers"].as_array().unwrap();
        assert_eq!(containers.len(), 2);
        assert!(containers.contains(&json!({"name": "c", "image": "new"})));
    }

    #[test]
    fn other_media_types_and_forms_are_refused() {
        assert_eq!(
            patched("application/x-www-form-urlencoded", json!({}))
                .unwrap_err()
                .message,
            "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, \
             application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml"
        );
        assert_eq!(patched(MEDIA_TYPES[1], json!([])).unwrap_err().code, 400);
    }
}
