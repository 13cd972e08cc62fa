//! The taints that say what a node cannot do, from its conditions. Pure.

use client::objects::{Node, Taint};
use jiff::Timestamp;

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// Condition, its bad value, the taint.
const BY_CONDITION: [(&str, &str, &str); 6] = [
    ("Ready", "False", NOT_READY),
    ("Ready", "Unknown", UNREACHABLE),
    ("MemoryPressure", "True", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "True", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "True", "node.kubernetes.io/pid-pressure"),
    ("NetworkUnavailable", "True", "node.kubernetes.io/network-unavailable"),
];

/// All taints the node should have: those of others as they are, and this controller's own. Without `may_evict` nothing
/// that would drive Pods away.
pub(super) fn desired(node: &Node, may_evict: bool, now: Timestamp) -> Vec<Taint> {
    let mut taints: Vec<Taint> = node.spec.taints.iter().filter(|t| !ours(t)).cloned().collect();
    for (key, effect) in wanted(node, may_evict) {
        let present = node.spec.taints.iter().find(|t| t.key == key && t.effect == effect);
        let time_added = present.and_then(|t| t.time_added).unwrap_or(now);
        taints.push(Taint {
            key: key.to_owned(),
            value: String::new(),
            effect: effect.to_owned(),
            time_added: Some(time_added),
        });
    }
    taints
}

fn wanted(node: &Node, may_evict: bool) -> Vec<(&'static str, &'static str)> {
    let mut wanted = Vec::new();
    for (kind, bad, taint) in BY_CONDITION {
        if node.condition(kind).is_some_and(|c| c.status == bad) {
            wanted.push((taint, "NoSchedule"));
            if kind == "Ready" && may_evict {
                wanted.push((taint, "NoExecute"));
            }
        }
    }
    if node.spec.unschedulable {
        wanted.push((UNSCHEDULABLE, "NoSchedule"));
    }
    wanted
}

fn ours(taint: &Taint) -> bool {
    let by_condition = BY_CONDITION.iter().any(|(_, _, key)| *key == taint.key);
    match taint.effect.as_str() {
        "NoSchedule" => by_condition || taint.key == UNSCHEDULABLE,
        "NoExecute" => taint.key == NOT_READY || taint.key == UNREACHABLE,
        _ => false,
    }
}

/// Whether two lists hold the same taints, whatever their order and age.
pub(super) fn same(a: &[Taint], b: &[Taint]) -> bool {
    let keys = |taints: &[Taint]| {
        let mut keys: Vec<_> = taints
            .iter()
            .map(|t| (t.key.clone(), t.value.clone(), t.effect.clone()))
            .collect();
        keys.sort();
        keys
    };
    keys(a) == keys(b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn node(ready: &str, taints: serde_json::Value) -> Node {
        serde_json::from_value(json!({
            "spec": { "taints": taints },
            "status": { "conditions": [{ "type": "Ready", "status": ready }] },
        }))
        .unwrap()
    }

    fn keys(node: &Node, may_evict: bool) -> Vec<String> {
        let taints = desired(node, may_evict, Timestamp::UNIX_EPOCH);
        taints
            .iter()
            .map(|t| format!("{}:{}", t.key.rsplit('/').next().unwrap(), t.effect))
            .collect()
    }

    #[test]
    fn table() {
        assert!(keys(&node("True", json!([])), true).is_empty());
        assert_eq!(
            keys(&node("False", json!([])), true),
            ["not-ready:NoSchedule", "not-ready:NoExecute"]
        );
        assert_eq!(
            keys(&node("Unknown", json!([])), true),
            ["unreachable:NoSchedule", "unreachable:NoExecute"]
        );
        assert_eq!(
            keys(&node("Unknown", json!([])), false),
            ["unreachable:NoSchedule"],
            "nobody is ready"
        );
        let others = json!([{ "key": "mine", "effect": "NoExecute" }, { "key": NOT_READY, "effect": "NoSchedule" }]);
        assert_eq!(keys(&node("True", others), true), ["mine:NoExecute"]);
    }

    #[test]
    fn a_taint_keeps_its_age() {
        let since = "2026-01-01T00:00:00Z";
        let node = node(
            "Unknown",
            json!([{ "key": UNREACHABLE, "effect": "NoExecute", "timeAdded": since }]),
        );
        let taints = desired(&node, true, Timestamp::UNIX_EPOCH);
        let evicting = taints.iter().find(|t| t.effect == "NoExecute").unwrap();
        assert_eq!(evicting.time_added, Some(since.parse().unwrap()));
    }
}
