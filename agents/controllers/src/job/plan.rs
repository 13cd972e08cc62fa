//! What a Job has to do, from its Pods. Pure.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use client::objects::Pod;
use jiff::{SignedDuration, Timestamp};

use super::indexes::Indexes;
use super::objects::{Job, Status};
use super::pod;
use crate::claim::{Claim, claim};
use crate::limits;
use crate::objects::Condition;

/// What to do, in this order.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub adopt: Vec<Arc<Pod>>,
    pub release: Vec<Arc<Pod>>,
    pub status: Status,
    /// Counted, or about to be, in the status: they may go.
    pub free: Vec<Arc<Pod>>,
    /// Not needed any more, and not to be counted.
    pub discard: Vec<Arc<Pod>>,
    /// To be stopped because the Job is done; they count.
    pub delete: Vec<Arc<Pod>>,
    /// Pods to make, each with its index if the Job is indexed.
    pub create: Vec<Option<i32>>,
    pub look_again: Option<Duration>,
}

struct View<'a> {
    job: &'a Job,
    now: Timestamp,
    mine: &'a [Arc<Pod>],
    active: Vec<Arc<Pod>>,
    terminating: usize,
    done: Indexes,
}

/// `pods`: everything the Job controls or may adopt.
pub(super) fn plan(job: &Job, pods: &[Arc<Pod>], now: Timestamp) -> Plan {
    let mut plan = Plan {
        status: job.status.clone(),
        ..Plan::default()
    };
    let mut mine = Vec::new();
    for pod in pods {
        match claim(&job.metadata, &job.spec.selector, &pod.metadata) {
            Claim::Mine => mine.push(pod.clone()),
            Claim::Adopt => plan.adopt.push(pod.clone()),
            Claim::Release => plan.release.push(pod.clone()),
            Claim::Foreign => {}
        }
    }
    if job.is_finished() || job.metadata.is_deleting() {
        plan.free = mine.into_iter().filter(|p| pod::is_tracked(p)).collect();
        return plan;
    }
    if !plan.adopt.is_empty() || !plan.release.is_empty() {
        return plan;
    }
    let mut view = View::new(job, &mine, now);
    view.count(&mut plan);
    view.conclude(&mut plan);
    let status = &plan.status;
    let finishing = status.holds("FailureTarget").is_some() || status.holds("SuccessCriteriaMet").is_some();
    if finishing {
        plan.delete = view.active.clone();
    } else {
        view.manage(&mut plan);
    }
    plan
}

impl<'a> View<'a> {
    fn new(job: &'a Job, mine: &'a [Arc<Pod>], now: Timestamp) -> Self {
        let running = |p: &&Arc<Pod>| !p.is_terminal();
        let active = mine.iter().filter(running).filter(|p| !p.metadata.is_deleting());
        View {
            job,
            now,
            mine,
            active: active.cloned().collect(),
            terminating: mine.iter().filter(running).filter(|p| p.metadata.is_deleting()).count(),
            done: Indexes::parse(&job.status.completed_indexes, job.spec.completions.unwrap_or(0)),
        }
    }

    /// Whether a Pod counts as failed: one that is being deleted does at once, unless only failed ones are replaced.
    fn has_failed(&self, pod: &Pod) -> bool {
        match pod.status.phase.as_str() {
            "Failed" => true,
            "Succeeded" => false,
            _ => pod.metadata.is_deleting() && self.job.spec.pod_replacement_policy != "Failed",
        }
    }

    /// Moves Pods that have ended from the list of those to be counted into the counters, and new ones onto the list.
    fn count(&mut self, plan: &mut Plan) {
        let status = &mut plan.status;
        let tracked = |uid: &String| self.mine.iter().any(|p| p.metadata.uid == *uid && pod::is_tracked(p));
        let uncounted = &mut status.uncounted_terminated_pods;
        let before = (uncounted.succeeded.len(), uncounted.failed.len());
        uncounted.succeeded.retain(tracked);
        uncounted.failed.retain(tracked);
        status.succeeded += (before.0 - uncounted.succeeded.len()) as i32;
        status.failed += (before.1 - uncounted.failed.len()) as i32;
        for pod in self.mine.iter().filter(|p| pod::is_tracked(p)) {
            let uid = &pod.metadata.uid;
            let (succeeded, failed) = (pod.status.phase == "Succeeded", self.has_failed(pod));
            if !succeeded && !failed {
                continue;
            }
            let listed = uncounted.succeeded.contains(uid) || uncounted.failed.contains(uid);
            let index = pod::index(pod).filter(|i| (0..self.job.spec.completions.unwrap_or(0)).contains(i));
            if listed || plan.free.len() < limits::REPLICAS_BURST {
                plan.free.push(pod.clone());
            } else {
                continue;
            }
            match (listed, succeeded, self.job.is_indexed()) {
                (true, ..) => {}
                // The set of indexes counts each once by itself.
                (_, true, true) => index.into_iter().for_each(|i| self.done.insert(i)),
                (_, true, false) => uncounted.succeeded.push(uid.clone()),
                (_, false, _) => uncounted.failed.push(uid.clone()),
            }
        }
        if self.job.is_indexed() {
            status.completed_indexes = self.done.to_string();
            status.succeeded = self.done.len();
        }
        status.active = self.active.len() as i32;
        status.ready = self.active.iter().filter(|p| p.is_ready()).count() as i32;
        status.terminating = self.terminating as i32;
    }

