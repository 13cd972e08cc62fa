//! Spreading: replicas of one owner should not crowd on one node or in one zone. This is the default, soft form of topology spreading;
//! zones weigh as much as hosts.

use std::collections::HashMap;

use client::objects::{Node, Pod};

use crate::{NodeInfo, Nodes};

const ZONE: &str = "topology.kubernetes.io/zone";

/// How crowded each node already is with Pods of the same controller; small is good.
pub fn crowding(pod: &Pod, fitting: &[(&Node, &NodeInfo)], all: &Nodes) -> Vec<i64> {
    let Some(owner) = pod.metadata.controller().map(|o| o.uid.as_str()) else {
        return vec![0; fitting.len()];
    };
    let mut zones: HashMap<&str, i64> = HashMap::new();
    for (node, info) in all.iter() {
        if let Some(zone) = node.metadata.labels.get(ZONE) {
            *zones.entry(zone).or_default() += siblings(info, owner);
        }
    }
    let zone = |node: &Node| {
        node.metadata
            .labels
            .get(ZONE)
            .and_then(|z| zones.get(z.as_str()))
            .copied()
            .unwrap_or(0)
    };
    fitting
        .iter()
        .map(|(node, info)| siblings(info, owner) + zone(node))
        .collect()
}

fn siblings(info: &NodeInfo, owner: &str) -> i64 {
    let related = |pod: &Pod| pod.is_active() && pod.metadata.controller().is_some_and(|o| o.uid == owner);
    i64::try_from(info.pods.values().filter(|p| related(p)).count()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugins::fixtures;
    use client::OwnerReference;
    use std::sync::Arc;

    fn owned(name: &str) -> Arc<Pod> {
        let mut pod = Pod::clone(&fixtures::pod(name, "1"));
        pod.metadata.owner_references = vec![OwnerReference {
            uid: "rs".into(),
            controller: true,
            ..Default::default()
        }];
        Arc::new(pod)
    }

    #[test]
    fn siblings_on_the_node_and_in_its_zone_count() {
        let mut nodes = Nodes::default();
        for (name, zone) in [("a", "1"), ("b", "1"), ("c", "2")] {
            let mut node = Node::clone(&fixtures::node(name, "4"));
            node.metadata.labels.insert(ZONE.into(), zone.into());
            nodes.set_node(Arc::new(node));
        }
        nodes.assume(owned("first"), "a");
        nodes.assume(fixtures::pod("stranger", "1"), "c");
        let fitting: Vec<_> = nodes.iter().collect();
        assert_eq!(crowding(&owned("second"), &fitting, &nodes), [2, 1, 0]);
        assert_eq!(crowding(&fixtures::pod("alone", "1"), &fitting, &nodes), [0, 0, 0]);
    }
}
