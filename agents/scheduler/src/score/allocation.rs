//! NodeResourcesFit (LeastAllocated) and NodeResourcesBalancedAllocation.

use super::MAX;
use crate::cache::{NodeInfo, PodInfo};

/// Prefers the node that would have the largest free share of CPU and memory.
pub(super) fn least(pod: &PodInfo, info: &NodeInfo) -> i64 {
    let shares = usage(pod, info);
    let free = shares
        .iter()
        .flatten()
        .map(|(used, total)| if used > total { 0 } else { (total - used) * MAX / total });
    let (count, sum) = free.fold((0, 0), |(count, sum), share| (count + 1, sum + share));
    if count == 0 { 0 } else { sum / count }
}

/// Prefers the node whose CPU and memory would be used to the same degree.
pub(super) fn balanced(pod: &PodInfo, info: &NodeInfo) -> i64 {
    let shares = usage(pod, info);
    let [Some(cpu), Some(memory)] = shares else { return MAX };
    let fraction = |(used, total): (i64, i64)| (used as f64 / total as f64).min(1.0);
    // The standard deviation of two values is half their distance.
    let deviation = (fraction(cpu) - fraction(memory)).abs() / 2.0;
    ((1.0 - deviation) * MAX as f64) as i64
}

/// CPU and memory: what would be used with the Pod and what there is; `None` for what the node has none of.
fn usage(pod: &PodInfo, info: &NodeInfo) -> [Option<(i64, i64)>; 2] {
    let (wanted, used, total) = (&pod.scoring_requests, &info.scoring_requested, &info.allocatable);
    let cpu = (used.milli_cpu + wanted.milli_cpu, total.milli_cpu);
    let memory = (used.memory + wanted.memory, total.memory);
    [cpu, memory].map(|(used, total)| (total > 0).then_some((used, total)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::ClusterCache;
    use crate::testing;
    use std::sync::Arc;

    fn scores(node_cpu: &str, there_cpu: &str) -> (i64, i64) {
        let mut cache = ClusterCache::default();
        cache.set_node(Arc::new(testing::node("n", node_cpu)));
        cache.assume(Arc::new(PodInfo::new(Arc::new(testing::pod("there", there_cpu)))), "n");
        let pod = PodInfo::new(Arc::new(testing::pod("p", "1")));
        let info = cache.node("n").unwrap();
        (least(&pod, info), balanced(&pod, info))
    }

    #[test]
    fn an_emptier_node_is_better() {
        assert!(scores("4", "0").0 > scores("4", "2").0);
        // Half of the CPU used, almost no memory (200 MiB of 8 GiB): (50 + 97) / 2.
        assert_eq!(scores("4", "1").0, 73);
        // (1 - |0.5 - 0.0244| / 2) * 100
        assert_eq!(scores("4", "1").1, 76);
    }
}