    fn succeeded(&self, status: &Status) -> i32 {
        status.succeeded + status.uncounted_terminated_pods.succeeded.len() as i32
    }

    /// Sets the conditions: first why the Job ends, and once nothing of it is left, that it has ended.
    fn conclude(&self, plan: &mut Plan) {
        self.suspend_or_resume(&mut plan.status);
        let status = &mut plan.status;
        let interim = status
            .holds("FailureTarget")
            .or(status.holds("SuccessCriteriaMet"))
            .cloned();
        match interim {
            None => match self.verdict(status) {
                Some((kind, reason, message)) => self.set(status, kind, reason, message),
                None => self.note_deadline(plan),
            },
            Some(interim) => {
                let pending = &status.uncounted_terminated_pods;
                let settled = pending.succeeded.is_empty() && pending.failed.is_empty() && plan.free.is_empty();
                if settled && self.active.is_empty() && self.terminating == 0 {
                    let complete = interim.kind == "SuccessCriteriaMet";
                    let kind = if complete { "Complete" } else { "Failed" };
                    self.set(status, kind, &interim.reason, &interim.message);
                    if complete {
                        status.completion_time = Some(self.now);
                    }
                }
            }
        }
    }

    fn set(&self, status: &mut Status, kind: &str, reason: &str, message: &str) {
        self.set_to(status, kind, "True", reason, message);
    }

    fn set_to(&self, status: &mut Status, kind: &str, value: &str, reason: &str, message: &str) {
        status.conditions.retain(|c| c.kind != kind);
        status.conditions.push(Condition {
            kind: kind.to_owned(),
            status: value.to_owned(),
            reason: reason.to_owned(),
            message: message.to_owned(),
            last_update_time: None,
            last_transition_time: Some(self.now),
        });
    }

    fn suspend_or_resume(&self, status: &mut Status) {
        let suspended = status.holds("Suspended").is_some();
        if self.job.spec.suspend {
            if !suspended {
                self.set(status, "Suspended", "JobSuspended", "Job suspended");
            }
            status.start_time = None;
            return;
        }
        if suspended {
            self.set_to(status, "Suspended", "False", "JobResumed", "Job resumed");
        }
        status.start_time.get_or_insert(self.now);
    }

    /// Why the Job ends now, if it does.
    fn verdict(&self, status: &Status) -> Option<(&'static str, &'static str, &'static str)> {
        let limit = self.job.spec.backoff_limit.unwrap_or(6);
        let failed = status.failed + status.uncounted_terminated_pods.failed.len() as i32;
        if failed > limit || self.restarted_too_often(limit) {
            let message = "Job has reached the specified backoff limit";
            return Some(("FailureTarget", "BackoffLimitExceeded", message));
        }
        if self.until_deadline(status).is_some_and(|left| left.is_zero()) {
            let message = "Job was active longer than specified deadline";
            return Some(("FailureTarget", "DeadlineExceeded", message));
        }
        let succeeded = self.succeeded(status);
        let enough = match self.job.spec.completions {
            None => succeeded > 0,
            Some(completions) => succeeded >= completions,
        };
        let done = enough && self.active.is_empty() && !self.job.spec.suspend;
        done.then_some((
            "SuccessCriteriaMet",
            "CompletionsReached",
            "Reached expected number of succeeded pods",
        ))
    }

    /// Whether containers that are restarted in their Pods have been so as often as allowed. Unlike the number of Pods that
    /// may fail, the limit itself is too much; with a limit of 0 the first restart is.
    fn restarted_too_often(&self, limit: i32) -> bool {
        let policy = self.job.spec.template.pointer("/spec/restartPolicy");
        if policy.is_none_or(|p| p != "OnFailure") {
            return false;
        }
        let restarts = self.active.iter().map(|p| pod::restarts(p));
        restarts.fold(0, i32::saturating_add) >= limit.max(1)
    }

