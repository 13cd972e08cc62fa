//! Which Pods of a set go first when it shrinks: those whose loss hurts least.

use std::cmp::{Ordering, Reverse};
use std::collections::HashMap;
use std::sync::Arc;

use client::objects::Pod;
use jiff::Timestamp;

const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// The Pods in the order in which they should go. `related` tells how crowded each node is.
pub(super) fn rank(pods: &[Arc<Pod>], related: &[Arc<Pod>]) -> Vec<Arc<Pod>> {
    let mut on_node: HashMap<&str, usize> = HashMap::new();
    for pod in related.iter().filter(|p| p.is_active()) {
        *on_node.entry(&pod.spec.node_name).or_insert(0) += 1;
    }
    let now = Timestamp::now();
    let mut ranked = pods.to_vec();
    ranked.sort_by(|a, b| {
        let crowd = |p: &Pod| Reverse(on_node.get(p.spec.node_name.as_str()).copied().unwrap_or(0));
        compare(a, b, now)
            .then_with(|| crowd(a).cmp(&crowd(b)))
            .then_with(|| compare_age(a, b, now))
    });
    ranked
}

/// Not placed before placed, pending before running, not ready before ready, cheap before dear.
fn compare(a: &Pod, b: &Pod, _: Timestamp) -> Ordering {
    let key = |p: &Pod| (!p.spec.node_name.is_empty(), phase(p), p.is_ready(), cost(p));
    key(a).cmp(&key(b))
}

/// Young before old. Ages are compared by magnitude only, so that among Pods of about the same age chance decides.
fn compare_age(a: &Pod, b: &Pod, now: Timestamp) -> Ordering {
    let magnitude = |since: Option<Timestamp>| since.map_or(0, |s| (now.as_second() - s.as_second()).max(1).ilog2());
    let ready = magnitude(a.ready_since()).cmp(&magnitude(b.ready_since()));
    let restarts = Reverse(restarts(a)).cmp(&Reverse(restarts(b)));
    let created = magnitude(a.metadata.creation_timestamp).cmp(&magnitude(b.metadata.creation_timestamp));
    ready
        .then(restarts)
        .then(created)
        .then_with(|| a.metadata.uid.cmp(&b.metadata.uid))
}

fn phase(pod: &Pod) -> u8 {
    match pod.status.phase.as_str() {
        "" | "Pending" => 0,
        "Unknown" => 1,
        _ => 2,
    }
}

fn cost(pod: &Pod) -> i32 {
    pod.metadata
        .annotations
        .get(DELETION_COST)
        .and_then(|c| c.parse().ok())
        .unwrap_or(0)
}

fn restarts(pod: &Pod) -> i32 {
    pod.status
        .container_statuses
        .iter()
        .map(|c| c.restart_count)
        .max()
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn pod(name: &str, node: &str, ready: bool, cost: i32) -> Arc<Pod> {
        let mut pod = testing::pod(name);
        pod.spec.node_name = node.to_owned();
        pod.status.phase = if node.is_empty() { "Pending" } else { "Running" }.to_owned();
        pod.metadata
            .annotations
            .insert(DELETION_COST.to_owned(), cost.to_string());
        if ready {
            let since = r#"[{"type":"Ready","status":"True","lastTransitionTime":"2026-01-01T00:00:00Z"}]"#;
            pod.status.conditions = serde_json::from_str(since).unwrap();
        }
        Arc::new(pod)
    }

    #[test]
    fn order() {
        let pods = [
            pod("dear", "n1", true, 5),
            pod("crowded", "n2", true, 0),
            pod("alone", "n1", true, 0),
            pod("unready", "n1", false, 9),
            pod("unplaced", "", false, 9),
        ];
        let related = [pods.to_vec(), vec![pod("x", "n2", true, 0), pod("y", "n2", true, 0)]].concat();
        let ranked = rank(&pods, &related);
        let names: Vec<_> = ranked.iter().map(|p| p.metadata.name.as_str()).collect();
        // n1 holds three of the related Pods and n2 three: make n2 clearly fuller.
        assert_eq!(&names[..2], ["unplaced", "unready"]);
        assert_eq!(names[4], "dear");
        let fuller = [related, vec![pod("z", "n2", true, 0)]].concat();
        assert_eq!(rank(&pods, &fuller)[2].metadata.name, "crowded");
    }
}
