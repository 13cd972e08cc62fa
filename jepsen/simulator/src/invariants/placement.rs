//! Placement: no pod is moved, and no node gets more than fits.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::Value;

use super::{Invariant, ensure};
use crate::history::History;
use crate::monitor::Observation;
use crate::schedulers::{POD_PREFIX, PODS_PER_NODE, node_of};

/// A pod that is bound stays where it is until it is deleted, and no node has more pods than it has room for.
#[derive(Default)]
pub struct NodesAreNotOvercommitted {
    bound: BTreeMap<Bytes, String>,
}

impl Invariant for NodesAreNotOvercommitted {
    fn name(&self) -> &'static str {
        "nodes_are_not_overcommitted"
    }

    fn observe(&mut self, history: &History, observation: &Observation<'_>) -> Result<(), String> {
        let Observation::Applied { id, effects, .. } = observation else {
            return Ok(());
        };
        if history.entries.contains_key(&id.index) {
            return Ok(());
        }
        for (revision, changes) in &effects.blocks {
            for change in changes {
                let pod = &change.now.key;
                if !pod.starts_with(POD_PREFIX.as_bytes()) {
                    continue;
                }
                let node = if change.deleted {
                    None
                } else {
                    let value: Value = serde_json::from_slice(&change.now.value).map_err(|error| error.to_string())?;
                    node_of(&value).map(str::to_owned)
                };
                self.changed(pod, node)
                    .map_err(|what| format!("revision {revision}: {what}"))?;
            }
        }
        Ok(())
    }
}

impl NodesAreNotOvercommitted {
    fn changed(&mut self, pod: &Bytes, node: Option<String>) -> Result<(), String> {
        let Some(node) = node else {
            self.bound.remove(pod);
            return Ok(());
        };
        let before = self.bound.insert(pod.clone(), node.clone());
        ensure(before.as_ref().is_none_or(|before| *before == node), || {
            format!("pod {pod:?} moves from {before:?} to {node}")
        })?;
        let here: Vec<_> = self
            .bound
            .iter()
            .filter(|(_, at)| **at == node)
            .map(|(pod, _)| pod)
            .collect();
        ensure(here.len() <= PODS_PER_NODE, || {
            format!("node {node} has {here:?}, and room for {PODS_PER_NODE}")
        })
    }
}
