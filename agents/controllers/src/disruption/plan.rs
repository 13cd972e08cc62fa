//! How many Pods of a budget may be disrupted now. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use client::objects::Pod;
use jiff::Timestamp;
use serde_json::Value;

use super::objects::{Budget, Condition, Status};
use crate::limits;
use crate::percent::resolve;

/// The status, and when to look again because an eviction that does not come is no longer waited for. `scale` gives the
/// size of a Pod's controller, by the uid of whatever decides it.
pub(super) fn plan(
    budget: &Budget,
    pods: &[Arc<Pod>],
    scale: impl Fn(&Pod) -> Option<(String, i32)>,
    now: Timestamp,
) -> (Status, Option<Duration>) {
    let (disrupted, look_again) = disrupted(budget, pods, now);
    let healthy =
        |p: &&Arc<Pod>| p.is_ready() && !p.metadata.is_deleting() && !disrupted.contains_key(&p.metadata.name);
    let current = pods.iter().filter(healthy).count() as i32;
    let (expected, desired) = wanted(budget, pods, scale);
    let allowed = if expected > 0 { (current - desired).max(0) } else { 0 };
    let status = Status {
        observed_generation: budget.metadata.generation,
        disrupted_pods: disrupted,
        disruptions_allowed: allowed,
        current_healthy: current,
        desired_healthy: desired,
        expected_pods: expected,
        conditions: conditions(budget, allowed, now),
    };
    (status, look_again)
}

/// How many Pods there should be, and how many of them well.
fn wanted(budget: &Budget, pods: &[Arc<Pod>], scale: impl Fn(&Pod) -> Option<(String, i32)>) -> (i32, i32) {
    let scaled = || {
        let owners: BTreeMap<String, i32> = pods.iter().filter_map(|p| scale(p)).collect();
        owners.values().fold(0_i32, |sum, size| sum.saturating_add(*size))
    };
    match (&budget.spec.max_unavailable, &budget.spec.min_available) {
        (Some(most), _) => {
            let expected = scaled();
            (expected, (expected - resolve(most, expected, true)).max(0))
        }
        (None, Some(Value::String(percent))) => {
            let expected = scaled();
            (expected, resolve(&Value::String(percent.clone()), expected, true))
        }
        (None, Some(least)) => (pods.len() as i32, resolve(least, 0, true)),
        (None, None) => (pods.len() as i32, 0),
    }
}

/// Evictions that were allowed and are not seen yet. Those that do not come for long are forgotten.
fn disrupted(budget: &Budget, pods: &[Arc<Pod>], now: Timestamp) -> (BTreeMap<String, Timestamp>, Option<Duration>) {
    let mut pending = BTreeMap::new();
    let mut look_again: Option<Duration> = None;
    for pod in pods.iter().filter(|p| !p.metadata.is_deleting()) {
        let Some(since) = budget.status.disrupted_pods.get(&pod.metadata.name) else {
            continue;
        };
        let passed = Duration::try_from(now.duration_since(*since)).unwrap_or_default();
        if let Some(left) = limits::DISRUPTION_TIMEOUT.checked_sub(passed).filter(|l| !l.is_zero()) {
            pending.insert(pod.metadata.name.clone(), *since);
            look_again = Some(look_again.map_or(left, |l| l.min(left)));
        }
    }
    (pending, look_again)
}

