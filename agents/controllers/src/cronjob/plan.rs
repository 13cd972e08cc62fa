//! What a CronJob has to do, from its Jobs and the time. Pure.

use std::sync::Arc;
use std::time::Duration;

use client::OwnerReference;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::objects::{CRON_JOBS, CronJob, Reference, Status};
use super::schedule::Schedule;
use crate::job::{JOBS, Job};

/// Times that may be missed before that is worth a warning.
const MISSED_MAX: usize = 100;

const SCHEDULED_AT: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";

/// What to do.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub status: Status,
    /// Jobs whose turn is over: history, or replaced.
    pub delete: Vec<Arc<Job>>,
    /// The Job to make, and the time it is for.
    pub create: Option<(Timestamp, Value)>,
    /// Something people should know: reason and message.
    pub warning: Option<(&'static str, String)>,
    pub look_again: Option<Duration>,
}

/// `jobs`: those that the CronJob controls.
pub(super) fn plan(cron: &CronJob, jobs: &[Arc<Job>], now: Timestamp) -> Plan {
    let mut plan = Plan {
        status: status(cron, jobs),
        delete: history(cron, jobs),
        ..Plan::default()
    };
    if cron.metadata.is_deleting() || cron.spec.suspend {
        return plan;
    }
    let schedule = match Schedule::parse(&cron.spec.schedule, cron.spec.time_zone.as_deref()) {
        Ok(schedule) => schedule,
        Err(error) => {
            plan.warning = Some(("InvalidSchedule", format!("invalid schedule: {error}")));
            return plan;
        }
    };
    let Some((due, next)) = times(cron, &schedule, now, &mut plan) else {
        return plan;
    };
    plan.look_again = next.map(|at| Duration::try_from(at.duration_since(now)).unwrap_or_default());
    if let Some(due) = due {
        start(cron, jobs, due, now, &mut plan);
    }
    plan
}

/// The latest time that has come and was not taken, and the first that has not come.
fn times(
    cron: &CronJob,
    schedule: &Schedule,
    now: Timestamp,
    plan: &mut Plan,
) -> Option<(Option<Timestamp>, Option<Timestamp>)> {
    let mut after = cron.status.last_schedule_time.or(cron.metadata.creation_timestamp)?;
    if let Some(deadline) = cron.spec.starting_deadline_seconds {
        // What was missed by more than the deadline is of no interest.
        let earliest = now.saturating_sub(SignedDuration::from_secs(deadline)).ok()?;
        after = after.max(earliest);
    }
    let (mut due, mut missed) = (None, 0_usize);
    let mut next = schedule.next(after);
    while let Some(at) = next.filter(|at| *at <= now) {
        due = Some(at);
        missed += 1;
        if missed == MISSED_MAX {
            let message =
                "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew";
            plan.warning = Some(("TooManyMissedTimes", message.to_owned()));
            // Only the latest is of interest: look for it close to now, in steps that double.
            due = latest(schedule, at, now).or(due);
            next = schedule.next(due.unwrap_or(at));
            break;
        }
        next = schedule.next(at);
    }
    Some((due, next))
}

/// The latest time up to `now`, which is after `from`.
fn latest(schedule: &Schedule, from: Timestamp, now: Timestamp) -> Option<Timestamp> {
    let mut back = SignedDuration::from_mins(1);
    loop {
        let start = now.saturating_sub(back).ok()?.max(from);
        let mut found = None;
        let mut at = schedule.next(start);
        while let Some(time) = at.filter(|t| *t <= now) {
            found = Some(time);
            at = schedule.next(time);
        }
        if found.is_some() || start == from {
            return found;
        }
        back = back.checked_mul(2)?;
    }
}

fn start(cron: &CronJob, jobs: &[Arc<Job>], due: Timestamp, now: Timestamp, plan: &mut Plan) {
    if let Some(deadline) = cron.spec.starting_deadline_seconds
        && now.duration_since(due).as_secs() > deadline
    {
        return;
    }
    let name = name(cron, due);
    let running: Vec<&Arc<Job>> = jobs.iter().filter(|j| !j.is_finished()).collect();
    // Made by an earlier look whose status did not get written.
    if jobs.iter().any(|j| j.metadata.name == name) {
        plan.status.last_schedule_time = Some(due);
        return;
    }
    match cron.spec.concurrency_policy.as_str() {
        // Not lost: once the other is done this time is still due, if its deadline has not passed.
        "Forbid" if !running.is_empty() => return,
        "Replace" => {
            let gone = running.into_iter().filter(|j| !j.metadata.is_deleting()).cloned();
            plan.delete.extend(gone.collect::<Vec<_>>());
            plan.status.active.clear();
        }
        _ => {}
    }
    plan.status.last_schedule_time = Some(due);
    plan.create = Some((due, job(cron, &name, due)));
}

