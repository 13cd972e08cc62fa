//! Which masters live, and the endpoints of the service `kubernetes`.
//!
//! **Theory.** Each member keeps a record under its address and changes it with every heartbeat. A member counts as alive
//! while its record changes, measured by the watching member's own clock: nothing here compares clocks of different
//! machines. Every member writes the endpoints it sees, and only when they differ.

use crate::ApiError;
use crate::registry::fields::{list, same, text};
use crate::registry::{Registry, RequestContext};
use crate::status::from_storage;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};
use storage::{Collection, Fields, ListQuery};

/// A record that has not changed for this long belongs to a dead master. Three heartbeats.
const LIFETIME: Duration = Duration::from_secs(15);
const SERVICE: &str = "kubernetes";
const NAMESPACE: &str = "default";
const RESOURCE: &str = "masterleases";

static RECORDS: LazyLock<Collection> = LazyLock::new(|| Collection::builtin(RESOURCE, false, Fields::default()));

/// See the module.
pub(super) struct Masters {
    registry: Arc<Registry>,
    beats: u64,
    seen: HashMap<String, Seen>,
}

/// The record of a master as it was when it last changed.
struct Seen {
    revision: i64,
    since: Instant,
    port: u16,
}

impl Masters {
    pub(super) fn new(registry: Arc<Registry>) -> Masters {
        Masters {
            registry,
            beats: 0,
            seen: HashMap::new(),
        }
    }

    /// Says that this member lives, looks who else does, and publishes them.
    pub(super) async fn beat(&mut self) -> Result<(), ApiError> {
        self.write_record().await?;
        self.look(Instant::now()).await?;
        self.publish().await
    }

    /// Takes this member out before it stops, so that nobody is sent to it any more.
    pub(super) async fn leave(&mut self) -> Result<(), ApiError> {
        let own = self.own_address();
        let storage = self.registry.reader().storage();
        let failed = |error| from_storage(error, RESOURCE, &own);
        let current = storage.refreshed(&RECORDS, "", &own).await.map_err(failed)?;
        storage
            .remove(&RECORDS, "", &own, &current, None)
            .await
            .map_err(failed)?;
        self.look(Instant::now()).await?;
        // The last master leaves its address: an empty list helps nobody.
        if living(&self.seen, Instant::now()).is_empty() {
            Ok(())
        } else {
            self.publish().await
        }
    }

    fn own_address(&self) -> String {
        self.registry.config().advertise_address.to_string()
    }

    async fn write_record(&mut self) -> Result<(), ApiError> {
        let own = self.own_address();
        self.beats += 1;
        let config = self.registry.config();
        // The name and the count make every heartbeat of every run of this member differ from the one before.
        let record = json!({"metadata": {"name": own}, "member": config.name, "port": config.secure_port,
            "beat": format!("{}-{}", jiff::Timestamp::now().as_millisecond(), self.beats)});
        let storage = self.registry.reader().storage();
        let written = storage
            .guaranteed_update::<storage::Error>(&RECORDS, "", &own, None, |_| Ok(Some(record.clone())))
            .await;
        let result = match written {
            Err(storage::Error::NotFound { .. }) => storage.create(&RECORDS, "", &own, &record, None).await,
            other => other,
        };
        result.map(|_| ()).map_err(|error| from_storage(error, RESOURCE, &own))
    }

    async fn look(&mut self, now: Instant) -> Result<(), ApiError> {
        let page = self
            .registry
            .reader()
            .storage()
            .list(&RECORDS, &ListQuery::default())
            .await;
        let items = page.map_err(|error| from_storage(error, RESOURCE, ""))?.items;
        let mut found = Vec::new();
        for item in &items {
            let Ok(record) = item.value() else { continue };
            let port = record
                .get("port")
                .and_then(Value::as_u64)
                .and_then(|p| u16::try_from(p).ok())
                .unwrap_or(6443);
            found.push((text(&record, "metadata.name").to_owned(), item.revision(), port));
        }
        observe(&mut self.seen, found, now);
        Ok(())
    }

    async fn publish(&self) -> Result<(), ApiError> {
        let alive = living(&self.seen, Instant::now());
        self.converge("endpoints", SERVICE, endpoints(&alive), &["subsets"])
            .await?;
        for family in ["IPv4", "IPv6"] {
            let slice = slice(&alive, family);
            let name = text(&slice, "metadata.name").to_owned();
            // A family without masters gets no slice, but keeps one it has, emptied.
            let absent = self.registry.reader().local(SLICES, NAMESPACE, &name).await?.is_none();
            if !(absent && list(&slice, "endpoints").is_empty()) {
                self.converge(SLICES, &name, slice, &["endpoints", "ports"]).await?;
            }
        }
        Ok(())
    }

