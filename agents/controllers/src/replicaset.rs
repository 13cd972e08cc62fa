//! ReplicaSet: keeps a number of Pods made from one template.
//!
//! Whether to act at all is decided by expectations: as long as the cache does not show what the last look did, nothing
//! is created or deleted, only the status is written.

mod plan;
mod rank;
mod status;

use std::sync::Arc;

use client::expectations::Expectations;
use client::objects::Pod;
use client::{Cache, Change, Error, Index, Key, Meta, Outcome, Subscription, WorkQueue};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::limits;
use crate::objects::{REPLICA_SETS, ReplicaSet};
use crate::pods::{Hand, by_controller, claimable, concerned, from_template};
use crate::run::Context;
use plan::{Plan, plan};
use status::status;

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
        let selecting = |pod: &Meta| {
            let sets = all.list_namespace(&pod.namespace).into_iter();
            let sets = sets.filter(|s| s.spec.selector.matches(&pod.labels));
            sets.map(|s| s.metadata.key()).collect()
        };
        for key in concerned(&REPLICA_SETS, change, &seen, selecting) {
            to.add(key);
        }
    };
    [sets.subscribe(on_set), pods.subscribe(on_pod)]
}

impl Controller {
    async fn reconcile(&self, key: Key) -> Result<Outcome, Error> {
        let Some(set) = self.sets.get_key(&key) else {
            self.expectations.forget(&key);
            return Ok(Outcome::Done);
        };
        // Asked before the Pods are read: what is fulfilled in between is in what is read.
        let may_act = self.expectations.satisfied(&key) && !set.metadata.is_deleting();
        let plan = plan(&set, &claimable(&self.pods, &set.metadata), &self.related(&set));
        if !plan.adopt.is_empty() || !plan.release.is_empty() {
            self.hand(&set).claim(&plan.adopt, &plan.release).await?;
            // The claimed Pods' changes bring the set back here.
            return Ok(Outcome::Done);
        }
        let mut failure = None;
        if may_act {
            failure = self.manage(&set, &plan).await.err();
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

    fn hand<'a>(&'a self, set: &'a ReplicaSet) -> Hand<'a> {
        Hand {
            context: &self.context,
            kind: REPLICA_SETS,
            owner: &set.metadata,
            expectations: &self.expectations,
        }
    }

    async fn manage(&self, set: &ReplicaSet, plan: &Plan) -> Result<(), Error> {
        if plan.create > 0 {
            let pod = from_template(&REPLICA_SETS, &set.metadata, &set.spec.template);
            self.hand(set).create(&vec![pod; plan.create]).await?;
        }
        if !plan.delete.is_empty() {
            self.hand(set).delete(&plan.delete).await?;
        }
        Ok(())
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
