//! Pods on behalf of an owner: what is made from its template, how Pods are created and deleted, what is told of that, and
//! which owners a Pod's change concerns.

use std::sync::Arc;
use std::time::Duration;

use client::expectations::Expectations;
use client::objects::{PODS, Pod};
use client::{
    Cache, Change, DeleteOptions, Error, Index, Key, Meta, ObjectReference, Outcome, OwnerReference, Resource,
};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::claim::{self, controller_key};
use crate::limits;
use crate::run::Context;

/// The index value under which the Pods of a namespace that nobody controls are found.
pub(crate) fn orphans(namespace: &str) -> String {
    format!("orphans/{namespace}")
}

/// Pods by the uid of their controller, or as orphans of their namespace.
pub(crate) fn by_controller(pods: &Cache<Pod>) -> Index<Pod> {
    pods.index("controller", |pod| match pod.metadata.controller() {
        Some(controller) => vec![controller.uid.clone()],
        None => vec![orphans(&pod.metadata.namespace)],
    })
}

/// What an owner controls or may adopt.
pub(crate) fn claimable(pods: &Index<Pod>, owner: &Meta) -> Vec<Arc<Pod>> {
    let mut all = pods.get(&owner.uid);
    all.extend(pods.get(&orphans(&owner.namespace)));
    all
}

/// The owners of a kind that a Pod's change concerns; expectations it fulfils are fulfilled. `selecting` finds the owners
/// that might adopt a Pod that nobody controls.
pub(crate) fn concerned(
    kind: &Resource,
    change: &Change<Pod>,
    expectations: &Expectations,
    selecting: impl FnOnce(&Meta) -> Vec<Key>,
) -> Vec<Key> {
    let pod = &change.object().metadata;
    let mut keys: Vec<Key> = controller_key(kind, pod).into_iter().collect();
    if let Change::Modified { old, .. } = change {
        keys.extend(controller_key(kind, &old.metadata));
    }
    keys.dedup();
    for owner in &keys {
        match change {
            Change::Added(_) => expectations.creation_observed(owner),
            Change::Deleted(_) => expectations.deletion_observed(owner, &pod.key(), &pod.uid),
            Change::Modified { .. } => {}
        }
        if pod.is_deleting() {
            expectations.deletion_observed(owner, &pod.key(), &pod.uid);
        }
    }
    if pod.controller().is_none() && !matches!(change, Change::Deleted(_)) {
        keys.extend(selecting(pod));
    }
    keys
}

/// How long a ready Pod still has to stay ready to count as available; `None` if it does.
pub(crate) fn until_available(pod: &Pod, min_ready_seconds: i32, now: Timestamp) -> Option<Duration> {
    if min_ready_seconds <= 0 {
        return None;
    }
    let since = pod.ready_since().unwrap_or(now);
    let left = i64::from(min_ready_seconds) * 1000 - (now.as_millisecond() - since.as_millisecond());
    (left > 0).then(|| Duration::from_millis(left as u64))
}

/// A Pod as an owner's template says, controlled by the owner. Its name is generated.
pub(crate) fn from_template(kind: &Resource, owner: &Meta, template: &Value) -> Value {
    let mut metadata = json!({
        // The name is cut so that the generated suffix still fits a label.
        "generateName": format!("{}-", &owner.name[..owner.name.len().min(57)]),
        "namespace": owner.namespace,
        "ownerReferences": [OwnerReference::controlled_by(kind, owner)],
    });
    for name in ["labels", "annotations", "finalizers"] {
        if let Some(value) = template.pointer(&format!("/metadata/{name}")).filter(|v| !v.is_null()) {
            metadata[name] = value.clone();
        }
    }
    json!({ "metadata": metadata, "spec": template.get("spec").cloned().unwrap_or(Value::Null) })
}

/// The end of a reconcile: what was seen is told even where acting failed, unless the work is another process's by now. A
/// namespace that is going is no failure.
pub(crate) async fn conclude(
    acted: Result<(), Error>,
    tell: impl Future<Output = Result<(), Error>>,
    look_again: Option<Duration>,
) -> Result<Outcome, Error> {
    if acted.as_ref().is_err_and(Error::is_fence_lost) {
        return acted.map(|()| Outcome::Done);
    }
    tell.await?;
    match acted {
        Err(error) if !error.is_namespace_terminating() => Err(error),
        _ => Ok(look_again.map_or(Outcome::Done, Outcome::After)),
    }
}

