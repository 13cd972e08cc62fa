//! Who has which cluster address and which node port: one small record for each, created by whoever takes it.

use crate::ApiError;
use crate::registry::fields::text;
use crate::registry::{Registry, RequestContext};
use crate::status::from_storage;
use serde_json::json;
use std::sync::{Arc, LazyLock};
use storage::{Collection, Fields, Freshness, ListQuery};

/// What can be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Address,
    NodePort,
}

/// What became of an attempt to take something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    /// It was free.
    New,
    /// It was this owner's before.
    Held,
    Taken,
}

/// Something taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub name: String,
    /// The service, as [`super::allocation::owner`] names it.
    pub owner: String,
    /// When it was taken.
    pub revision: i64,
}

static ADDRESSES: LazyLock<Collection> = LazyLock::new(|| records("ranges/serviceips"));
static NODE_PORTS: LazyLock<Collection> = LazyLock::new(|| records("ranges/servicenodeports"));

fn records(directory: &str) -> Collection {
    Collection::builtin(directory, false, Fields::default())
}

impl Kind {
    fn collection(self) -> &'static Collection {
        match self {
            Kind::Address => &ADDRESSES,
            Kind::NodePort => &NODE_PORTS,
        }
    }

    /// How errors call it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Kind::Address => "cluster address",
            Kind::NodePort => "node port",
        }
    }

    /// Takes `name` for `owner` if it is free.
    pub(crate) async fn claim(
        self,
        registry: &Arc<Registry>,
        context: &RequestContext,
        name: &str,
        owner: &str,
    ) -> Result<Claim, ApiError> {
        if context.dry_run {
            return Ok(self
                .owner(registry, name)
                .await?
                .map_or(Claim::New, |held| compare(&held, owner)));
        }
        let storage = registry.reader().storage();
        let record = json!({"metadata": {"name": name}, "owner": owner});
        match storage
            .create(self.collection(), "", name, &record, context.fence.as_ref())
            .await
        {
            Ok(_) => Ok(Claim::New),
            Err(storage::Error::AlreadyExists { .. }) => {
                let held = self.owner(registry, name).await?;
                Ok(held.map_or(Claim::Taken, |held| compare(&held, owner)))
            }
            Err(error) => Err(from_storage(error, self.word(), name)),
        }
    }

    async fn owner(self, registry: &Arc<Registry>, name: &str) -> Result<Option<String>, ApiError> {
        let failed = |error| from_storage(error, self.word(), name);
        match registry
            .reader()
            .storage()
            .get(self.collection(), "", name, Freshness::Latest)
            .await
        {
            Ok(item) => Ok(Some(text(&item.value().map_err(failed)?, "owner").to_owned())),
            Err(storage::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    /// Gives `name` back if `owner` has it.
    pub(crate) async fn release(self, registry: &Arc<Registry>, name: &str, owner: &str) -> Result<(), ApiError> {
        let storage = registry.reader().storage();
        let failed = |error| from_storage(error, self.word(), name);
        let current = match storage.refreshed(self.collection(), "", name).await {
            Err(storage::Error::NotFound { .. }) => return Ok(()),
            other => other.map_err(failed)?,
        };
        // Another service may have taken it since; then there is nothing to give back.
        if text(&current.item.value().map_err(failed)?, "owner") == owner {
            storage
                .remove(self.collection(), "", name, &current, None)
                .await
                .map_err(failed)?;
        }
        Ok(())
    }

    /// Everything that is taken.
    pub(crate) async fn taken(self, registry: &Arc<Registry>) -> Result<Vec<Record>, ApiError> {
        let page = registry
            .reader()
            .storage()
            .list(self.collection(), &ListQuery::default())
            .await;
        let items = page.map_err(|error| from_storage(error, self.word(), ""))?.items;
        let record = |item: &storage::Item| {
            let value = item.value().ok()?;
            let (name, owner) = (
                text(&value, "metadata.name").to_owned(),
                text(&value, "owner").to_owned(),
            );
            Some(Record {
                name,
                owner,
                revision: item.revision(),
            })
        };
        Ok(items.iter().filter_map(record).collect())
    }
}

fn compare(held: &str, owner: &str) -> Claim {
    if held == owner { Claim::Held } else { Claim::Taken }
}
