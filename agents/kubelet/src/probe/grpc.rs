//! The standard gRPC health check (`grpc.health.v1.Health/Check`), by hand: both messages have one field.

use bytes::{BufMut, Bytes, BytesMut};
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::check::connect;

/// `HealthCheckResponse.ServingStatus.SERVING`.
const SERVING: u64 = 1;

/// Asks a server about one of its services, or, with an empty name, about itself.
pub(crate) async fn check(host: &str, port: u16, service: &str) -> Result<(), String> {
    let stream = connect(host, port).await?;
    let text = |e: hyper::Error| e.to_string();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .map_err(text)?;
    let driver = tokio::spawn(connection);
    let request = Request::post(format!("http://{host}:{port}/grpc.health.v1.Health/Check"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::new(encode(service)?))
        .map_err(|e| e.to_string())?;
    let response = sender.send_request(request).await.map_err(text)?;
    let code = response.headers().get("grpc-status").cloned();
    let body = response.into_body().collect().await.map_err(text)?;
    let code = code.or_else(|| body.trailers().and_then(|t| t.get("grpc-status").cloned()));
    driver.abort();
    match code.as_ref().map(|c| c.as_bytes()) {
        None | Some(b"0") => {}
        Some(code) => {
            return Err(format!(
                "health check answered with code {}",
                String::from_utf8_lossy(code)
            ));
        }
    }
    match status(&body.to_bytes()) {
        SERVING => Ok(()),
        other => Err(format!("service unhealthy (status {other})")),
    }
}

/// A gRPC frame with `HealthCheckRequest { service = 1 }`.
fn encode(service: &str) -> Result<Bytes, String> {
    let length = u8::try_from(service.len()).ok().filter(|n| *n < 120);
    let length = length.ok_or_else(|| "service name longer than 119 bytes".to_owned())?;
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(if length == 0 { 0 } else { u32::from(length) + 2 });
    if length > 0 {
        frame.put_slice(&[0x0a, length]);
        frame.put_slice(service.as_bytes());
    }
    Ok(frame.freeze())
}

/// `status = 1` of the `HealthCheckResponse` in a gRPC frame; 0 (unknown) if it is not there.
fn status(frame: &[u8]) -> u64 {
    match frame.get(5..) {
        Some([0x08, value, ..]) => u64::from(*value),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_their_one_field() {
        assert_eq!(&encode("").unwrap()[..], [0, 0, 0, 0, 0]);
        assert_eq!(&encode("ab").unwrap()[..], [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        assert!(encode(&"x".repeat(200)).is_err());
        assert_eq!(status(&[0, 0, 0, 0, 2, 8, 1]), SERVING);
        assert_eq!(status(&[0, 0, 0, 0, 0]), 0);
    }
}
