//! The conditions of a Deployment: Available, Progressing, ReplicaFailure.

use std::time::Duration;

use jiff::Timestamp;

use super::percent::bounds;
use super::plan::{Action, Observed, Sets};
use super::status::{counts, is_complete, is_progressing};
use crate::objects::{Condition, Deployment, DeploymentStatus};

const AVAILABLE: &str = "Available";
const PROGRESSING: &str = "Progressing";
const FAILURE: &str = "ReplicaFailure";
const COMPLETE: &str = "NewReplicaSetAvailable";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";
const PAUSED: &str = "DeploymentPaused";

/// The whole status, and when to look again because a deadline may pass.
pub(super) fn complete(
    observed: &Observed<'_>,
    sets: &Sets,
    actions: &[Action],
) -> (DeploymentStatus, Option<Duration>) {
    let (deployment, now) = (observed.deployment, observed.now);
    let mut status = counts(deployment, sets);
    set_available(deployment, &mut status, now);
    set_paused(deployment, &mut status, now);
    if !deployment.spec.paused {
        set_progressing(deployment, sets, actions, &mut status, now);
    }
    set_failure(sets, &mut status);
    let look_again = time_left(deployment, &status, now);
    (status, look_again)
}

fn find<'a>(status: &'a DeploymentStatus, kind: &str) -> Option<&'a Condition> {
    status.conditions.iter().find(|c| c.kind == kind)
}

/// Sets a condition; if status and reason stay, it stays as it is, times included.
fn set(status: &mut DeploymentStatus, kind: &str, value: &str, reason: &str, message: String, now: Timestamp) {
    let current = find(status, kind);
    if current.is_some_and(|c| c.status == value && c.reason == reason) {
        return;
    }
    replace(status, kind, value, reason, message, now);
}

/// Sets a condition and its update time even if nothing else of it changes.
fn replace(status: &mut DeploymentStatus, kind: &str, value: &str, reason: &str, message: String, now: Timestamp) {
    let current = find(status, kind);
    let since = current
        .filter(|c| c.status == value)
        .and_then(|c| c.last_transition_time)
        .unwrap_or(now);
    let condition = Condition {
        kind: kind.to_owned(),
        status: value.to_owned(),
        reason: reason.to_owned(),
        message,
        last_update_time: Some(now),
        last_transition_time: Some(since),
    };
    remove(status, kind);
    status.conditions.push(condition);
}

fn remove(status: &mut DeploymentStatus, kind: &str) {
    status.conditions.retain(|c| c.kind != kind);
}

fn set_available(deployment: &Deployment, status: &mut DeploymentStatus, now: Timestamp) {
    let minimum = deployment.replicas() - bounds(deployment).1;
    if status.available_replicas >= minimum {
        let message = "Deployment has minimum availability.".to_owned();
        set(status, AVAILABLE, "True", "MinimumReplicasAvailable", message, now);
    } else {
        let message = "Deployment does not have minimum availability.".to_owned();
        set(status, AVAILABLE, "False", "MinimumReplicasUnavailable", message, now);
    }
}

/// A paused rollout neither progresses nor runs out of time.
fn set_paused(deployment: &Deployment, status: &mut DeploymentStatus, now: Timestamp) {
    if deployment.spec.progress_deadline_seconds.is_none() {
        return;
    }
    let current = find(status, PROGRESSING).map(|c| c.reason.clone());
    if current.as_deref() == Some(TIMED_OUT) {
        return;
    }
    let was_paused = current.as_deref() == Some(PAUSED);
    if deployment.spec.paused && !was_paused {
        set(
            status,
            PROGRESSING,
            "Unknown",
            PAUSED,
            "Deployment is paused".to_owned(),
            now,
        );
    } else if !deployment.spec.paused && was_paused {
        set(
            status,
            PROGRESSING,
            "Unknown",
            "DeploymentResumed",
            "Deployment is resumed".to_owned(),
            now,
        );
    }
}

fn set_progressing(
    deployment: &Deployment,
    sets: &Sets,
    actions: &[Action],
    status: &mut DeploymentStatus,
    now: Timestamp,
) {
    if deployment.spec.progress_deadline_seconds.is_none() {
        return remove(status, PROGRESSING);
    }
    if let Some(Action::Create { name, .. }) = actions.first() {
        let message = format!("Created new replica set {name:?}");
        return replace(status, PROGRESSING, "True", "NewReplicaSetCreated", message, now);
    }
    let Some(new) = &sets.new else { return };
    let name = &new.metadata.name;
    if find(status, PROGRESSING).is_none() {
        set(
            status,
            PROGRESSING,
            "True",
            "FoundNewReplicaSet",
            format!("Found new replica set {name:?}"),
            now,
        );
    }
    // A rollout that was complete stays so while Pods come and go; only a new template begins another.
    let reason = find(status, PROGRESSING).map(|c| c.reason.clone()).unwrap_or_default();
    if status.replicas == status.updated_replicas && reason == COMPLETE {
        return;
    }
    if is_complete(deployment, status) {
        let message = format!("ReplicaSet {name:?} has successfully progressed.");
        set(status, PROGRESSING, "True", COMPLETE, message, now);
    } else if is_progressing(&deployment.status, status) {
        let message = format!("ReplicaSet {name:?} is progressing.");
        replace(status, PROGRESSING, "True", "ReplicaSetUpdated", message, now);
    } else if timed_out(deployment, status, now) {
        let message = format!("ReplicaSet {name:?} has timed out progressing.");
        set(status, PROGRESSING, "False", TIMED_OUT, message, now);
    }
}

fn timed_out(deployment: &Deployment, status: &DeploymentStatus, now: Timestamp) -> bool {
    let Some(condition) = find(status, PROGRESSING) else {
        return false;
    };
    match condition.reason.as_str() {
        COMPLETE => false,
        TIMED_OUT => true,
        _ => deadline(deployment, condition).is_some_and(|at| now.as_millisecond() > at),
    }
}

/// When the deadline passes, in milliseconds of the epoch.
fn deadline(deployment: &Deployment, condition: &Condition) -> Option<i64> {
    let seconds = i64::from(deployment.spec.progress_deadline_seconds?);
    Some(condition.last_update_time?.as_millisecond() + seconds * 1000)
}

fn time_left(deployment: &Deployment, status: &DeploymentStatus, now: Timestamp) -> Option<Duration> {
    let condition = find(status, PROGRESSING).filter(|c| c.status != "False" && c.reason != COMPLETE)?;
    if deployment.spec.paused || is_complete(deployment, status) {
        return None;
    }
    let left = deadline(deployment, condition)? - now.as_millisecond();
    Some(Duration::from_millis(left.max(0) as u64) + Duration::from_secs(1))
}

/// The sets' own failure to make Pods.
fn set_failure(sets: &Sets, status: &mut DeploymentStatus) {
    let failing = |s: &std::sync::Arc<crate::objects::ReplicaSet>| {
        s.status
            .conditions
            .iter()
            .find(|c| c.kind == FAILURE && c.status == "True")
            .cloned()
    };
    let failure = sets
        .new
        .iter()
        .find_map(failing)
        .or_else(|| sets.old.iter().find_map(failing));
    let current = find(status, FAILURE).cloned();
    match (failure, current) {
        (None, _) => remove(status, FAILURE),
        (Some(new), Some(old)) if new.reason == old.reason && new.message == old.message => {}
        (Some(mut new), _) => {
            new.last_update_time = new.last_transition_time;
            remove(status, FAILURE);
            status.conditions.push(new);
        }
    }
}
