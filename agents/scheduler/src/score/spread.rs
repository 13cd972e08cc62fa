//! PodTopologySpread with the system's default constraints: Pods of one controller or Service are spread over nodes and
//! zones, softly.
//!
//! Zones count only on nodes that have one. A controller's Pods are recognised by their owner; without one, a Service's
//! by its selector.

use std::collections::{HashMap, HashSet};

use super::{Context, MAX, merged_selector};
use crate::cache::{NodeInfo, PodInfo};

/// Topology label and tolerated skew: the defaults of a cluster.
const CONSTRAINTS: [(&str, f64); 2] = [("kubernetes.io/hostname", 3.0), ("topology.kubernetes.io/zone", 5.0)];

pub(super) fn score(pod: &PodInfo, candidates: &[&NodeInfo], context: &Context<'_>) -> Vec<i64> {
    if pod.controller_uid().is_none() && context.services.is_empty() {
        return vec![0; candidates.len()];
    }
    let selector = merged_selector(context.services);
    let count = |info: &NodeInfo| match pod.controller_uid() {
        Some(uid) => info.by_controller.get(uid).copied().unwrap_or(0),
        None => info
            .pods
            .values()
            .filter(|p| p.pod.metadata.namespace == pod.pod.metadata.namespace)
            .filter(|p| selector.iter().all(|(k, v)| p.pod.metadata.labels.get(k) == Some(v)))
            .count(),
    };
    let mut raw = vec![0.0; candidates.len()];
    for (label, skew) in CONSTRAINTS {
        let mut in_domain: HashMap<&str, usize> = HashMap::new();
        for (_, info) in context.cluster.nodes() {
            if let Some(domain) = domain(info, label) {
                *in_domain.entry(domain).or_insert(0) += count(info);
            }
        }
        let domains: HashSet<_> = candidates.iter().filter_map(|c| domain(c, label)).collect();
        // Many domains hold few Pods each; the weight makes them comparable to few domains with many.
        let weight = ((domains.len() + 2) as f64).ln();
        for (raw, info) in raw.iter_mut().zip(candidates) {
            if let Some(domain) = domain(info, label) {
                *raw += in_domain.get(domain).copied().unwrap_or(0) as f64 * weight + (skew - 1.0);
            }
        }
    }
    invert(raw.into_iter().map(|r| r.round() as i64).collect())
}

fn domain<'a>(info: &'a NodeInfo, label: &str) -> Option<&'a str> {
    info.node.as_ref()?.metadata.labels.get(label).map(String::as_str)
}

/// The fewest neighbours get the best score.
fn invert(raw: Vec<i64>) -> Vec<i64> {
    let largest = raw.iter().copied().max().unwrap_or(0);
    let smallest = raw.iter().copied().min().unwrap_or(0);
    let one = |value: i64| {
        if largest == 0 {
            MAX
        } else {
            MAX * (largest + smallest - value) / largest
        }
    };
    raw.into_iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::ClusterCache;
    use crate::testing;
    use std::sync::Arc;

    fn owned(name: &str) -> PodInfo {
        let mut pod = testing::pod(name, "100m");
        pod.metadata.owner_references = serde_json::from_str(r#"[{"uid":"rs","controller":true}]"#).unwrap();
        PodInfo::new(Arc::new(pod))
    }

    #[test]
    fn the_node_with_fewer_siblings_is_better() {
        let mut cache = ClusterCache::default();
        for name in ["a", "b", "c"] {
            cache.set_node(Arc::new(testing::node(name, "4")));
        }
        cache.assume(Arc::new(owned("1")), "a");
        cache.assume(Arc::new(owned("2")), "a");
        cache.assume(Arc::new(owned("3")), "b");
        let candidates: Vec<_> = cache.nodes().map(|(_, n)| n).collect();
        let scores = score(
            &owned("4"),
            &candidates,
            &Context {
                cluster: &cache,
                services: &[],
            },
        );
        assert!(scores[0] < scores[1] && scores[1] < scores[2], "{scores:?}");
        assert_eq!(scores[2], MAX);
    }

    #[test]
    fn a_lone_pod_does_not_care() {
        let mut cache = ClusterCache::default();
        cache.set_node(Arc::new(testing::node("a", "4")));
        let candidates: Vec<_> = cache.nodes().map(|(_, n)| n).collect();
        let pod = PodInfo::new(Arc::new(testing::pod("p", "1")));
        assert_eq!(
            score(
                &pod,
                &candidates,
                &Context {
                    cluster: &cache,
                    services: &[]
                }
            ),
            [0]
        );
    }
}
