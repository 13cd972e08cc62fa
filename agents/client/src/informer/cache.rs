//! The objects a cache holds, its indexes, and who is told of changes.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::reflector::Reflector;
use super::{Projection, Scope};
use crate::{Client, Key, Resource};

/// A change of one object, as the cache saw it. Several changes of the API may arrive as one (after a relist).
#[derive(Debug)]
pub enum Change<P> {
    /// The object appeared.
    Added(Arc<P>),
    /// The object changed.
    Modified {
        /// Before.
        old: Arc<P>,
        /// After.
        new: Arc<P>,
    },
    /// The object is gone; this is its last known state.
    Deleted(Arc<P>),
}

impl<P: Projection> Change<P> {
    /// The newest known state.
    pub fn object(&self) -> &Arc<P> {
        match self {
            Change::Added(object) | Change::Deleted(object) => object,
            Change::Modified { new, .. } => new,
        }
    }

    /// The state before, if there was one.
    pub fn old(&self) -> Option<&Arc<P>> {
        match self {
            Change::Added(_) => None,
            Change::Modified { old, .. } => Some(old),
            Change::Deleted(object) => Some(object),
        }
    }

    /// The object's key.
    pub fn key(&self) -> Key {
        self.object().meta().key()
    }
}

type Handler<P> = Box<dyn Fn(&Change<P>) + Send + Sync>;

/// A read-only view of one resource that follows the API. Cloning shares it.
pub struct Cache<P>(Arc<Shared<P>>);

impl<P> Clone for Cache<P> {
    fn clone(&self) -> Self {
        Cache(self.0.clone())
    }
}

pub(super) struct Shared<P> {
    state: RwLock<State<P>>,
    /// Held while a change is applied and told, so that every handler sees all changes in order.
    handlers: Mutex<Handlers<P>>,
    /// How many relists were asked for.
    pub(super) wanted: watch::Sender<u64>,
    /// The value of `wanted` when the last complete list began; 0 until the first one.
    pub(super) listed: watch::Sender<u64>,
}

struct Handlers<P> {
    next: u64,
    by_id: BTreeMap<u64, Handler<P>>,
}

struct State<P> {
    /// Namespace, then name.
    objects: HashMap<String, HashMap<String, Arc<P>>>,
    len: usize,
    indexes: Vec<IndexState<P>>,
}

type IndexBy<P> = Box<dyn Fn(&P) -> Vec<String> + Send + Sync>;

struct IndexState<P> {
    name: &'static str,
    by: IndexBy<P>,
    /// Every object of the cache is under each of the values `by` gives it, and under no other.
    values: HashMap<String, BTreeMap<Key, Arc<P>>>,
}

impl<P: Projection> Cache<P> {
    /// Follows `resource` (usually `P::RESOURCE`) until `stop`. Prefer [`super::Informers::watch`], which shares.
    pub fn follow(client: Client, resource: Resource, scope: Scope, stop: CancellationToken) -> Self {
        let cache = Cache::empty();
        tokio::spawn(Reflector::new(client, resource, scope, cache.clone()).run(stop));
        cache
    }

    pub(super) fn empty() -> Self {
        Cache(Arc::new(Shared {
            state: RwLock::new(State {
                objects: HashMap::new(),
                len: 0,
                indexes: Vec::new(),
            }),
            handlers: Mutex::new(Handlers {
                next: 0,
                by_id: BTreeMap::new(),
            }),
            wanted: watch::channel(1).0,
            listed: watch::channel(0).0,
        }))
    }

    /// A complete cache of fixed objects that follows nothing, for tests of what reads caches.
    pub fn fixed(objects: impl IntoIterator<Item = P>) -> Self {
        let cache = Cache::empty();
        cache.replace(objects.into_iter().collect(), 1);
        cache
    }

    pub(super) fn shared(&self) -> &Shared<P> {
        &self.0
    }

