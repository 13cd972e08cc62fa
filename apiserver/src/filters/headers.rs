//! Headers of every answer: `Audit-ID`, `Warning`, `Cache-Control`.

use crate::{ApiError, Body, limits};
use http::{HeaderMap, HeaderName, HeaderValue, Response, header};
use http_body::Body as _;

const AUDIT_ID: HeaderName = HeaderName::from_static("audit-id");

/// The client's id for the request if it gave a sane one, else a new one.
pub(crate) fn audit_id(headers: &HeaderMap) -> HeaderValue {
    const CLIENT_ID_MAX: usize = 64;
    let given = headers
        .get(&AUDIT_ID)
        .filter(|value| !value.is_empty() && value.len() <= CLIENT_ID_MAX);
    given.cloned().unwrap_or_else(|| {
        let id = uuid::Uuid::new_v4().to_string();
        HeaderValue::from_str(&id).unwrap_or(HeaderValue::from_static("unknown"))
    })
}

/// 431 for a request whose headers are too long together.
pub(crate) fn check_size(headers: &HeaderMap) -> Result<(), ApiError> {
    // As HTTP/2 counts: each header takes 32 bytes besides its name and value.
    let bytes: usize = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 32)
        .sum();
    match bytes > limits::HEADER_BYTES_MAX {
        true => {
            let message = format!(
                "the headers of the request are too long: limit is {}",
                limits::HEADER_BYTES_MAX
            );
            Err(ApiError::new(431, "RequestHeaderFieldsTooLarge", message))
        }
        false => Ok(()),
    }
}

/// Completes an answer.
pub(crate) fn finish(response: &mut Response<Body>, audit_id: &HeaderValue, warnings: &[String]) {
    let headers = response.headers_mut();
    headers.insert(AUDIT_ID, audit_id.clone());
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-cache, private"));
    let mut budget = limits::WARNING_BYTES_MAX;
    for warning in warnings {
        let Some(value) = warning_value(warning) else { continue };
        let Some(rest) = budget.checked_sub(value.len()) else {
            break;
        };
        budget = rest;
        headers.append(header::WARNING, value);
    }
}

/// The answer without its body, as HEAD wants it. Over HTTP/2 a body would be a violation of the protocol.
pub(crate) fn alone(response: Response<Body>) -> Response<Body> {
    let length = response.body().size_hint().exact();
    let mut response = response.map(|_| Body::empty());
    if let Some(length) = length {
        let headers = response.headers_mut();
        headers.entry(header::CONTENT_LENGTH).or_insert(length.into());
    }
    response
}

/// `299 - "text"`, quoted as RFC 7234 wants it; control characters would split the header.
fn warning_value(text: &str) -> Option<HeaderValue> {
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let quoted = clean.replace('\\', "\\\\").replace('"', "\\\"");
    HeaderValue::from_bytes(format!("299 - \"{quoted}\"").as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_quoted_and_bounded() {
        assert_eq!(warning_value("a \"b\"\n").unwrap(), "299 - \"a \\\"b\\\" \"");
        let mut response = Response::new(Body::empty());
        let many: Vec<String> = (0..100).map(|i| format!("{i} {}", "x".repeat(100))).collect();
        finish(&mut response, &HeaderValue::from_static("id"), &many);
        let count = response.headers().get_all(header::WARNING).iter().count();
        assert!(count > 10 && count < 100, "{count}");
    }
}
