//! Old sets that history need not keep.

use std::sync::Arc;

use super::plan::Action;
use super::revision::revision;
use crate::objects::{Deployment, ReplicaSet};

/// Removes the oldest empty sets beyond the limit.
pub(super) fn cleanup(deployment: &Deployment, old: &[Arc<ReplicaSet>]) -> Vec<Action> {
    let Some(limit) = deployment.spec.revision_history_limit else {
        return Vec::new();
    };
    let mut alive: Vec<_> = old.iter().filter(|s| !s.metadata.is_deleting()).cloned().collect();
    let surplus = alive.len().saturating_sub(limit.max(0) as usize);
    alive.sort_by_key(|s| (revision(s), s.metadata.creation_timestamp));
    let settled = |s: &Arc<ReplicaSet>| {
        s.status.replicas == 0 && s.replicas() == 0 && s.metadata.generation <= s.status.observed_generation
    };
    alive
        .into_iter()
        .take(surplus)
        .filter(settled)
        .map(Action::Delete)
        .collect()
}
