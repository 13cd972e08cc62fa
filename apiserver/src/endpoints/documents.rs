//! What is not about objects: discovery, OpenAPI, version, health, metrics.

use super::discovery::Rows;
use super::query::Query;
use super::{Answer, discovery, health, negotiate, respond};
use crate::openapi;
use crate::registry::{Overlay, Registry};
use crate::{ApiError, Body, RequestInfo, Server};
use arc_swap::ArcSwap;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode, header};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

/// A document and its hash.
pub(crate) struct Document {
    body: Bytes,
    /// Quoted hash of the body.
    etag: HeaderValue,
}

/// The documents: the same for everyone until custom resources come or go.
pub(crate) struct Documents {
    current: ArcSwap<Current>,
    /// Built when first asked for: most processes never are, and the documents are megabytes.
    openapi: OnceLock<openapi::BuiltIn>,
    version: Value,
}

/// The documents as of one state of the custom resources.
struct Current {
    overlay: Arc<Overlay>,
    discovery: BTreeMap<String, Document>,
    /// By (path, version of the discovery API).
    aggregated: BTreeMap<(&'static str, &'static str), Document>,
    openapi: OnceLock<openapi::Documents>,
}

impl Document {
    pub(crate) fn new(value: &Value) -> Document {
        Document::of_bytes(value.to_string().into())
    }

    pub(crate) fn of_bytes(body: Bytes) -> Document {
        let digest = ring::digest::digest(&ring::digest::SHA256, &body);
        let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
        let etag = HeaderValue::from_str(&format!("\"{hex}\"")).unwrap_or(HeaderValue::from_static("\"0\""));
        Document { body, etag }
    }

    /// The hash of the body, without quotes.
    pub(crate) fn hash(&self) -> &str {
        self.etag.to_str().unwrap_or_default().trim_matches('"')
    }

    /// The document, or 304 for a client that has it.
    fn answer(&self, request: &Parts, media: &'static str) -> Response<Body> {
        let known = request.headers.get(header::IF_NONE_MATCH);
        let mut response = match known.is_some_and(|known| known.as_bytes() == self.etag.as_bytes()) {
            true => {
                let mut response = Response::new(Body::empty());
                *response.status_mut() = StatusCode::NOT_MODIFIED;
                response
            }
            false => respond::bytes(200, media, self.body.clone()),
        };
        response.headers_mut().insert(header::ETAG, self.etag.clone());
        response
            .headers_mut()
            .insert(header::VARY, HeaderValue::from_static("Accept"));
        response
    }
}

impl Current {
    fn of(overlay: Arc<Overlay>) -> Current {
        let rows = Rows::new(overlay.served.iter().map(|served| &served.info));
        let discovery = discovery::legacy(&rows)
            .iter()
            .map(|(path, value)| (path.clone(), Document::new(value)))
            .collect();
        let mut aggregated = BTreeMap::new();
        for (path, core) in [("/api", true), ("/apis", false)] {
            for version in ["v2", "v2beta1"] {
                let document = discovery::aggregated(&rows, core, version);
                aggregated.insert((path, version), Document::new(&document));
            }
        }
        Current {
            overlay,
            discovery,
            aggregated,
            openapi: OnceLock::new(),
        }
    }

    fn openapi(&self, documents: &Documents) -> &openapi::Documents {
        let built_in = || documents.openapi.get_or_init(openapi::BuiltIn::build);
        self.openapi
            .get_or_init(|| openapi::Documents::of(built_in(), &self.overlay))
    }
}

impl Documents {
    pub(crate) fn new(registry: &Registry) -> Documents {
        let current = Current::of(registry.reader().overlay());
        Documents {
            current: ArcSwap::from_pointee(current),
            openapi: OnceLock::new(),
            version: version(),
        }
    }

    /// The documents about what is served now.
    fn current(&self, registry: &Registry) -> Arc<Current> {
        let (current, overlay) = (self.current.load_full(), registry.reader().overlay());
        if Arc::ptr_eq(&current.overlay, &overlay) {
            return current;
        }
        let current = Arc::new(Current::of(overlay));
        self.current.store(current.clone());
        current
    }
}

