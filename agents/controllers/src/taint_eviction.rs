//! Taint eviction: a Pod leaves a node whose `NoExecute` taints it does not bear, or no longer bears.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use client::objects::{Node, PODS, Pod, Taint, Toleration};
use client::{Cache, Change, DeleteOptions, Error, Key, ObjectReference, Outcome, Patch, Subscription, WorkQueue};
use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::limits;
use crate::node_lifecycle::by_node;
use crate::objects::time;
use crate::run::Context;

struct Controller {
    context: Context,
    nodes: Cache<Node>,
    pods: Cache<Pod>,
    /// When a Pod (this uid) was first seen among taints without a time of their own.
    since: Mutex<HashMap<Key, (String, Timestamp)>>,
}

/// When a Pod has to leave.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Stays,
    Leaves,
    LeavesAfter(Duration),
}

/// Runs the controller.
pub(crate) async fn run(context: Context) -> Result<(), Error> {
    let (nodes, pods) = (context.informers.watch::<Node>(), context.informers.watch::<Pod>());
    let queue = Arc::new(WorkQueue::new());
    let _subscriptions = subscribe(&nodes, &pods, &queue);
    let controller = Controller {
        context: context.clone(),
        nodes,
        pods,
        since: Mutex::default(),
    };
    client::work("taint-eviction", queue, limits::WORKERS, context.stop, |key| {
        controller.reconcile(key)
    })
    .await
}

fn subscribe(nodes: &Cache<Node>, pods: &Cache<Pod>, queue: &Arc<WorkQueue<Key>>) -> [Subscription; 2] {
    let (to, on_node) = (queue.clone(), by_node(pods));
    let on_taints = move |change: &Change<Node>| {
        let before = change.old().map(|n| evicting(n)).unwrap_or_default();
        let node = change.object();
        if before != evicting(node) {
            on_node
                .get(&node.metadata.name)
                .iter()
                .for_each(|p| to.add(p.metadata.key()));
        }
    };
    let to = queue.clone();
    let on_pod = move |change: &Change<Pod>| {
        let pod = change.object();
        let placed = change.old().is_none_or(|old| old.spec.node_name != pod.spec.node_name);
        let borne = change
            .old()
            .is_some_and(|old| old.spec.tolerations != pod.spec.tolerations);
        if !pod.spec.node_name.is_empty() && (placed || borne || matches!(change, Change::Deleted(_))) {
            to.add(change.key());
        }
    };
    [nodes.subscribe(on_taints), pods.subscribe(on_pod)]
}

fn evicting(node: &Node) -> Vec<Taint> {
    node.spec
        .taints
        .iter()
        .filter(|t| t.effect == "NoExecute")
        .cloned()
        .collect()
}

impl Controller {
    async fn reconcile(&self, key: Key) -> Result<Outcome, Error> {
        let Some(pod) = self.pods.get_key(&key).filter(|p| !p.metadata.is_deleting()) else {
            self.since.lock().remove(&key);
            return Ok(Outcome::Done);
        };
        let taints = self
            .nodes
            .get("", &pod.spec.node_name)
            .map(|n| evicting(&n))
            .unwrap_or_default();
        let now = Timestamp::now();
        if taints.is_empty() {
            self.since.lock().remove(&key);
            return Ok(Outcome::Done);
        }
        let first_seen = self.first_seen(&key, &pod.metadata.uid, now);
        match verdict(&taints, &pod.spec.tolerations, came(&pod), first_seen, now) {
            Verdict::Stays => Ok(Outcome::Done),
            Verdict::LeavesAfter(delay) => Ok(Outcome::After(delay)),
            Verdict::Leaves => self.evict(&pod).await.map(|()| Outcome::Done),
        }
    }

    fn first_seen(&self, key: &Key, uid: &str, now: Timestamp) -> Timestamp {
        let mut since = self.since.lock();
        let seen = since.entry(key.clone()).or_insert_with(|| (uid.to_owned(), now));
        if seen.0 != uid {
            *seen = (uid.to_owned(), now);
        }
        seen.1
    }

