//! Garbage collection: an object goes once all its owners are gone.
//!
//! **Theory.** Owner references make a graph over all objects of all resources. It is kept by watching the metadata of
//! everything that can be deleted, and it is only ever a *hint*: before anything is deleted, the object and those of its
//! owners that the graph does not show are read from the API, and the dependents to be orphaned are listed from it. So a
//! graph that is behind makes work, never damage.
//!
//! Deleting with *background* propagation needs nothing but that. With *foreground* the owner carries the finalizer
//! `foregroundDeletion` until no dependent blocks it; with *orphan* it carries `orphan` until its dependents have lost it
//! as owner. Setting these finalizers is the API server's part, taking them away is done here.

mod decide;
mod graph;
mod monitors;

use std::sync::Arc;
use std::time::Duration;

use client::{
    Client, DeleteOptions, Error, Key, Meta, MetaOnly, Outcome, OwnerReference, Patch, Preconditions, Propagation,
    Resource, WorkQueue,
};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::claim::set_owners;
use crate::limits;
use crate::run::Context;
use decide::{Decision, OwnerState, decide};
use graph::{Graph, Node, Work};
use monitors::Monitors;

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

/// How long an owner of a kind that is not served keeps its dependents from being looked at again.
const UNKNOWN_KIND_RETRY: Duration = Duration::from_secs(30);

#[derive(Clone)]
struct Collector {
    client: Client,
    graph: Arc<Mutex<Graph>>,
    queue: Arc<WorkQueue<Work>>,
    monitors: Arc<Monitors>,
}

/// Runs the collector.
pub(crate) async fn run(context: Context) -> Result<(), Error> {
    let graph: Arc<Mutex<Graph>> = Arc::default();
    let queue = Arc::new(WorkQueue::new());
    let monitors = Arc::new(Monitors::new(
        context.client.clone(),
        graph.clone(),
        queue.clone(),
        context.stop.clone(),
    ));
    let collector = Collector {
        client: context.client.clone(),
        graph,
        queue: queue.clone(),
        monitors: monitors.clone(),
    };
    tokio::select! {
        () = context.stop.cancelled() => return Ok(()),
        // An owner that is to be orphaned or waits for its dependents needs all of them known.
        result = monitors.start() => result?,
    }
    let work = client::work("garbage-collector", queue, limits::WORKERS, context.stop, |work| {
        collector.reconcile(work)
    });
    tokio::select! {
        result = work => result,
        result = monitors.follow() => result,
    }
}

impl Collector {
    async fn reconcile(&self, work: Work) -> Result<Outcome, Error> {
        match &work {
            Work::Delete(uid) => self.attempt_to_delete(uid).await,
            Work::Orphan(uid) => self.orphan(uid).await,
        }
    }

    fn enqueue(&self, works: Vec<Work>) {
        works.into_iter().for_each(|w| self.queue.add(w));
    }

    async fn attempt_to_delete(&self, uid: &str) -> Result<Outcome, Error> {
        let Some(node) = self.graph.lock().get(uid).cloned() else {
            return Ok(Outcome::Done);
        };
        if node.deleting && !node.foreground {
            return Ok(Outcome::Done);
        }
        let Some(resource) = self.resource_of(&node) else {
            return Ok(Outcome::After(UNKNOWN_KIND_RETRY));
        };
        let key = if resource.namespaced {
            node.key.clone()
        } else {
            Key::cluster(&node.key.name)
        };
        let live = self.client.find::<MetaOnly>(&resource, &key).await?.map(|o| o.metadata);
        let Some(live) = live.filter(|m| m.uid == uid) else {
            let works = self.graph.lock().not_found(uid);
            self.enqueue(works);
            return Ok(Outcome::Done);
        };
        if node.foreground {
            return self.finish_foreground(&node, &resource, &live).await;
        }
        if live.owner_references.is_empty() {
            return Ok(Outcome::Done);
        }
        let mut states = Vec::new();
        for owner in &live.owner_references {
            states.push(self.owner_state(owner, &live).await?);
        }
        let decision = decide(&live, &states, !node.dependents.is_empty());
        self.carry_out(&resource, &live, decision).await
    }

    fn resource_of(&self, node: &Node) -> Option<Resource> {
        node.resource
            .clone()
            .or_else(|| self.monitors.resource(&node.api_version, &node.kind))
    }

    /// Whether an owner is there: as the graph shows it, or else as the API says.
    async fn owner_state(&self, owner: &OwnerReference, dependent: &Meta) -> Result<OwnerState, Error> {
        if let Some(node) = self.graph.lock().get(&owner.uid).filter(|n| n.observed) {
            let waits = node.deleting && node.foreground;
            return Ok(if waits {
                OwnerState::WaitsForDependents
            } else {
                OwnerState::Present
            });
        }
        let Some(resource) = self.monitors.resource(&owner.api_version, &owner.kind) else {
            // Its kind may come back: nobody is deleted for a reference that cannot be checked.
            return Ok(OwnerState::Unknown);
        };
        if resource.namespaced && dependent.namespace.is_empty() {
            return Ok(OwnerState::Unknown);
        }
        let key = if resource.namespaced {
            Key::new(&dependent.namespace, &owner.name)
        } else {
            Key::cluster(&owner.name)
        };
        let live = self.client.find::<MetaOnly>(&resource, &key).await?;
        Ok(match live.filter(|o| o.metadata.uid == owner.uid) {
            None => OwnerState::Gone,
            Some(o) if o.metadata.is_deleting() && has(&o.metadata, FOREGROUND) => OwnerState::WaitsForDependents,
            Some(_) => OwnerState::Present,
        })
    }

