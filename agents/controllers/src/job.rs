//! Job: Pods that run until enough of them have succeeded, or too many have failed.
//!
//! **Theory.** Each Pod must count exactly once, although it may be removed by anybody as soon as it has ended and this
//! controller may be stopped anywhere. So a Pod carries a finalizer until it has been counted, and counting takes three
//! steps of which each may be repeated: its uid is written to `uncountedTerminatedPods` in the status, the finalizer is
//! taken away, and then, in one write, the uid leaves the list and the counter goes up. `plan` decides, pure.
//!
//! A Job that is done and has a `ttlSecondsAfterFinished` is deleted here, too, after that time.
//!
//! **Left out.** `podFailurePolicy`, `successPolicy`, `backoffLimitPerIndex`.

mod indexes;
mod objects;
mod plan;
mod pod;
#[cfg(test)]
mod simulation;

use std::sync::Arc;
use std::time::Duration;

use client::expectations::Expectations;
use client::objects::{PODS, Pod};
use client::{
    Cache, Change, DeleteOptions, Error, Index, Key, Meta, ObjectReference, Outcome, Patch, Propagation, Subscription,
    WorkQueue,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::limits;
use crate::pods::{Hand, by_controller, claimable, concerned};
use crate::run::Context;
use crate::status;
use plan::{Plan, plan};

pub(crate) use objects::{JOBS, Job};

/// The one whose Jobs these are.
const MANAGER: &str = "kubernetes.io/job-controller";

struct Controller {
    context: Context,
    jobs: Cache<Job>,
    pods: Index<Pod>,
    expectations: Arc<Expectations>,
}

/// Runs the controller.
pub(crate) async fn run(context: Context) -> Result<(), Error> {
    let (jobs, pods) = (context.informers.watch::<Job>(), context.informers.watch::<Pod>());
    let queue = Arc::new(WorkQueue::new());
    let controller = Controller {
        pods: by_controller(&pods),
        context: context.clone(),
        jobs,
        expectations: Arc::new(Expectations::default()),
    };
    let _subscriptions = controller.subscribe(&pods, &queue);
    client::work("job", queue, limits::WORKERS, context.stop, |key| {
        controller.reconcile(key)
    })
    .await
}

impl Controller {
    fn subscribe(&self, pods: &Cache<Pod>, queue: &Arc<WorkQueue<Key>>) -> [Subscription; 2] {
        let (to, forgetting) = (queue.clone(), self.expectations.clone());
        let on_job = move |change: &Change<Job>| {
            if let Change::Deleted(job) = change {
                forgetting.forget(&job.metadata.key());
            }
            to.add(change.key());
        };
        let (to, all, seen) = (queue.clone(), self.jobs.clone(), self.expectations.clone());
        let on_pod = move |change: &Change<Pod>| {
            let selecting = |pod: &Meta| {
                let jobs = all.list_namespace(&pod.namespace).into_iter();
                let jobs = jobs.filter(|j| j.spec.selector.matches(&pod.labels));
                jobs.map(|j| j.metadata.key()).collect()
            };
            for key in concerned(&JOBS, change, &seen, selecting) {
                to.add(key);
            }
        };
        [self.jobs.subscribe(on_job), pods.subscribe(on_pod)]
    }

    async fn reconcile(&self, key: Key) -> Result<Outcome, Error> {
        let Some(job) = self.jobs.get_key(&key) else {
            self.expectations.forget(&key);
            return self.free_orphans().await;
        };
        if job.spec.managed_by.as_deref().is_some_and(|name| name != MANAGER) {
            return Ok(Outcome::Done);
        }
        // Asked before the Pods are read: what is fulfilled in between is in what is read.
        let may_act = self.expectations.satisfied(&key);
        let plan = plan(&job, &claimable(&self.pods, &job.metadata), Timestamp::now());
        let hand = self.hand(&job);
        hand.claim(&plan.adopt, &plan.release).await?;
        // The counters first: a Pod that may go must be in them.
        status::write(&self.context.client, &JOBS, &job.metadata, &job.status, &plan.status).await?;
        self.tell(&job, &plan);
        self.free(&plan.free).await?;
        if may_act {
            self.free(&plan.discard).await?;
            let stopped: Vec<_> = plan.discard.iter().chain(&plan.delete).cloned().collect();
            hand.delete(&stopped).await?;
            let made: Vec<Value> = plan.create.iter().map(|index| pod::pod(&job, *index)).collect();
            match hand.create(&made).await {
                Err(error) if !error.is_namespace_terminating() => return Err(error),
                _ => {}
            }
        }
        if let Some(outcome) = self.expire(&job).await? {
            return Ok(outcome);
        }
        Ok(plan.look_again.map_or(Outcome::Done, Outcome::After))
    }

    fn hand<'a>(&'a self, job: &'a Job) -> Hand<'a> {
        Hand {
            context: &self.context,
            kind: JOBS,
            owner: &job.metadata,
            expectations: &self.expectations,
        }
    }

    /// Lets Pods go that have been counted.
    async fn free(&self, pods: &[Arc<Pod>]) -> Result<(), Error> {
        for chunk in pods.chunks(limits::DELETES_IN_FLIGHT_MAX) {
            let freed: Vec<_> = chunk.iter().map(|pod| self.free_one(pod)).collect();
            futures::future::try_join_all(freed).await?;
        }
        Ok(())
    }

    async fn free_one(&self, pod: &Pod) -> Result<(), Error> {
        if !pod::is_tracked(pod) {
            return Ok(());
        }
        let left: Vec<_> = pod
            .metadata
            .finalizers
            .iter()
            .filter(|f| *f != pod::FINALIZER)
            .collect();
        let metadata = json!({ "uid": pod.metadata.uid, "resourceVersion": pod.metadata.resource_version,
            "finalizers": left });
        let (key, body) = (pod.metadata.key(), json!({ "metadata": metadata }));
        match self
            .context
            .client
            .patch::<Value>(&PODS, &key, None, Patch::Merge, &body)
            .await
        {
            Err(error) if error.is_not_found() => Ok(()),
            result => result.map(|_| ()),
        }
    }

    /// Lets the Pods go whose Job is gone: nobody will count them.
    async fn free_orphans(&self) -> Result<Outcome, Error> {
        let all = self.context.informers.watch::<Pod>().list();
        let lost: Vec<_> = all
            .into_iter()
            .filter(|p| pod::is_tracked(p))
            .filter(|p| {
                let owner = p.metadata.controller().filter(|c| c.kind == JOBS.kind);
                owner.is_none_or(|owner| {
                    let job = self.jobs.get_key(&Key::new(&p.metadata.namespace, &owner.name));
                    job.is_none_or(|j| j.metadata.uid != owner.uid)
                })
            })
            .collect();
        self.free(&lost).await.map(|()| Outcome::Done)
    }

    /// Events for conditions that have just come.
    fn tell(&self, job: &Job, plan: &Plan) {
        let about = ObjectReference::of(&JOBS, &job.metadata);
        let is_new = |c: &&crate::objects::Condition| {
            let known = job.status.conditions.iter().find(|k| k.kind == c.kind);
            known.is_none_or(|k| k.status != c.status)
        };
        for condition in plan.status.conditions.iter().filter(is_new) {
            let recorder = &self.context.recorder;
            match (condition.kind.as_str(), condition.status.as_str()) {
                ("Complete", _) => recorder.normal(&about, "Completed", "Job completed"),
                ("Failed", _) => {
                    let reason = match condition.reason.as_str() {
                        "DeadlineExceeded" => "DeadlineExceeded",
                        _ => "BackoffLimitExceeded",
                    };
                    recorder.warning(&about, reason, condition.message.clone());
                }
                ("Suspended", "True") => recorder.normal(&about, "Suspended", "Job suspended"),
                ("Suspended", _) => recorder.normal(&about, "Resumed", "Job resumed"),
                _ => {}
            }
        }
    }

    /// Deletes a Job that has been done for long enough, or says when it will be.
    async fn expire(&self, job: &Job) -> Result<Option<Outcome>, Error> {
        let (Some(ttl), Some(done)) = (job.spec.ttl_seconds_after_finished, job.finished_at()) else {
            return Ok(None);
        };
        if job.metadata.is_deleting() {
            return Ok(None);
        }
        let Ok(end) = done.saturating_add(SignedDuration::from_secs(ttl)) else {
            return Ok(None);
        };
        let left = Duration::try_from(end.duration_since(Timestamp::now())).unwrap_or_default();
        if !left.is_zero() {
            return Ok(Some(Outcome::After(left.min(limits::EVICTION_LOOK))));
        }
        let options = DeleteOptions::uid(&job.metadata.uid).propagate(Propagation::Foreground);
        match self.context.client.delete(&JOBS, &job.metadata.key(), &options).await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(Some(Outcome::Done)),
        }
    }
}
