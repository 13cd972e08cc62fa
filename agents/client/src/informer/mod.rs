//! Caches that follow the API by list and watch.
//!
//! **Theory.** A list gives a complete state and its version; a watch from that version gives every later change.
//! Followed forever, and listed anew whenever the watch's version is compacted (410), a cache is always *some* past
//! state of the resource, moving forward. What is kept of an object is a declared [`Projection`]: a small struct, not
//! the object.
//!
//! **Left out.** Writing through the cache; reading one's own writes (compare resourceVersions, or use
//! [`crate::expectations`]).

mod cache;
mod lines;
mod reflector;
mod typed;

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt, join_all};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use crate::request::escape;
use crate::{Client, Meta, Resource};

pub use cache::{Cache, Change, Index, Subscription};
pub use typed::Typed;

/// What a cache keeps of each object of a resource.
pub trait Projection: DeserializeOwned + Clone + Send + Sync + 'static {
    /// Where the objects come from.
    const RESOURCE: Resource;

    /// The `Accept` header of lists.
    const ACCEPT_LIST: &'static str = "application/json";

    /// The `Accept` header of watches.
    const ACCEPT_WATCH: &'static str = "application/json";

    /// The object's metadata.
    fn meta(&self) -> &Meta;
}

/// Which objects of a resource a cache follows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Scope {
    /// Only this namespace.
    pub namespace: Option<String>,
    /// Only objects with such labels, as `app=web,tier!=db`.
    pub labels: Option<String>,
    /// Only objects with such fields, as `spec.nodeName=node-1`.
    pub fields: Option<String>,
}

impl Scope {
    /// Everything.
    pub fn all() -> Self {
        Scope::default()
    }

    /// Objects matching a field selector.
    pub fn fields(selector: impl Into<String>) -> Self {
        Scope {
            fields: Some(selector.into()),
            ..Scope::default()
        }
    }

    /// Objects matching a label selector.
    pub fn labels(selector: impl Into<String>) -> Self {
        Scope {
            labels: Some(selector.into()),
            ..Scope::default()
        }
    }

    /// Objects of one namespace.
    pub fn namespace(namespace: impl Into<String>) -> Self {
        Scope {
            namespace: Some(namespace.into()),
            ..Scope::default()
        }
    }

    fn query(&self) -> String {
        let labels = self.labels.iter().map(|s| format!("labelSelector={}", escape(s)));
        let fields = self.fields.iter().map(|s| format!("fieldSelector={}", escape(s)));
        labels.chain(fields).collect::<Vec<_>>().join("&")
    }
}

/// The caches of one process: at most one per projection and scope, shared by everything that asks for it.
#[derive(Clone)]
pub struct Informers {
    client: Client,
    stop: CancellationToken,
    followed: Arc<Mutex<HashMap<(TypeId, Scope), Followed>>>,
}

/// A cache without its type.
struct Followed {
    name: String,
    cache: Arc<dyn Any + Send + Sync>,
    synced: Box<dyn Fn() -> BoxFuture<'static, ()> + Send>,
    caught_up: Box<dyn Fn() -> BoxFuture<'static, ()> + Send>,
    is_synced: Box<dyn Fn() -> bool + Send>,
}

impl Informers {
    /// An empty set whose caches follow until `stop`.
    pub fn new(client: Client, stop: CancellationToken) -> Self {
        Informers {
            client,
            stop,
            followed: Arc::default(),
        }
    }

    /// The cache of every object of `P`'s resource; starts following on the first call.
    pub fn watch<P: Projection>(&self) -> Cache<P> {
        self.watch_scope(Scope::all())
    }

    /// The cache of some objects of `P`'s resource; starts following on the first call with this scope.
    pub fn watch_scope<P: Projection>(&self, scope: Scope) -> Cache<P> {
        let mut followed = self.followed.lock();
        let entry = followed.entry((TypeId::of::<P>(), scope.clone()));
        let followed = entry.or_insert_with(|| self.follow::<P>(scope));
        followed
            .cache
            .downcast_ref::<Cache<P>>()
            .expect("filed under the type id of P")
            .clone()
    }

    fn follow<P: Projection>(&self, scope: Scope) -> Followed {
        let cache = Cache::<P>::follow(self.client.clone(), P::RESOURCE, scope, self.stop.clone());
        let (a, b, c) = (cache.clone(), cache.clone(), cache.clone());
        Followed {
            name: P::RESOURCE.plural.to_string(),
            cache: Arc::new(cache),
            synced: Box::new(move || {
                let cache = a.clone();
                async move { cache.synced().await }.boxed()
            }),
            caught_up: Box::new(move || {
                let cache = b.clone();
                async move { cache.catch_up().await }.boxed()
            }),
            is_synced: Box::new(move || c.is_synced()),
        }
    }

    /// Waits until every cache of the set is complete. Never returns once the set is stopped before that.
    pub async fn synced(&self) {
        let waits: Vec<_> = self.followed.lock().values().map(|f| (f.synced)()).collect();
        join_all(waits).await;
    }

    /// The resources whose caches are not complete yet.
    pub fn unsynced(&self) -> Vec<String> {
        self.followed
            .lock()
            .values()
            .filter(|f| !(f.is_synced)())
            .map(|f| f.name.clone())
            .collect()
    }

    /// Waits until every cache shows a state at least as new as this call: a new leader must not act on what it knew
    /// as a standby.
    pub async fn catch_up(&self) {
        let waits: Vec<_> = self.followed.lock().values().map(|f| (f.caught_up)()).collect();
        join_all(waits).await;
    }
}
