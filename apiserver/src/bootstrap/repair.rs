//! What nobody else can clean up: allocations whose service does not exist, and events that are over.

use crate::ApiError;
use crate::registry::fields::{at, name, namespace};
use crate::registry::services::allocation;
use crate::registry::services::claims::{Kind, Record};
use crate::registry::{ListFilter, Registry, RequestContext};
use jiff::Timestamp;
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// How long events are kept after they were last seen.
const EVENT_SECONDS: i64 = 3600;
/// Events deleted in one run; the rest has to wait for the next.
const EVENTS_PER_RUN_MAX: usize = 5000;

/// See the module.
pub(super) struct Repair {
    registry: Arc<Registry>,
    /// Records without a service in the last run, with their revision. A record that is seen so twice is a leak and not a
    /// service that is just being created.
    suspects: HashMap<(Kind, String), i64>,
}

impl Repair {
    pub(super) fn new(registry: Arc<Registry>) -> Repair {
        Repair {
            registry,
            suspects: HashMap::new(),
        }
    }

    pub(super) async fn run(&mut self) -> Result<(), ApiError> {
        self.allocations().await?;
        self.registry.recount_all().await?;
        self.events().await
    }

    async fn allocations(&mut self) -> Result<(), ApiError> {
        let mut orphans: Vec<(Kind, Record)> = Vec::new();
        for kind in [Kind::Address, Kind::NodePort] {
            orphans.extend(
                kind.taken(&self.registry)
                    .await?
                    .into_iter()
                    .map(|record| (kind, record)),
            );
        }
        // Read after the records: a service written in between is seen.
        let services = self
            .registry
            .reader()
            .list("services", "", &ListFilter::default())
            .await?;
        let owned = owned(&services);
        orphans.retain(|(kind, record)| !owned.contains(&(record.owner.clone(), *kind, record.name.clone())));
        let before = std::mem::take(&mut self.suspects);
        for (kind, record) in orphans {
            let key = (kind, record.name.clone());
            if before.get(&key) == Some(&record.revision) {
                tracing::info!(
                    owner = record.owner,
                    "giving back {} {} of no service",
                    kind.word(),
                    record.name
                );
                kind.release(&self.registry, &record.name, &record.owner).await?;
            } else {
                self.suspects.insert(key, record.revision);
            }
        }
        Ok(())
    }

    async fn events(&self) -> Result<(), ApiError> {
        let items = self.registry.reader().local_items("events", "").await?;
        let oldest = Timestamp::now().as_second() - EVENT_SECONDS;
        let values = items.iter().filter_map(|item| item.value().ok());
        let over: Vec<Value> = values
            .filter(|event| last_seen(event) < oldest)
            .take(EVENTS_PER_RUN_MAX)
            .collect();
        for event in over {
            let gone = self
                .registry
                .delete(
                    &RequestContext::system(),
                    "events",
                    namespace(&event),
                    name(&event),
                    &Default::default(),
                )
                .await;
            if let Err(error) = gone.map(|_| ())
                && !error.is_not_found()
            {
                return Err(error);
            }
        }
        Ok(())
    }
}

fn owned(services: &[Value]) -> HashSet<(String, Kind, String)> {
    let of = |service: &Value| {
        let owner = allocation::owner(service);
        allocation::held(service)
            .into_iter()
            .map(move |(kind, name)| (owner.clone(), kind, name))
            .collect::<Vec<_>>()
    };
    services.iter().flat_map(of).collect()
}

/// The newest time an event carries, in seconds. One without any is kept forever rather than lost at once.
fn last_seen(event: &Value) -> i64 {
    const FIELDS: &[&str] = &[
        "series.lastObservedTime",
        "lastTimestamp",
        "eventTime",
        "metadata.creationTimestamp",
    ];
    let times = FIELDS
        .iter()
        .filter_map(|field| at(event, field)?.as_str()?.parse::<Timestamp>().ok());
    times.map(Timestamp::as_second).max().unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_service_owns_its_addresses_and_ports() {
        let service = json!({"metadata": {"name": "s", "namespace": "a", "uid": "1"}, "spec": {"clusterIPs": ["10.96.0.7"],
            "ports": [{"nodePort": 30001}]}});
        let owned = owned(&[service]);
        assert!(owned.contains(&("a/s/1".to_owned(), Kind::Address, "10.96.0.7".to_owned())));
        assert!(owned.contains(&("a/s/1".to_owned(), Kind::NodePort, "30001".to_owned())));
    }

    #[test]
    fn the_newest_time_counts() {
        let event =
            json!({"lastTimestamp": "1970-01-01T00:01:00Z", "metadata": {"creationTimestamp": "1970-01-01T00:00:10Z"}});
        assert_eq!(last_seen(&event), 60);
        assert_eq!(last_seen(&json!({})), i64::MAX);
    }
}