    /// Makes the named fields of the stored object those of `wanted`.
    async fn converge(&self, resource: &str, name: &str, wanted: Value, fields: &[&str]) -> Result<(), ApiError> {
        let context = RequestContext::system();
        match self.registry.reader().local(resource, NAMESPACE, name).await? {
            Some(stored) if fields.iter().all(|f| same(stored.get(*f), wanted.get(*f))) => Ok(()),
            Some(_) => {
                let change = |object: &mut Value| {
                    fields
                        .iter()
                        .for_each(|field| crate::registry::strategy::copy_field(object, &wanted, field));
                    Ok(())
                };
                self.registry
                    .update(&context, resource, "", NAMESPACE, name, change)
                    .await
                    .map(|_| ())
            }
            None => match self.registry.create(&context, resource, NAMESPACE, wanted).await {
                Err(error) if error.reason != "AlreadyExists" => Err(error),
                _ => Ok(()),
            },
        }
    }
}

const SLICES: &str = "endpointslices.discovery.k8s.io";

/// The masters whose record still changes, with their ports.
fn living(seen: &HashMap<String, Seen>, now: Instant) -> BTreeMap<String, u16> {
    let alive = seen
        .iter()
        .filter(|(_, seen)| now.duration_since(seen.since) < LIFETIME);
    alive.map(|(ip, seen)| (ip.clone(), seen.port)).collect()
}

/// Updates what was seen with the records found now and forgets those that are gone. One that has stopped changing is
/// remembered, so that it is not taken for a new one.
fn observe(seen: &mut HashMap<String, Seen>, found: Vec<(String, i64, u16)>, now: Instant) {
    let names: BTreeSet<&String> = found.iter().map(|(name, ..)| name).collect();
    seen.retain(|name, _| names.contains(name));
    for (name, revision, port) in found {
        let changed = seen.get(&name).is_none_or(|before| before.revision != revision);
        if changed {
            seen.insert(
                name,
                Seen {
                    revision,
                    since: now,
                    port,
                },
            );
        }
    }
}

fn endpoints(alive: &BTreeMap<String, u16>) -> Value {
    let mut by_port: BTreeMap<u16, Vec<Value>> = BTreeMap::new();
    for (ip, port) in alive {
        by_port.entry(*port).or_default().push(json!({ "ip": ip }));
    }
    let subset = |(port, addresses): (u16, Vec<Value>)| json!({"addresses": addresses, "ports": [{"name": "https", "port": port, "protocol": "TCP"}]});
    json!({"apiVersion": "v1", "kind": "Endpoints",
        // The slices below are written here too, so nobody else shall mirror these endpoints into slices.
        "metadata": {"name": SERVICE, "namespace": NAMESPACE,
            "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}},
        "subsets": by_port.into_iter().map(subset).collect::<Vec<_>>()})
}

/// One slice has one set of ports: with masters on several ports (without root, on one host) the first port's are listed.
fn slice(alive: &BTreeMap<String, u16>, family: &str) -> Value {
    let of_family = |ip: &str| ip.contains(':') == (family == "IPv6");
    let mine: Vec<(&String, u16)> = alive
        .iter()
        .filter(|(ip, _)| of_family(ip))
        .map(|(ip, port)| (ip, *port))
        .collect();
    let port = mine.first().map_or(6443, |(_, port)| *port);
    let endpoints: Vec<Value> = mine
        .iter()
        .filter(|(_, p)| *p == port)
        .map(|(ip, _)| json!({"addresses": [ip], "conditions": {"ready": true}}))
        .collect();
    let name = if family == "IPv4" {
        SERVICE.to_owned()
    } else {
        format!("{SERVICE}-ipv6")
    };
    json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"kubernetes.io/service-name": SERVICE}},
        "addressType": family, "endpoints": endpoints,
        "ports": [{"name": "https", "port": port, "protocol": "TCP"}]})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alive(seen: &HashMap<String, Seen>, now: Instant) -> Vec<String> {
        let mut names: Vec<String> = living(seen, now).into_keys().collect();
        names.sort();
        names
    }

    #[test]
    fn a_master_lives_as_long_as_its_record_changes() {
        let (start, mut seen) = (Instant::now(), HashMap::new());
        let record = |name: &str, revision| (name.to_owned(), revision, 6443);
        observe(&mut seen, vec![record("a", 1), record("b", 2)], start);
        assert_eq!(alive(&seen, start), ["a", "b"]);
        let later = start + LIFETIME;
        observe(&mut seen, vec![record("a", 9), record("b", 2)], later);
        assert_eq!(alive(&seen, later), ["a"]);
        observe(&mut seen, vec![record("a", 9), record("b", 12)], later);
        assert_eq!(alive(&seen, later), ["a", "b"]);
        observe(&mut seen, vec![record("b", 12)], later);
        assert_eq!(alive(&seen, later), ["b"]);
    }

    #[test]
    fn endpoints_and_slice_name_the_same_masters() {
        let alive = BTreeMap::from([("10.0.0.2".to_owned(), 6443), ("10.0.0.1".to_owned(), 6443)]);
        let endpoints = endpoints(&alive);
        assert_eq!(
            endpoints["subsets"][0]["addresses"],
            json!([{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}])
        );
        assert_eq!(list(&slice(&alive, "IPv4"), "endpoints").len(), 2);
        assert_eq!(list(&slice(&alive, "IPv6"), "endpoints").len(), 0);
    }
}
