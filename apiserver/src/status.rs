//! Any error -> `metav1.Status`.

use crate::{ApiError, Body};
use http::{HeaderValue, Response, header};
use serde_json::{Value, json};

impl ApiError {
    /// The `metav1.Status` object of this error.
    pub fn status(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "code": self.code,
        });
        if !self.reason.is_empty() {
            status["reason"] = self.reason.into();
        }
        if let Some(resume) = &self.resume {
            status["metadata"]["continue"] = resume.as_str().into();
        }
        if !self.details.is_empty() {
            status["details"] = Value::Object(self.details.clone());
        }
        status
    }

    /// The error as a JSON response.
    pub fn response(&self) -> Response<Body> {
        let mut response = Response::new(Body::from(self.status().to_string()));
        *response.status_mut() =
            http::StatusCode::from_u16(self.code).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
            .headers_mut()
            .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
        if let Some(seconds) = self.details.get("retryAfterSeconds").and_then(Value::as_u64) {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// The `Status` that answers a successful request which has no object to show.
pub fn success(resource: &str, name: &str, uid: &str) -> Value {
    let (kind, group) = resource.split_once('.').unwrap_or((resource, ""));
    let mut details = json!({"name": name, "kind": kind, "uid": uid});
    if !group.is_empty() {
        details["group"] = group.into();
    }
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}

/// What storage refused, as the user shall see it. `resource` is `deployments.apps`; `name` may be empty.
pub(crate) fn from_storage(error: storage::Error, resource: &str, name: &str) -> ApiError {
    use storage::Error;
    match error {
        Error::NotFound { .. } => ApiError::not_found(resource, name),
        Error::AlreadyExists { .. } => ApiError::already_exists(resource, name),
        Error::Precondition { why, .. } => ApiError::conflict(resource, name, &why),
        Error::CutOff { .. } => ApiError::unavailable(error.to_string()),
        Error::Moved { .. } => ApiError::conflict(resource, name, &error.to_string()),
        Error::Contended { .. } => ApiError::modified(resource, name),
        Error::Expired {
            resume: Some(resume), ..
        } => {
            let mut error = ApiError::expired(EXPIRED_PAGE);
            error.resume = Some(resume);
            error
        }
        Error::Expired { revision, .. } => ApiError::expired(format!(
            "The resourceVersion for the provided watch is too old: {revision} has been compacted"
        )),
        Error::Future { asked, current } => future(asked, current),
        Error::InvalidContinue { why } => ApiError::bad_request(format!("continue key is not valid: {why}")),
        // The term is over: retrying cannot help, and must not look as if it could.
        Error::Fenced => ApiError::new(409, FENCE_LOST, error.to_string()).about(resource, name),
        Error::Corrupt { .. } | Error::NotAnObject { .. } => ApiError::internal(error),
        Error::Store(error) => from_store(&error),
    }
}

/// The reason in the Status of a write whose fence has moved. Not `Conflict`, which clients retry.
pub const FENCE_LOST: &str = "FenceLost";

const EXPIRED_PAGE: &str = "The provided continue parameter is too old to display a consistent list result. You can start a new \
    list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. \
    Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between \
    the time the first chunk was returned and now may show up in the list.";

fn future(asked: i64, current: i64) -> ApiError {
    let message = format!("Timeout: Too large resource version: {asked}, current: {current}");
    ApiError::timeout(message)
        .cause("ResourceVersionTooLarge", "Too large resource version", "")
        .retry_after(storage::limits::FUTURE_VERSION_RETRY_SECONDS)
}

/// The store's own failures: most pass, and the client is told to come back.
fn from_store(error: &storage::StoreError) -> ApiError {
    match error.retry() {
        storage::Retry::Safe => ApiError::unavailable(error.to_string()),
        storage::Retry::MaybeDone => ApiError::timeout(error.to_string()),
        storage::Retry::Never => match error.too_large() {
            true => ApiError::new(413, "RequestEntityTooLarge", error.to_string()),
            false => ApiError::internal(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FieldError;

    #[test]
    fn messages_read_as_kubectl_users_know_them() {
        let check = |error: ApiError, code: u16, message: &str| {
            assert_eq!((error.code, error.message.as_str()), (code, message))
        };
        check(ApiError::not_found("pods", "x"), 404, "pods \"x\" not found");
        check(
            ApiError::already_exists("deployments.apps", "d"),
            409,
            "deployments.apps \"d\" already exists",
        );
        check(
            ApiError::invalid("Pod", "x", vec![FieldError::required("spec.containers", "")]),
            422,
            "Pod \"x\" is invalid: spec.containers: Required value",
        );
        check(
            ApiError::invalid(
                "Pod",
                "x",
                vec![
                    FieldError::required("a", ""),
                    FieldError::not_supported("b", &json!("z"), &["x", "y"]),
                ],
            ),
            422,
            "Pod \"x\" is invalid: [a: Required value, b: Unsupported value: \"z\": supported values: \"x\", \"y\"]",
        );
    }

    #[test]
    fn details_name_group_kind_and_causes() {
        let status = ApiError::invalid(
            "Deployment.apps",
            "d",
            vec![FieldError::immutable("spec.selector", &json!({}))],
        )
        .status();
        assert_eq!(status["details"]["kind"], "Deployment");
        assert_eq!(status["details"]["group"], "apps");
        assert_eq!(
            status["details"]["causes"],
            json!([{"reason": "FieldValueInvalid", "message": "Invalid value: {}: field is immutable", "field": "spec.selector"}])
        );
    }
}
