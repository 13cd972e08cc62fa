//! Lists: pages of a collection at one revision, filtered by what is parsed in the entries' slots.
//!
//! The latest revision is read from the store's in-memory view, without copying entries. Older ones (continued or exact lists)
//! come from the store's history; their bytes are shared too but their metadata is parsed again.

use crate::continuation::Continuation;
use crate::{Collection, Error, Item, Storage, limits};
use bytes::Bytes;
use mvcc::{DeterministicError, RangeEnd, View};
use raftstore::pb::{RangeRequest, RangeResponse};
use std::sync::Arc;

/// Decides whether an object is in a list or watch. Must be pure: the same metadata always gives the same answer.
pub type Matcher = Arc<dyn Fn(&crate::Meta) -> bool + Send + Sync>;

/// How fresh a read must be, in the terms of `resourceVersion` and `resourceVersionMatch`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// No resourceVersion: everything acknowledged before the request is visible.
    Latest,
    /// resourceVersion=0: whatever this member has.
    Any,
    /// resourceVersion=N: not older than that.
    AtLeast(i64),
    /// resourceVersion=N and resourceVersionMatch=Exact.
    Exactly(i64),
}

/// What to list.
#[derive(Clone, Default)]
pub struct ListQuery {
    /// Empty for all.
    pub namespace: String,
    /// A hint that only this name can match (`metadata.name=x`); the matcher must say so too.
    pub name: Option<String>,
    pub matcher: Option<Matcher>,
    /// 0: no limit.
    pub limit: usize,
    pub continuation: Option<String>,
    pub freshness: Option<Freshness>,
}

/// One page.
#[derive(Clone, Debug, Default)]
pub struct Page {
    pub revision: i64,
    pub items: Vec<Item>,
    /// Present when there is more.
    pub continuation: Option<String>,
    /// How many more, when that is known (no matcher).
    pub remaining: Option<i64>,
}

impl Storage {
    /// Lists a collection. See [`Freshness`] for what `resourceVersion` means.
    pub async fn list(&self, collection: &Collection, query: &ListQuery) -> Result<Page, Error> {
        let scope = collection.scope(&query.namespace);
        let continued = query.continuation.as_deref().map(Continuation::decode).transpose()?;
        let start = continued.as_ref().map(|c| format!("{scope}{}", c.start));
        let range = Range {
            start: start.unwrap_or_else(|| scope.clone()),
            end: mvcc::prefix_end(scope.as_bytes()),
            scope,
        };
        let freshness = match &continued {
            Some(c) if c.revision > 0 => Freshness::Exactly(c.revision),
            Some(_) => Freshness::Latest,
            None => query.freshness.unwrap_or(Freshness::Latest),
        };
        let view = self.view_at(freshness).await?;
        match freshness {
            Freshness::Exactly(revision) if revision != view.revision() => {
                let page = self.page_of_history(collection, query, &range, revision).await;
                page.map_err(|error| resumable(error, continued.as_ref()))
            }
            _ => page_of_view(collection, query, &range, &view),
        }
    }

    /// A view that is fresh enough.
    pub(crate) async fn view_at(&self, freshness: Freshness) -> Result<View, Error> {
        match freshness {
            Freshness::Latest => Ok(self.store().linearizable_view().await?),
            Freshness::Any => Ok(self.store().view()),
            Freshness::AtLeast(revision) | Freshness::Exactly(revision) => {
                let view = self.store().view();
                if view.revision() >= revision {
                    Ok(view)
                } else {
                    self.view_reaching(revision).await
                }
            }
        }
    }

    /// The revision may exist elsewhere and be on its way here, or not exist yet: it is waited for, a while.
    pub(crate) async fn view_reaching(&self, revision: i64) -> Result<View, Error> {
        let give_up = tokio::time::Instant::now() + limits::FUTURE_VERSION_WAIT;
        loop {
            let view = match tokio::time::timeout_at(give_up, self.store().linearizable_view()).await {
                Ok(view) => view?,
                Err(_) => self.store().view(),
            };
            if view.revision() >= revision {
                return Ok(view);
            }
            if tokio::time::Instant::now() >= give_up {
                return Err(Error::Future {
                    asked: revision,
                    current: view.revision(),
                });
            }
            tokio::time::sleep(limits::FUTURE_VERSION_POLL).await;
        }
    }

