//! CronJob: makes a Job for every time of a schedule.
//!
//! Which time is due follows from when the last one was taken (`plan`, pure). A Job's name follows from its time, so that
//! a controller that was stopped after making it does not make it twice.

mod objects;
mod plan;
mod schedule;

use std::sync::Arc;

use client::{
    Cache, Change, DeleteOptions, Error, Index, Key, MetaOnly, ObjectReference, Outcome, Propagation, Subscription,
    WorkQueue,
};
use jiff::Timestamp;

use crate::claim::controller_key;
use crate::job::{JOBS, Job};
use crate::limits;
use crate::run::Context;
use crate::status;
use objects::CRON_JOBS;
use plan::{plan, reference};

pub(crate) use objects::CronJob;

struct Controller {
    context: Context,
    crons: Cache<CronJob>,
    jobs: Index<Job>,
}

/// Runs the controller.
pub(crate) async fn run(context: Context) -> Result<(), Error> {
    let (crons, jobs) = (context.informers.watch::<CronJob>(), context.informers.watch::<Job>());
    let queue = Arc::new(WorkQueue::new());
    let _subscriptions = subscribe(&crons, &jobs, &queue);
    let controller = Controller {
        jobs: jobs.index("controller", |job| {
            job.metadata.controller().map(|c| c.uid.clone()).into_iter().collect()
        }),
        context: context.clone(),
        crons,
    };
    client::work("cronjob", queue, limits::WORKERS, context.stop, |key| {
        controller.reconcile(key)
    })
    .await
}

fn subscribe(crons: &Cache<CronJob>, jobs: &Cache<Job>, queue: &Arc<WorkQueue<Key>>) -> [Subscription; 2] {
    let to = queue.clone();
    let on_cron = move |change: &Change<CronJob>| to.add(change.key());
    let to = queue.clone();
    let on_job = move |change: &Change<Job>| {
        let owner = controller_key(&CRON_JOBS, &change.object().metadata);
        owner.into_iter().for_each(|key| to.add(key));
    };
    [crons.subscribe(on_cron), jobs.subscribe(on_job)]
}

impl Controller {
    async fn reconcile(&self, key: Key) -> Result<Outcome, Error> {
        let Some(cron) = self.crons.get_key(&key) else {
            return Ok(Outcome::Done);
        };
        let mut plan = plan(&cron, &self.jobs.get(&cron.metadata.uid), Timestamp::now());
        let about = ObjectReference::of(&CRON_JOBS, &cron.metadata);
        let (client, recorder) = (&self.context.client, &self.context.recorder);
        if let Some((reason, message)) = plan.warning {
            recorder.warning(&about, reason, message);
        }
        for job in &plan.delete {
            let options = DeleteOptions::uid(&job.metadata.uid).propagate(Propagation::Background);
            match client.delete(&JOBS, &job.metadata.key(), &options).await {
                Err(error) if !error.is_not_found() => return Err(error),
                _ => recorder.normal(&about, "SuccessfulDelete", format!("Deleted job {}", job.metadata.name)),
            }
        }
        if let Some((_, job)) = &plan.create {
            match client.create::<MetaOnly>(&JOBS, Some(&key.namespace), job).await {
                Ok(made) => {
                    let message = format!("Created job {}", made.metadata.name);
                    recorder.normal(&about, "SuccessfulCreate", message);
                    plan.status.active.push(reference(&made.metadata));
                }
                // The cache is behind: the Job for this time has been made.
                Err(error) if error.is_already_exists() => {}
                Err(error) if error.is_namespace_terminating() => return Ok(Outcome::Done),
                Err(error) => {
                    recorder.warning(&about, "FailedCreate", format!("Error creating job: {error}"));
                    return Err(error);
                }
            }
        }
        status::write(client, &CRON_JOBS, &cron.metadata, &cron.status, &plan.status).await?;
        Ok(plan.look_again.map_or(Outcome::Done, Outcome::After))
    }
}
