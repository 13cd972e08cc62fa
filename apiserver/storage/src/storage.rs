//! Get, create, update, delete of one object.

use crate::recency::Recency;
use crate::write::{Change, Outcome, Write};
use crate::{Collection, Error, Fence, Freshness, Guard, Item, encode, limits};
use bytes::Bytes;
use raftstore::Store;
use serde_json::Value;

/// The Kubernetes keyspace over the replicated store. Cheap to clone.
#[derive(Clone)]
pub struct Storage {
    store: Store,
    recency: Recency,
}

/// An object as an update found it.
#[derive(Clone, Debug)]
pub struct Current {
    pub item: Item,
    /// False when this member's copy may be stale: a refusal based on it must be checked against a fresh one.
    pub fresh: bool,
}

/// What an attempt to write came to.
#[derive(Clone, Debug)]
pub enum Attempt {
    Written(Item),
    /// Somebody else wrote first; this is the object now, if it still exists.
    Lost(Option<Current>),
}

impl Storage {
    pub fn new(store: Store) -> Storage {
        let recency = Recency::new(store.leadership());
        Storage { store, recency }
    }

    pub(crate) fn recency(&self) -> &Recency {
        &self.recency
    }

    /// The store below, for status, membership and compaction; objects go through the methods here.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Whether a read of this freshness succeeds at all.
    pub async fn ping(&self, freshness: Freshness) -> Result<(), Error> {
        self.view_at(freshness).await.map(drop)
    }

    /// The newest revision this member has applied.
    pub fn revision(&self) -> i64 {
        self.store.view().revision()
    }

    /// One object.
    pub async fn get(
        &self,
        collection: &Collection,
        namespace: &str,
        name: &str,
        freshness: Freshness,
    ) -> Result<Item, Error> {
        let key = collection.key(namespace, name);
        let view = self.view_at(freshness).await?;
        match view.get(key.as_bytes()) {
            Some(entry) => Item::of(collection, entry),
            None => Err(Error::NotFound { key }),
        }
    }

    /// What this member has of an object right now, as the start of an update. Asks the leader only when there is nothing here.
    pub async fn current(&self, collection: &Collection, namespace: &str, name: &str) -> Result<Current, Error> {
        let key = collection.key(namespace, name);
        match self.store.view().get(key.as_bytes()) {
            Some(entry) => Ok(Current {
                item: Item::of(collection, entry)?,
                fresh: false,
            }),
            None => self.refreshed(collection, namespace, name).await,
        }
    }

    /// The object as of now, cluster-wide.
    pub async fn refreshed(&self, collection: &Collection, namespace: &str, name: &str) -> Result<Current, Error> {
        let item = self.get(collection, namespace, name, Freshness::Latest).await?;
        Ok(Current { item, fresh: true })
    }

    /// Writes an object that must not exist.
    pub async fn create(
        &self,
        collection: &Collection,
        namespace: &str,
        name: &str,
        object: &Value,
        fence: Option<&Fence>,
    ) -> Result<Item, Error> {
        self.create_guarded(collection, namespace, name, object, fence, &[])
            .await
    }

    /// [`Storage::create`], unless an object that it depends on has changed. Those that are to change along with it do.
    pub async fn create_guarded(
        &self,
        collection: &Collection,
        namespace: &str,
        name: &str,
        object: &Value,
        fence: Option<&Fence>,
        guards: &[Guard],
    ) -> Result<Item, Error> {
        let key = collection.key(namespace, name);
        let bytes = encode::canonical(object).ok_or_else(|| Error::NotAnObject { key: key.clone() })?;
        // Read back before writing: what cannot be read must not be stored.
        let item = Item::written(collection, &key, bytes.clone(), 0)?;
        let write = Write {
            key: &key,
            revision: 0,
            change: Change::Put(bytes),
            fence,
            guards,
        };
        match self.transact(&write).await? {
            Outcome::Done(revision) => Ok(item.moved_to(revision)),
            Outcome::Lost(_) => Err(Error::AlreadyExists { key }),
        }
    }

    /// Replaces an object if it is still the one in `current`. An object that would not change is not written.
    pub async fn replace(
        &self,
        collection: &Collection,
        namespace: &str,
        name: &str,
        current: &Current,
        object: &Value,
        fence: Option<&Fence>,
    ) -> Result<Attempt, Error> {
        self.replace_guarded(collection, namespace, name, current, object, fence, &[])
            .await
    }

