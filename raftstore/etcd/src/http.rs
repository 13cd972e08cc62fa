//! The plain HTTP pages of the client port: health for load balancers, versions, and metrics.

use http::{Method, Response, StatusCode, header};
use proto::etcd::etcdserverpb::AlarmType;
use tonic::body::Body;

use crate::{CLUSTER_VERSION, VERSION, door::Door, health, metrics};

/// Answers a request that is not gRPC.
pub(crate) async fn page(door: &Door, method: &Method, path: &str, query: &str) -> Response<Body> {
    if method != Method::GET && method != Method::HEAD {
        return text(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n".into());
    }
    match path {
        "/version" => {
            let body = format!("{{\"etcdserver\":\"{VERSION}\",\"etcdcluster\":\"{CLUSTER_VERSION}\"}}");
            json(StatusCode::OK, body)
        }
        "/health" => health_page(door, query).await,
        "/livez" => probe(None),
        "/metrics" => respond(
            StatusCode::OK,
            "text/plain; version=0.0.4; charset=utf-8",
            metrics::page(door),
        ),
        "/readyz" => probe(health::ailment(door, false, &[]).await),
        _ => text(StatusCode::NOT_FOUND, "404 page not found\n".into()),
    }
}

async fn health_page(door: &Door, query: &str) -> Response<Body> {
    let parameters = || query.split('&').filter_map(|parameter| parameter.split_once('='));
    let is_serializable = parameters().any(|parameter| parameter == ("serializable", "true"));
    let excluded: Vec<AlarmType> = parameters()
        .filter(|(name, _)| *name == "exclude")
        .filter_map(|(_, alarm)| AlarmType::from_str_name(&alarm.to_ascii_uppercase()))
        .collect();
    match health::ailment(door, is_serializable, &excluded).await {
        None => json(StatusCode::OK, "{\"health\":\"true\",\"reason\":\"\"}".into()),
        Some(reason) => {
            let reason: String = reason
                .chars()
                .filter(|c| !c.is_control() && !matches!(c, '"' | '\\'))
                .collect();
            let body = format!("{{\"health\":\"false\",\"reason\":\"{reason}\"}}");
            json(StatusCode::SERVICE_UNAVAILABLE, body)
        }
    }
}

fn probe(ailment: Option<String>) -> Response<Body> {
    match ailment {
        None => text(StatusCode::OK, "ok\n".into()),
        Some(reason) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}

fn text(status: StatusCode, body: String) -> Response<Body> {
    respond(status, "text/plain; charset=utf-8", body)
}

fn json(status: StatusCode, body: String) -> Response<Body> {
    respond(status, "application/json", body)
}

fn respond(status: StatusCode, kind: &'static str, body: String) -> Response<Body> {
    let mut response = Response::new(Body::new(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
}