    /// One object.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<P>> {
        self.0.state.read().objects.get(namespace)?.get(name).cloned()
    }

    /// One object by its key.
    pub fn get_key(&self, key: &Key) -> Option<Arc<P>> {
        self.get(&key.namespace, &key.name)
    }

    /// Every object, in no order.
    pub fn list(&self) -> Vec<Arc<P>> {
        self.0
            .state
            .read()
            .objects
            .values()
            .flat_map(|n| n.values().cloned())
            .collect()
    }

    /// Every object of one namespace, in no order.
    pub fn list_namespace(&self, namespace: &str) -> Vec<Arc<P>> {
        self.0
            .state
            .read()
            .objects
            .get(namespace)
            .map(|n| n.values().cloned().collect())
            .unwrap_or_default()
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.0.state.read().len
    }

    /// Whether there is no object.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the first list is complete.
    pub fn is_synced(&self) -> bool {
        *self.0.listed.borrow() > 0
    }

    /// Waits until the first list is complete.
    pub async fn synced(&self) {
        self.listed_since(1).await;
    }

    /// Waits until the cache shows a state at least as new as this call.
    pub async fn catch_up(&self) {
        let mut wanted = 0;
        self.0.wanted.send_modify(|w| {
            *w += 1;
            wanted = *w;
        });
        self.listed_since(wanted).await;
    }

    async fn listed_since(&self, wanted: u64) {
        let mut listed = self.0.listed.subscribe();
        // The sender lives in `self`, so waiting cannot fail.
        let _ = listed.wait_for(|l| *l >= wanted).await;
    }

    /// An index by the values of a closure. Asking again for the same name gives the index that exists.
    pub fn index(&self, name: &'static str, by: impl Fn(&P) -> Vec<String> + Send + Sync + 'static) -> Index<P> {
        let mut state = self.0.state.write();
        let at = state.indexes.iter().position(|i| i.name == name).unwrap_or_else(|| {
            let mut index = IndexState {
                name,
                by: Box::new(by),
                values: HashMap::new(),
            };
            for object in state.objects.values().flat_map(|n| n.values()) {
                index.insert(object);
            }
            state.indexes.push(index);
            state.indexes.len() - 1
        });
        Index {
            cache: self.clone(),
            at,
        }
    }

    /// Calls `handler` with every present object as [`Change::Added`] and then with every change, in order, until the
    /// subscription is dropped. A handler must be quick (put a key in a queue) and must not subscribe or unsubscribe.
    #[must_use = "dropping the subscription ends it"]
    pub fn subscribe(&self, handler: impl Fn(&Change<P>) + Send + Sync + 'static) -> Subscription {
        let mut handlers = self.0.handlers.lock();
        for object in self.list() {
            handler(&Change::Added(object));
        }
        let id = handlers.next;
        handlers.next += 1;
        handlers.by_id.insert(id, Box::new(handler));
        let shared: Weak<Shared<P>> = Arc::downgrade(&self.0);
        Subscription(Some(Box::new(move || {
            if let Some(shared) = shared.upgrade() {
                shared.handlers.lock().by_id.remove(&id);
            }
        })))
    }

    /// Applies a watch event that an object is there.
    pub(super) fn upsert(&self, object: P) {
        let handlers = self.0.handlers.lock();
        // The state is unlocked before anybody is told: a handler may read this cache, or one whose handlers read this one.
        let change = self.0.state.write().upsert(Arc::new(object));
        handlers.tell(change);
    }

    /// Applies a watch event that an object is gone.
    pub(super) fn remove(&self, last: P) {
        let handlers = self.0.handlers.lock();
        let change = self.0.state.write().remove(&last.meta().key(), Some(Arc::new(last)));
        handlers.tell(change);
    }

    /// Applies a complete list whose making began after `wanted` relists were asked for. Handlers see the difference.
    pub(super) fn replace(&self, objects: Vec<P>, wanted: u64) {
        let handlers = self.0.handlers.lock();
        let keep: HashSet<Key> = objects.iter().map(|o| o.meta().key()).collect();
        let gone: Vec<Key> = self
            .list()
            .iter()
            .map(|o| o.meta().key())
            .filter(|k| !keep.contains(k))
            .collect();
        // The state lock covers the whole swap: a reader sees the old list or the new one, never a mixture.
        let changes: Vec<_> = {
            let mut state = self.0.state.write();
            let removed: Vec<_> = gone.iter().map(|key| state.remove(key, None)).collect();
            removed
                .into_iter()
                .chain(objects.into_iter().map(|o| state.upsert(Arc::new(o))))
                .collect()
        };
        for change in changes {
            handlers.tell(change);
        }
        drop(handlers);
        self.0.listed.send_modify(|l| *l = (*l).max(wanted));
    }
}

