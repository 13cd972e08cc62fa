//! PodDisruptionBudget: tells how many Pods may be evicted now. Evictions themselves are the API server's part: it takes
//! from what this controller has written, and notes in the status which Pods it let go.
//!
//! A percentage, and `maxUnavailable`, are of the size that the Pods' controllers should have, not of the Pods that are
//! there.
//!
//! **Left out.** Sizes of controllers of other kinds than Deployment, ReplicaSet and StatefulSet: their Pods count as none.

mod objects;
mod plan;

use std::sync::Arc;

use client::objects::Pod;
use client::{Cache, Change, Error, Key, Outcome, Subscription, WorkQueue};
use jiff::Timestamp;

use crate::claim::controller_key;
use crate::limits;
use crate::objects::{DEPLOYMENTS, Deployment, REPLICA_SETS, ReplicaSet};
use crate::run::Context;
use crate::statefulset::{STATEFUL_SETS, StatefulSet};
use crate::status;
use objects::BUDGETS;
use plan::plan;

pub(crate) use objects::Budget;

struct Controller {
    context: Context,
    budgets: Cache<Budget>,
    pods: Cache<Pod>,
    deployments: Cache<Deployment>,
    sets: Cache<ReplicaSet>,
    /// Absent where StatefulSets are not served.
    stateful: Option<Cache<StatefulSet>>,
}

/// Runs the controller. `stateful`: whether StatefulSets are served.
pub(crate) async fn run(context: Context, stateful: bool) -> Result<(), Error> {
    let informers = &context.informers;
    let controller = Controller {
        budgets: informers.watch(),
        pods: informers.watch(),
        deployments: informers.watch(),
        sets: informers.watch(),
        stateful: stateful.then(|| informers.watch()),
        context: context.clone(),
    };
    let queue = Arc::new(WorkQueue::new());
    let _subscriptions = controller.subscribe(&queue);
    client::work("disruption", queue, limits::WORKERS, context.stop, |key| {
        controller.reconcile(key)
    })
    .await
}

impl Controller {
    fn subscribe(&self, queue: &Arc<WorkQueue<Key>>) -> Vec<Subscription> {
        let to = queue.clone();
        let on_budget = move |change: &Change<Budget>| to.add(change.key());
        let (to, all) = (queue.clone(), self.budgets.clone());
        let on_pod = move |change: &Change<Pod>| {
            if matters(change) {
                let old = change.old().map(|old| old.metadata.labels.clone());
                let new = &change.object().metadata;
                let concerned =
                    |b: &&Arc<Budget>| selects(b, &new.labels) || old.as_ref().is_some_and(|l| selects(b, l));
                let budgets = all.list_namespace(&new.namespace);
                budgets.iter().filter(concerned).for_each(|b| to.add(b.metadata.key()));
            }
        };
        let mut subscriptions = vec![self.budgets.subscribe(on_budget), self.pods.subscribe(on_pod)];
        let in_namespace = |queue: &Arc<WorkQueue<Key>>, all: &Cache<Budget>| {
            let (to, all) = (queue.clone(), all.clone());
            move |namespace: &str| {
                all.list_namespace(namespace)
                    .iter()
                    .for_each(|b| to.add(b.metadata.key()))
            }
        };
        let tell = in_namespace(queue, &self.budgets);
        subscriptions.push(self.deployments.subscribe(move |change| {
            if change
                .old()
                .is_none_or(|old| old.replicas() != change.object().replicas())
            {
                tell(&change.key().namespace);
            }
        }));
        let tell = in_namespace(queue, &self.budgets);
        subscriptions.push(self.sets.subscribe(move |change| {
            if change
                .old()
                .is_none_or(|old| old.replicas() != change.object().replicas())
            {
                tell(&change.key().namespace);
            }
        }));
        if let Some(stateful) = &self.stateful {
            let tell = in_namespace(queue, &self.budgets);
            subscriptions.push(stateful.subscribe(move |change| {
                if change
                    .old()
                    .is_none_or(|old| old.ordinals() != change.object().ordinals())
                {
                    tell(&change.key().namespace);
                }
            }));
        }
        subscriptions
    }

    async fn reconcile(&self, key: Key) -> Result<Outcome, Error> {
        let Some(budget) = self.budgets.get_key(&key) else {
            return Ok(Outcome::Done);
        };
        let mut pods = self.pods.list_namespace(&key.namespace);
        pods.retain(|p| selects(&budget, &p.metadata.labels));
        let (new, look_again) = plan(&budget, &pods, |pod| self.scale(pod), Timestamp::now());
        let mut body = serde_json::json!(new);
        // A merge leaves what it is not told to take away.
        for name in budget.status.disrupted_pods.keys() {
            if !new.disrupted_pods.contains_key(name) {
                body["disruptedPods"][name] = serde_json::Value::Null;
            }
        }
        if new != budget.status {
            status::write_value(&self.context.client, &BUDGETS, &budget.metadata, body).await?;
        }
        Ok(look_again.map_or(Outcome::Done, Outcome::After))
    }

    /// The size of what controls a Pod, and its uid.
    fn scale(&self, pod: &Pod) -> Option<(String, i32)> {
        let stateful = controller_key(&STATEFUL_SETS, &pod.metadata);
        if let Some(set) = stateful.and_then(|key| self.stateful.as_ref()?.get_key(&key)) {
            return Some((set.metadata.uid.clone(), set.ordinals().len() as i32));
        }
        let set = self.sets.get_key(&controller_key(&REPLICA_SETS, &pod.metadata)?)?;
        // During a rollout a Deployment has several sets; its own size is what counts.
        let deployment = controller_key(&DEPLOYMENTS, &set.metadata).and_then(|key| self.deployments.get_key(&key));
        Some(match deployment {
            Some(deployment) => (deployment.metadata.uid.clone(), deployment.replicas()),
            None => (set.metadata.uid.clone(), set.replicas()),
        })
    }
}

fn selects(budget: &Budget, labels: &std::collections::BTreeMap<String, String>) -> bool {
    budget.spec.selector.as_ref().is_some_and(|s| s.matches(labels))
}

/// Whether a Pod's change can change what may be disrupted.
fn matters(change: &Change<Pod>) -> bool {
    let Change::Modified { old, new } = change else {
        return true;
    };
    old.metadata.labels != new.metadata.labels
        || old.metadata.uid != new.metadata.uid
        || old.is_ready() != new.is_ready()
        || old.metadata.is_deleting() != new.metadata.is_deleting()
}