    async fn evict(&self, pod: &Pod) -> Result<(), Error> {
        let (key, about) = (pod.metadata.key(), ObjectReference::of(&PODS, &pod.metadata));
        self.context.recorder.normal(
            &about,
            "TaintManagerEviction",
            format!("Marking for deletion Pod {key}"),
        );
        let condition = json!({
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "DeletionByTaintManager",
            "message": "Taint manager: deleting due to NoExecute taint",
            "lastTransitionTime": time(Timestamp::now()),
        });
        let body = json!({ "metadata": { "uid": pod.metadata.uid }, "status": { "conditions": [condition] } });
        match self
            .context
            .client
            .patch::<Value>(&PODS, &key, Some("status"), Patch::Strategic, &body)
            .await
        {
            // A namesake stands in its place.
            Err(error) if error.is_conflict() => return Ok(()),
            Err(error) if !error.is_not_found() => return Err(error),
            _ => {}
        }
        match self
            .context
            .client
            .delete(&PODS, &key, &DeleteOptions::uid(&pod.metadata.uid))
            .await
        {
            Err(error) if !error.is_not_found() && !error.is_conflict() => Err(error),
            _ => Ok(()),
        }
    }
}

/// When the Pod came to its node, as far as that is known.
fn came(pod: &Pod) -> Option<Timestamp> {
    let scheduled = pod.condition("PodScheduled").filter(|c| c.status == "True");
    scheduled
        .and_then(|c| c.last_transition_time)
        .max(pod.metadata.creation_timestamp)
}

/// A Pod bears all taints for as long as the shortest of the tolerations it needs says. That time begins with the taint,
/// but not before the Pod came: one that came to a node long tainted gets its time too.
fn verdict(
    taints: &[Taint],
    tolerations: &[Toleration],
    came: Option<Timestamp>,
    first_seen: Timestamp,
    now: Timestamp,
) -> Verdict {
    let mut leaves_at: Option<i64> = None;
    for taint in taints {
        let bearing: Vec<_> = tolerations
            .iter()
            .filter(|t| t.tolerates(&taint.key, &taint.value, &taint.effect))
            .collect();
        if bearing.is_empty() {
            return Verdict::Leaves;
        }
        let since = taint
            .time_added
            .map_or(first_seen, |added| came.map_or(added, |c| added.max(c)));
        let since = since.as_millisecond();
        let ends = bearing
            .iter()
            .filter_map(|t| t.toleration_seconds)
            .map(|s| since.saturating_add(s.max(0).saturating_mul(1000)));
        leaves_at = leaves_at.into_iter().chain(ends).min();
    }
    match leaves_at.map(|at| at.saturating_sub(now.as_millisecond())) {
        None => Verdict::Stays,
        Some(left) if left <= 0 => Verdict::Leaves,
        Some(left) => Verdict::LeavesAfter(Duration::from_millis(left as u64).min(limits::EVICTION_LOOK)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(tolerations: Value) -> Verdict {
        check_since(tolerations, None)
    }

    fn check_since(tolerations: Value, came: Option<&str>) -> Verdict {
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let now: Timestamp = "2026-01-01T00:01:00Z".parse().unwrap();
        let taint = |key: &str| Taint {
            key: key.to_owned(),
            effect: "NoExecute".to_owned(),
            time_added: Some(start),
            ..Taint::default()
        };
        let tolerations: Vec<Toleration> = serde_json::from_value(tolerations).unwrap();
        let came = came.map(|c| c.parse().unwrap());
        verdict(&[taint("a"), taint("b")], &tolerations, came, start, now)
    }

    #[test]
    fn who_comes_late_gets_the_whole_time() {
        let bear = json!([{ "operator": "Exists", "tolerationSeconds": 50 }]);
        assert_eq!(check_since(bear.clone(), None), Verdict::Leaves);
        let left = Duration::from_secs(20);
        assert_eq!(
            check_since(bear, Some("2026-01-01T00:00:30Z")),
            Verdict::LeavesAfter(left)
        );
        let forever = json!([{ "operator": "Exists", "tolerationSeconds": i64::MAX }]);
        assert_eq!(check(forever), Verdict::LeavesAfter(limits::EVICTION_LOOK));
    }

    #[test]
    fn table() {
        let bear =
            |key: &str, seconds: Option<i64>| json!({ "key": key, "operator": "Exists", "tolerationSeconds": seconds });
        assert_eq!(check(json!([])), Verdict::Leaves);
        assert_eq!(check(json!([bear("a", None)])), Verdict::Leaves);
        assert_eq!(check(json!([bear("a", None), bear("b", None)])), Verdict::Stays);
        let left = Duration::from_secs(240);
        assert_eq!(
            check(json!([bear("a", Some(300)), bear("b", None)])),
            Verdict::LeavesAfter(left)
        );
        assert_eq!(
            check(json!([bear("a", Some(300)), bear("b", Some(30))])),
            Verdict::Leaves
        );
    }
}
