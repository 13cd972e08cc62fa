//! Reads by resource name. What authorizers, views and plugins hold: it can change nothing.

use super::served::{Overlay, Resources, Served};
use crate::ApiError;
use crate::status::from_storage;
use serde_json::Value;
use std::sync::Arc;
use storage::{Freshness, Item, ListQuery, Matcher, Start, Storage, Watch, WatchQuery};

/// Cheap to clone.
#[derive(Clone)]
pub struct Reader {
    storage: Storage,
    resources: Arc<Resources>,
}

/// Narrows a list. The default is everything.
#[derive(Clone, Default)]
pub struct ListFilter {
    pub matcher: Option<Matcher>,
}

impl Reader {
    pub(super) fn new(storage: Storage, resources: Resources) -> Reader {
        Reader {
            storage,
            resources: Arc::new(resources),
        }
    }

    /// The storage below.
    pub fn storage(&self) -> &Storage {
        &self.storage
    }

    /// A resource by the name code uses: `deployments.apps`.
    pub fn served(&self, resource: &str) -> Result<Arc<Served>, ApiError> {
        self.resources.by_key(resource).ok_or_else(ApiError::no_such_path)
    }

    /// A resource by the parts of its path.
    pub fn served_at(&self, group: &str, version: &str, resource: &str) -> Result<Arc<Served>, ApiError> {
        self.resources
            .by_path(group, version, resource)
            .ok_or_else(ApiError::no_such_path)
    }

    /// The custom resources that are served.
    pub(crate) fn overlay(&self) -> Arc<Overlay> {
        self.resources.overlay()
    }

    /// Puts newer custom resources in their place.
    pub(crate) fn set_overlay(&self, overlay: Overlay) {
        self.resources.set_overlay(overlay);
    }

    /// One object, as of now.
    pub async fn get(&self, resource: &str, namespace: &str, name: &str) -> Result<Value, ApiError> {
        self.item(resource, namespace, name, Freshness::Latest)
            .await
            .and_then(|item| value_of(&item))
    }

    /// One object as this member has it: no round trip, possibly a moment old. `None` when it is not here.
    pub async fn local(&self, resource: &str, namespace: &str, name: &str) -> Result<Option<Value>, ApiError> {
        match self.item(resource, namespace, name, Freshness::Any).await {
            Ok(item) => value_of(&item).map(Some),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// One stored object.
    pub async fn item(
        &self,
        resource: &str,
        namespace: &str,
        name: &str,
        freshness: Freshness,
    ) -> Result<Item, ApiError> {
        let served = self.served(resource)?;
        let item = self.storage.get(&served.collection, namespace, name, freshness).await;
        item.map_err(|error| from_storage(error, &served.name, name))
    }

    /// The objects of a namespace (of all, when empty), as of now.
    pub async fn list(&self, resource: &str, namespace: &str, filter: &ListFilter) -> Result<Vec<Value>, ApiError> {
        self.items(resource, namespace, filter, Freshness::Latest)
            .await?
            .iter()
            .map(value_of)
            .collect()
    }

    /// The objects as this member has them.
    pub async fn local_items(&self, resource: &str, namespace: &str) -> Result<Vec<Item>, ApiError> {
        self.items(resource, namespace, &ListFilter::default(), Freshness::Any)
            .await
    }

    /// The stored objects.
    pub async fn items(
        &self,
        resource: &str,
        namespace: &str,
        filter: &ListFilter,
        freshness: Freshness,
    ) -> Result<Vec<Item>, ApiError> {
        let served = self.served(resource)?;
        let query = ListQuery {
            namespace: namespace.to_string(),
            matcher: filter.matcher.clone(),
            freshness: Some(freshness),
            ..ListQuery::default()
        };
        let page = self.storage.list(&served.collection, &query).await;
        page.map(|page| page.items)
            .map_err(|error| from_storage(error, &served.name, ""))
    }

    /// Everything that exists (as ADDED, then a bookmark) and everything that happens after; feeds views.
    pub async fn watch(&self, resource: &str, namespace: &str) -> Result<Watch, ApiError> {
        let served = self.served(resource)?;
        let query = WatchQuery {
            namespace: namespace.to_string(),
            name: None,
            matcher: None,
            start: Start::Existing(Freshness::Any),
        };
        let watch = self.storage.watch(&served.collection, query).await;
        watch.map_err(|error| from_storage(error, &served.name, ""))
    }
}

/// The object, resourceVersion included.
pub(super) fn value_of(item: &Item) -> Result<Value, ApiError> {
    item.value().map_err(ApiError::internal)
}