    async fn page_of_history(
        &self,
        collection: &Collection,
        query: &ListQuery,
        range: &Range,
        revision: i64,
    ) -> Result<Page, Error> {
        let mut pager = Pager::new(query, range, revision);
        let mut start = range.start.clone().into_bytes();
        loop {
            let response = self.read_history(&start, &range.end, revision).await?;
            let more = response.more;
            let total = response.count;
            for (read, kv) in response.kvs.into_iter().enumerate() {
                start = successor(&kv.key);
                let key = String::from_utf8_lossy(&kv.key).into_owned();
                let item = match Item::written(collection, &key, kv.value, kv.mod_revision) {
                    Ok(item) => item,
                    Err(error) => {
                        tracing::error!(%error, revision, "left out of a list of the past");
                        continue;
                    }
                };
                if pager.take(item, kv.key.as_ref()) {
                    return Ok(pager.finish(|| total - read as i64));
                }
            }
            if !more {
                return Ok(pager.finish(|| 0));
            }
        }
    }

    async fn read_history(&self, start: &[u8], end: &[u8], revision: i64) -> Result<RangeResponse, Error> {
        let request = RangeRequest {
            key: Bytes::copy_from_slice(start),
            range_end: Bytes::copy_from_slice(end),
            revision,
            limit: limits::HISTORY_PAGE,
            serializable: true,
            ..RangeRequest::default()
        };
        self.store().range(request).await.map_err(|error| match error {
            raftstore::Error::Refused(DeterministicError::Compacted { .. }) => {
                Error::Expired { revision, resume: None }
            }
            error => error.into(),
        })
    }
}

fn page_of_view(collection: &Collection, query: &ListQuery, range: &Range, view: &View) -> Result<Page, Error> {
    let mut pager = Pager::new(query, range, view.revision());
    if let Some(key) = collection.single(&query.namespace, query.name.as_deref()) {
        if let Some(entry) = view.get(key.as_bytes())
            && let Some(item) = Item::readable(collection, entry)
        {
            pager.take(item, &entry.key);
        }
        return Ok(pager.finish(|| 0));
    }
    let end = RangeEnd::Before(&range.end);
    for entry in view.range(range.start.as_bytes(), end) {
        let Some(item) = Item::readable(collection, entry) else {
            continue;
        };
        if pager.take(item, &entry.key) {
            return Ok(pager.finish(|| view.count(&entry.key, end) as i64));
        }
    }
    Ok(pager.finish(|| 0))
}

/// `[start, end)`; `start` begins with `scope`.
struct Range {
    scope: String,
    start: String,
    end: Vec<u8>,
}

/// Collects matching items until the page is full.
struct Pager<'a> {
    query: &'a ListQuery,
    range: &'a Range,
    page: Page,
}

impl<'a> Pager<'a> {
    fn new(query: &'a ListQuery, range: &'a Range, revision: i64) -> Pager<'a> {
        Pager {
            query,
            range,
            page: Page {
                revision,
                ..Page::default()
            },
        }
    }

    /// True when the page was full already: then this item starts the next one.
    fn take(&mut self, item: Item, key: &[u8]) -> bool {
        if self.query.matcher.as_ref().is_some_and(|matches| !matches(item.meta())) {
            return false;
        }
        if self.query.limit > 0 && self.page.items.len() == self.query.limit {
            let start =
                String::from_utf8_lossy(key.strip_prefix(self.range.scope.as_bytes()).unwrap_or(key)).into_owned();
            self.page.continuation = Some(
                Continuation {
                    revision: self.page.revision,
                    start,
                }
                .encode(),
            );
            return true;
        }
        self.page.items.push(item);
        false
    }

    /// `rest` counts the entries from the one that starts the next page; with a matcher nobody knows how many of them match.
    fn finish(mut self, rest: impl FnOnce() -> i64) -> Page {
        if self.page.continuation.is_some() && self.query.matcher.is_none() {
            self.page.remaining = Some(rest());
        }
        self.page
    }
}

/// An expired continuation may go on at the latest revision, if the client accepts an inconsistent list.
fn resumable(error: Error, continued: Option<&Continuation>) -> Error {
    match (error, continued) {
        (Error::Expired { revision, .. }, Some(c)) => {
            let resume = Continuation {
                revision: 0,
                start: c.start.clone(),
            }
            .encode();
            Error::Expired {
                revision,
                resume: Some(resume),
            }
        }
        (error, _) => error,
    }
}

fn successor(key: &[u8]) -> Vec<u8> {
    let mut next = key.to_vec();
    next.push(0);
    next
}
