//! Streams: the client's upgrade is passed on to the runtime's streaming server, and after both agreed, bytes are
//! copied both ways.

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http::header::{CONNECTION, HOST, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tracing::debug;

use super::{fail, failure};
use crate::{Error, limits};

/// A protocol the runtime does not know. The client falls back when it is refused; it would hang if it were promised.
const TOO_NEW: &str = "v5.channel.k8s.io";

/// Connects the client of `request` with what is at `url`.
pub(super) async fn forward(url: Result<String, Error>, mut request: Request) -> Response {
    let url = match url {
        Ok(url) => url,
        Err(error) => return failure(error),
    };
    let headers = match outgoing_headers(request.headers()) {
        Ok(headers) => headers,
        Err(response) => return *response,
    };
    let upgrade = hyper::upgrade::on(&mut request);
    let method = request.method().clone();
    match timeout(limits::STREAM_CONNECT_TIMEOUT, connect(&url, method, headers)).await {
        Ok(Ok((response, runtime))) => {
            if let Some(runtime) = runtime {
                tokio::spawn(copy(upgrade, runtime));
            }
            response
        }
        Ok(Err(error)) => fail(
            StatusCode::BAD_GATEWAY,
            format!("the runtime's streaming server: {error}"),
        ),
        Err(_) => fail(
            StatusCode::GATEWAY_TIMEOUT,
            "the runtime's streaming server does not answer".into(),
        ),
    }
}

/// The client's headers without what belongs to its own connection. A refusal, if the upgrade cannot work.
fn outgoing_headers(incoming: &HeaderMap) -> Result<HeaderMap, Box<Response>> {
    if !incoming.contains_key(UPGRADE) {
        return Err(Box::new(fail(
            StatusCode::BAD_REQUEST,
            "Upgrade request required".into(),
        )));
    }
    let mut headers = incoming.clone();
    headers.remove(HOST);
    headers.remove(http::header::AUTHORIZATION);
    headers.remove(http::header::CONTENT_LENGTH);
    headers.remove(http::header::TRANSFER_ENCODING);
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    let offered: Vec<String> = incoming
        .get_all(SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','))
        .map(|p| p.trim().to_owned())
        .collect();
    if offered.iter().any(|p| p == TOO_NEW) {
        let known: Vec<&str> = offered.iter().map(String::as_str).filter(|p| *p != TOO_NEW).collect();
        let value = HeaderValue::from_str(&known.join(", "));
        match value {
            Ok(value) if !known.is_empty() => headers.insert(SEC_WEBSOCKET_PROTOCOL, value),
            _ => {
                let message = format!("{TOO_NEW} is not supported by this node's runtime");
                return Err(Box::new(fail(StatusCode::FORBIDDEN, message)));
            }
        };
    }
    Ok(headers)
}

type Upgrading = hyper::upgrade::OnUpgrade;

/// The runtime's answer for the client, and its side of the stream if it agreed.
async fn connect(
    url: &str,
    method: http::Method,
    headers: HeaderMap,
) -> Result<(Response, Option<Upgrading>), Box<dyn std::error::Error + Send + Sync>> {
    let uri: Uri = url.parse()?;
    let authority = uri.authority().ok_or("its URL names no host")?.clone();
    let path = uri.path_and_query().map_or("/", |p| p.as_str());
    let stream = TcpStream::connect((authority.host(), authority.port_u16().unwrap_or(80))).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection.with_upgrades());
    let mut request = http::Request::builder()
        .method(method)
        .uri(path)
        .body(Empty::<Bytes>::new())?;
    *request.headers_mut() = headers;
    request
        .headers_mut()
        .insert(HOST, HeaderValue::from_str(authority.as_str())?);
    let mut answer = sender.send_request(request).await?;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Ok((answer.map(Body::new), None));
    }
    let runtime = hyper::upgrade::on(&mut answer);
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *response.headers_mut() = answer.headers().clone();
    Ok((response, Some(runtime)))
}

async fn copy(client: Upgrading, runtime: Upgrading) {
    let (client, runtime) = match tokio::join!(client, runtime) {
        (Ok(client), Ok(runtime)) => (client, runtime),
        (Err(error), _) | (_, Err(error)) => return debug!(%error, "upgrade failed"),
    };
    if let Err(error) = copy_bidirectional(&mut TokioIo::new(client), &mut TokioIo::new(runtime)).await {
        debug!(%error, "stream ended");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(protocols: &str) -> Result<String, StatusCode> {
        let mut headers = HeaderMap::new();
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(HOST, HeaderValue::from_static("node:10250"));
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_str(protocols).unwrap());
        let headers = outgoing_headers(&headers).map_err(|r| r.status())?;
        assert!(!headers.contains_key(HOST));
        Ok(headers[SEC_WEBSOCKET_PROTOCOL].to_str().unwrap().to_owned())
    }

    #[test]
    fn the_protocol_that_would_hang_is_refused() {
        assert_eq!(check("v5.channel.k8s.io"), Err(StatusCode::FORBIDDEN));
        assert_eq!(check("v4.channel.k8s.io"), Ok("v4.channel.k8s.io".into()));
        assert_eq!(
            check("v5.channel.k8s.io, v4.channel.k8s.io"),
            Ok("v4.channel.k8s.io".into())
        );
        assert_eq!(
            outgoing_headers(&HeaderMap::new()).unwrap_err().status(),
            StatusCode::BAD_REQUEST
        );
    }
}
