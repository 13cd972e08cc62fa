//! Node IPAM: gives every node its own piece of the Pod network.
//!
//! What is taken is read off the nodes, plus what was given and is not seen yet. One worker: two nodes must never get the
//! same piece.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use client::objects::{NODES, Node};
use client::{Cache, Error, Key, ObjectReference, Outcome, Patch, WorkQueue};
use ipnet::Ipv4Net;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::run::Context;

struct Controller {
    context: Context,
    nodes: Cache<Node>,
    /// Pieces given in this term, by node; a node that is gone gives its piece back.
    given: Mutex<BTreeMap<String, Ipv4Net>>,
}

/// Runs the controller.
pub(crate) async fn run(context: Context) -> Result<(), Error> {
    let nodes = context.informers.watch::<Node>();
    let queue = Arc::new(WorkQueue::new());
    let to = queue.clone();
    let _subscription = nodes.subscribe(move |change| to.add(change.key()));
    let controller = Controller {
        context: context.clone(),
        nodes,
        given: Mutex::default(),
    };
    client::work("node-ipam", queue, 1, context.stop, |key| controller.reconcile(key)).await
}

impl Controller {
    async fn reconcile(&self, key: Key) -> Result<Outcome, Error> {
        let Some(node) = self.nodes.get_key(&key) else {
            self.given.lock().remove(&key.name);
            return Ok(Outcome::Done);
        };
        if !node.spec.pod_cidr.is_empty() {
            return Ok(Outcome::Done);
        }
        let Some(piece) = self.piece_for(&key.name) else {
            let about = ObjectReference::of(&NODES, &node.metadata);
            self.context.recorder.normal(
                &about,
                "CIDRNotAvailable",
                format!("Node {} status is now: CIDRNotAvailable", key.name),
            );
            tracing::warn!(node = key.name, network = %self.context.config.pod_network, "no piece of the pod network is free");
            return Ok(Outcome::After(std::time::Duration::from_secs(30)));
        };
        let body = json!({ "spec": { "podCIDR": piece.to_string(), "podCIDRs": [piece.to_string()] } });
        match self
            .context
            .client
            .patch::<Value>(&NODES, &key, None, Patch::Merge, &body)
            .await
        {
            Err(error) if error.is_not_found() => Ok(Outcome::Done),
            // It has one already; the cache will show it.
            Err(error) if error.is_invalid() => {
                self.given.lock().remove(&key.name);
                Ok(Outcome::Done)
            }
            result => result.map(|_| Outcome::Done),
        }
    }

    fn piece_for(&self, name: &str) -> Option<Ipv4Net> {
        let mut given = self.given.lock();
        if let Some(piece) = given.get(name) {
            return Some(*piece);
        }
        let shown = self.nodes.list().into_iter().flat_map(|n| {
            let second = n.spec.pod_cidrs.clone();
            [n.spec.pod_cidr.clone()].into_iter().chain(second)
        });
        let mut taken: BTreeSet<Ipv4Net> = shown.filter_map(|cidr| cidr.parse().ok()).collect();
        taken.extend(given.values().copied());
        let config = &self.context.config;
        let piece = first_free(config.pod_network, config.node_prefix_len, &taken)?;
        given.insert(name.to_owned(), piece);
        Some(piece)
    }
}

/// The first piece of `network` with this prefix length that overlaps nothing taken.
fn first_free(network: Ipv4Net, prefix_len: u8, taken: &BTreeSet<Ipv4Net>) -> Option<Ipv4Net> {
    let overlaps = |piece: &Ipv4Net, other: &Ipv4Net| piece.contains(other) || other.contains(piece);
    let mut pieces = network.subnets(prefix_len).ok()?;
    pieces.find(|piece| {
        !taken.contains(piece) && !taken.iter().any(|t| t.prefix_len() != prefix_len && overlaps(piece, t))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> Ipv4Net {
        text.parse().unwrap()
    }

    #[test]
    fn the_first_free_piece() {
        let network = net("10.244.0.0/16");
        assert_eq!(first_free(network, 24, &BTreeSet::new()), Some(net("10.244.0.0/24")));
        let taken = [net("10.244.0.0/24"), net("10.244.2.0/24"), net("10.244.1.128/25")].into();
        assert_eq!(first_free(network, 24, &taken), Some(net("10.244.3.0/24")));
        let all = net("10.244.0.0/30").subnets(32).unwrap().collect();
        assert_eq!(first_free(net("10.244.0.0/30"), 32, &all), None);
    }
}
