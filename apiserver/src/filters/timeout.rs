//! Short requests end in time; long-running ones (watch, log, exec, attach, portforward, proxy) may stay.

use std::time::Duration;

use crate::endpoints::query::Query;
use crate::{ApiError, RequestInfo, limits};

/// Whether a request is meant to stay open.
pub(crate) fn is_long_running(info: &RequestInfo) -> bool {
    info.verb == "watch"
        || matches!(
            info.subresource.as_str(),
            "log" | "exec" | "attach" | "portforward" | "proxy"
        ) && info.is_resource
}

/// How long a request may take: as long as its `timeout` says, but never longer than others. `None`: as long as it likes.
pub(crate) fn limit(info: &RequestInfo, query: Option<&str>) -> Result<Option<Duration>, ApiError> {
    if is_long_running(info) {
        return Ok(None);
    }
    asked(query).map(Some)
}

fn asked(query: Option<&str>) -> Result<Duration, ApiError> {
    let query = Query::parse(query);
    let text = query.text("timeout");
    if text.is_empty() {
        return Ok(limits::REQUEST_TIMEOUT);
    }
    let nanoseconds = api::duration(text).and_then(|nanoseconds| u64::try_from(nanoseconds).ok());
    match nanoseconds.map(Duration::from_nanos) {
        None => Err(ApiError::bad_request(format!(
            "invalid timeout specified in the request URL: {text:?} is not a duration such as 30s"
        ))),
        Some(Duration::ZERO) => Ok(limits::REQUEST_TIMEOUT),
        Some(limit) => Ok(limit.min(limits::REQUEST_TIMEOUT)),
    }
}

/// The endpoint's answer, or 504.
pub(crate) async fn bounded<T>(
    info: &RequestInfo,
    limit: Option<Duration>,
    endpoint: impl Future<Output = Result<T, ApiError>>,
) -> Result<T, ApiError> {
    let Some(limit) = limit else {
        return endpoint.await;
    };
    match tokio::time::timeout(limit, endpoint).await {
        Ok(answer) => answer,
        Err(_) => Err(ApiError::timeout(format!(
            "request did not complete within requested timeout - {} {}",
            info.verb, info.path
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_may_ask_for_less_time_and_not_for_more() {
        for (query, expected) in [
            (None, limits::REQUEST_TIMEOUT),
            (Some("timeout=5s&x=y"), Duration::from_secs(5)),
            (Some("timeout=0"), limits::REQUEST_TIMEOUT),
            (Some("timeout=2h"), limits::REQUEST_TIMEOUT),
        ] {
            assert_eq!(asked(query).unwrap(), expected, "{query:?}");
        }
        for query in ["timeout=5", "timeout=-1s", "timeout=soon"] {
            assert_eq!(asked(Some(query)).unwrap_err().code, 400, "{query}");
        }
    }
}
