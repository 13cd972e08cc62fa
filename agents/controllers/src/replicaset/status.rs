//! The status of a ReplicaSet, from its Pods. Pure.

use std::sync::Arc;
use std::time::Duration;

use client::objects::Pod;
use jiff::Timestamp;

use crate::objects::{Condition, ReplicaSet, ReplicaSetStatus, template_labels};
use crate::pods::until_available;

/// The status, and when to look again because a Pod becomes available by the passing of time. `failure` says why the last
/// attempt to reach `wanted` (more or fewer) failed.
pub(super) fn status(
    set: &ReplicaSet,
    pods: &[Arc<Pod>],
    failure: Option<String>,
    wanted: i64,
    now: Timestamp,
) -> (ReplicaSetStatus, Option<Duration>) {
    let labels = template_labels(&set.spec.template);
    let labelled = |p: &&Arc<Pod>| labels.iter().all(|(k, v)| p.metadata.labels.get(k) == Some(v));
    let ready: Vec<_> = pods.iter().filter(|p| p.is_ready()).collect();
    let waits: Vec<Duration> = ready
        .iter()
        .filter_map(|p| until_available(p, set.spec.min_ready_seconds, now))
        .collect();
    let status = ReplicaSetStatus {
        replicas: pods.len() as i32,
        fully_labeled_replicas: pods.iter().filter(labelled).count() as i32,
        ready_replicas: ready.len() as i32,
        available_replicas: (ready.len() - waits.len()) as i32,
        observed_generation: set.metadata.generation,
        conditions: conditions(&set.status.conditions, failure, wanted, now),
    };
    (status, waits.into_iter().min())
}

fn conditions(current: &[Condition], failure: Option<String>, wanted: i64, now: Timestamp) -> Vec<Condition> {
    let mut conditions: Vec<_> = current.iter().filter(|c| c.kind != "ReplicaFailure").cloned().collect();
    let Some(message) = failure else { return conditions };
    let reason = if wanted < 0 { "FailedDelete" } else { "FailedCreate" };
    match current.iter().find(|c| c.kind == "ReplicaFailure") {
        // The first failure is kept: its time says since when.
        Some(known) => conditions.push(known.clone()),
        None => conditions.push(Condition {
            kind: "ReplicaFailure".to_owned(),
            status: "True".to_owned(),
            reason: reason.to_owned(),
            message,
            last_update_time: None,
            last_transition_time: Some(now),
        }),
    }
    conditions
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{pod, replica_set};

    fn ready(name: &str, since: &str) -> Arc<Pod> {
        let mut pod = pod(name);
        let condition = format!(r#"[{{"type":"Ready","status":"True","lastTransitionTime":"{since}"}}]"#);
        pod.status.conditions = serde_json::from_str(&condition).unwrap();
        Arc::new(pod)
    }

    #[test]
    fn a_ready_pod_becomes_available_after_a_while() {
        let mut set = replica_set("rs", 2);
        set.spec.min_ready_seconds = 10;
        let now = "2026-01-01T00:00:12Z".parse().unwrap();
        let pods = [
            ready("old", "2026-01-01T00:00:00Z"),
            ready("young", "2026-01-01T00:00:05Z"),
        ];
        let (status, look_again) = status(&set, &pods, None, 0, now);
        assert_eq!(
            (status.replicas, status.ready_replicas, status.available_replicas),
            (2, 2, 1)
        );
        assert_eq!(look_again, Some(Duration::from_secs(3)));
    }

    #[test]
    fn a_failure_is_shown_until_it_is_over() {
        let mut set = replica_set("rs", 2);
        let now = Timestamp::UNIX_EPOCH;
        let (failed, _) = status(&set, &[], Some("quota".to_owned()), 2, now);
        assert_eq!(
            (failed.conditions[0].kind.as_str(), failed.conditions[0].reason.as_str()),
            ("ReplicaFailure", "FailedCreate")
        );
        set.status = failed;
        assert!(status(&set, &[], None, 2, now).0.conditions.is_empty());
    }
}
