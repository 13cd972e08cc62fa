//! Follows the metadata of every resource that can be deleted, and notices resources that come and go.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use client::{Cache, Change, Client, Error, Meta, Projection, Resource, Scope, Subscription, WorkQueue};
use parking_lot::Mutex;
use serde::Deserialize;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::graph::{Graph, Work};
use crate::discovery::{Discovery, discover};
use crate::limits;

/// How long the start waits for the caches: a resource that cannot be listed must not hold up all others.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// The metadata of an object of any resource.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct PartialObject {
    metadata: Meta,
}

impl Projection for PartialObject {
    const RESOURCE: Resource = Resource::cluster("meta.k8s.io", "v1", "PartialObjectMetadata", "partialobjectmetadata");
    const ACCEPT_LIST: &'static str =
        "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json;q=0.9";
    const ACCEPT_WATCH: &'static str =
        "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json;q=0.9";

    fn meta(&self) -> &Meta {
        &self.metadata
    }
}

struct Monitor {
    cache: Cache<PartialObject>,
    _subscription: Subscription,
    _stop: DropGuard,
}

/// All monitors.
pub(super) struct Monitors {
    client: Client,
    graph: Arc<Mutex<Graph>>,
    queue: Arc<WorkQueue<Work>>,
    stop: CancellationToken,
    by_resource: Mutex<HashMap<Resource, Monitor>>,
    /// By group and kind, everything that is served.
    kinds: Mutex<HashMap<(String, String), Resource>>,
}

impl Monitors {
    pub fn new(client: Client, graph: Arc<Mutex<Graph>>, queue: Arc<WorkQueue<Work>>, stop: CancellationToken) -> Self {
        Monitors {
            client,
            graph,
            queue,
            stop,
            by_resource: Mutex::default(),
            kinds: Mutex::default(),
        }
    }

    /// The resource of a kind, whatever its version.
    pub fn resource(&self, api_version: &str, kind: &str) -> Option<Resource> {
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        self.kinds.lock().get(&(group.to_owned(), kind.to_owned())).cloned()
    }

    /// Everything that is followed.
    pub fn resources(&self) -> Vec<Resource> {
        self.by_resource.lock().keys().cloned().collect()
    }

    /// Discovers and waits until the caches are complete.
    pub async fn start(&self) -> Result<(), Error> {
        loop {
            match discover(&self.client).await {
                Ok(discovery) => break self.adjust(&discovery),
                Err(error) if error.is_fence_lost() => return Err(error),
                Err(error) => tracing::warn!(%error, "discovery failed, trying again"),
            }
            tokio::time::sleep(limits::NAMESPACE_RETRY).await;
        }
        let caches: Vec<_> = self.by_resource.lock().values().map(|m| m.cache.clone()).collect();
        let complete = futures::future::join_all(caches.iter().map(|c| c.synced()));
        if tokio::time::timeout(START_PATIENCE, complete).await.is_err() {
            tracing::warn!("some resources cannot be listed; collecting without them");
        }
        Ok(())
    }

    /// Keeps the monitors in step with what is served.
    pub async fn follow(&self) -> Result<(), Error> {
        loop {
            tokio::time::sleep(limits::DISCOVERY_INTERVAL).await;
            match discover(&self.client).await {
                Ok(discovery) => self.adjust(&discovery),
                Err(error) if error.is_fence_lost() => return Err(error),
                Err(error) => tracing::debug!(%error, "discovery failed"),
            }
        }
    }

    fn adjust(&self, discovery: &Discovery) {
        let kind = |r: &Resource| (r.group.to_string(), r.kind.to_string());
        let mut kinds = self.kinds.lock();
        // What could not be discovered this time is still there.
        if discovery.failed.is_empty() {
            kinds.clear();
        }
        kinds.extend(
            discovery
                .resources
                .iter()
                .map(|d| (kind(&d.resource), d.resource.clone())),
        );
        drop(kinds);
        let wanted: Vec<&Resource> = discovery
            .resources
            .iter()
            .filter(|d| d.can(&["list", "watch", "delete"]))
            .map(|d| &d.resource)
            .collect();
        let mut monitors = self.by_resource.lock();
        if discovery.failed.is_empty() {
            monitors.retain(|resource, _| wanted.contains(&resource));
        }
        for resource in wanted.into_iter().filter(|r| r.plural != "events") {
            if !monitors.contains_key(resource) {
                monitors.insert(resource.clone(), self.monitor(resource));
            }
        }
    }

    fn monitor(&self, resource: &Resource) -> Monitor {
        let stop = self.stop.child_token();
        let cache = Cache::follow(self.client.clone(), resource.clone(), Scope::all(), stop.clone());
        let (graph, queue, of) = (self.graph.clone(), self.queue.clone(), resource.clone());
        let subscription = cache.subscribe(move |change: &Change<PartialObject>| {
            let works = apply(&mut graph.lock(), &of, change);
            works.into_iter().for_each(|w| queue.add(w));
        });
        Monitor {
            cache,
            _subscription: subscription,
            _stop: stop.drop_guard(),
        }
    }
}

fn apply(graph: &mut Graph, resource: &Resource, change: &Change<PartialObject>) -> Vec<Work> {
    let meta = change.object().meta();
    match change {
        Change::Deleted(_) => graph.remove(&meta.uid),
        Change::Added(_) => graph.upsert(resource, meta),
        Change::Modified { old, .. } => {
            // A relist may show a namesake in place of the object that was known.
            let mut works = if old.metadata.uid != meta.uid {
                graph.remove(&old.metadata.uid)
            } else {
                Vec::new()
            };
            works.extend(graph.upsert(resource, meta));
            works
        }
    }
}
