//! What a ReplicaSet has to do, from what is observed. Pure.

use std::sync::Arc;

use client::objects::Pod;

use super::rank::rank;
use crate::claim::{Claim, claim};
use crate::limits;
use crate::objects::ReplicaSet;

/// What to do.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// The set's own Pods that count.
    pub mine: Vec<Arc<Pod>>,
    /// `> 0`: that many are too few. `< 0`: too many.
    pub wanted: i64,
    pub adopt: Vec<Arc<Pod>>,
    pub release: Vec<Arc<Pod>>,
    pub create: usize,
    pub delete: Vec<Arc<Pod>>,
}

/// `pods`: everything the set controls or may adopt. `related`: Pods of its sibling sets (itself included).
pub(super) fn plan(set: &ReplicaSet, pods: &[Arc<Pod>], related: &[Arc<Pod>]) -> Plan {
    let mut plan = Plan::default();
    for pod in pods.iter().filter(|p| p.is_active()) {
        match claim(&set.metadata, &set.spec.selector, &pod.metadata) {
            Claim::Mine => plan.mine.push(pod.clone()),
            Claim::Adopt => plan.adopt.push(pod.clone()),
            Claim::Release => plan.release.push(pod.clone()),
            Claim::Foreign => {}
        }
    }
    plan.wanted = i64::from(set.replicas()) - plan.mine.len() as i64;
    if plan.wanted > 0 {
        plan.create = (plan.wanted as usize).min(limits::REPLICAS_BURST);
    } else if plan.wanted < 0 {
        let count = (-plan.wanted as usize).min(limits::REPLICAS_BURST);
        plan.delete = rank(&plan.mine, related).into_iter().take(count).collect();
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{pod, replica_set};

    fn owned(name: &str) -> Pod {
        let mut pod = pod(name);
        pod.metadata.owner_references = serde_json::from_str(r#"[{"uid":"rs","controller":true}]"#).unwrap();
        pod
    }

    fn names(pods: &[Arc<Pod>]) -> Vec<&str> {
        pods.iter().map(|p| p.metadata.name.as_str()).collect()
    }

    #[test]
    fn creates_what_is_missing_and_does_not_count_what_ended() {
        let mut failed = owned("failed");
        failed.status.phase = "Failed".to_owned();
        let mut going = owned("going");
        going.metadata.deletion_timestamp = Some(jiff::Timestamp::UNIX_EPOCH);
        let pods = [owned("a"), failed, going].map(Arc::new);
        let plan = plan(&replica_set("rs", 3), &pods, &[]);
        assert_eq!((plan.create, names(&plan.mine)), (2, vec!["a"]));
    }

    #[test]
    fn adopts_and_releases() {
        let mut strayed = owned("strayed");
        strayed.metadata.labels.clear();
        let mut foreign = pod("foreign");
        foreign.metadata.owner_references = serde_json::from_str(r#"[{"uid":"x","controller":true}]"#).unwrap();
        let pods = [pod("orphan"), strayed, foreign, owned("a")].map(Arc::new);
        let plan = plan(&replica_set("rs", 1), &pods, &[]);
        assert_eq!(
            (names(&plan.adopt), names(&plan.release)),
            (vec!["orphan"], vec!["strayed"])
        );
        assert_eq!((plan.create, plan.delete.len()), (0, 0));
    }

    #[test]
    fn deletes_the_least_useful() {
        let mut running = owned("running");
        running.spec.node_name = "n".to_owned();
        running.status.phase = "Running".to_owned();
        let pods = [running, owned("pending")].map(Arc::new);
        let plan = plan(&replica_set("rs", 1), &pods, &[]);
        assert_eq!(names(&plan.delete), ["pending"]);
    }

    #[test]
    fn a_burst_is_bounded() {
        assert_eq!(
            plan(&replica_set("rs", 100_000), &[], &[]).create,
            limits::REPLICAS_BURST
        );
    }
}