impl<P> Handlers<P> {
    fn tell(&self, change: Option<Change<P>>) {
        let Some(change) = change else { return };
        for handler in self.by_id.values() {
            handler(&change);
        }
    }
}

impl<P: Projection> State<P> {
    fn upsert(&mut self, object: Arc<P>) -> Option<Change<P>> {
        let meta = object.meta();
        let namespace = match self.objects.get_mut(&meta.namespace) {
            Some(namespace) => namespace,
            None => self.objects.entry(meta.namespace.clone()).or_default(),
        };
        let old = namespace.insert(meta.name.clone(), object.clone());
        if old.is_none() {
            self.len += 1;
        }
        for index in &mut self.indexes {
            if let Some(old) = &old {
                index.remove(old);
            }
            index.insert(&object);
        }
        match old {
            None => Some(Change::Added(object)),
            // A relist repeats what is known already.
            Some(old)
                if old.meta().resource_version == object.meta().resource_version
                    && old.meta().uid == object.meta().uid =>
            {
                None
            }
            Some(old) => Some(Change::Modified { old, new: object }),
        }
    }

    fn remove(&mut self, key: &Key, last: Option<Arc<P>>) -> Option<Change<P>> {
        let namespace = self.objects.get_mut(&key.namespace)?;
        let old = namespace.remove(&key.name)?;
        if namespace.is_empty() {
            self.objects.remove(&key.namespace);
        }
        self.len -= 1;
        for index in &mut self.indexes {
            index.remove(&old);
        }
        Some(Change::Deleted(last.unwrap_or(old)))
    }
}

impl<P: Projection> IndexState<P> {
    fn insert(&mut self, object: &Arc<P>) {
        for value in (self.by)(object) {
            self.values
                .entry(value)
                .or_default()
                .insert(object.meta().key(), object.clone());
        }
    }

    fn remove(&mut self, object: &Arc<P>) {
        let key = object.meta().key();
        for value in (self.by)(object) {
            if let Some(objects) = self.values.get_mut(&value) {
                objects.remove(&key);
                if objects.is_empty() {
                    self.values.remove(&value);
                }
            }
        }
    }
}

/// The objects of a cache by the values of a closure.
pub struct Index<P> {
    cache: Cache<P>,
    at: usize,
}

impl<P> Clone for Index<P> {
    fn clone(&self) -> Self {
        Index {
            cache: self.cache.clone(),
            at: self.at,
        }
    }
}

impl<P: Projection> Index<P> {
    /// The objects with this value, by key.
    pub fn get(&self, value: &str) -> Vec<Arc<P>> {
        let state = self.cache.0.state.read();
        state.indexes[self.at]
            .values
            .get(value)
            .map(|o| o.values().cloned().collect())
            .unwrap_or_default()
    }
}

/// Keeps a handler subscribed; dropping it unsubscribes.
pub struct Subscription(Option<Box<dyn FnOnce() + Send + Sync>>);