    /// [`Storage::replace`], unless an object that it depends on has changed. Those that are to change along with it do.
    #[allow(clippy::too_many_arguments, reason = "the parts of one transaction")]
    pub async fn replace_guarded(
        &self,
        collection: &Collection,
        namespace: &str,
        name: &str,
        current: &Current,
        object: &Value,
        fence: Option<&Fence>,
        guards: &[Guard],
    ) -> Result<Attempt, Error> {
        let key = collection.key(namespace, name);
        let bytes = encode::canonical(object).ok_or_else(|| Error::NotAnObject { key: key.clone() })?;
        if bytes == *current.item.stored() && fence.is_none() {
            return self.unchanged(collection, namespace, name, current).await;
        }
        let item = Item::written(collection, &key, bytes.clone(), 0)?;
        let write = Write {
            key: &key,
            revision: current.item.revision(),
            change: Change::Put(bytes),
            fence,
            guards,
        };
        match self.transact(&write).await? {
            Outcome::Done(revision) => Ok(Attempt::Written(item.moved_to(revision))),
            Outcome::Lost(now) => self.lost(collection, &key, now),
        }
    }

    /// Removes an object if it is still the one in `current`. The item returned is its last state, at the revision of the deletion.
    pub async fn remove(
        &self,
        collection: &Collection,
        namespace: &str,
        name: &str,
        current: &Current,
        fence: Option<&Fence>,
    ) -> Result<Attempt, Error> {
        let key = collection.key(namespace, name);
        let write = Write {
            key: &key,
            revision: current.item.revision(),
            change: Change::Delete,
            fence,
            guards: &[],
        };
        match self.transact(&write).await? {
            Outcome::Done(revision) => Ok(Attempt::Written(current.item.moved_to(revision))),
            Outcome::Lost(now) => self.lost(collection, &key, now),
        }
    }

    /// Removes an object whose stored value cannot be read. False when it can be: then [`Storage::remove`] is the way.
    pub async fn purge(
        &self,
        collection: &Collection,
        namespace: &str,
        name: &str,
        fence: Option<&Fence>,
    ) -> Result<bool, Error> {
        let key = collection.key(namespace, name);
        let view = self.view_at(Freshness::Latest).await?;
        let entry = view.get(key.as_bytes()).ok_or(Error::NotFound { key: key.clone() })?;
        if Item::of(collection, entry).is_ok_and(|item| item.value().is_ok()) {
            return Ok(false);
        }
        let write = Write {
            key: &key,
            revision: entry.mod_revision,
            change: Change::Delete,
            fence,
            guards: &[],
        };
        match self.transact(&write).await? {
            Outcome::Done(_) => Ok(true),
            Outcome::Lost(_) => Err(Error::Contended { key, attempts: 1 }),
        }
    }

    /// Changes an object with a pure function, as often as it takes. `Ok(None)` from the function leaves it as it is.
    pub async fn guaranteed_update<E: From<Error>>(
        &self,
        collection: &Collection,
        namespace: &str,
        name: &str,
        fence: Option<&Fence>,
        mut change: impl FnMut(Value) -> Result<Option<Value>, E>,
    ) -> Result<Item, E> {
        let mut current = self.current(collection, namespace, name).await?;
        for _ in 0..limits::UPDATE_ATTEMPTS {
            let object = match change(current.item.value()?) {
                Ok(Some(object)) => object,
                Ok(None) if current.fresh => return Ok(current.item),
                Err(error) if current.fresh => return Err(error),
                Ok(None) | Err(_) => {
                    current = self.refreshed(collection, namespace, name).await?;
                    continue;
                }
            };
            match self
                .replace(collection, namespace, name, &current, &object, fence)
                .await?
            {
                Attempt::Written(item) => return Ok(item),
                Attempt::Lost(Some(now)) => current = now,
                Attempt::Lost(None) => {
                    return Err(Error::NotFound {
                        key: collection.key(namespace, name),
                    }
                    .into());
                }
            }
        }
        Err(Error::Contended {
            key: collection.key(namespace, name),
            attempts: limits::UPDATE_ATTEMPTS,
        }
        .into())
    }

    /// A write that changes nothing is answered without one, but only from a fresh copy.
    async fn unchanged(
        &self,
        collection: &Collection,
        namespace: &str,
        name: &str,
        current: &Current,
    ) -> Result<Attempt, Error> {
        if current.fresh {
            return Ok(Attempt::Written(current.item.clone()));
        }
        match self.refreshed(collection, namespace, name).await {
            Ok(now) if now.item.revision() == current.item.revision() => Ok(Attempt::Written(now.item)),
            Ok(now) => Ok(Attempt::Lost(Some(now))),
            Err(Error::NotFound { .. }) => Ok(Attempt::Lost(None)),
            Err(error) => Err(error),
        }
    }

    fn lost(&self, collection: &Collection, key: &str, now: Option<(Bytes, i64)>) -> Result<Attempt, Error> {
        let current = now
            .map(|(bytes, revision)| Item::written(collection, key, bytes, revision))
            .transpose()?;
        Ok(Attempt::Lost(current.map(|item| Current { item, fresh: true })))
    }

    async fn transact(&self, write: &Write<'_>) -> Result<Outcome, Error> {
        write.outcome(self.store.txn(write.request()).await?)
    }
}
