//! One scheduling cycle as a pure function: a Pod and the nodes in, a node's name or the reasons out.

use std::collections::BTreeMap;
use std::fmt;

use client::objects::{Node, Pod};

use crate::plugins::{self, Candidate};
use crate::{NodeInfo, Nodes};

/// Why a Pod fits nowhere. Its text is kube-scheduler's, which people and tools read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unplaced {
    nodes: usize,
    /// Reason to the number of nodes that gave it.
    reasons: BTreeMap<String, usize>,
}

impl fmt::Display for Unplaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nodes == 0 {
            return f.write_str("no nodes available to schedule pods");
        }
        let mut reasons: Vec<String> = self
            .reasons
            .iter()
            .map(|(reason, nodes)| format!("{nodes} {reason}"))
            .collect();
        reasons.sort();
        write!(f, "0/{} nodes are available: {}.", self.nodes, reasons.join(", "))
    }
}

/// The best node for a Pod. Among equals, `dice` decides, so that equal nodes share the load.
pub fn place(pod: &Pod, nodes: &Nodes, dice: u64) -> Result<String, Unplaced> {
    let candidate = Candidate::new(pod, nodes);
    let fitting = fitting(&candidate, nodes)?;
    let scores = plugins::score(&candidate, &fitting, nodes);
    let best = scores.iter().copied().max().unwrap_or(0);
    let equals: Vec<&str> = fitting
        .iter()
        .zip(&scores)
        .filter(|(_, s)| **s == best)
        .map(|((node, _), _)| node.metadata.name.as_str())
        .collect();
    let chosen = usize::try_from(dice % equals.len() as u64).unwrap_or(0);
    Ok(equals[chosen].to_string())
}

/// The nodes that every filter accepts; never empty.
fn fitting<'a>(candidate: &Candidate, nodes: &'a Nodes) -> Result<Vec<(&'a Node, &'a NodeInfo)>, Unplaced> {
    let mut fitting = Vec::new();
    let mut unplaced = Unplaced {
        nodes: 0,
        reasons: BTreeMap::new(),
    };
    for (node, info) in nodes.iter() {
        unplaced.nodes += 1;
        match plugins::filter(candidate, node, info, nodes) {
            Ok(()) => fitting.push((node, info)),
            Err(reasons) => reasons
                .into_iter()
                .for_each(|r| *unplaced.reasons.entry(r).or_default() += 1),
        }
    }
    if fitting.is_empty() { Err(unplaced) } else { Ok(fitting) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugins::fixtures::{node, pod};
    use std::sync::Arc;

    #[test]
    fn the_reasons_are_counted_over_the_nodes() {
        let mut nodes = Nodes::default();
        assert_eq!(
            place(&pod("p", "1"), &nodes, 0).unwrap_err().to_string(),
            "no nodes available to schedule pods"
        );
        nodes.set_node(node("a", "1"));
        nodes.set_node(node("b", "1"));
        let mut cordoned = Node::clone(&node("c", "8"));
        cordoned.spec.unschedulable = true;
        nodes.set_node(Arc::new(cordoned));
        let unplaced = place(&pod("p", "2"), &nodes, 0).unwrap_err();
        assert_eq!(
            unplaced.to_string(),
            "0/3 nodes are available: 1 node(s) were unschedulable, 2 Insufficient cpu."
        );
    }

    #[test]
    fn load_is_spread_over_equal_nodes() {
        let mut nodes = Nodes::default();
        nodes.set_node(node("a", "4"));
        nodes.set_node(node("b", "4"));
        for index in 0..8 {
            let next = pod(&format!("p{index}"), "500m");
            let chosen = place(&next, &nodes, index).unwrap();
            nodes.assume(next, &chosen);
        }
        let taken: Vec<i64> = nodes.iter().map(|(_, info)| info.taken.cpu_milli).collect();
        assert_eq!(taken, [2000, 2000]);
    }
}
