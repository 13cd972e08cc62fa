//! Endpoints: the older form of a Service's addresses, one object a Service. Kept for those who still read it.

use std::collections::BTreeMap;
use std::sync::Arc;

use client::objects::{EndpointPort, Pod, Service};
use client::{Cache, DeleteOptions, Error, Key, Meta, Outcome, Projection, Resource, WorkQueue};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::endpointslice::subscribe;
use crate::limits;
use crate::run::Context;
use crate::serving::{address, addressed, headless, hostname, managed, ports, ready, selects, target};

const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
const MANAGER: &str = "endpoint-controller";
const HEADLESS: &str = "service.kubernetes.io/headless";
/// Says that not all addresses are there.
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";

/// What is read of an Endpoints object.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Endpoints {
    pub metadata: Meta,
    pub subsets: Vec<Subset>,
}

/// Addresses that have the same ports.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Subset {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<Address>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_ready_addresses: Vec<Address>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Port>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Address {
    pub ip: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub hostname: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub node_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_ref: Option<Value>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Port {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    pub port: u16,
    pub protocol: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_protocol: Option<String>,
}

impl Projection for Endpoints {
    const RESOURCE: Resource = Resource::namespaced("", "v1", "Endpoints", "endpoints");

    fn meta(&self) -> &Meta {
        &self.metadata
    }
}

struct Controller {
    context: Context,
    services: Cache<Service>,
    pods: Cache<Pod>,
    endpoints: Cache<Endpoints>,
}

/// Runs the controller.
pub(crate) async fn run(context: Context) -> Result<(), Error> {
    let informers = &context.informers;
    let (services, pods, endpoints) = (
        informers.watch::<Service>(),
        informers.watch::<Pod>(),
        informers.watch::<Endpoints>(),
    );
    let queue = Arc::new(WorkQueue::new());
    let _subscriptions = subscribe(&services, &pods, &queue);
    let to = queue.clone();
    let _endpoints = endpoints.subscribe(move |change| to.add(change.key()));
    let controller = Controller {
        context: context.clone(),
        services,
        pods,
        endpoints,
    };
    client::work("endpoints", queue, limits::WORKERS, context.stop, |key| {
        controller.reconcile(key)
    })
    .await
}

impl Controller {
    async fn reconcile(&self, key: Key) -> Result<Outcome, Error> {
        let current = self.endpoints.get_key(&key);
        let Some(service) = self.services.get_key(&key) else {
            if let Some(current) = current.filter(|c| c.metadata.labels.get(MANAGED_BY).is_some_and(|m| m == MANAGER)) {
                self.delete(&current).await?;
            }
            return Ok(Outcome::Done);
        };
        if !managed(&service) || service.metadata.is_deleting() {
            return Ok(Outcome::Done);
        }
        let pods = self.pods.list_namespace(&key.namespace);
        let serving: Vec<_> = pods
            .into_iter()
            .filter(|p| selects(&service, &p.metadata.labels))
            .collect();
        let (subsets, over_capacity) = subsets(&service, &serving);
        let labels = labels(&service);
        match current {
            None => self.create(&key, &subsets, &labels, over_capacity).await?,
            Some(current) if current.subsets == subsets && current.metadata.labels == labels => {}
            Some(current) => self.update(&current, &subsets, &labels, over_capacity).await?,
        }
        Ok(Outcome::Done)
    }

    async fn create(
        &self,
        key: &Key,
        subsets: &[Subset],
        labels: &BTreeMap<String, String>,
        over_capacity: bool,
    ) -> Result<(), Error> {
        let annotations = annotations(&BTreeMap::new(), over_capacity);
        let metadata =
            json!({ "name": key.name, "namespace": key.namespace, "labels": labels, "annotations": annotations });
        let object = json!({ "metadata": metadata, "subsets": subsets });
        match self
            .context
            .client
            .create::<Value>(&Endpoints::RESOURCE, Some(&key.namespace), &object)
            .await
        {
            // Exists: the cache is behind and will lead back here.
            Err(error) if error.is_namespace_terminating() || error.is_already_exists() => Ok(()),
            result => result.map(|_| ()),
        }
    }

    async fn update(
        &self,
        current: &Endpoints,
        subsets: &[Subset],
        labels: &BTreeMap<String, String>,
        over_capacity: bool,
    ) -> Result<(), Error> {
        let meta = &current.metadata;
        let metadata = json!({
            "name": meta.name,
            "namespace": meta.namespace,
            "uid": meta.uid,
            "resourceVersion": meta.resource_version,
            "labels": labels,
            "annotations": annotations(&meta.annotations, over_capacity),
        });
        let object = json!({ "metadata": metadata, "subsets": subsets });
        self.context
            .client
            .update::<Value>(&Endpoints::RESOURCE, &meta.key(), &object)
            .await
            .map(|_| ())
    }