/// The name of the Job for a time: a second one for the same time is refused by the API.
fn name(cron: &CronJob, due: Timestamp) -> String {
    format!("{}-{}", cron.metadata.name, due.as_second() / 60)
}

fn job(cron: &CronJob, name: &str, due: Timestamp) -> Value {
    let of = |path: &str| cron.spec.job_template.pointer(path).cloned();
    let mut annotations = of("/metadata/annotations").unwrap_or_else(|| json!({}));
    annotations[SCHEDULED_AT] = due.strftime("%Y-%m-%dT%H:%M:%SZ").to_string().into();
    json!({
        "metadata": {
            "name": name,
            "namespace": cron.metadata.namespace,
            "labels": of("/metadata/labels").unwrap_or_else(|| json!({})),
            "annotations": annotations,
            "ownerReferences": [OwnerReference::controlled_by(&CRON_JOBS, &cron.metadata)],
        },
        "spec": of("/spec"),
    })
}

/// The reference to a Job.
pub(super) fn reference(job: &client::Meta) -> Reference {
    Reference {
        api_version: JOBS.api_version(),
        kind: JOBS.kind.to_string(),
        namespace: job.namespace.clone(),
        name: job.name.clone(),
        uid: job.uid.clone(),
    }
}

fn status(cron: &CronJob, jobs: &[Arc<Job>]) -> Status {
    let mut running: Vec<&Arc<Job>> = jobs.iter().filter(|j| !j.is_finished()).collect();
    running.sort_by_key(|j| (j.metadata.creation_timestamp, j.metadata.name.clone()));
    let successes = jobs.iter().filter(|j| j.status.holds("Complete").is_some());
    let last = successes.filter_map(|j| j.status.completion_time).max();
    Status {
        active: running.into_iter().map(|j| reference(&j.metadata)).collect(),
        last_schedule_time: cron.status.last_schedule_time,
        last_successful_time: last.max(cron.status.last_successful_time),
    }
}

