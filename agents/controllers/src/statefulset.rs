//! StatefulSet: Pods that each have a number and keep it, made and replaced in the order of their numbers.
//!
//! `plan` is the next step, pure; here it is carried out. A Pod's name follows from its number, so nothing has to be
//! expected: what is made a second time, because the cache is behind, is refused by the API.
//!
//! **Left out.** Deleting claims of Pods that are gone (`persistentVolumeClaimRetentionPolicy`).

mod identity;
mod objects;
mod plan;
#[cfg(test)]
mod simulation;

use std::collections::BTreeSet;
use std::sync::Arc;

use client::expectations::Expectations;
use client::objects::{PODS, Pod};
use client::{Cache, Change, Error, Index, Key, Meta, ObjectReference, Outcome, Resource, Subscription, WorkQueue};
use jiff::Timestamp;
use serde_json::Value;

use crate::claim::controller_key;
use crate::limits;
use crate::pods::{Hand, by_controller, claimable, concerned, conclude};
use crate::revisions::{self, ControllerRevision, Made};
use crate::run::Context;
use crate::status;
use objects::Status;
use plan::{Plan, plan};

pub(crate) use objects::{STATEFUL_SETS, StatefulSet};

const CLAIMS: Resource = Resource::namespaced("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims");

/// Revisions kept for rolling back, unless the set says otherwise.
const HISTORY_DEFAULT: usize = 10;

struct Controller {
    context: Context,
    sets: Cache<StatefulSet>,
    revisions: Cache<ControllerRevision>,
    pods: Index<Pod>,
    /// Never consulted: see the module.
    expectations: Arc<Expectations>,
}

/// Runs the controller.
pub(crate) async fn run(context: Context) -> Result<(), Error> {
    let informers = &context.informers;
    let (sets, pods) = (informers.watch::<StatefulSet>(), informers.watch::<Pod>());
    let revisions = informers.watch::<ControllerRevision>();
    let queue = Arc::new(WorkQueue::new());
    let expectations = Arc::new(Expectations::default());
    let _subscriptions = subscribe(&sets, &revisions, &pods, &queue, &expectations);
    let controller = Controller {
        pods: by_controller(&pods),
        context: context.clone(),
        sets,
        revisions,
        expectations,
    };
    client::work("statefulset", queue, limits::WORKERS, context.stop, |key| {
        controller.reconcile(key)
    })
    .await
}

fn subscribe(
    sets: &Cache<StatefulSet>,
    revisions: &Cache<ControllerRevision>,
    pods: &Cache<Pod>,
    queue: &Arc<WorkQueue<Key>>,
    expectations: &Arc<Expectations>,
) -> [Subscription; 3] {
    let to = queue.clone();
    let on_set = move |change: &Change<StatefulSet>| to.add(change.key());
    let to = queue.clone();
    let on_revision = move |change: &Change<ControllerRevision>| {
        let owner = controller_key(&STATEFUL_SETS, &change.object().metadata);
        owner.into_iter().for_each(|key| to.add(key));
    };
    let (to, all, seen) = (queue.clone(), sets.clone(), expectations.clone());
    let on_pod = move |change: &Change<Pod>| {
        let selecting = |pod: &Meta| {
            let sets = all.list_namespace(&pod.namespace).into_iter();
            let sets = sets.filter(|s| s.spec.selector.matches(&pod.labels));
            sets.map(|s| s.metadata.key()).collect()
        };
        for key in concerned(&STATEFUL_SETS, change, &seen, selecting) {
            to.add(key);
        }
    };
    [
        sets.subscribe(on_set),
        revisions.subscribe(on_revision),
        pods.subscribe(on_pod),
    ]
}

