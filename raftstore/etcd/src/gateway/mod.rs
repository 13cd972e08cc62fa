//! The JSON gateway: etcd's API for clients without gRPC, under `/v3/...`.
//!
//! # Theory
//! A request is translated, not served here: JSON becomes the message that its method takes ([`json`]), the very services
//! that gRPC clients talk to answer it, and their messages become JSON. So what is checked for the ones is checked for the
//! others. Both translations follow the descriptors that the services were generated from; only the paths are a table
//! ([`routes`]).
//!
//! A stream of responses is lines of `{"result": ...}`; a request stream is JSON values one after another.
//!
//! # Left out
//! Certificates as identities, as in etcd: tokens go into `Authorization`.

mod json;
mod routes;
mod stream;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method as Verb, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited, StreamBody};
use hyper::body::Incoming;
use serde_json::{Value, json};
use tonic::{Code, Status, body::Body, service::Routes};
use tower::Service;

use crate::{
    door::{Door, REQUIRE_LEADER},
    limits,
    server::admit,
};
use json::Method;
pub(crate) use json::calls;
use stream::{Frames, Values};

/// Under which all paths of the gateway are.
pub(crate) const PREFIX: &str = "/v3/";
/// Before the names of headers that are passed on.
const METADATA_PREFIX: &str = "grpc-metadata-";

/// Answers a request to the gateway.
pub(crate) async fn answer(door: &Door, routes: Routes, request: Request<Incoming>) -> Response<Body> {
    let Some(method) = json::method(request.uri().path()) else {
        return plain(StatusCode::NOT_FOUND, "Not Found");
    };
    if request.method() != Verb::POST {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
    }
    match pass_on(door, routes, method, request).await {
        Ok(response) => response,
        Err(status) => failure(&status),
    }
}

async fn pass_on(
    door: &Door,
    mut routes: Routes,
    method: &'static Method,
    request: Request<Incoming>,
) -> Result<Response<Body>, Status> {
    let (parts, body) = request.into_parts();
    let body = if method.takes_stream {
        let mut values = Values::new(body, method);
        // What cannot be read at all is refused before there is a stream.
        let first = values.next().await.transpose()?;
        Body::new(StreamBody::new(values.frames(first)))
    } else {
        let message = method.request(&whole(body).await?)?;
        Body::new(Full::new(stream::frame(&message)))
    };
    let mut inner = Request::new(body);
    *inner.uri_mut() = http::Uri::from_static(method.path);
    *inner.method_mut() = Verb::POST;
    *inner.headers_mut() = metadata(&parts.headers);
    admit(door, method.path, inner.headers())?;
    let response = match routes.call(inner).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    if let Some(status) = Status::from_header_map(response.headers())
        && status.code() != Code::Ok
    {
        return Err(status);
    }
    let mut frames = Frames::new(response.into_body());
    if method.gives_stream {
        return Ok(respond(
            StatusCode::OK,
            Body::new(StreamBody::new(frames.lines(method))),
        ));
    }
    let message = frames.next().await.transpose()?;
    let message = message.ok_or_else(|| Status::internal("a method ended without an answer"))?;
    Ok(respond(
        StatusCode::OK,
        Body::new(method.response(message)?.to_string()),
    ))
}

async fn whole(body: Incoming) -> Result<Bytes, Status> {
    match Limited::new(body, limits::JSON_BYTES_MAX).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(crate::Refusal::RequestTooLarge.into()),
        Err(error) => Err(Status::invalid_argument(format!("the request ended early: {error}"))),
    }
}

/// What of a request's headers its method sees.
fn metadata(headers: &HeaderMap) -> HeaderMap {
    let mut metadata = HeaderMap::new();
    metadata.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    metadata.insert(header::TE, HeaderValue::from_static("trailers"));
    for (name, value) in headers {
        let passed = name.as_str().strip_prefix(METADATA_PREFIX);
        if let Some(Ok(name)) = passed.map(http::HeaderName::try_from) {
            metadata.insert(name, value.clone());
        }
    }
    for name in [header::AUTHORIZATION.as_str(), REQUIRE_LEADER] {
        if let (Ok(name), Some(value)) = (http::HeaderName::try_from(name), headers.get(name)) {
            metadata.insert(name, value.clone());
        }
    }
    metadata
}

fn failure(status: &Status) -> Response<Body> {
    let body = json!({
        "error": status.message(),
        "code": status.code() as i32,
        "message": status.message(),
    });
    respond(http_status(status.code()), Body::new(body.to_string()))
}

/// A line that ends a stream.
fn last_line(status: &Status) -> Value {
    let http = http_status(status.code());
    json!({"error": {
        "grpc_code": status.code() as i32,
        "http_code": http.as_u16(),
        "message": status.message(),
        "http_status": http.canonical_reason().unwrap_or_default(),
    }})
}

/// The status that the gateway of etcd 3.4 gives a code; clients have had it the longest.
fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::Cancelled => StatusCode::REQUEST_TIMEOUT,
        Code::InvalidArgument | Code::OutOfRange => StatusCode::BAD_REQUEST,
        Code::FailedPrecondition => StatusCode::PRECONDITION_FAILED,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = respond(status, Body::new(format!("{text}\n")));
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

fn respond(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
