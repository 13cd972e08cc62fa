//! ReplicaSet: keeps a number of Pods made from one template.
//!
//! Whether to act at all is decided by expectations: as long as the cache does not show what the last look did, nothing
//! is created or deleted, only the status is written.

mod plan;
mod rank;
mod status;

use std::sync::Arc;

use client::expectations::Expectations;
use client::objects::{PODS, Pod};
use client::{
    Cache, Change, DeleteOptions, Error, Index, Key, ObjectReference, Outcome, OwnerReference, Subscription, WorkQueue,
};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::claim::{self, controller_key};
use crate::limits;
use crate::objects::{REPLICA_SETS, ReplicaSet};
use crate::run::Context;
use plan::{Plan, plan};
use status::status;

/// The index value under which the Pods of a namespace that nobody controls are found.
fn orphans(namespace: &str) -> String {
    format!("orphans/{namespace}")
}

/// Pods by the uid of their controller, or as orphans of their namespace.
pub(crate) fn by_controller(pods: &Cache<Pod>) -> Index<Pod> {
    pods.index("controller", |pod| match pod.metadata.controller() {
        Some(controller) => vec![controller.uid.clone()],
        None => vec![orphans(&pod.metadata.namespace)],
    })
}

struct Controller {
    context: Context,
    sets: Cache<ReplicaSet>,
    sets_by_owner: Index<ReplicaSet>,
    pods: Index<Pod>,
    queue: Arc<WorkQueue<Key>>,
    expectations: Arc<Expectations>,
}

/// Runs the controller.
pub(crate) async fn run(context: Context) -> Result<(), Error> {
    let (sets, pods) = (
        context.informers.watch::<ReplicaSet>(),
        context.informers.watch::<Pod>(),
    );
    let queue = Arc::new(WorkQueue::new());
    let expectations = Arc::new(Expectations::default());
    let _subscriptions = subscribe(&sets, &pods, &queue, &expectations);
    let controller = Controller {
        sets_by_owner: sets.index("controller", |set| {
            set.metadata.controller().map(|c| c.uid.clone()).into_iter().collect()
        }),
        pods: by_controller(&pods),
        context: context.clone(),
        sets,
        queue: queue.clone(),
        expectations,
    };
    client::work("replicaset", queue, limits::WORKERS, context.stop, |key| {
        controller.reconcile(key)
    })
    .await
}

fn subscribe(
    sets: &Cache<ReplicaSet>,
    pods: &Cache<Pod>,
    queue: &Arc<WorkQueue<Key>>,
    expectations: &Arc<Expectations>,
) -> [Subscription; 2] {
    let (all, to) = (sets.clone(), queue.clone());
    let seen = expectations.clone();
    let forgetting = expectations.clone();
    let on_set = {
        let to = queue.clone();
        move |change: &Change<ReplicaSet>| {
            if let Change::Deleted(set) = change {
                forgetting.forget(&set.metadata.key());
            }
            to.add(change.key());
        }
    };
    let on_pod = move |change: &Change<Pod>| {
        for key in touched(change, &all, &seen) {
            to.add(key);
        }
    };
    [sets.subscribe(on_set), pods.subscribe(on_pod)]
}

/// The ReplicaSets a Pod's change concerns; expectations it fulfils are fulfilled.
fn touched(change: &Change<Pod>, sets: &Cache<ReplicaSet>, expectations: &Expectations) -> Vec<Key> {
    let pod = &change.object().metadata;
    let mut keys: Vec<Key> = controller_key(&REPLICA_SETS, pod).into_iter().collect();
    if let Change::Modified { old, .. } = change {
        keys.extend(controller_key(&REPLICA_SETS, &old.metadata));
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
        let selecting = sets
            .list_namespace(&pod.namespace)
            .into_iter()
            .filter(|s| s.spec.selector.matches(&pod.labels));
        keys.extend(selecting.map(|s| s.metadata.key()));
    }
    keys
}

impl Controller {
    async fn reconcile(&self, key: Key) -> Result<Outcome, Error> {
        let Some(set) = self.sets.get_key(&key) else {
            self.expectations.forget(&key);
            return Ok(Outcome::Done);
        };
        // Asked before the Pods are read: what is fulfilled in between is in what is read.
        let may_act = self.expectations.satisfied(&key) && !set.metadata.is_deleting();
        let mut pods = self.pods.get(&set.metadata.uid);
        pods.extend(self.pods.get(&orphans(&key.namespace)));
        let plan = plan(&set, &pods, &self.related(&set));
        if !plan.adopt.is_empty() || !plan.release.is_empty() {
            self.claim(&set, &plan).await?;
            // The claimed Pods' changes bring the set back here.
            return Ok(Outcome::Done);
        }
        let mut failure = None;
        if may_act {
            failure = self.manage(&key, &set, &plan).await.err();
        }
        if failure.as_ref().is_some_and(Error::is_fence_lost) {
            return failure.map_or(Ok(Outcome::Done), Err);
        }
        let outcome = self.write_status(&set, &plan, failure.as_ref()).await?;
        match failure {
            Some(error) if !error.is_namespace_terminating() => Err(error),
            _ => Ok(outcome),
        }
    }

    /// Pods of the sets of the same Deployment: crowded nodes are relieved first.
    fn related(&self, set: &ReplicaSet) -> Vec<Arc<Pod>> {
        let Some(owner) = set.metadata.controller() else {
            return Vec::new();
        };
        let siblings = self.sets_by_owner.get(&owner.uid);
        siblings.iter().flat_map(|s| self.pods.get(&s.metadata.uid)).collect()
    }

