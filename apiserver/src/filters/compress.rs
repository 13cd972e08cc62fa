//! gzip for big answers. Watches and small answers are left alone: compressing them costs latency and saves nothing.

use crate::{Body, limits};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderValue, Response, header};
use http_body::{Body as _, Frame};
use std::io::Write;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// Marks an answer whose size is known to be at least this, although its body is a stream.
#[derive(Clone, Copy)]
pub(crate) struct ExpectedBytes(pub usize);

/// Whether the client takes gzip.
pub(crate) fn accepted(headers: &HeaderMap) -> bool {
    let values = headers
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        parts.next() == Some("gzip") && !parts.any(|parameter| parameter == "q=0")
    })
}

/// Compresses the body if that is worth it.
pub(crate) fn apply(response: Response<Body>, accepted: bool) -> Response<Body> {
    let expected = response.extensions().get::<ExpectedBytes>().map(|expected| expected.0);
    let size = expected.unwrap_or_else(|| response.body().size_hint().exact().unwrap_or(0) as usize);
    if !accepted || size < limits::GZIP_BYTES_MIN || response.headers().contains_key(header::CONTENT_ENCODING) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    parts
        .headers
        .insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    parts
        .headers
        .append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    parts.headers.remove(header::CONTENT_LENGTH);
    // Level 1: the network it saves is worth more than the last percent.
    let encoder = GzEncoder::new(Vec::new(), Compression::fast());
    Response::from_parts(
        parts,
        Body::new(Gzip {
            inner: body,
            encoder: Some(encoder),
        }),
    )
}

/// A body that compresses another one as it passes.
struct Gzip {
    inner: Body,
    /// Gone once the trailer was written.
    encoder: Option<GzEncoder<Vec<u8>>>,
}

impl http_body::Body for Gzip {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        loop {
            let Some(encoder) = &mut this.encoder else {
                return Poll::Ready(None);
            };
            match ready!(Pin::new(&mut this.inner).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else { continue };
                    if let Err(error) = encoder.write_all(&data) {
                        return Poll::Ready(Some(Err(axum::Error::new(error))));
                    }
                    if !encoder.get_ref().is_empty() {
                        let out = std::mem::take(encoder.get_mut());
                        return Poll::Ready(Some(Ok(Frame::data(out.into()))));
                    }
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => {
                    let finished = this.encoder.take().map(GzEncoder::finish);
                    return Poll::Ready(finished.map(|out| match out {
                        Ok(out) => Ok(Frame::data(out.into())),
                        Err(error) => Err(axum::Error::new(error)),
                    }));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;
    use std::io::Read;

    #[test]
    fn gzip_is_taken_only_when_offered() {
        let check = |value: &'static str, expected| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(value));
            assert_eq!(accepted(&headers), expected, "{value}");
        };
        check("gzip", true);
        check("deflate, gzip;q=1.0", true);
        check("gzip;q=0", false);
        check("identity", false);
    }

    #[tokio::test]
    async fn a_big_body_survives_and_a_small_one_is_untouched() {
        let big = "0123456789".repeat(100_000);
        let response = apply(Response::new(Body::from(big.clone())), true);
        assert_eq!(response.headers()[header::CONTENT_ENCODING], "gzip");
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let mut text = String::new();
        flate2::read::GzDecoder::new(&bytes[..])
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, big);
        assert!(apply(Response::new(Body::from("small")), true).headers().is_empty());
    }
}
