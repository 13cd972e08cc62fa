//! Watches: what happens to a collection, in order, without gaps, from a revision on.
//!
//! Selectors are judged against both states of a change, so an object that starts or stops matching is ADDED or DELETED for this
//! watcher. What is sent is encoded once per event and format and kept in the store's own event (see [`Change::frame`]), so a thousand
//! watchers share one buffer.

use crate::frames::Frames;
use crate::{Collection, Error, Freshness, Item, Matcher, Storage};
use bytes::Bytes;
use mvcc::Block;
use raftstore::{Delivery, WatchSpec, Watcher};
use std::collections::VecDeque;
use std::sync::Arc;

/// Where a watch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With what happens after this revision.
    After(i64),
    /// With every object that exists, then what happens after.
    Existing(Freshness),
    /// With what happens from now on.
    Now,
}

/// What to watch.
#[derive(Clone)]
pub struct WatchQuery {
    pub namespace: String,
    /// A hint, as in [`crate::ListQuery`].
    pub name: Option<String>,
    pub matcher: Option<Matcher>,
    pub start: Start,
}

/// What a watcher sees of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChangeKind {
    Added,
    Modified,
    Deleted,
}

/// One thing a watch delivers.
#[derive(Clone, Debug)]
pub enum WatchEvent {
    Change(Change),
    /// Everything up to this revision was delivered. `initial_end` marks the end of the existing objects.
    Bookmark {
        revision: i64,
        initial_end: bool,
    },
}

/// A change as this watcher sees it.
#[derive(Clone, Debug)]
pub struct Change {
    pub kind: ChangeKind,
    pub item: Item,
    /// The store's event, whose slot caches frames; `None` for existing objects.
    source: Option<(Arc<Block>, usize)>,
}

impl Change {
    /// The frame of this change in a format, encoded at most once per event, kind and format. `format` must identify everything
    /// that `encode` depends on besides the change.
    pub fn frame<E>(&self, format: u64, encode: impl FnOnce(&Change) -> Result<Bytes, E>) -> Result<Bytes, E> {
        match &self.source {
            None => encode(self),
            Some((block, index)) => Frames::of(&block.events[*index]).get_or_encode(format, self.kind, || encode(self)),
        }
    }
}

/// An open watch. Dropping it ends it.
pub struct Watch {
    collection: Collection,
    matcher: Option<Matcher>,
    spec: WatchSpec,
    watcher: Watcher,
    ready: VecDeque<WatchEvent>,
}

impl Storage {
    /// Opens a watch. A start that is compacted already is reported by the first [`Watch::next`].
    pub async fn watch(&self, collection: &Collection, query: WatchQuery) -> Result<Watch, Error> {
        let (key, range_end) = match collection.single(&query.namespace, query.name.as_deref()) {
            Some(key) => (key.into_bytes(), Vec::new()),
            None => {
                let scope = collection.scope(&query.namespace).into_bytes();
                let end = mvcc::prefix_end(&scope);
                (scope, end)
            }
        };
        let mut ready = VecDeque::new();
        let after = match query.start {
            // A start that does not exist yet would wait in silence for whatever gets that revision.
            Start::After(revision) => {
                if revision > self.store().view().revision() {
                    self.view_reaching(revision).await?;
                }
                revision
            }
            Start::Now => self.view_at(Freshness::Latest).await?.revision(),
            Start::Existing(freshness) => self.existing(collection, &query, freshness, &mut ready).await?,
        };
        let spec = WatchSpec {
            key: key.into(),
            range_end: range_end.into(),
            start_revision: after + 1,
        };
        let watcher = self.store().watch(spec.clone()).await?;
        Ok(Watch {
            collection: collection.clone(),
            matcher: query.matcher,
            spec,
            watcher,
            ready,
        })
    }

    async fn existing(
        &self,
        collection: &Collection,
        query: &WatchQuery,
        freshness: Freshness,
        ready: &mut VecDeque<WatchEvent>,
    ) -> Result<i64, Error> {
        let list = crate::ListQuery {
            namespace: query.namespace.clone(),
            name: query.name.clone(),
            matcher: query.matcher.clone(),
            freshness: Some(freshness),
            ..crate::ListQuery::default()
        };
        let page = self.list(collection, &list).await?;
        ready.extend(page.items.into_iter().map(|item| {
            WatchEvent::Change(Change {
                kind: ChangeKind::Added,
                item,
                source: None,
            })
        }));
        ready.push_back(WatchEvent::Bookmark {
            revision: page.revision,
            initial_end: true,
        });
        Ok(page.revision)
    }
}

impl Watch {
    /// The next events, at least one. Cancelling loses nothing.
    pub async fn next(&mut self) -> Result<VecDeque<WatchEvent>, Error> {
        while self.ready.is_empty() {
            match self.watcher.next().await? {
                Delivery::Blocks { blocks, .. } => self.take(&blocks),
                Delivery::Progress { revision } => {
                    self.ready.push_back(WatchEvent::Bookmark {
                        revision,
                        initial_end: false,
                    });
                }
                Delivery::Compacted { compact_revision } => {
                    return Err(Error::Expired {
                        revision: compact_revision,
                        resume: None,
                    });
                }
            }
        }
        Ok(std::mem::take(&mut self.ready))
    }

    /// Asks for a bookmark, which arrives in order with the events.
    pub fn request_bookmark(&mut self) {
        self.watcher.request_progress();
    }

    fn take(&mut self, blocks: &[Arc<Block>]) {
        for block in blocks {
            for (index, event) in block.events.iter().enumerate() {
                if self.spec.matches(&event.entry.key)
                    && let Some(change) = self.judge(block, index)
                {
                    self.ready.push_back(WatchEvent::Change(change));
                }
            }
        }
    }

    fn judge(&self, block: &Arc<Block>, index: usize) -> Option<Change> {
        let event = &block.events[index];
        let after = (!event.is_delete())
            .then(|| Item::readable(&self.collection, &event.entry))
            .flatten()
            .filter(|item| self.matches(item));
        // A transition away shows the last state that matched, at the revision of the change.
        let before = event.prev.as_ref();
        let before = before
            .and_then(|prev| Item::readable_at(&self.collection, prev, block.revision))
            .filter(|item| self.matches(item));
        let (kind, item) = match (before, after) {
            (None, Some(after)) => (ChangeKind::Added, after),
            (Some(_), Some(after)) => (ChangeKind::Modified, after),
            (Some(before), None) => (ChangeKind::Deleted, before),
            (None, None) => return None,
        };
        Some(Change {
            kind,
            item,
            source: Some((block.clone(), index)),
        })
    }

    fn matches(&self, item: &Item) -> bool {
        self.matcher.as_ref().is_none_or(|matches| matches(item.meta()))
    }
}