    async fn claim(&self, set: &ReplicaSet, plan: &Plan) -> Result<(), Error> {
        for pod in &plan.adopt {
            claim::adopt(
                &self.context.client,
                (&REPLICA_SETS, &set.metadata),
                (&PODS, &pod.metadata),
            )
            .await?;
        }
        for pod in &plan.release {
            claim::release(&self.context.client, &set.metadata.uid, &PODS, &pod.metadata).await?;
        }
        Ok(())
    }

    async fn manage(&self, key: &Key, set: &ReplicaSet, plan: &Plan) -> Result<(), Error> {
        if plan.create > 0 {
            self.create(key, set, plan.create).await?;
        }
        if !plan.delete.is_empty() {
            self.delete(key, set, &plan.delete).await?;
        }
        Ok(())
    }

    /// Creates Pods in doubling batches, so that a set whose Pods are refused does not ask hundreds of times.
    async fn create(&self, key: &Key, set: &ReplicaSet, count: usize) -> Result<(), Error> {
        let template = pod_from_template(set);
        let mut left = count;
        let mut batch = limits::SLOW_START_BATCH;
        while left > 0 {
            let now = batch.min(left);
            self.expectations.expect_creations(key, now);
            let created = futures::future::join_all((0..now).map(|_| self.create_one(key, set, &template))).await;
            created.into_iter().collect::<Result<Vec<()>, _>>()?;
            left -= now;
            batch *= 2;
        }
        Ok(())
    }

    async fn create_one(&self, key: &Key, set: &ReplicaSet, template: &Value) -> Result<(), Error> {
        let about = ObjectReference::of(&REPLICA_SETS, &set.metadata);
        let result = self
            .context
            .client
            .create::<client::MetaOnly>(&PODS, Some(&key.namespace), template)
            .await;
        match result {
            Ok(pod) => {
                self.context.recorder.normal(
                    &about,
                    "SuccessfulCreate",
                    format!("Created pod: {}", pod.metadata.name),
                );
                Ok(())
            }
            Err(error) => {
                self.expectations.creation_observed(key);
                if !error.is_namespace_terminating() {
                    self.context
                        .recorder
                        .warning(&about, "FailedCreate", format!("Error creating: {error}"));
                }
                Err(error)
            }
        }
    }

    async fn delete(&self, key: &Key, set: &ReplicaSet, pods: &[Arc<Pod>]) -> Result<(), Error> {
        self.expectations
            .expect_deletions(key, pods.iter().map(|p| (p.metadata.key(), p.metadata.uid.clone())));
        let mut results = Vec::with_capacity(pods.len());
        for chunk in pods.chunks(limits::DELETES_IN_FLIGHT_MAX) {
            let deletions: Vec<_> = chunk.iter().map(|pod| self.delete_one(key, set, pod)).collect();
            results.extend(futures::future::join_all(deletions).await);
        }
        results.into_iter().collect::<Result<Vec<()>, _>>().map(|_| ())
    }

    async fn delete_one(&self, key: &Key, set: &ReplicaSet, pod: &Pod) -> Result<(), Error> {
        let about = ObjectReference::of(&REPLICA_SETS, &set.metadata);
        let (pod_key, uid) = (pod.metadata.key(), &pod.metadata.uid);
        match self
            .context
            .client
            .delete(&PODS, &pod_key, &DeleteOptions::uid(uid))
            .await
        {
            Ok(_) => {
                self.context
                    .recorder
                    .normal(&about, "SuccessfulDelete", format!("Deleted pod: {}", pod_key.name));
                Ok(())
            }
            Err(error) => {
                self.expectations.deletion_observed(key, &pod_key, uid);
                // Gone, or a namesake stands in its place: what was to be deleted is.
                if error.is_not_found() || error.is_conflict() {
                    return Ok(());
                }
                self.context
                    .recorder
                    .warning(&about, "FailedDelete", format!("Error deleting: {error}"));
                Err(error)
            }
        }
    }

    async fn write_status(&self, set: &ReplicaSet, plan: &Plan, failure: Option<&Error>) -> Result<Outcome, Error> {
        let (new, look_again) = status(
            set,
            &plan.mine,
            failure.map(ToString::to_string),
            plan.wanted,
            Timestamp::now(),
        );
        let outcome = look_again.map_or(Outcome::Done, Outcome::After);
        if new == set.status {
            return Ok(outcome);
        }
        let body = json!({ "metadata": { "resourceVersion": set.metadata.resource_version }, "status": new });
        let (key, patch) = (set.metadata.key(), client::Patch::Merge);
        match self
            .context
            .client
            .patch::<Value>(&REPLICA_SETS, &key, Some("status"), patch, &body)
            .await
        {
            // The set has changed or gone; that change brings it back.
            Err(error) if error.is_conflict() || error.is_not_found() => {
                self.queue.add_after(key, std::time::Duration::from_millis(20));
                Ok(outcome)
            }
            result => result.map(|_| outcome),
        }
    }
}

/// A Pod as the set's template says, controlled by the set.
fn pod_from_template(set: &ReplicaSet) -> Value {
    let template = &set.spec.template;
    let of = |name: &str| {
        template
            .pointer(&format!("/metadata/{name}"))
            .cloned()
            .unwrap_or(Value::Null)
    };
    let mut metadata = json!({
        // The name is cut so that the generated suffix still fits a label.
        "generateName": format!("{}-", &set.metadata.name[..set.metadata.name.len().min(57)]),
        "namespace": set.metadata.namespace,
        "ownerReferences": [OwnerReference::controlled_by(&REPLICA_SETS, &set.metadata)],
    });
    for name in ["labels", "annotations", "finalizers"] {
        let value = of(name);
        if !value.is_null() {
            metadata[name] = value;
        }
    }
    json!({ "metadata": metadata, "spec": template.get("spec").cloned().unwrap_or(Value::Null) })
}
