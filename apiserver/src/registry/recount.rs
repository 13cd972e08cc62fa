//! `status` of quotas: what is used right now. Creates and growing updates write it along with themselves ([`super::quota`]); what
//! ends, shrinks or changes the quota itself makes this member count anew, soon after. Counting twice does no harm, so nobody
//! needs to lead.

use super::quota::{QUOTAS, charged, record};
use super::reader::{ListFilter, value_of};
use super::{Registry, fields};
use crate::ApiError;
use crate::status::from_storage;
use api::Quantity;
use api::pods::{self, Resources};
use parking_lot::Mutex;
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::time::Duration;
use storage::{Attempt, Current, Freshness};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// How long marks are gathered before counting: a namespace that is being emptied is counted a few times, not once an object.
const GATHER: Duration = Duration::from_millis(100);
/// How long to wait after a count that failed.
const RETRY: Duration = Duration::from_secs(1);

/// Namespaces whose quotas may show something else than is used.
#[derive(Default)]
pub(super) struct Marks {
    namespaces: Mutex<BTreeSet<String>>,
    wake: Notify,
}

impl Marks {
    /// Something in a namespace changed.
    fn mark(&self, namespace: &str) {
        self.namespaces.lock().insert(namespace.to_owned());
        self.wake.notify_one();
    }

    fn take(&self) -> BTreeSet<String> {
        std::mem::take(&mut *self.namespaces.lock())
    }
}

impl Registry {
    /// Has the quotas of a namespace counted, if it has any.
    pub(super) async fn recount(&self, namespace: &str) {
        self.recount_if(namespace, || true).await;
    }

    /// [`Registry::recount`], if that can change anything; asked only where there are quotas.
    pub(super) async fn recount_if(&self, namespace: &str, matters: impl FnOnce() -> bool + Send) {
        if namespace.is_empty() {
            return;
        }
        let quotas = self.reader().local_items(QUOTAS, namespace).await;
        if quotas.is_ok_and(|quotas| !quotas.is_empty()) && matters() {
            self.marks.mark(namespace);
        }
    }

    /// Has every quota counted.
    pub(crate) async fn recount_all(&self) -> Result<(), ApiError> {
        for quota in self.reader().local_items(QUOTAS, "").await? {
            self.marks.mark(&quota.meta().namespace);
        }
        Ok(())
    }
}

/// Counts what is marked, until `stop` or until the registry is gone.
async fn run(registry: Weak<Registry>, stop: CancellationToken) {
    let Some(marks) = registry.upgrade().map(|registry| registry.marks.clone()) else {
        return;
    };
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = marks.wake.notified() => {}
        }
        tokio::time::sleep(GATHER).await;
        let Some(registry) = registry.upgrade() else { return };
        for namespace in marks.take() {
            if let Err(error) = count(&registry, &namespace).await {
                tracing::debug!(%error, namespace, "cannot count the quotas of a namespace yet");
                tokio::time::sleep(RETRY).await;
                marks.mark(&namespace);
            }
        }
    }
}

async fn count(registry: &Registry, namespace: &str) -> Result<(), ApiError> {
    let (reader, all) = (registry.reader(), ListFilter::default());
    let served = reader.served(QUOTAS)?;
    for item in reader.items(QUOTAS, namespace, &all, Freshness::Latest).await? {
        let mut quota = value_of(&item)?;
        let used = used(registry, namespace, &quota).await?;
        record(&mut quota, &used);
        let name = item.meta().name.to_string();
        let current = Current { item, fresh: true };
        let storage = reader.storage();
        let attempt = storage
            .replace(&served.collection, namespace, &name, &current, &quota, None)
            .await
            .map_err(|error| from_storage(error, &served.name, &name))?;
        // Somebody else wrote it: what was counted may be old.
        if let Attempt::Lost(Some(_)) = attempt {
            registry.marks.mark(namespace);
        }
    }
    Ok(())
}

/// What a namespace uses of a quota's resources; all of them are named.
async fn used(registry: &Registry, namespace: &str, quota: &Value) -> Result<Resources, ApiError> {
    let mut used: Resources = fields::entries(quota, "spec.hard")
        .map(|(resource, _)| (resource.clone(), Quantity::default()))
        .collect();
    let kinds: BTreeSet<&str> = used.keys().map(|resource| counted(resource)).collect();
    let kinds: Vec<String> = kinds.into_iter().map(str::to_owned).collect();
    for kind in kinds {
        // A quota may count what is not served (any more).
        let Ok(served) = registry.reader().served(&kind) else {
            continue;
        };
        let items = registry
            .reader()
            .items(&kind, namespace, &ListFilter::default(), Freshness::Latest)
            .await?;
        for item in items {
            pods::add(&mut used, &charged(quota, &served, &value_of(&item)?));
        }
    }
    Ok(used)
}

/// The objects that a quota's resource is counted by.
fn counted(resource: &str) -> &str {
    if let Some(name) = resource.strip_prefix("count/") {
        return name;
    }
    match resource {
        "services" | "configmaps" | "secrets" | "replicationcontrollers" | "resourcequotas" => resource,
        _ if resource.starts_with("services.") => "services",
        "persistentvolumeclaims" | "requests.storage" => "persistentvolumeclaims",
        _ if resource.contains(".storageclass.storage.k8s.io/") => "persistentvolumeclaims",
        _ => "pods",
    }
}

/// Keeps counting, for as long as the registry lives.
pub(crate) fn spawn(registry: &Arc<Registry>, stop: CancellationToken) {
    tokio::spawn(run(Arc::downgrade(registry), stop));
}

#[cfg(test)]
mod tests {
    use super::counted;

    #[test]
    fn every_resource_is_counted_by_some_kind() {
        for (resource, kind) in [
            ("pods", "pods"),
            ("requests.cpu", "pods"),
            ("limits.memory", "pods"),
            ("requests.nvidia.com/gpu", "pods"),
            ("count/deployments.apps", "deployments.apps"),
            ("services.nodeports", "services"),
            ("requests.storage", "persistentvolumeclaims"),
            (
                "gold.storageclass.storage.k8s.io/requests.storage",
                "persistentvolumeclaims",
            ),
            ("secrets", "secrets"),
        ] {
            assert_eq!(counted(resource), kind, "{resource}");
        }
    }
}