/// The API's version is Kubernetes'; the build metadata says whose implementation it is.
fn version() -> Value {
    let platform = format!(
        "linux/{}",
        if cfg!(target_arch = "aarch64") {
            "arm64"
        } else {
            "amd64"
        }
    );
    json!({
        "major": "1", "minor": "36", "gitVersion": concat!("v1.36.0+proreus-", env!("CARGO_PKG_VERSION")),
        "gitCommit": "", "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "", "compiler": "rustc", "platform": platform,
    })
}

/// Answers a request whose path is not below a group version.
pub(crate) async fn answer(server: &Arc<Server>, info: &RequestInfo, request: &Parts) -> Answer {
    if !matches!(request.method, Method::GET | Method::HEAD) {
        return Err(ApiError::new(
            405,
            "MethodNotAllowed",
            format!("{} is not allowed on {}", request.method, info.path),
        ));
    }
    let path = info.path.trim_end_matches('/');
    let documents = &server.documents;
    let current = documents.current(&server.registry);
    let query = Query::parse(request.uri.query());
    match path {
        "" => Ok(respond::json(200, &json!({"paths": paths(documents, &current)}))),
        "/version" => Ok(respond::json(200, &documents.version)),
        "/metrics" => metrics(server),
        _ if health::is_health(path) => Ok(health::answer(server, path, &query).await),
        "/openapi/v2" => swagger(current.openapi(documents), request),
        _ if path == "/api" || path == "/apis" => Ok(group_list(&current, path, request)?),
        _ => {
            let document = match path.starts_with("/openapi/") {
                true => current.openapi(documents).v3(path),
                false => current.discovery.get(path),
            };
            document
                .map(|document| document.answer(request, negotiate::JSON))
                .ok_or_else(ApiError::no_such_path)
        }
    }
}

fn paths<'a>(documents: &'a Documents, current: &'a Current) -> Vec<&'a str> {
    let fixed = ["/healthz", "/livez", "/metrics", "/openapi/v2", "/readyz", "/version"];
    let mut paths: Vec<&str> = current.discovery.keys().map(String::as_str).collect();
    paths.extend(current.openapi(documents).v3_paths());
    paths.extend(fixed);
    paths.sort_unstable();
    paths
}

fn group_list(current: &Current, path: &str, request: &Parts) -> Answer {
    match negotiate::aggregated_discovery(&request.headers) {
        Some(version) => {
            let document = current
                .aggregated
                .iter()
                .find(|((p, v), _)| *p == path && *v == version);
            let media = match version {
                "v2" => "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
                _ => "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
            };
            document
                .map(|(_, document)| document.answer(request, media))
                .ok_or_else(ApiError::no_such_path)
        }
        None => {
            let document = current.discovery.get(path).ok_or_else(ApiError::no_such_path)?;
            Ok(document.answer(request, negotiate::JSON))
        }
    }
}

/// The media type of OpenAPI v2 as protobuf.
const SWAGGER_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
/// The same, as older clients ask for it. Never an answer's type: Go's parser refuses the `@`.
const SWAGGER_PROTOBUF_ASKED: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

/// OpenAPI v2 in the first encoding that the client accepts.
fn swagger(documents: &openapi::Documents, request: &Parts) -> Answer {
    let accepted = negotiate::media_types(&request.headers);
    if accepted.is_empty() {
        return Ok(documents.v2_json().answer(request, negotiate::JSON));
    }
    for media in accepted {
        if media == SWAGGER_PROTOBUF || media == SWAGGER_PROTOBUF_ASKED {
            return Ok(documents.v2_protobuf().answer(request, SWAGGER_PROTOBUF));
        }
        if matches!(media.as_str(), "application/json" | "application/*" | "*/*") {
            return Ok(documents.v2_json().answer(request, negotiate::JSON));
        }
    }
    Err(ApiError::not_acceptable(&[negotiate::JSON, SWAGGER_PROTOBUF]))
}

fn metrics(server: &Server) -> Answer {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &server.config.metrics.lock()).map_err(ApiError::internal)?;
    Ok(respond::bytes(
        200,
        "application/openmetrics-text; version=1.0.0; charset=utf-8",
        text,
    ))
}
