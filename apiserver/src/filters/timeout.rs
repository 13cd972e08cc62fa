//! Short requests end in time; long-running ones (watch, log, exec, attach, portforward, proxy) may stay.

use crate::{ApiError, RequestInfo, limits};

/// Whether a request is meant to stay open.
pub(crate) fn is_long_running(info: &RequestInfo) -> bool {
    info.verb == "watch"
        || matches!(
            info.subresource.as_str(),
            "log" | "exec" | "attach" | "portforward" | "proxy"
        ) && info.is_resource
}

/// The endpoint's answer, or 504.
pub(crate) async fn bounded<T>(
    info: &RequestInfo,
    endpoint: impl Future<Output = Result<T, ApiError>>,
) -> Result<T, ApiError> {
    if is_long_running(info) {
        return endpoint.await;
    }
    match tokio::time::timeout(limits::REQUEST_TIMEOUT, endpoint).await {
        Ok(answer) => answer,
        Err(_) => Err(ApiError::timeout(format!(
            "request did not complete within requested timeout - {} {}",
            info.verb, info.path
        ))),
    }
}