impl Controller {
    async fn reconcile(&self, key: Key) -> Result<Outcome, Error> {
        let Some(set) = self.sets.get_key(&key) else {
            self.expectations.forget(&key);
            return Ok(Outcome::Done);
        };
        let known = revisions::of(&self.revisions, &set.metadata);
        let collisions = set.status.collision_count;
        let template = &set.spec.template;
        let made = revisions::make(
            &self.context,
            &STATEFUL_SETS,
            &set.metadata,
            template,
            collisions,
            &known,
        )
        .await?;
        let update = match made {
            Made::Revision(revision) => revision,
            Made::Nothing => return Ok(Outcome::Done),
            Made::Collision(count) => {
                let mut status = set.status.clone();
                status.collision_count = Some(count);
                return self.write_status(&set, status).await.map(|()| Outcome::Done);
            }
        };
        let pods = claimable(&self.pods, &set.metadata);
        let plan = plan(&set, &pods, &update.metadata.name, Timestamp::now());
        let hand = self.hand(&set);
        hand.claim(&plan.adopt, &plan.release).await?;
        let acted = self.act(&set, &plan, &known, &update).await;
        let look_again = plan.look_again;
        let tell = async {
            self.forget_revisions(&set, &plan, &pods, &known).await?;
            self.write_status(&set, plan.status).await
        };
        conclude(acted, tell, look_again).await
    }

    fn hand<'a>(&'a self, set: &'a StatefulSet) -> Hand<'a> {
        Hand {
            context: &self.context,
            kind: STATEFUL_SETS,
            owner: &set.metadata,
            expectations: &self.expectations,
        }
    }

    async fn act(
        &self,
        set: &StatefulSet,
        plan: &Plan,
        known: &[Arc<ControllerRevision>],
        update: &Arc<ControllerRevision>,
    ) -> Result<(), Error> {
        let before = &set.status.current_revision;
        let current = known.iter().find(|r| r.metadata.name == *before).unwrap_or(update);
        for (ordinal, new) in &plan.create {
            let revision = if *new { update } else { current };
            self.create(set, *ordinal, revision).await?;
        }
        self.hand(set).delete(&plan.delete).await
    }

    async fn create(&self, set: &StatefulSet, ordinal: i32, revision: &ControllerRevision) -> Result<(), Error> {
        let namespace = Some(set.metadata.namespace.as_str());
        let about = ObjectReference::of(&STATEFUL_SETS, &set.metadata);
        for (name, claim) in identity::claims(set, ordinal) {
            match self.context.client.create::<Value>(&CLAIMS, namespace, &claim).await {
                Ok(_) => {
                    let message = format!("create Claim {name} in StatefulSet {} success", set.metadata.name);
                    self.context.recorder.normal(&about, "SuccessfulCreate", message);
                }
                // It outlived an earlier Pod of this number, which is what it is for.
                Err(error) if error.is_already_exists() => {}
                Err(error) => return Err(self.tell_failed(&about, &format!("Claim {name}"), error)),
            }
        }
        let pod = identity::pod(set, ordinal, revision);
        let name = identity::name(set, ordinal);
        match self.context.client.create::<Value>(&PODS, namespace, &pod).await {
            Ok(_) => {
                let message = format!("create Pod {name} in StatefulSet {} successful", set.metadata.name);
                self.context.recorder.normal(&about, "SuccessfulCreate", message);
                Ok(())
            }
            // The cache is behind, or a stranger has the name, whose end the cache will show.
            Err(error) if error.is_already_exists() => Ok(()),
            Err(error) => Err(self.tell_failed(&about, &format!("Pod {name}"), error)),
        }
    }

    fn tell_failed(&self, about: &ObjectReference, what: &str, error: Error) -> Error {
        if !error.is_namespace_terminating() {
            let message = format!("create {what} failed error: {error}");
            self.context.recorder.warning(about, "FailedCreate", message);
        }
        error
    }

    async fn forget_revisions(
        &self,
        set: &StatefulSet,
        plan: &Plan,
        pods: &[Arc<Pod>],
        known: &[Arc<ControllerRevision>],
    ) -> Result<(), Error> {
        let mut used: BTreeSet<&str> = pods.iter().map(|p| identity::revision(p)).collect();
        used.extend([
            plan.status.current_revision.as_str(),
            plan.status.update_revision.as_str(),
        ]);
        let limit = set.spec.revision_history_limit.unwrap_or(HISTORY_DEFAULT);
        revisions::forget(&self.context, known, &used, limit).await
    }

    async fn write_status(&self, set: &StatefulSet, status: Status) -> Result<(), Error> {
        status::write(
            &self.context.client,
            &STATEFUL_SETS,
            &set.metadata,
            &set.status,
            &status,
        )
        .await
    }
}
