//! Placement: a Pod is bound once (`bound-twice`, `unbound`), and no two live Pods of one name are on two nodes
//! (`two-live-pods`), whatever happened to the scheduler, the leader or the nodes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::PodState;
use crate::{Anomaly, Verdict};

/// A Pod as a node ran it, on the recorder's clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    pub node: String,
    pub started_ns: u64,
    /// `None`: to the end of the test.
    pub stopped_ns: Option<u64>,
}

/// Judges the states of all Pods, in any order.
pub fn bound_once(states: &[PodState]) -> Verdict {
    let mut by_uid: BTreeMap<&str, Vec<&PodState>> = BTreeMap::new();
    states
        .iter()
        .for_each(|state| by_uid.entry(&state.uid).or_default().push(state));
    let mut verdict = Verdict::valid("pods-bound-once");
    for states in by_uid.values_mut() {
        states.sort_by_key(|state| state.resource_version);
        for pair in states.windows(2) {
            let kind = match (&pair[0].node, &pair[1].node) {
                (Some(before), Some(after)) if before != after => "bound-twice",
                (Some(_), None) => "unbound",
                _ => continue,
            };
            verdict.broken(Anomaly::new(kind, format!("{:?}, then {:?}", pair[0], pair[1]), []));
        }
    }
    if states.is_empty() {
        verdict.unknown("no Pod was seen");
    }
    verdict.note(format!("{} pods in {} states", by_uid.len(), states.len()));
    verdict
}

/// Judges what the nodes ran.
pub fn one_live_pod_of_a_name(runs: &[Run]) -> Verdict {
    let mut by_name: BTreeMap<(&str, &str), Vec<&Run>> = BTreeMap::new();
    runs.iter()
        .for_each(|run| by_name.entry((&run.namespace, &run.name)).or_default().push(run));
    let mut verdict = Verdict::valid("one-live-pod-of-a-name");
    for runs in by_name.values() {
        for (at, first) in runs.iter().enumerate() {
            for second in runs[at + 1..]
                .iter()
                .filter(|second| second.node != first.node && overlap(first, second))
            {
                verdict.broken(Anomaly::new("two-live-pods", format!("{first:?} and {second:?}"), []));
            }
        }
    }
    if runs.is_empty() {
        verdict.unknown("no node ran a Pod");
    }
    verdict.note(format!("{} runs", runs.len()));
    verdict
}

fn overlap(a: &Run, b: &Run) -> bool {
    let end = |run: &Run| run.stopped_ns.unwrap_or(u64::MAX);
    a.started_ns < end(b) && b.started_ns < end(a)
}
