//! Which masters live, and the endpoints of the service `kubernetes`.
//!
//! **Theory.** Each member keeps a record under its name and changes it with every heartbeat. A member counts as alive
//! while its record changes, measured by the watching member's own clock: nothing here compares clocks of different
//! machines. Every member writes the endpoints it sees, and only when they differ.

use crate::ApiError;
use crate::registry::fields::{list, same, text};
use crate::registry::{Registry, RequestContext};
use crate::status::from_storage;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
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
    at: At,
}

/// Where a master serves the API.
type At = (IpAddr, u16);

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
        let own = self.own_name();
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

    fn own_name(&self) -> String {
        self.registry.config().name.clone()
    }

    async fn write_record(&mut self) -> Result<(), ApiError> {
        let own = self.own_name();
        self.beats += 1;
        let config = self.registry.config();
        // Time and count make every heartbeat of every run of this member differ from the one before.
        let record = json!({"metadata": {"name": own}, "address": config.advertise_address, "port": config.secure_port,
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
                .and_then(|port| u16::try_from(port).ok());
            if let (Ok(address), Some(port)) = (text(&record, "address").parse(), port) {
                found.push((
                    text(&record, "metadata.name").to_owned(),
                    item.revision(),
                    (address, port),
                ));
            }
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

/// Where the masters are whose record still changes.
fn living(seen: &HashMap<String, Seen>, now: Instant) -> BTreeSet<At> {
    seen.values()
        .filter(|seen| now.duration_since(seen.since) < LIFETIME)
        .map(|seen| seen.at)
        .collect()
}

/// Updates what was seen with the records found now and forgets those that are gone. One that has stopped changing is
/// remembered, so that it is not taken for a new one.
fn observe(seen: &mut HashMap<String, Seen>, found: Vec<(String, i64, At)>, now: Instant) {
    let names: BTreeSet<&String> = found.iter().map(|(name, ..)| name).collect();
    seen.retain(|name, _| names.contains(name));
    for (name, revision, at) in found {
        let changed = seen.get(&name).is_none_or(|before| before.revision != revision);
        if changed {
            seen.insert(
                name,
                Seen {
                    revision,
                    since: now,
                    at,
                },
            );
        }
    }
}

fn endpoints(alive: &BTreeSet<At>) -> Value {
    let mut by_port: BTreeMap<u16, Vec<Value>> = BTreeMap::new();
    for (address, port) in alive {
        by_port.entry(*port).or_default().push(json!({ "ip": address }));
    }
    let subset = |(port, addresses): (u16, Vec<Value>)| json!({"addresses": addresses, "ports": [{"name": "https", "port": port, "protocol": "TCP"}]});
    json!({"apiVersion": "v1", "kind": "Endpoints",
        // The slices below are written here too, so nobody else shall mirror these endpoints into slices.
        "metadata": {"name": SERVICE, "namespace": NAMESPACE,
            "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}},
        "subsets": by_port.into_iter().map(subset).collect::<Vec<_>>()})
}

/// One slice has one set of ports: with masters on several ports (without root, on one host) the first port's are listed.
fn slice(alive: &BTreeSet<At>, family: &str) -> Value {
    let mine: Vec<&At> = alive
        .iter()
        .filter(|(address, _)| address.is_ipv6() == (family == "IPv6"))
        .collect();
    let port = mine.first().map_or(6443, |(_, port)| *port);
    let of_port = mine.iter().filter(|(_, p)| *p == port);
    let endpoints: Vec<Value> = of_port
        .map(|(address, _)| json!({"addresses": [address], "conditions": {"ready": true}}))
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

    fn alive(seen: &HashMap<String, Seen>, now: Instant) -> Vec<u16> {
        living(seen, now).into_iter().map(|(_, port)| port).collect()
    }

    fn at(address: &str, port: u16) -> At {
        (address.parse().unwrap(), port)
    }

    #[test]
    fn a_master_lives_as_long_as_its_record_changes() {
        let (start, mut seen) = (Instant::now(), HashMap::new());
        let a = |revision| ("a".to_owned(), revision, at("127.0.0.1", 1));
        let b = |revision| ("b".to_owned(), revision, at("127.0.0.1", 2));
        observe(&mut seen, vec![a(1), b(2)], start);
        assert_eq!(alive(&seen, start), [1, 2]);
        let later = start + LIFETIME;
        observe(&mut seen, vec![a(9), b(2)], later);
        assert_eq!(alive(&seen, later), [1]);
        observe(&mut seen, vec![a(9), b(12)], later);
        assert_eq!(alive(&seen, later), [1, 2]);
        observe(&mut seen, vec![b(12)], later);
        assert_eq!(alive(&seen, later), [2]);
    }

    #[test]
    fn endpoints_and_slice_name_the_same_masters() {
        let alive = BTreeSet::from([at("10.0.0.2", 6443), at("10.0.0.1", 6443)]);
        let endpoints = endpoints(&alive);
        assert_eq!(
            endpoints["subsets"][0]["addresses"],
            json!([{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}])
        );
        assert_eq!(list(&slice(&alive, "IPv4"), "endpoints").len(), 2);
        assert_eq!(list(&slice(&alive, "IPv6"), "endpoints").len(), 0);
    }
}