    async fn carry_out(&self, resource: &Resource, live: &Meta, decision: Decision) -> Result<Outcome, Error> {
        match decision {
            Decision::Keep => Ok(Outcome::Done),
            Decision::LookAgain => Ok(Outcome::After(UNKNOWN_KIND_RETRY)),
            Decision::Disown(gone) => {
                let owners: Vec<_> = live
                    .owner_references
                    .iter()
                    .filter(|o| !gone.contains(&o.uid))
                    .cloned()
                    .collect();
                match set_owners(&self.client, resource, live, &owners).await {
                    Err(error) if error.is_not_found() => Ok(Outcome::Done),
                    result => result.map(|()| Outcome::Done),
                }
            }
            Decision::Delete(policy) => {
                let mut version = live.resource_version.clone();
                if policy == Propagation::Foreground && self.graph.lock().has_waiting_dependent(&live.uid) {
                    match self.unblock(resource, live).await? {
                        Some(unblocked) => version = unblocked,
                        None => return Ok(Outcome::Done),
                    }
                }
                // As it was when it was decided: it may have been adopted since.
                let preconditions = Preconditions {
                    uid: Some(live.uid.clone()),
                    resource_version: Some(version),
                };
                let options = DeleteOptions {
                    preconditions: Some(preconditions),
                    ..DeleteOptions::default()
                };
                match self
                    .client
                    .delete(resource, &live.key(), &options.propagate(policy))
                    .await
                {
                    Err(error) if error.is_not_found() => Ok(Outcome::Done),
                    result => result.map(|_| Outcome::Done),
                }
            }
        }
    }

    /// Lets the object's owners go before it: in a circle of owners somebody has to. The new version; `None` if the object
    /// is gone.
    async fn unblock(&self, resource: &Resource, live: &Meta) -> Result<Option<String>, Error> {
        let mut owners = live.owner_references.clone();
        if !owners.iter().any(|o| o.block_owner_deletion) {
            return Ok(Some(live.resource_version.clone()));
        }
        owners.iter_mut().for_each(|o| o.block_owner_deletion = false);
        let body = json!({ "metadata": {
            "uid": live.uid,
            "resourceVersion": live.resource_version,
            "ownerReferences": owners,
        } });
        let key = live.key();
        match self
            .client
            .patch::<MetaOnly>(resource, &key, None, Patch::Merge, &body)
            .await
        {
            Err(error) if error.is_not_found() => Ok(None),
            result => result.map(|o| Some(o.metadata.resource_version)),
        }
    }

    /// An owner that waits for its dependents: lets it go if none blocks it, else sees to them.
    async fn finish_foreground(&self, node: &Node, resource: &Resource, live: &Meta) -> Result<Outcome, Error> {
        let (blocking, dependents) = self.graph.lock().blocking(&live.uid);
        if !blocking {
            return self.remove_finalizer(resource, live, FOREGROUND).await;
        }
        tracing::debug!(object = %node.key, count = dependents.len(), "waits for its dependents");
        self.enqueue(dependents);
        Ok(Outcome::Done)
    }

    async fn orphan(&self, uid: &str) -> Result<Outcome, Error> {
        let Some(owner) = self.graph.lock().get(uid).cloned() else {
            return Ok(Outcome::Done);
        };
        let Some(resource) = self.resource_of(&owner) else {
            return Ok(Outcome::After(UNKNOWN_KIND_RETRY));
        };
        // The graph may not show the youngest yet, and once the owner is gone nothing tells them from garbage.
        let namespace = Some(owner.key.namespace.as_str()).filter(|_| resource.namespaced);
        for dependents in self.monitors.resources() {
            self.disown_all(&dependents, namespace, uid).await?;
        }
        let Some(live) = self.client.find::<MetaOnly>(&resource, &owner.key).await? else {
            return Ok(Outcome::Done);
        };
        if live.metadata.uid != uid {
            return Ok(Outcome::Done);
        }
        self.remove_finalizer(&resource, &live.metadata, ORPHAN).await
    }

    /// Takes `owner` out of the owners of all objects of a resource, in one namespace or in all.
    async fn disown_all(&self, resource: &Resource, namespace: Option<&str>, owner: &str) -> Result<(), Error> {
        // Only objects in its namespace can have an owner that has one.
        if namespace.is_some() && !resource.namespaced {
            return Ok(());
        }
        let list = self.client.list::<MetaOnly>(resource, namespace, "").await?;
        for object in list.items {
            let all = &object.metadata.owner_references;
            let left: Vec<_> = all.iter().filter(|o| o.uid != owner).cloned().collect();
            if left.len() == all.len() {
                continue;
            }
            match set_owners(&self.client, resource, &object.metadata, &left).await {
                Err(error) if !error.is_not_found() => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    async fn remove_finalizer(&self, resource: &Resource, live: &Meta, finalizer: &str) -> Result<Outcome, Error> {
        if !has(live, finalizer) {
            return Ok(Outcome::Done);
        }
        let left: Vec<_> = live.finalizers.iter().filter(|f| *f != finalizer).collect();
        let body = json!({ "metadata": { "resourceVersion": live.resource_version, "finalizers": left } });
        match self
            .client
            .patch::<Value>(resource, &live.key(), None, Patch::Merge, &body)
            .await
        {
            Err(error) if error.is_not_found() => Ok(Outcome::Done),
            result => result.map(|_| Outcome::Done),
        }
    }
}

fn has(meta: &Meta, finalizer: &str) -> bool {
    meta.finalizers.iter().any(|f| f == finalizer)
}