impl Drop for Subscription {
    fn drop(&mut self) {
        if let Some(end) = self.0.take() {
            end();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Meta;
    use serde::Deserialize;

    #[derive(Clone, Deserialize)]
    struct Thing {
        metadata: Meta,
    }

    impl Projection for Thing {
        const RESOURCE: Resource = Resource::namespaced("", "v1", "Thing", "things");

        fn meta(&self) -> &Meta {
            &self.metadata
        }
    }

    fn thing(name: &str, version: &str, app: &str) -> Thing {
        let labels = [("app".to_owned(), app.to_owned())].into();
        let (namespace, resource_version) = ("ns".to_owned(), version.to_owned());
        Thing {
            metadata: Meta {
                name: name.to_owned(),
                namespace,
                resource_version,
                labels,
                ..Meta::default()
            },
        }
    }

    #[test]
    fn a_handler_may_read_the_cache_it_hears_from() {
        let cache = Cache::<Thing>::empty();
        let (all, log) = (cache.clone(), Arc::new(Mutex::new(Vec::new())));
        let sink = log.clone();
        let _subscription = cache.subscribe(move |_| sink.lock().push(all.len()));
        cache.upsert(thing("a", "1", "x"));
        cache.upsert(thing("b", "2", "x"));
        cache.remove(thing("a", "3", "x"));
        assert_eq!(*log.lock(), [1, 2, 1]);
    }

    fn recorded(cache: &Cache<Thing>) -> (Arc<Mutex<Vec<String>>>, Subscription) {
        let log: Arc<Mutex<Vec<String>>> = Arc::default();
        let sink = log.clone();
        let subscription = cache.subscribe(move |change| {
            let word = match change {
                Change::Added(_) => "added",
                Change::Modified { .. } => "modified",
                Change::Deleted(_) => "deleted",
            };
            sink.lock().push(format!("{word} {}", change.object().metadata.name));
        });
        (log, subscription)
    }

    #[test]
    fn a_relist_tells_only_the_difference() {
        let cache = Cache::fixed([thing("a", "1", "x"), thing("b", "2", "x"), thing("c", "3", "x")]);
        let (log, _subscription) = recorded(&cache);
        log.lock().clear();
        cache.replace(
            vec![thing("a", "1", "x"), thing("b", "9", "x"), thing("d", "4", "x")],
            2,
        );
        let mut seen = log.lock().clone();
        seen.sort();
        assert_eq!(seen, ["added d", "deleted c", "modified b"]);
        assert_eq!(cache.len(), 3);
    }

    #[test]
    fn a_late_subscriber_sees_what_is_there_and_a_dropped_one_nothing_more() {
        let cache = Cache::fixed([thing("a", "1", "x")]);
        let (log, subscription) = recorded(&cache);
        cache.upsert(thing("b", "2", "x"));
        drop(subscription);
        cache.upsert(thing("c", "3", "x"));
        assert_eq!(*log.lock(), ["added a", "added b"]);
    }

    #[test]
    fn an_index_follows_every_change() {
        let cache = Cache::fixed([thing("a", "1", "x")]);
        let index = cache.index("app", |t: &Thing| vec![t.metadata.labels["app"].clone()]);
        assert_eq!(index.get("x").len(), 1);
        cache.upsert(thing("a", "2", "y"));
        assert_eq!((index.get("x").len(), index.get("y").len()), (0, 1));
        cache.remove(thing("a", "3", "y"));
        assert!(index.get("y").is_empty() && cache.is_empty());
    }

    #[test]
    fn a_namesake_with_another_uid_is_a_change_even_at_the_same_version() {
        let cache = Cache::fixed([thing("a", "1", "x")]);
        let (log, _subscription) = recorded(&cache);
        let mut other = thing("a", "1", "x");
        other.metadata.uid = "new".to_owned();
        cache.upsert(other);
        assert_eq!(log.lock().last().unwrap(), "modified a");
    }
}
