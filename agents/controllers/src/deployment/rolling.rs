//! The rolling update: never more Pods than the size plus surge, never fewer available than the size minus what may be
//! unavailable.

use super::percent::bounds;
use super::plan::{Action, Sets, resize};
use crate::objects::Deployment;

/// The size a new set begins with.
pub(super) fn initial_size(deployment: &Deployment, sets: &Sets) -> i32 {
    let others: i32 = sets.old.iter().map(|s| s.replicas()).fold(0, i32::saturating_add);
    let room = deployment
        .replicas()
        .saturating_add(bounds(deployment).0)
        .saturating_sub(others);
    room.clamp(0, deployment.replicas())
}

/// Brings the current set nearer to its size, as far as surge allows.
pub(super) fn grow_new(deployment: &Deployment, sets: &Sets) -> Vec<Action> {
    let Some(new) = &sets.new else { return Vec::new() };
    let (wanted, current) = (deployment.replicas(), new.replicas());
    if current == wanted {
        return Vec::new();
    }
    if current > wanted || deployment.spec.strategy.kind == "Recreate" {
        return vec![resize(deployment, new, wanted)];
    }
    let total: i32 = sets.all().map(|s| s.replicas()).fold(0, i32::saturating_add);
    let room = wanted.saturating_add(bounds(deployment).0).saturating_sub(total);
    match room.min(wanted - current) {
        more if more > 0 => vec![resize(deployment, new, current + more)],
        _ => Vec::new(),
    }
}

/// Shrinks the old sets as far as availability allows: first what is of no use, then what is replaced.
pub(super) fn shrink_old(deployment: &Deployment, sets: &Sets) -> Vec<Action> {
    let Some(new) = &sets.new else { return Vec::new() };
    if sets.old.iter().all(|s| s.replicas() == 0) {
        return Vec::new();
    }
    let total: i32 = sets.all().map(|s| s.replicas()).fold(0, i32::saturating_add);
    let available_min = deployment.replicas() - bounds(deployment).1;
    let new_unavailable = new.replicas() - new.status.available_replicas;
    let mut may_go = total - available_min - new_unavailable;
    if may_go <= 0 {
        return Vec::new();
    }
    let mut sizes: Vec<i32> = sets.old.iter().map(|s| s.replicas()).collect();
    for (set, size) in sets.old.iter().zip(&mut sizes) {
        let useless = (*size - set.status.available_replicas).max(0).min(may_go);
        *size -= useless;
        may_go -= useless;
    }
    let available: i32 = sets
        .all()
        .map(|s| s.status.available_replicas)
        .fold(0, i32::saturating_add);
    let mut may_go = available - available_min;
    for size in &mut sizes {
        let replaced = (*size).min(may_go.max(0));
        *size -= replaced;
        may_go -= replaced;
    }
    let changed = sets.old.iter().zip(sizes).filter(|(set, size)| set.replicas() != *size);
    changed.map(|(set, size)| resize(deployment, set, size)).collect()
}
