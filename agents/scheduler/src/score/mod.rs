//! How good each node is for a Pod that several can take. One pure function a plugin, 0 to 100 each, weighed and summed.

mod allocation;
mod images;
mod preference;
mod spread;

use std::collections::BTreeMap;

use client::objects::Service;

use crate::cache::{ClusterCache, NodeInfo, PodInfo};

/// The best score a plugin gives.
pub(crate) const MAX: i64 = 100;

/// What scoring may look at beside the node.
pub(crate) struct Context<'a> {
    pub cluster: &'a ClusterCache,
    /// The Services of the Pod's namespace that select it.
    pub services: &'a [&'a Service],
}

/// The total score of each candidate, in their order.
pub(crate) fn score(pod: &PodInfo, candidates: &[&NodeInfo], context: &Context<'_>) -> Vec<i64> {
    // Plugin, weight: upstream's defaults.
    let plugins: [(Vec<i64>, i64); 6] = [
        (preference::taints(pod, candidates), 3),
        (preference::affinity(pod, candidates), 2),
        (candidates.iter().map(|n| allocation::least(pod, n)).collect(), 1),
        (candidates.iter().map(|n| allocation::balanced(pod, n)).collect(), 1),
        (spread::score(pod, candidates, context), 2),
        (images::score(pod, candidates, context.cluster.names().len()), 1),
    ];
    let mut totals = vec![0; candidates.len()];
    for (scores, weight) in plugins {
        for (total, score) in totals.iter_mut().zip(scores) {
            debug_assert!((0..=MAX).contains(&score), "a plugin's score is normalised");
            *total += score * weight;
        }
    }
    totals
}

/// Stretches raw scores so that the largest becomes [`MAX`]; reversed, the largest becomes 0.
fn normalise(raw: Vec<i64>, reverse: bool) -> Vec<i64> {
    let largest = raw.iter().copied().max().unwrap_or(0);
    let stretch = |value: i64| {
        let share = if largest == 0 { 0 } else { value * MAX / largest };
        if reverse { MAX - share } else { share }
    };
    raw.into_iter().map(stretch).collect()
}

/// The labels that all of these Services select by, together.
fn merged_selector(services: &[&Service]) -> BTreeMap<String, String> {
    services.iter().flat_map(|s| s.spec.selector.clone()).collect()
}
