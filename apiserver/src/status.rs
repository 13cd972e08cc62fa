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