/// Jobs that are done and more than the history keeps, the oldest.
fn history(cron: &CronJob, jobs: &[Arc<Job>]) -> Vec<Arc<Job>> {
    let beyond = |kind: &str, limit: usize| {
        let mut done: Vec<Arc<Job>> = jobs
            .iter()
            .filter(|j| j.status.holds(kind).is_some() && !j.metadata.is_deleting())
            .cloned()
            .collect();
        done.sort_by_key(|j| (j.status.start_time, j.metadata.name.clone()));
        done.truncate(done.len().saturating_sub(limit));
        done
    };
    let mut gone = beyond("Complete", cron.spec.successful_jobs_history_limit.unwrap_or(3));
    gone.extend(beyond("Failed", cron.spec.failed_jobs_history_limit.unwrap_or(1)));
    gone
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(time: &str) -> Timestamp {
        format!("2026-01-01T{time}Z").parse().unwrap()
    }

    struct World {
        cron: CronJob,
        jobs: Vec<Arc<Job>>,
    }

    fn world(spec: Value) -> World {
        let mut object = json!({
            "metadata": { "name": "c", "namespace": "n", "uid": "cron", "creationTimestamp": at("00:00:30") },
            "spec": { "schedule": "*/10 * * * *", "jobTemplate": { "metadata": { "labels": { "a": "b" } }, "spec": { "x": 1 } } },
        });
        for (field, value) in spec.as_object().unwrap() {
            object["spec"][field] = value.clone();
        }
        World {
            cron: serde_json::from_value(object).unwrap(),
            jobs: Vec::new(),
        }
    }

    impl World {
        /// A look at a time, carried out. The name of the Job it made.
        fn look(&mut self, time: &str) -> Option<String> {
            let plan = plan(&self.cron, &self.jobs, at(time));
            self.cron.status = plan.status;
            self.jobs
                .retain(|j| !plan.delete.iter().any(|d| d.metadata.name == j.metadata.name));
            let (_, made) = plan.create?;
            let mut job: Job = serde_json::from_value(made).unwrap();
            job.metadata.uid = job.metadata.name.clone();
            job.status.start_time = Some(at(time));
            job.metadata.creation_timestamp = Some(at(time));
            let name = job.metadata.name.clone();
            self.jobs.push(Arc::new(job));
            Some(name)
        }

        fn finish(&mut self, kind: &str, time: &str) {
            for job in &mut self.jobs {
                if !job.is_finished() {
                    let job = Arc::make_mut(job);
                    let condition = json!([{ "type": kind, "status": "True", "lastTransitionTime": at(time) }]);
                    job.status.conditions = serde_json::from_value(condition).unwrap();
                    job.status.completion_time = Some(at(time));
                }
            }
        }
    }

    #[test]
    fn a_job_for_every_time_and_one_for_each() {
        let mut world = world(json!({}));
        assert_eq!(world.look("00:09:59"), None);
        let first = world.look("00:10:00").unwrap();
        assert_eq!(first, format!("c-{}", at("00:10:00").as_second() / 60));
        assert_eq!(world.look("00:10:01"), None);
        assert_eq!(world.cron.status.active[0].name, first);
        // Stopped after the Job was made and before the status was written.
        world.cron.status.last_schedule_time = None;
        assert_eq!(world.look("00:10:02"), None);
        assert_eq!(world.cron.status.last_schedule_time, Some(at("00:10:00")));
        assert!(world.look("00:20:00").is_some());
        assert_eq!(
            world.cron.status.active.len(),
            1,
            "the second is listed at the next look"
        );
        world.finish("Complete", "00:21:00");
        world.look("00:22:00");
        assert_eq!(
            (world.cron.status.active.len(), world.cron.status.last_successful_time),
            (0, Some(at("00:21:00")))
        );
    }

    #[test]
    fn of_many_missed_times_the_latest_is_made_up_for() {
        let mut world = world(json!({}));
        let name = world.look("05:05:00").unwrap();
        assert_eq!(name, format!("c-{}", at("05:00:00").as_second() / 60));
        let mut world = self::world(json!({ "schedule": "* * * * *" }));
        assert_eq!(
            plan(&world.cron, &[], at("23:00:30")).warning.unwrap().0,
            "TooManyMissedTimes"
        );
        assert_eq!(
            world.look("23:00:30").unwrap(),
            format!("c-{}", at("23:00:00").as_second() / 60)
        );
    }

    #[test]
    fn a_deadline_lets_old_times_go() {
        let mut world = world(json!({ "startingDeadlineSeconds": 60 }));
        assert_eq!(world.look("00:12:00"), None);
        assert!(world.look("00:20:59").is_some());
    }

    #[test]
    fn concurrency() {
        let mut world = world(json!({ "concurrencyPolicy": "Forbid" }));
        world.look("00:10:00").unwrap();
        assert_eq!(world.look("00:20:00"), None);
        world.finish("Complete", "00:25:00");
        assert!(world.look("00:25:00").is_some(), "it was still due");
        let mut world = self::world(json!({ "concurrencyPolicy": "Replace" }));
        let first = world.look("00:10:00").unwrap();
        let second = world.look("00:20:00").unwrap();
        assert!(world.jobs.iter().all(|j| j.metadata.name != first));
        assert_eq!(world.jobs[0].metadata.name, second);
    }

    #[test]
    fn history_is_limited_by_outcome() {
        let mut world =
            world(json!({ "schedule": "* * * * *", "successfulJobsHistoryLimit": 2, "failedJobsHistoryLimit": 1 }));
        for (minute, kind) in [
            (1, "Complete"),
            (2, "Failed"),
            (3, "Complete"),
            (4, "Failed"),
            (5, "Complete"),
        ] {
            let time = format!("00:0{minute}:00");
            world.look(&time).unwrap();
            world.finish(kind, &time);
        }
        world.look("00:05:30");
        let kept: Vec<_> = world.jobs.iter().map(|j| j.status.start_time.unwrap()).collect();
        assert_eq!(kept, [at("00:03:00"), at("00:04:00"), at("00:05:00")]);
    }

    #[test]
    fn suspended_or_unreadable_schedules_make_nothing() {
        let mut world = world(json!({ "suspend": true }));
        assert_eq!(world.look("05:00:00"), None);
        let world = self::world(json!({ "schedule": "whenever" }));
        assert_eq!(
            plan(&world.cron, &[], at("05:00:00")).warning.unwrap().0,
            "InvalidSchedule"
        );
    }
}
