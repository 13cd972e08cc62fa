//! TaintToleration (avoid `PreferNoSchedule` taints that are not borne) and NodeAffinity (preferred terms).

use super::normalise;
use crate::cache::{NodeInfo, PodInfo};
use crate::filter::term_matches;

pub(super) fn taints(pod: &PodInfo, candidates: &[&NodeInfo]) -> Vec<i64> {
    let unborne = |info: &&NodeInfo| {
        let taints = info
            .node
            .iter()
            .flat_map(|n| &n.spec.taints)
            .filter(|t| t.effect == "PreferNoSchedule");
        let tolerations = &pod.pod.spec.tolerations;
        taints
            .filter(|t| !tolerations.iter().any(|b| b.tolerates(&t.key, &t.value, &t.effect)))
            .count() as i64
    };
    normalise(candidates.iter().map(unborne).collect(), true)
}

pub(super) fn affinity(pod: &PodInfo, candidates: &[&NodeInfo]) -> Vec<i64> {
    let affinity = pod.pod.spec.affinity.as_ref().and_then(|a| a.node_affinity.as_ref());
    let preferred = affinity.map(|a| a.preferred.as_slice()).unwrap_or_default();
    let weight = |info: &&NodeInfo| {
        let Some(node) = &info.node else { return 0 };
        preferred
            .iter()
            .filter(|p| term_matches(&p.preference, node))
            .map(|p| p.weight)
            .sum()
    };
    normalise(candidates.iter().map(weight).collect(), false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::ClusterCache;
    use crate::testing;
    use std::sync::Arc;

    #[test]
    fn an_avoided_node_is_worse_and_a_preferred_one_better() {
        let mut cache = ClusterCache::default();
        let mut avoided = testing::node("a", "4");
        avoided.spec.taints = serde_json::from_str(r#"[{"key":"k","effect":"PreferNoSchedule"}]"#).unwrap();
        cache.set_node(Arc::new(avoided));
        cache.set_node(Arc::new(testing::node("b", "4")));
        let mut pod = testing::pod("p", "1");
        pod.spec.affinity = serde_json::from_str(
            r#"{"nodeAffinity":{"preferredDuringSchedulingIgnoredDuringExecution":[{"weight":7,"preference":
                {"matchExpressions":[{"key":"kubernetes.io/hostname","operator":"In","values":["b"]}]}}]}}"#,
        )
        .unwrap();
        let pod = PodInfo::new(Arc::new(pod));
        let candidates: Vec<_> = cache.nodes().map(|(_, n)| n).collect();
        assert_eq!(taints(&pod, &candidates), [0, 100]);
        assert_eq!(affinity(&pod, &candidates), [0, 100]);
    }
}