/// An owner at work on its Pods.
pub(crate) struct Hand<'a> {
    pub context: &'a Context,
    pub kind: Resource,
    pub owner: &'a Meta,
    pub expectations: &'a Expectations,
}

impl Hand<'_> {
    /// Creates Pods in doubling batches, so that an owner whose Pods are refused does not ask hundreds of times. A namespace
    /// that is going is told nobody of.
    pub async fn create(&self, pods: &[Value]) -> Result<(), Error> {
        let mut left = pods;
        let mut batch = limits::SLOW_START_BATCH;
        while !left.is_empty() {
            let (now, later) = left.split_at(batch.min(left.len()));
            self.expectations.expect_creations(&self.owner.key(), now.len());
            let created = futures::future::join_all(now.iter().map(|pod| self.create_one(pod))).await;
            created.into_iter().collect::<Result<Vec<()>, _>>()?;
            left = later;
            batch *= 2;
        }
        Ok(())
    }

    async fn create_one(&self, pod: &Value) -> Result<(), Error> {
        let about = ObjectReference::of(&self.kind, self.owner);
        let namespace = Some(self.owner.namespace.as_str());
        match self
            .context
            .client
            .create::<client::MetaOnly>(&PODS, namespace, pod)
            .await
        {
            Ok(pod) => {
                let message = format!("Created pod: {}", pod.metadata.name);
                self.context.recorder.normal(&about, "SuccessfulCreate", message);
                Ok(())
            }
            Err(error) => {
                self.expectations.creation_observed(&self.owner.key());
                if !error.is_namespace_terminating() {
                    let message = format!("Error creating: {error}");
                    self.context.recorder.warning(&about, "FailedCreate", message);
                }
                Err(error)
            }
        }
    }

    /// Deletes Pods, a bounded number at a time. The first error, once all have been tried.
    pub async fn delete(&self, pods: &[Arc<Pod>]) -> Result<(), Error> {
        let expected = pods.iter().map(|p| (p.metadata.key(), p.metadata.uid.clone()));
        self.expectations.expect_deletions(&self.owner.key(), expected);
        let mut results = Vec::with_capacity(pods.len());
        for chunk in pods.chunks(limits::DELETES_IN_FLIGHT_MAX) {
            let deletions: Vec<_> = chunk.iter().map(|pod| self.delete_one(pod)).collect();
            results.extend(futures::future::join_all(deletions).await);
        }
        results.into_iter().collect::<Result<Vec<()>, _>>().map(|_| ())
    }

    async fn delete_one(&self, pod: &Pod) -> Result<(), Error> {
        let about = ObjectReference::of(&self.kind, self.owner);
        let (key, uid) = (pod.metadata.key(), &pod.metadata.uid);
        match self.context.client.delete(&PODS, &key, &DeleteOptions::uid(uid)).await {
            Ok(_) => {
                let message = format!("Deleted pod: {}", key.name);
                self.context.recorder.normal(&about, "SuccessfulDelete", message);
                Ok(())
            }
            Err(error) => {
                self.expectations.deletion_observed(&self.owner.key(), &key, uid);
                // Gone, or a namesake stands in its place: what was to be deleted is.
                if error.is_not_found() || error.is_conflict() {
                    return Ok(());
                }
                let message = format!("Error deleting: {error}");
                self.context.recorder.warning(&about, "FailedDelete", message);
                Err(error)
            }
        }
    }

    /// Adopts and releases Pods; their changes bring the owner back.
    pub async fn claim(&self, adopt: &[Arc<Pod>], release: &[Arc<Pod>]) -> Result<(), Error> {
        let client = &self.context.client;
        for pod in adopt {
            claim::adopt(client, (&self.kind, self.owner), (&PODS, &pod.metadata)).await?;
        }
        for pod in release {
            claim::release(client, &self.owner.uid, &PODS, &pod.metadata).await?;
        }
        Ok(())
    }
}