fn conditions(budget: &Budget, allowed: i32, now: Timestamp) -> Vec<Condition> {
    let (status, reason) = match allowed > 0 {
        true => ("True", "SufficientPods"),
        false => ("False", "InsufficientPods"),
    };
    let mut conditions = budget.status.conditions.clone();
    let known = conditions.iter().position(|c| c.kind == "DisruptionAllowed");
    let since = known
        .map(|at| conditions.remove(at))
        .filter(|c| c.status == status)
        .and_then(|c| c.last_transition_time);
    conditions.push(Condition {
        kind: "DisruptionAllowed".to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: String::new(),
        observed_generation: budget.metadata.generation,
        last_transition_time: Some(since.unwrap_or(now)),
    });
    conditions
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use serde_json::json;

    fn pods(ready: usize, unready: usize) -> Vec<Arc<Pod>> {
        let one = |index: usize| {
            let mut pod = testing::pod(&format!("p{index}"));
            let status = if index < ready { "True" } else { "False" };
            pod.status.conditions = serde_json::from_value(json!([{ "type": "Ready", "status": status }])).unwrap();
            Arc::new(pod)
        };
        (0..ready + unready).map(one).collect()
    }

    fn budget(spec: Value) -> Budget {
        serde_json::from_value(json!({ "metadata": { "name": "b", "generation": 3 }, "spec": spec })).unwrap()
    }

    fn now() -> Timestamp {
        "2026-01-01T00:10:00Z".parse().unwrap()
    }

    /// allowed, healthy, desired, expected
    fn check(spec: Value, ready: usize, unready: usize, scale: i32) -> (i32, i32, i32, i32) {
        let (status, _) = plan(
            &budget(spec),
            &pods(ready, unready),
            |_| Some(("d".into(), scale)),
            now(),
        );
        assert_eq!(status.observed_generation, 3);
        let shown = &status.conditions[0];
        assert_eq!(shown.status == "True", status.disruptions_allowed > 0);
        (
            status.disruptions_allowed,
            status.current_healthy,
            status.desired_healthy,
            status.expected_pods,
        )
    }

    #[test]
    fn table() {
        assert_eq!(check(json!({ "minAvailable": 2 }), 3, 0, 3), (1, 3, 2, 3));
        assert_eq!(check(json!({ "minAvailable": 2 }), 2, 1, 3), (0, 2, 2, 3));
        assert_eq!(check(json!({ "minAvailable": "50%" }), 5, 0, 5), (2, 5, 3, 5));
        assert_eq!(check(json!({ "maxUnavailable": 1 }), 3, 0, 3), (1, 3, 2, 3));
        // One is missing altogether: the size counts, not what is there.
        assert_eq!(check(json!({ "maxUnavailable": 1 }), 2, 0, 3), (0, 2, 2, 3));
        assert_eq!(check(json!({ "maxUnavailable": "30%" }), 4, 0, 4), (2, 4, 2, 4));
        assert_eq!(check(json!({ "maxUnavailable": "100%" }), 4, 0, 4), (4, 4, 0, 4));
        assert_eq!(check(json!({ "minAvailable": 0 }), 0, 0, 0), (0, 0, 0, 0));
    }

    #[test]
    fn an_allowed_eviction_counts_until_it_is_seen_or_given_up() {
        let mut budget = budget(json!({ "minAvailable": 1 }));
        let since = "2026-01-01T00:09:30Z".parse().unwrap();
        budget.status.disrupted_pods = [("p0".to_owned(), since), ("gone".to_owned(), since)].into();
        let pods = pods(3, 0);
        let look = |budget: &Budget, now: Timestamp| plan(budget, &pods, |_| None, now);
        let (status, look_again) = look(&budget, now());
        assert_eq!((status.current_healthy, status.disruptions_allowed), (2, 1));
        assert_eq!(status.disrupted_pods.keys().collect::<Vec<_>>(), ["p0"]);
        assert_eq!(look_again, Some(limits::DISRUPTION_TIMEOUT - Duration::from_secs(30)));
        let later = since + jiff::SignedDuration::try_from(limits::DISRUPTION_TIMEOUT).unwrap();
        assert_eq!(look(&budget, later).0.current_healthy, 3);
    }

    #[test]
    fn a_condition_keeps_its_time_until_it_changes() {
        let mut budget = budget(json!({ "minAvailable": 1 }));
        let (first, _) = plan(&budget, &pods(2, 0), |_| None, now());
        budget.status = first.clone();
        let later = now() + jiff::SignedDuration::from_secs(60);
        assert_eq!(plan(&budget, &pods(2, 0), |_| None, later).0, first);
        let (changed, _) = plan(&budget, &pods(1, 1), |_| None, later);
        assert_eq!(changed.conditions[0].last_transition_time, Some(later));
    }
}
