//! TaintToleration: a Pod must bear every `NoSchedule` and `NoExecute` taint of its node.

use client::objects::Node;

use super::{Plugin, Refusal};
use crate::cache::PodInfo;

pub(super) fn filter(pod: &PodInfo, node: &Node) -> Option<Refusal> {
    let forbidding = node
        .spec
        .taints
        .iter()
        .filter(|t| matches!(t.effect.as_str(), "NoSchedule" | "NoExecute"));
    let mut unborne = forbidding.filter(|taint| {
        let mut tolerations = pod.pod.spec.tolerations.iter();
        !tolerations.any(|t| t.tolerates(&taint.key, &taint.value, &taint.effect))
    });
    let taint = unborne.next()?;
    Refusal::new(
        Plugin::TaintToleration,
        format!("node(s) had untolerated taint {{{}: {}}}", taint.key, taint.value),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use std::sync::Arc;

    fn check(taints: serde_json::Value, tolerations: serde_json::Value) -> Option<String> {
        let (mut node, mut pod) = (testing::node("n", "1"), testing::pod("p", "1"));
        node.spec.taints = serde_json::from_value(taints).unwrap();
        pod.spec.tolerations = serde_json::from_value(tolerations).unwrap();
        filter(&PodInfo::new(Arc::new(pod)), &node).map(|r| r.reasons[0].to_string())
    }

    #[test]
    fn table() {
        use serde_json::json;
        let taint = json!([{"key":"a","value":"b","effect":"NoSchedule"}]);
        assert_eq!(
            check(taint.clone(), json!([])).unwrap(),
            "node(s) had untolerated taint {a: b}"
        );
        assert_eq!(check(taint.clone(), json!([{"key":"a","value":"b"}])), None);
        assert!(check(taint, json!([{"key":"a","value":"c"}])).is_some());
        assert_eq!(check(json!([{"key":"a","effect":"PreferNoSchedule"}]), json!([])), None);
        assert_eq!(
            check(
                json!([{"key":"a","effect":"NoExecute"}]),
                json!([{"operator":"Exists"}])
            ),
            None
        );
    }
}
