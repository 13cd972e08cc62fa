//! One service over all masters: stick with the one that works, move on when a connection fails.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use arc_swap::ArcSwap;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use hyper::body::Incoming;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::client::Body;
use rustls::ClientConfig;

use super::Credential;
use super::connector::Connector;
use crate::limits;

/// The masters to try and the one in use.
pub(super) struct Servers {
    /// Given by configuration; never forgotten, so that a wrong discovery can be survived.
    seeds: Vec<String>,
    /// What is tried, in order. Never empty; always contains every seed.
    list: ArcSwap<Vec<String>>,
    /// Index (modulo the length) of the server in use.
    current: AtomicUsize,
}

impl Servers {
    pub(super) fn new(seeds: Vec<String>) -> Self {
        assert!(!seeds.is_empty(), "the caller checked that a server is given");
        let start = rand::random_range(0..seeds.len());
        Servers {
            list: ArcSwap::from_pointee(seeds.clone()),
            seeds,
            current: AtomicUsize::new(start),
        }
    }

    /// Takes a freshly read list of masters. The server in use stays in use if it is still listed.
    pub(super) fn replace(&self, discovered: Vec<String>) {
        let mut next = discovered;
        next.extend(self.seeds.iter().cloned());
        let mut seen = std::collections::HashSet::new();
        next.retain(|s| seen.insert(s.clone()));
        let using = self.using().1;
        let position = next.iter().position(|s| *s == using).unwrap_or(0);
        self.list.store(Arc::new(next));
        self.current.store(position, Ordering::Relaxed);
    }

    /// The server in use and the ticket with which to report its failure.
    fn using(&self) -> (usize, String) {
        let list = self.list.load();
        let at = self.current.load(Ordering::Relaxed);
        (at, list[at % list.len()].clone())
    }

    /// The server of this ticket failed: use the next one, unless somebody has moved on already.
    fn failed(&self, ticket: usize) {
        let _ = self
            .current
            .compare_exchange(ticket, ticket + 1, Ordering::Relaxed, Ordering::Relaxed);
    }

    fn len(&self) -> usize {
        self.list.load().len()
    }
}

/// A tower service for `kube::Client` over all masters.
#[derive(Clone)]
pub(super) struct Balancer {
    servers: Arc<Servers>,
    http: legacy::Client<Connector, Body>,
    credential: Arc<Credential>,
}

impl Balancer {
    pub(super) fn new(servers: Arc<Servers>, tls: Arc<ClientConfig>, credential: Credential) -> Self {
        let http = legacy::Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .http2_adaptive_window(true)
            .http2_keep_alive_interval(limits::KEEP_ALIVE_INTERVAL)
            .http2_keep_alive_timeout(limits::KEEP_ALIVE_TIMEOUT)
            .http2_keep_alive_while_idle(true)
            .build(Connector::new(tls));
        Balancer {
            servers,
            http,
            credential: Arc::new(credential),
        }
    }

    async fn send(self, request: Request<Body>) -> Result<Response<Incoming>, tower::BoxError> {
        let (parts, body) = request.into_parts();
        let body = body.collect_bytes().await?;
        let mut attempts_left = self.servers.len();
        loop {
            let (ticket, server) = self.servers.using();
            let request = self.build(&parts, body.clone(), &server)?;
            attempts_left -= 1;
            match self.http.request(request).await {
                Ok(response) if attempts_left > 0 && elsewhere(&parts.method, response.status()) => {
                    tracing::debug!(%server, status = %response.status(), "master cannot serve, trying the next");
                    self.servers.failed(ticket);
                }
                Ok(response) => return Ok(response),
                Err(error) => {
                    self.servers.failed(ticket);
                    if attempts_left == 0 || !(error.is_connect() || parts.method == Method::GET) {
                        return Err(format!("{server}: {}", chain(&error)).into());
                    }
                    tracing::debug!(%server, error = %chain(&error), "master failed, trying the next");
                }
            }
        }
    }

    fn build(
        &self,
        parts: &http::request::Parts,
        body: bytes::Bytes,
        server: &str,
    ) -> Result<Request<Body>, tower::BoxError> {
        let path = parts.uri.path_and_query().map_or("/", |p| p.as_str());
        let uri: Uri = format!("{server}{path}").parse()?;
        let mut request = Request::builder()
            .method(parts.method.clone())
            .uri(uri)
            .body(Body::from(body.to_vec()))?;
        *request.headers_mut() = parts.headers.clone();
        *request.extensions_mut() = parts.extensions.clone();
        if let Some(token) = self.token()? {
            let mut value = HeaderValue::from_str(&format!("Bearer {token}"))?;
            value.set_sensitive(true);
            request.headers_mut().insert(http::header::AUTHORIZATION, value);
        }
        Ok(request)
    }

    fn token(&self) -> Result<Option<String>, tower::BoxError> {
        match &*self.credential {
            Credential::Token(token) => Ok(Some(token.clone())),
            Credential::TokenFile(path) => {
                let token = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
                Ok(Some(token.trim().to_owned()))
            }
            Credential::Certificate { .. } | Credential::None => Ok(None),
        }
    }
}

/// Whether another master may do better: one without a quorum answers reads so.
fn elsewhere(method: &Method, status: StatusCode) -> bool {
    *method == Method::GET && matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT)
}

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}

impl tower::Service<Request<Body>> for Balancer {
    type Response = Response<Incoming>;
    type Error = tower::BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Incoming>, tower::BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), tower::BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.clone().send(request))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(names: &[&str]) -> Servers {
        Servers::new(names.iter().map(|n| n.to_string()).collect())
    }

    #[test]
    fn a_failure_moves_on_once_however_many_requests_saw_it() {
        let servers = servers(&["a", "b", "c"]);
        let (ticket, first) = servers.using();
        servers.failed(ticket);
        servers.failed(ticket);
        let (_, second) = servers.using();
        assert_ne!(first, second);
        let order = ["a", "b", "c", "a"];
        let at = order.iter().position(|s| *s == first).unwrap();
        assert_eq!(order[at + 1], second);
    }

    #[test]
    fn a_new_list_keeps_the_server_in_use_and_the_seeds() {
        let servers = servers(&["seed"]);
        servers.replace(vec!["x".to_owned(), "y".to_owned()]);
        assert_eq!(servers.using().1, "seed");
        assert_eq!(servers.len(), 3);
        let (ticket, _) = servers.using();
        servers.failed(ticket);
        assert_eq!(servers.using().1, "x");
        servers.replace(vec!["z".to_owned(), "x".to_owned()]);
        assert_eq!(servers.using().1, "x");
    }
}
