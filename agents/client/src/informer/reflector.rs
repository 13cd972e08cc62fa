//! List, then watch, forever: what keeps a cache following the API.

use std::borrow::Cow;
use std::ops::ControlFlow;
use std::time::Duration;

use http::Request;
use kube::client::Body;
use kube::core::Status;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;

use super::cache::Cache;
use super::lines::Lines;
use super::{Projection, Scope};
use crate::request::{List, escape};
use crate::{Client, Error, Meta, Resource, limits};

/// Where the reflector is in its life.
enum Phase {
    /// Nothing is known, or what is known is too old to watch from.
    List,
    /// Everything up to this resourceVersion is in the cache.
    Watch(String),
}

pub(super) struct Reflector<P> {
    client: Client,
    resource: Resource,
    scope: Scope,
    cache: Cache<P>,
    /// Consecutive failures, for the backoff.
    failures: u32,
}

/// One line of a watch.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    object: &'a RawValue,
}

#[derive(Deserialize)]
struct Versioned {
    metadata: Meta,
}

impl<P: Projection> Reflector<P> {
    pub(super) fn new(client: Client, resource: Resource, scope: Scope, cache: Cache<P>) -> Self {
        Reflector {
            client,
            resource,
            scope,
            cache,
            failures: 0,
        }
    }

    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut phase = Phase::List;
        loop {
            let step = async {
                match &phase {
                    Phase::List => self.list().await,
                    Phase::Watch(version) => self.watch(version.clone()).await,
                }
            };
            let result = tokio::select! {
                () = stop.cancelled() => return,
                result = step => result,
            };
            let (next, error) = result;
            phase = next;
            let Some(error) = error else { continue };
            self.failures += 1;
            let delay = backoff(self.failures);
            tracing::debug!(resource = %self.resource.plural, %error, ?delay, "list or watch failed");
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(delay) => {}
            }
        }
    }

    async fn list(&mut self) -> (Phase, Option<Error>) {
        let wanted = *self.cache.shared().wanted.borrow();
        match self.fetch().await {
            Ok((objects, version)) => {
                self.failures = 0;
                self.cache.replace(objects, wanted);
                (Phase::Watch(version), None)
            }
            Err(error) => (Phase::List, Some(error)),
        }
    }

    /// Every object and the version of the list.
    async fn fetch(&self) -> Result<(Vec<P>, String), Error> {
        let mut objects = Vec::new();
        let mut next = String::new();
        let path = self.resource.collection(self.scope.namespace.as_deref());
        loop {
            let mut url = format!("{path}?limit={}", limits::LIST_PAGE_SIZE);
            push(&mut url, &self.scope.query());
            if !next.is_empty() {
                push(&mut url, &format!("continue={}", escape(&next)));
            }
            let page: List<Box<RawValue>> = self.get(&url).await?;
            objects.extend(page.items.iter().filter_map(|raw| self.parse(raw)));
            if page.metadata.next.is_empty() {
                return Ok((objects, page.metadata.resource_version));
            }
            next = page.metadata.next;
        }
    }

    async fn get<T: serde::de::DeserializeOwned>(&self, url: &str) -> Result<T, Error> {
        use http_body_util::BodyExt;
        let action = format!("GET {url}");
        let response = self
            .client
            .send(&action, self.request(&action, url, P::ACCEPT_LIST)?)
            .await?;
        let body = response
            .into_body()
            .collect()
            .await
            .map_err(|e| crate::request::transport(&action, &e))?;
        serde_json::from_slice(&body.to_bytes()).map_err(|e| Error::Decode {
            action,
            reason: e.to_string(),
        })
    }

    fn request(&self, action: &str, url: &str, accept: &str) -> Result<Request<Body>, Error> {
        let request = Request::get(url)
            .header(http::header::ACCEPT, accept)
            .body(Body::empty());
        request.map_err(|e| Error::Encode {
            action: action.to_owned(),
            reason: e.to_string(),
        })
    }

    /// An object this process cannot read is left out and named in the log: one broken object must not stop the rest.
    fn parse(&self, raw: &RawValue) -> Option<P> {
        match serde_json::from_str(raw.get()) {
            Ok(object) => Some(object),
            Err(error) => {
                let head: String = raw.get().chars().take(200).collect();
                tracing::error!(resource = %self.resource.plural, %error, object = %head, "cannot read object");
                None
            }
        }
    }

    async fn watch(&mut self, version: String) -> (Phase, Option<Error>) {
        let mut version = version;
        let mut wanted = self.cache.shared().wanted.subscribe();
        let listed = *self.cache.shared().listed.borrow();
        if *wanted.borrow_and_update() > listed {
            return (Phase::List, None);
        }
        let watching = self.follow(&mut version);
        let result = tokio::select! {
            result = watching => result,
            _ = wanted.wait_for(|w| *w > listed) => return (Phase::List, None),
        };
        match result {
            Ok(()) => (Phase::Watch(version), None),
            Err(error) if error.is_gone() => (Phase::List, None),
            Err(error) => (Phase::Watch(version), Some(error)),
        }
    }

    /// Applies changes until the server ends the watch; `version` is moved along, so nothing is lost by an error.
    async fn follow(&mut self, version: &mut String) -> Result<(), Error> {
        let url = self.watch_url(version);
        let action = format!("GET {url}");
        let response = self
            .client
            .send(&action, self.request(&action, &url, P::ACCEPT_WATCH)?)
            .await?;
        let mut lines = Lines::new(response.into_body());
        let mut received = 0_u64;
        loop {
            let line = lines.next().await.map_err(|reason| Error::Transport {
                action: action.clone(),
                reason,
            })?;
            let Some(line) = line else { break };
            if line.is_empty() {
                continue;
            }
            received += 1;
            self.failures = 0;
            if let ControlFlow::Break(error) = self.apply(&action, &line, version) {
                return Err(error);
            }
        }
        // A server that ends every watch at once must not be asked in a tight loop.
        match received {
            0 => Err(Error::Transport {
                action,
                reason: "the watch ended without an event".to_owned(),
            }),
            _ => Ok(()),
        }
    }

    fn watch_url(&self, version: &str) -> String {
        let timeout = limits::WATCH_TIMEOUT_SECONDS + rand::random_range(0..limits::WATCH_TIMEOUT_SECONDS);
        let path = self.resource.collection(self.scope.namespace.as_deref());
        let mut url = format!("{path}?watch=true&allowWatchBookmarks=true&timeoutSeconds={timeout}");
        push(&mut url, &format!("resourceVersion={}", escape(version)));
        push(&mut url, &self.scope.query());
        url
    }

    fn apply(&self, action: &str, line: &[u8], version: &mut String) -> ControlFlow<Error> {
        let decode = |e: serde_json::Error| Error::Decode {
            action: action.to_owned(),
            reason: e.to_string(),
        };
        let line: Line<'_> = match serde_json::from_slice(line) {
            Ok(line) => line,
            Err(e) => return ControlFlow::Break(decode(e)),
        };
        if line.kind == "ERROR" {
            let status = serde_json::from_str::<Status>(line.object.get());
            return ControlFlow::Break(status.map_or_else(decode, |s| Error::from_status(action, s)));
        }
        let new_version = match serde_json::from_str::<Versioned>(line.object.get()) {
            Ok(object) => object.metadata.resource_version,
            Err(e) => return ControlFlow::Break(decode(e)),
        };
        match (&*line.kind, self.parsed_unless_bookmark(&line)) {
            ("ADDED" | "MODIFIED", Some(object)) => self.cache.upsert(object),
            ("DELETED", Some(object)) => self.cache.remove(object),
            _ => {}
        }
        *version = new_version;
        ControlFlow::Continue(())
    }

    fn parsed_unless_bookmark(&self, line: &Line<'_>) -> Option<P> {
        if line.kind == "BOOKMARK" {
            None
        } else {
            self.parse(line.object)
        }
    }
}

fn push(url: &mut String, parameter: &str) {
    if !parameter.is_empty() {
        url.push('&');
        url.push_str(parameter);
    }
}

/// Doubles from the minimum to the maximum, with up to half as much again at random.
fn backoff(failures: u32) -> Duration {
    let doubled = limits::RELIST_BACKOFF_MIN.saturating_mul(1 << failures.saturating_sub(1).min(16));
    let base = doubled.min(limits::RELIST_BACKOFF_MAX);
    base.mul_f64(1.0 + rand::random::<f64>() / 2.0)
}
