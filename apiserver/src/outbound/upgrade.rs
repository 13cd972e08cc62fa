//! Passing a request on, and an upgraded connection with it.

use crate::{ApiError, Body};
use http::{HeaderMap, HeaderName, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use std::pin::Pin;

/// Bytes read at once from one side of a stream before they are written to the other.
const COPY_BYTES: usize = 64 * 1024;

/// Headers that belong to the connection with the client and must not reach the kubelet. Upgrade headers are put back for
/// upgrades.
const CONNECTION_HEADERS: &[HeaderName] = &[
    header::CONNECTION,
    header::UPGRADE,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::HOST,
    header::AUTHORIZATION,
    header::ACCEPT_ENCODING,
];

/// Whether the client asks to leave HTTP.
pub(super) fn wanted(headers: &HeaderMap) -> bool {
    let connection = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|v| v.to_str().ok());
    let mut words = connection.flat_map(|v| v.split(','));
    words.any(|word| word.trim().eq_ignore_ascii_case("upgrade")) && headers.contains_key(header::UPGRADE)
}

/// How a request gets to the other side.
pub(super) type Way<'a> = Box<dyn FnOnce(Request<Body>) -> Pin<Box<dyn Future<Output = Sent> + Send + 'a>> + Send + 'a>;

type Sent = Result<Response<Incoming>, ApiError>;

/// Sends the client's request to `target` (path and query) on its way and passes the answer back; if the answer is a
/// switch of protocols, joins the two connections.
pub(super) async fn pass_on(
    way: Way<'_>,
    authority: &str,
    target: &str,
    mut request: Request<Body>,
) -> Result<Response<Body>, ApiError> {
    let upgrading = wanted(request.headers());
    let client = upgrading.then(|| hyper::upgrade::on(&mut request));
    let (parts, body) = request.into_parts();
    let mut outgoing = Request::builder()
        .method(parts.method)
        .uri(target)
        .body(body)
        .map_err(|error| ApiError::bad_request(format!("the path of this request cannot be passed on: {error}")))?;
    *outgoing.headers_mut() = forwarded(&parts.headers, upgrading);
    if let Ok(host) = authority.parse() {
        outgoing.headers_mut().insert(header::HOST, host);
    }
    let mut answer = way(outgoing).await?;
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS
        && let Some(client) = client
    {
        let server = hyper::upgrade::on(&mut answer);
        tokio::spawn(join(client, server));
    }
    Ok(answer.map(Body::new))
}

fn forwarded(from: &HeaderMap, upgrading: bool) -> HeaderMap {
    let mut headers = from.clone();
    for name in CONNECTION_HEADERS {
        headers.remove(name);
    }
    let private: Vec<HeaderName> = headers
        .keys()
        .filter(|name| name.as_str().starts_with("impersonate-"))
        .cloned()
        .collect();
    for name in private {
        headers.remove(name);
    }
    if upgrading {
        headers.insert(header::CONNECTION, http::HeaderValue::from_static("Upgrade"));
        for value in from.get_all(header::UPGRADE) {
            headers.append(header::UPGRADE, value.clone());
        }
    }
    headers
}

/// Copies both ways until both sides have ended. Each direction closes on its own: port-forwarded protocols rely on
/// half-closed connections.
async fn join(client: hyper::upgrade::OnUpgrade, server: hyper::upgrade::OnUpgrade) {
    let (client, server) = match tokio::try_join!(client, server) {
        Ok(both) => both,
        Err(error) => return tracing::debug!(%error, "a stream to a kubelet was not upgraded"),
    };
    let (mut client, mut server) = (TokioIo::new(client), TokioIo::new(server));
    if let Err(error) = tokio::io::copy_bidirectional_with_sizes(&mut client, &mut server, COPY_BYTES, COPY_BYTES).await
    {
        tracing::debug!(%error, "a stream to a kubelet broke off");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(k, v)| (k.parse::<HeaderName>().unwrap(), v.parse().unwrap()))
            .collect()
    }

    #[test]
    fn upgrades_are_recognised_by_both_headers() {
        assert!(wanted(&headers(&[
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "websocket")
        ])));
        assert!(!wanted(&headers(&[("connection", "keep-alive")])));
        assert!(!wanted(&headers(&[("upgrade", "h2c")])));
    }

    #[test]
    fn credentials_stay_here_and_upgrade_headers_go_on() {
        let from = headers(&[
            ("authorization", "Bearer x"),
            ("impersonate-user", "a"),
            ("connection", "Upgrade"),
            ("upgrade", "SPDY/3.1"),
            ("x-stream-protocol-version", "v4.channel.k8s.io"),
        ]);
        let to = forwarded(&from, true);
        assert!(!to.contains_key("authorization") && !to.contains_key("impersonate-user"));
        assert_eq!(to["upgrade"], "SPDY/3.1");
        assert_eq!(to["x-stream-protocol-version"], "v4.channel.k8s.io");
        assert!(!forwarded(&from, false).contains_key("upgrade"));
    }
}
