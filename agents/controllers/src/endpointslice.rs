//! EndpointSlice: the addresses behind each Service, at most a hundred in a slice, so that one Pod's change is one small
//! write however many Pods there are.

mod plan;

use std::collections::BTreeMap;
use std::sync::Arc;

use client::expectations::Expectations;
use client::objects::{EndpointSlice, Node, Pod, SERVICES, Service};
use client::{Cache, Change, DeleteOptions, Error, Key, OwnerReference, Projection, Resource, Subscription, WorkQueue};
use client::{MetaOnly, Outcome};
use serde_json::{Value, json};

use crate::limits;
use crate::run::Context;
use crate::serving::{headless, managed, matters, selects};
use plan::{Content, desired, plan};

const SLICES: Resource = EndpointSlice::RESOURCE;
const SERVICE_NAME: &str = "kubernetes.io/service-name";
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const MANAGER: &str = "endpointslice-controller.k8s.io";
const HEADLESS: &str = "service.kubernetes.io/headless";

struct Controller {
    context: Context,
    services: Cache<Service>,
    pods: Cache<Pod>,
    nodes: Cache<Node>,
    slices: client::Index<EndpointSlice>,
    expectations: Arc<Expectations>,
}

/// Runs the controller.
pub(crate) async fn run(context: Context) -> Result<(), Error> {
    let informers = &context.informers;
    let (services, pods, slices) = (
        informers.watch::<Service>(),
        informers.watch::<Pod>(),
        informers.watch::<EndpointSlice>(),
    );
    let queue = Arc::new(WorkQueue::new());
    let expectations = Arc::new(Expectations::default());
    let _services = subscribe(&services, &pods, &queue);
    let _slices = watch_slices(&slices, &queue, &expectations);
    let controller = Controller {
        nodes: informers.watch(),
        slices: slices.index("service", |slice| {
            service_key(slice).map(|k| k.to_string()).into_iter().collect()
        }),
        context: context.clone(),
        services,
        pods,
        expectations,
    };
    client::work("endpointslice", queue, limits::WORKERS, context.stop, |key| {
        controller.reconcile(key)
    })
    .await
}

/// Feeds `queue` with the Services that a change of a Service or a Pod concerns.
pub(crate) fn subscribe(
    services: &Cache<Service>,
    pods: &Cache<Pod>,
    queue: &Arc<WorkQueue<Key>>,
) -> [Subscription; 2] {
    let to = queue.clone();
    let on_service = move |change: &Change<Service>| to.add(change.key());
    let (to, all) = (queue.clone(), services.clone());
    let on_pod = move |change: &Change<Pod>| {
        if !matters(change) {
            return;
        }
        let new = &change.object().metadata;
        for service in all.list_namespace(&new.namespace) {
            let was = change.old().is_some_and(|old| selects(&service, &old.metadata.labels));
            if was || selects(&service, &new.labels) {
                to.add(service.metadata.key());
            }
        }
    };
    [services.subscribe(on_service), pods.subscribe(on_pod)]
}

/// A slice that somebody else changed or deleted is put right.
fn watch_slices(
    slices: &Cache<EndpointSlice>,
    queue: &Arc<WorkQueue<Key>>,
    expectations: &Arc<Expectations>,
) -> Subscription {
    let (to, seen) = (queue.clone(), expectations.clone());
    slices.subscribe(move |change| {
        let Some(key) = service_key(change.object()) else {
            return;
        };
        if let Change::Added(_) = change {
            seen.creation_observed(&key);
        }
        to.add(key);
    })
}

/// The Service of a slice that this controller manages.
fn service_key(slice: &EndpointSlice) -> Option<Key> {
    let ours = slice.metadata.labels.get(MANAGED_BY).is_some_and(|m| m == MANAGER);
    ours.then(|| slice.service().map(|name| Key::new(&slice.metadata.namespace, name)))
        .flatten()
}

impl Controller {
    async fn reconcile(&self, key: Key) -> Result<Outcome, Error> {
        let Some(service) = self.services.get_key(&key) else {
            // The garbage collector removes the slices with their owner.
            self.expectations.forget(&key);
            return Ok(Outcome::Done);
        };
        if !managed(&service) || service.metadata.is_deleting() || !self.expectations.satisfied(&key) {
            return Ok(Outcome::Done);
        }
        let pods: Vec<_> = self.pods.list_namespace(&key.namespace);
        let serving: Vec<_> = pods
            .into_iter()
            .filter(|p| selects(&service, &p.metadata.labels))
            .collect();
        let zone = |node: &str| {
            let node = self.nodes.get("", node)?;
            node.metadata.labels.get("topology.kubernetes.io/zone").cloned()
        };
        let labels = labels(&service);
        let plan = plan(
            desired(&service, &serving, zone),
            &self.slices.get(&key.to_string()),
            &labels,
        );
        for (slice, content) in &plan.update {
            self.update(slice, content, &service, &labels).await?;
        }
        for content in &plan.create {
            self.create(&key, content, &service, &labels).await?;
        }
        for slice in &plan.delete {
            self.delete(slice).await?;
        }
        Ok(Outcome::Done)
    }

    async fn create(
        &self,
        key: &Key,
        content: &Content,
        service: &Service,
        labels: &BTreeMap<String, String>,
    ) -> Result<(), Error> {
        let metadata = json!({
            "generateName": format!("{}-", key.name),
            "namespace": key.namespace,
            "labels": labels,
            "ownerReferences": [OwnerReference::controlled_by(&SERVICES, &service.metadata)],
        });
        self.expectations.expect_creations(key, 1);
        let slice = object(metadata, content);
        match self
            .context
            .client
            .create::<MetaOnly>(&SLICES, Some(&key.namespace), &slice)
            .await
        {
            Ok(_) => Ok(()),
            Err(error) => {
                self.expectations.creation_observed(key);
                if error.is_namespace_terminating() {
                    Ok(())
                } else {
                    Err(error)
                }
            }
        }
    }

    async fn update(
        &self,
        slice: &EndpointSlice,
        content: &Content,
        service: &Service,
        labels: &BTreeMap<String, String>,
    ) -> Result<(), Error> {
        let meta = &slice.metadata;
        let metadata = json!({
            "name": meta.name,
            "namespace": meta.namespace,
            "generateName": meta.generate_name,
            "uid": meta.uid,
            "resourceVersion": meta.resource_version,
            "labels": labels,
            "annotations": meta.annotations,
            "ownerReferences": [OwnerReference::controlled_by(&SERVICES, &service.metadata)],
        });
        let updated = self
            .context
            .client
            .update::<Value>(&SLICES, &meta.key(), &object(metadata, content))
            .await;
        match updated {
            // Its deletion leads back here.
            Err(error) if error.is_not_found() => Ok(()),
            result => result.map(|_| ()),
        }
    }

    async fn delete(&self, slice: &EndpointSlice) -> Result<(), Error> {
        let meta = &slice.metadata;
        match self
            .context
            .client
            .delete(&SLICES, &meta.key(), &DeleteOptions::uid(&meta.uid))
            .await
        {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }
}

fn object(metadata: Value, content: &Content) -> Value {
    json!({
        "metadata": metadata,
        "addressType": content.address_type,
        "endpoints": content.endpoints,
        "ports": content.ports,
    })
}

/// The labels of a Service's slices: its own, and those that say what the slice is.
fn labels(service: &Service) -> BTreeMap<String, String> {
    let mut labels = service.metadata.labels.clone();
    labels.remove(HEADLESS);
    if headless(service) {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    labels.insert(SERVICE_NAME.to_owned(), service.metadata.name.clone());
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    labels
}
