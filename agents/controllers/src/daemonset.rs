//! DaemonSet: one Pod on every node that the template allows.
//!
//! Each Pod is tied to its node by name; the scheduler puts it there. `plan` compares nodes and Pods, pure; here its outcome
//! is carried out, unless the cache does not show yet what the last look did.

mod objects;
mod plan;
mod pod;
#[cfg(test)]
mod simulation;

use std::collections::BTreeSet;
use std::sync::Arc;

use client::expectations::Expectations;
use client::objects::{Node, Pod};
use client::{Cache, Change, Error, Index, Key, Meta, Outcome, Subscription, WorkQueue};
use jiff::Timestamp;
use serde_json::Value;

use crate::claim::controller_key;
use crate::limits;
use crate::pods::{Hand, by_controller, claimable, concerned, conclude};
use crate::revisions::{self, ControllerRevision, HASH_LABEL, Made};
use crate::run::Context;
use crate::status;
use objects::{DAEMON_SETS, Status};
use plan::{Plan, plan};

pub(crate) use objects::DaemonSet;

/// Revisions kept for rolling back, unless the set says otherwise.
const HISTORY_DEFAULT: usize = 10;

struct Controller {
    context: Context,
    sets: Cache<DaemonSet>,
    nodes: Cache<Node>,
    revisions: Cache<ControllerRevision>,
    pods: Index<Pod>,
    expectations: Arc<Expectations>,
}

/// Runs the controller.
pub(crate) async fn run(context: Context) -> Result<(), Error> {
    let informers = &context.informers;
    let (sets, pods) = (informers.watch::<DaemonSet>(), informers.watch::<Pod>());
    let (nodes, revisions) = (informers.watch::<Node>(), informers.watch::<ControllerRevision>());
    let queue = Arc::new(WorkQueue::new());
    let controller = Controller {
        pods: by_controller(&pods),
        context: context.clone(),
        sets,
        nodes,
        revisions,
        expectations: Arc::new(Expectations::default()),
    };
    let _subscriptions = controller.subscribe(&pods, &queue);
    client::work("daemonset", queue, limits::WORKERS, context.stop, |key| {
        controller.reconcile(key)
    })
    .await
}

impl Controller {
    fn subscribe(&self, pods: &Cache<Pod>, queue: &Arc<WorkQueue<Key>>) -> [Subscription; 4] {
        let (to, forgetting) = (queue.clone(), self.expectations.clone());
        let on_set = move |change: &Change<DaemonSet>| {
            if let Change::Deleted(set) = change {
                forgetting.forget(&set.metadata.key());
            }
            to.add(change.key());
        };
        let to = queue.clone();
        let on_revision = move |change: &Change<ControllerRevision>| {
            let owner = controller_key(&DAEMON_SETS, &change.object().metadata);
            owner.into_iter().for_each(|key| to.add(key));
        };
        let (to, all) = (queue.clone(), self.sets.clone());
        let on_node = move |change: &Change<Node>| {
            if matters(change) {
                all.list().iter().for_each(|set| to.add(set.metadata.key()));
            }
        };
        let (to, all, seen) = (queue.clone(), self.sets.clone(), self.expectations.clone());
        let on_pod = move |change: &Change<Pod>| {
            let selecting = |pod: &Meta| {
                let sets = all.list_namespace(&pod.namespace).into_iter();
                let sets = sets.filter(|s| s.spec.selector.matches(&pod.labels));
                sets.map(|s| s.metadata.key()).collect()
            };
            for key in concerned(&DAEMON_SETS, change, &seen, selecting) {
                to.add(key);
            }
        };
        [
            self.sets.subscribe(on_set),
            self.revisions.subscribe(on_revision),
            self.nodes.subscribe(on_node),
            pods.subscribe(on_pod),
        ]
    }

    async fn reconcile(&self, key: Key) -> Result<Outcome, Error> {
        let Some(set) = self.sets.get_key(&key) else {
            self.expectations.forget(&key);
            return Ok(Outcome::Done);
        };
        // One that selects everything would claim every Pod of its namespace.
        if set.spec.selector.is_empty() {
            return Ok(Outcome::Done);
        }
        // Asked before the Pods are read: what is fulfilled in between is in what is read.
        let may_act = self.expectations.satisfied(&key);
        let known = revisions::of(&self.revisions, &set.metadata);
        let collisions = set.status.collision_count;
        let template = &set.spec.template;
        let made = revisions::make(&self.context, &DAEMON_SETS, &set.metadata, template, collisions, &known).await?;
        let revision = match made {
            Made::Revision(revision) => revision,
            Made::Nothing => return Ok(Outcome::Done),
            Made::Collision(count) => {
                let mut status = set.status.clone();
                status.collision_count = Some(count);
                return self.write_status(&set, status).await.map(|()| Outcome::Done);
            }
        };
        let pods = claimable(&self.pods, &set.metadata);
        let plan = plan(&set, &self.nodes.list(), &pods, revision.hash(), Timestamp::now());
        let hand = self.hand(&set);
        hand.claim(&plan.adopt, &plan.release).await?;
        let mut acted = Ok(());
        if may_act {
            acted = self.act(&set, &plan, &revision).await;
        }
        let look_again = plan.look_again;
        let tell = async {
            self.forget_revisions(&set, &revision, &pods, &known).await?;
            self.write_status(&set, plan.status).await
        };
        conclude(acted, tell, look_again).await
    }

    fn hand<'a>(&'a self, set: &'a DaemonSet) -> Hand<'a> {
        Hand {
            context: &self.context,
            kind: DAEMON_SETS,
            owner: &set.metadata,
            expectations: &self.expectations,
        }
    }

    async fn act(&self, set: &DaemonSet, plan: &Plan, revision: &ControllerRevision) -> Result<(), Error> {
        let made: Vec<Value> = plan.create.iter().map(|node| pod::pod(set, node, revision)).collect();
        let hand = self.hand(set);
        let created = hand.create(&made).await;
        hand.delete(&plan.delete).await?;
        created
    }

    async fn forget_revisions(
        &self,
        set: &DaemonSet,
        current: &ControllerRevision,
        pods: &[Arc<Pod>],
        known: &[Arc<ControllerRevision>],
    ) -> Result<(), Error> {
        let hashes: BTreeSet<&str> = pods
            .iter()
            .filter_map(|p| p.metadata.labels.get(HASH_LABEL).map(String::as_str))
            .collect();
        let in_use = known.iter().filter(|r| hashes.contains(r.hash()));
        let mut used: BTreeSet<&str> = in_use.map(|r| r.metadata.name.as_str()).collect();
        used.insert(&current.metadata.name);
        let limit = set.spec.revision_history_limit.unwrap_or(HISTORY_DEFAULT);
        revisions::forget(&self.context, known, &used, limit).await
    }

    async fn write_status(&self, set: &DaemonSet, status: Status) -> Result<(), Error> {
        status::write(&self.context.client, &DAEMON_SETS, &set.metadata, &set.status, &status).await
    }
}

/// Whether a node's change can change where daemons run. Heartbeats do not.
fn matters(change: &Change<Node>) -> bool {
    match change {
        Change::Modified { old, new } => {
            old.metadata.labels != new.metadata.labels || old.spec.taints != new.spec.taints
        }
        _ => true,
    }
}
