//! Resources: what is free must cover what is asked, and emptier, more evenly used nodes are better.

use super::{Candidate, Reasons};
use crate::limits::SCORE_MAX;
use crate::{NodeInfo, Requests};

/// What a container without requests counts as in scoring (not in filtering), as in kube-scheduler.
const UNSTATED_CPU_MILLI: i64 = 100;
const UNSTATED_MEMORY_BYTES: i64 = 200 * 1024 * 1024;

pub fn filter(candidate: &Candidate, info: &NodeInfo) -> Result<(), Reasons> {
    let (wanted, offered, taken) = (&candidate.requests, &info.offered, &info.taken);
    let mut short = Vec::new();
    if taken.pods + 1 > offered.pods {
        short.push("Too many pods".to_string());
    }
    let core = [
        ("cpu", wanted.cpu_milli, offered.cpu_milli, taken.cpu_milli),
        ("memory", wanted.memory_bytes, offered.memory_bytes, taken.memory_bytes),
        (
            "ephemeral-storage",
            wanted.ephemeral_bytes,
            offered.ephemeral_bytes,
            taken.ephemeral_bytes,
        ),
    ];
    for (name, wanted, offered, taken) in core {
        if wanted > 0 && wanted > offered - taken {
            short.push(format!("Insufficient {name}"));
        }
    }
    for (name, wanted) in &wanted.extended {
        let of = |amounts: &Requests| amounts.extended.get(name).copied().unwrap_or(0);
        if *wanted > 0 && *wanted > of(offered) - of(taken) {
            short.push(format!("Insufficient {name}"));
        }
    }
    if short.is_empty() { Ok(()) } else { Err(short) }
}

/// 100 for an empty node, 0 for a full one: the mean over CPU and memory of what would be left.
pub fn least_allocated(candidate: &Candidate, info: &NodeInfo) -> i64 {
    let shares = used_shares(candidate, info);
    (shares.iter().map(|used| (1.0 - used) * SCORE_MAX as f64).sum::<f64>() / shares.len() as f64) as i64
}

/// 100 if CPU and memory would be used alike, less the further they are apart.
pub fn balanced(candidate: &Candidate, info: &NodeInfo) -> i64 {
    let [cpu, memory] = used_shares(candidate, info);
    ((1.0 - (cpu - memory).abs() / 2.0) * SCORE_MAX as f64) as i64
}

/// The shares of CPU and memory that would be used with the Pod, 0 to 1.
fn used_shares(candidate: &Candidate, info: &NodeInfo) -> [f64; 2] {
    let stated = |amount: i64, unstated: i64| if amount == 0 { unstated } else { amount };
    let share = |taken: i64, wanted: i64, offered: i64| {
        if offered <= 0 {
            1.0
        } else {
            ((taken + wanted) as f64 / offered as f64).clamp(0.0, 1.0)
        }
    };
    let wanted = &candidate.requests;
    [
        share(
            info.taken.cpu_milli,
            stated(wanted.cpu_milli, UNSTATED_CPU_MILLI),
            info.offered.cpu_milli,
        ),
        share(
            info.taken.memory_bytes,
            stated(wanted.memory_bytes, UNSTATED_MEMORY_BYTES),
            info.offered.memory_bytes,
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Nodes;
    use crate::plugins::fixtures::{node, pod};

    #[test]
    fn a_full_node_is_refused_naming_what_is_short() {
        let mut nodes = Nodes::default();
        nodes.set_node(node("n", "2"));
        nodes.assume(pod("other", "1500m"), "n");
        let (_, info) = nodes.iter().next().unwrap();
        let (small, large) = (pod("s", "500m"), pod("l", "501m"));
        assert!(filter(&Candidate::new(&small, &nodes), info).is_ok());
        assert_eq!(
            filter(&Candidate::new(&large, &nodes), info).unwrap_err(),
            ["Insufficient cpu"]
        );
    }

    #[test]
    fn the_number_of_pods_is_a_resource() {
        let mut nodes = Nodes::default();
        nodes.set_node(node("n", "100"));
        for index in 0..10 {
            nodes.assume(pod(&format!("p{index}"), "0"), "n");
        }
        let extra = pod("extra", "0");
        let reasons = filter(&Candidate::new(&extra, &nodes), nodes.iter().next().unwrap().1).unwrap_err();
        assert_eq!(reasons, ["Too many pods"]);
    }

    #[test]
    fn the_emptier_node_scores_higher() {
        let mut nodes = Nodes::default();
        nodes.set_node(node("a", "2"));
        nodes.set_node(node("b", "2"));
        nodes.assume(pod("other", "1"), "a");
        let wanted = pod("p", "500m");
        let candidate = Candidate::new(&wanted, &nodes);
        let scores: Vec<i64> = nodes
            .iter()
            .map(|(_, info)| least_allocated(&candidate, info))
            .collect();
        assert!(scores[1] > scores[0], "{scores:?}");
    }
}