    /// How long the Job may still run.
    fn until_deadline(&self, status: &Status) -> Option<Duration> {
        let seconds = self.job.spec.active_deadline_seconds?;
        let end = status
            .start_time?
            .saturating_add(SignedDuration::from_secs(seconds))
            .ok()?;
        Some(Duration::try_from(end.duration_since(self.now)).unwrap_or_default())
    }

    fn note_deadline(&self, plan: &mut Plan) {
        if let Some(left) = self.until_deadline(&plan.status) {
            plan.look_again = Some(left);
        }
    }

    /// Brings the number of running Pods to what it should be.
    fn manage(&self, plan: &mut Plan) {
        let mut kept = self.active.clone();
        if self.job.is_indexed() {
            kept = self.drop_useless(kept, plan);
        }
        let wanted = self.wanted(&plan.status);
        if kept.len() > wanted {
            // Those that have got least far go first.
            kept.sort_by_key(|p| {
                let far = (p.is_ready(), p.status.phase == "Running", !p.spec.node_name.is_empty());
                (far, Reverse(p.metadata.creation_timestamp))
            });
            plan.discard.extend(kept.drain(..kept.len() - wanted));
            return;
        }
        let replaces_at_once = self.job.spec.pod_replacement_policy != "Failed";
        let occupied = kept.len() + if replaces_at_once { 0 } else { self.terminating };
        let missing = wanted.saturating_sub(occupied).min(limits::REPLICAS_BURST);
        if missing == 0 {
            return;
        }
        if let Some(wait) = self.backoff() {
            plan.look_again = Some(plan.look_again.map_or(wait, |w| w.min(wait)));
            return;
        }
        plan.create = match self.job.is_indexed() {
            false => vec![None; missing],
            true => self.free_indexes(&kept).take(missing).map(Some).collect(),
        };
    }

    /// Pods of an index that another has, or that is done or not one at all, are of no use.
    fn drop_useless(&self, mut pods: Vec<Arc<Pod>>, plan: &mut Plan) -> Vec<Arc<Pod>> {
        pods.sort_by_key(|p| (p.metadata.creation_timestamp, p.metadata.name.clone()));
        let completions = self.job.spec.completions.unwrap_or(0);
        let mut taken = BTreeSet::new();
        let (kept, useless) = pods.into_iter().partition(|p| {
            let index = pod::index(p).filter(|i| (0..completions).contains(i) && !self.done.contains(*i));
            index.is_some_and(|i| taken.insert(i))
        });
        plan.discard.extend::<Vec<_>>(useless);
        kept
    }

    fn free_indexes(&self, kept: &[Arc<Pod>]) -> impl Iterator<Item = i32> {
        let replaces_at_once = self.job.spec.pod_replacement_policy != "Failed";
        let leaving = self
            .mine
            .iter()
            .filter(|p| !p.is_terminal() && p.metadata.is_deleting());
        let leaving = leaving.filter(|_| !replaces_at_once);
        let taken: BTreeSet<i32> = kept.iter().chain(leaving).filter_map(|p| pod::index(p)).collect();
        let missing = self.done.missing(self.job.spec.completions.unwrap_or(0));
        missing.filter(move |i| !taken.contains(i))
    }

    fn wanted(&self, status: &Status) -> usize {
        let parallelism = self.job.spec.parallelism.unwrap_or(1).max(0);
        let succeeded = self.succeeded(status);
        let wanted = match self.job.spec.completions {
            _ if self.job.spec.suspend => 0,
            // One has said that the work is done: nobody is added.
            None if succeeded > 0 => (self.active.len() as i32).min(parallelism),
            None => parallelism,
            Some(completions) => parallelism.min(completions.saturating_sub(succeeded)).max(0),
        };
        wanted as usize
    }

    /// How long to wait after failures since the last success before more Pods are made.
    fn backoff(&self) -> Option<Duration> {
        let ends = |succeeded: bool| {
            let ended = self.mine.iter().filter(move |p| match succeeded {
                true => p.status.phase == "Succeeded",
                false => self.has_failed(p),
            });
            ended.filter_map(|p| pod::ended_at(p))
        };
        let last_success = ends(true).max();
        let failures: Vec<Timestamp> = ends(false).filter(|at| last_success.is_none_or(|s| *at > s)).collect();
        let last = failures.iter().max()?;
        let doublings = u32::try_from(failures.len() - 1).unwrap_or(u32::MAX).min(20);
        let wait = limits::JOB_BACKOFF_MIN
            .saturating_mul(1 << doublings)
            .min(limits::JOB_BACKOFF_MAX);
        let passed = self.now.duration_since(*last);
        let left = wait.checked_sub(Duration::try_from(passed).unwrap_or_default())?;
        (!left.is_zero()).then_some(left)
    }
}
