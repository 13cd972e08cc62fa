//! A change of a Deployment's size, outside of a rollout's steps: the sets share it in proportion to their sizes, so that
//! a rollout in progress keeps its risk.

use std::cmp::Reverse;
use std::sync::Arc;

use super::percent::bounds;
use super::plan::{Action, Sets, resize};
use super::revision::{DESIRED, MAX};
use crate::objects::{Deployment, ReplicaSet};

/// Whether the Deployment's size has changed since its sets were last scaled.
pub(super) fn size_changed(deployment: &Deployment, sets: &Sets) -> bool {
    let desired = |s: &ReplicaSet| s.annotation(DESIRED).and_then(|d| d.parse::<i32>().ok());
    sets.all()
        .filter(|s| s.replicas() > 0)
        .filter_map(|s| desired(s))
        .any(|d| d != deployment.replicas())
}

/// Brings the sets to the Deployment's size.
pub(super) fn scale(deployment: &Deployment, sets: &Sets) -> Vec<Action> {
    if let Some(only) = only_active(sets) {
        return resize_if_needed(deployment, &only, deployment.replicas())
            .into_iter()
            .collect();
    }
    if sets.new.as_ref().is_some_and(|new| saturated(deployment, new)) {
        let active = sets.old.iter().filter(|s| s.replicas() > 0);
        return active.map(|s| resize(deployment, s, 0)).collect();
    }
    if deployment.spec.strategy.kind == "Recreate" {
        return Vec::new();
    }
    proportionally(deployment, sets)
}

/// The one set with Pods; if none has any, the current or the latest. `None` if several have.
fn only_active(sets: &Sets) -> Option<Arc<ReplicaSet>> {
    let mut active = sets.all().filter(|s| s.replicas() > 0);
    match (active.next(), active.next()) {
        (Some(only), None) => Some(only.clone()),
        (None, _) => sets.new.clone().or_else(|| sets.old.last().cloned()),
        _ => None,
    }
}

/// Whether the current set has everything it should have.
fn saturated(deployment: &Deployment, set: &ReplicaSet) -> bool {
    let wanted = deployment.replicas();
    let annotated = set.annotation(DESIRED).and_then(|d| d.parse().ok());
    set.replicas() == wanted && annotated == Some(wanted) && set.status.available_replicas == wanted
}

fn resize_if_needed(deployment: &Deployment, set: &Arc<ReplicaSet>, replicas: i32) -> Option<Action> {
    let annotations = super::revision::size_annotations(deployment);
    let same = annotations
        .iter()
        .all(|(name, value)| set.annotation(name) == Some(value));
    (set.replicas() != replicas || !same).then(|| resize(deployment, set, replicas))
}

fn proportionally(deployment: &Deployment, sets: &Sets) -> Vec<Action> {
    let mut active: Vec<_> = sets.all().filter(|s| s.replicas() > 0).cloned().collect();
    let total: i32 = active.iter().map(|s| s.replicas()).fold(0, i32::saturating_add);
    let allowed = if deployment.replicas() > 0 {
        deployment.replicas().saturating_add(bounds(deployment).0)
    } else {
        0
    };
    let to_add = allowed - total;
    // The largest share the change first; among equals newer sets grow and older ones shrink.
    match to_add > 0 {
        true => active.sort_by_key(|s| (Reverse(s.replicas()), Reverse(s.metadata.creation_timestamp))),
        false => active.sort_by_key(|s| (Reverse(s.replicas()), s.metadata.creation_timestamp)),
    }
    let mut added = 0;
    let mut sizes = Vec::with_capacity(active.len());
    for set in &active {
        let share = share(deployment, set, to_add, added);
        added += share;
        sizes.push(set.replicas() + share);
    }
    if let Some(first) = sizes.first_mut() {
        *first = (*first + to_add - added).max(0);
    }
    active
        .iter()
        .zip(sizes)
        .filter_map(|(set, size)| resize_if_needed(deployment, set, size))
        .collect()
}

/// A set's share of the change, not more than what is left of it.
fn share(deployment: &Deployment, set: &ReplicaSet, to_add: i32, added: i32) -> i32 {
    if to_add == 0 || to_add == added {
        return 0;
    }
    let (fraction, left) = (fraction(deployment, set), to_add - added);
    if to_add > 0 {
        fraction.min(left)
    } else {
        fraction.max(left)
    }
}

fn fraction(deployment: &Deployment, set: &ReplicaSet) -> i32 {
    if deployment.replicas() == 0 {
        return -set.replicas();
    }
    let new_max = f64::from(deployment.replicas().saturating_add(bounds(deployment).0));
    let old_max = set
        .annotation(MAX)
        .and_then(|m| m.parse::<i32>().ok())
        .filter(|m| *m > 0);
    let old_max = f64::from(old_max.unwrap_or(deployment.status.replicas.max(1)));
    (f64::from(set.replicas()) * new_max / old_max).round() as i32 - set.replicas()
}