    async fn delete(&self, current: &Endpoints) -> Result<(), Error> {
        let meta = &current.metadata;
        match self
            .context
            .client
            .delete(&Endpoints::RESOURCE, &meta.key(), &DeleteOptions::uid(&meta.uid))
            .await
        {
            Err(error) if !error.is_not_found() && !error.is_conflict() => Err(error),
            _ => Ok(()),
        }
    }
}

fn annotations(current: &BTreeMap<String, String>, over_capacity: bool) -> BTreeMap<String, String> {
    let mut annotations = current.clone();
    match over_capacity {
        true => annotations.insert(OVER_CAPACITY.to_owned(), "truncated".to_owned()),
        false => annotations.remove(OVER_CAPACITY),
    };
    annotations
}

fn labels(service: &Service) -> BTreeMap<String, String> {
    let mut labels = service.metadata.labels.clone();
    labels.remove(HEADLESS);
    if headless(service) {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    labels
}

/// The subsets a Service should have, in a stable order, and whether some addresses did not fit.
fn subsets(service: &Service, pods: &[Arc<Pod>]) -> (Vec<Subset>, bool) {
    let family = service.spec.ip_families.first().map_or("IPv4", String::as_str);
    let mut by_ports: BTreeMap<Vec<EndpointPort>, Vec<(bool, Address)>> = BTreeMap::new();
    for pod in pods.iter().filter(|p| addressed(p)) {
        let takes_traffic = ready(service, pod);
        // What is ending and not ready serves nobody.
        if !takes_traffic && pod.metadata.is_deleting() {
            continue;
        }
        let Some(ip) = address(pod, family) else { continue };
        let mut ports = ports(service, pod);
        ports.sort();
        by_ports
            .entry(ports)
            .or_default()
            .push((takes_traffic, one(service, pod, ip)));
    }
    let (mut left, mut over_capacity) = (limits::ENDPOINTS_ADDRESSES_MAX, false);
    let mut subsets = Vec::new();
    for (ports, mut addresses) in by_ports {
        // Ready ones first: they must not be cut off in favour of others.
        addresses.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.ip.cmp(&b.1.ip)));
        over_capacity |= addresses.len() > left;
        addresses.truncate(left);
        left -= addresses.len();
        let (ready, not_ready): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|(ready, _)| *ready);
        subsets.push(Subset {
            addresses: ready.into_iter().map(|(_, a)| a).collect(),
            not_ready_addresses: not_ready.into_iter().map(|(_, a)| a).collect(),
            ports: ports.into_iter().map(port).collect(),
        });
    }
    subsets.retain(|s| !s.addresses.is_empty() || !s.not_ready_addresses.is_empty());
    (subsets, over_capacity)
}

fn one(service: &Service, pod: &Pod, ip: &str) -> Address {
    Address {
        ip: ip.to_owned(),
        hostname: hostname(service, pod).unwrap_or_default(),
        node_name: pod.spec.node_name.clone(),
        target_ref: Some(target(pod)),
    }
}

fn port(port: EndpointPort) -> Port {
    Port {
        name: port.name.unwrap_or_default(),
        port: port.port.unwrap_or_default(),
        protocol: port.protocol.unwrap_or_default(),
        app_protocol: port.app_protocol,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_and_not_ready_stand_apart() {
        let service: Service =
            serde_json::from_value(json!({ "metadata": { "name": "s" }, "spec": { "ports": [{ "port": 80 }] } }))
                .unwrap();
        let pod = |ip: &str, ready: &str, going: bool| -> Arc<Pod> {
            let at = going.then_some("2026-01-01T00:00:00Z");
            let conditions = json!([{ "type": "Ready", "status": ready }]);
            let status = json!({ "podIP": ip, "conditions": conditions });
            Arc::new(
                serde_json::from_value(json!({ "metadata": { "deletionTimestamp": at }, "status": status })).unwrap(),
            )
        };
        let pods = [
            pod("10.0.0.2", "True", false),
            pod("10.0.0.1", "False", false),
            pod("10.0.0.3", "False", true),
        ];
        let (subsets, over_capacity) = subsets(&service, &pods);
        assert!(!over_capacity && subsets.len() == 1);
        assert_eq!(subsets[0].addresses[0].ip, "10.0.0.2");
        assert_eq!(
            subsets[0].not_ready_addresses.iter().map(|a| &a.ip).collect::<Vec<_>>(),
            ["10.0.0.1"]
        );
        assert_eq!(
            (subsets[0].ports[0].port, subsets[0].ports[0].protocol.as_str()),
            (80, "TCP")
        );
    }
}
