//! Taints: `NoSchedule` and `NoExecute` keep a Pod off unless it tolerates them, `PreferNoSchedule` counts against.

use client::objects::{Node, Pod, Taint};

use super::Reasons;

pub fn filter(pod: &Pod, node: &Node) -> Result<(), Reasons> {
    let repels = |taint: &&Taint| matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute") && !pod.tolerates(taint);
    match node.spec.taints.iter().find(repels) {
        Some(taint) => Err(vec![format!(
            "node(s) had untolerated taint {{{}: {}}}",
            taint.key, taint.value
        )]),
        None => Ok(()),
    }
}

/// How many taints would rather not have the Pod.
pub fn prefer_no_schedule(pod: &Pod, node: &Node) -> i64 {
    let against = node
        .spec
        .taints
        .iter()
        .filter(|t| t.effect == "PreferNoSchedule" && !pod.tolerates(t));
    i64::try_from(against.count()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugins::fixtures;
    use client::objects::Toleration;

    fn tainted(effect: &str) -> Node {
        let mut node = Node::clone(&fixtures::node("n", "1"));
        node.spec.taints = vec![Taint {
            key: "k".into(),
            value: "v".into(),
            effect: effect.into(),
            time_added: None,
        }];
        node
    }

    #[test]
    fn an_untolerated_taint_keeps_off_and_is_named() {
        let mut pod = Pod::clone(&fixtures::pod("p", "1"));
        for effect in ["NoSchedule", "NoExecute"] {
            assert_eq!(
                filter(&pod, &tainted(effect)).unwrap_err(),
                ["node(s) had untolerated taint {k: v}"]
            );
        }
        assert!(filter(&pod, &tainted("PreferNoSchedule")).is_ok());
        assert_eq!(prefer_no_schedule(&pod, &tainted("PreferNoSchedule")), 1);
        pod.spec.tolerations = vec![Toleration {
            key: "k".into(),
            operator: "Exists".into(),
            ..Toleration::default()
        }];
        assert!(filter(&pod, &tainted("NoExecute")).is_ok());
        assert_eq!(prefer_no_schedule(&pod, &tainted("PreferNoSchedule")), 0);
    }
}
