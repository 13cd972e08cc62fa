//! The next step of a Deployment, from what is observed. Pure: the order of everything a Deployment does stands here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::{conditions, history, revision, rolling, scale, status};
use crate::hash;
use crate::objects::{Deployment, DeploymentStatus, ReplicaSet};

/// What is observed.
pub(super) struct Observed<'a> {
    pub deployment: &'a Deployment,
    /// The Deployment's own.
    pub sets: &'a [Arc<ReplicaSet>],
    /// Of each Pod that has not ended, the uid of its set.
    pub running: &'a [String],
    pub now: Timestamp,
}

/// A write.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Action {
    /// Make the set of the current template.
    Create {
        name: String,
        hash: String,
        replicas: i32,
        annotations: BTreeMap<String, String>,
    },
    /// Resize a set.
    Scale {
        set: Arc<ReplicaSet>,
        replicas: i32,
        annotations: BTreeMap<String, String>,
    },
    /// Bring the current set's annotations up to date.
    Annotate {
        set: Arc<ReplicaSet>,
        annotations: BTreeMap<String, String>,
        min_ready_seconds: i32,
    },
    /// Number the Deployment.
    Revision(String),
    /// Remove a set that history need not keep.
    Delete(Arc<ReplicaSet>),
}

/// The step.
#[derive(Debug, PartialEq)]
pub(super) struct Plan {
    pub actions: Vec<Action>,
    pub status: DeploymentStatus,
    /// When the passing of time alone may change something.
    pub look_again: Option<Duration>,
}

/// The current set and the others.
pub(super) struct Sets {
    pub new: Option<Arc<ReplicaSet>>,
    /// Oldest first.
    pub old: Vec<Arc<ReplicaSet>>,
}

impl Sets {
    pub fn all(&self) -> impl Iterator<Item = &Arc<ReplicaSet>> {
        self.old.iter().chain(&self.new)
    }
}

pub(super) fn plan(observed: &Observed<'_>) -> Plan {
    let deployment = observed.deployment;
    let sets = split(deployment, observed.sets);
    if deployment.metadata.is_deleting() {
        return finish(observed, &sets, Vec::new());
    }
    if deployment.spec.paused {
        let mut actions = scale::scale(deployment, &sets);
        if actions.is_empty() {
            actions = history::cleanup(deployment, &sets.old);
        }
        return finish(observed, &sets, actions);
    }
    if scale::size_changed(deployment, &sets) {
        return finish(observed, &sets, scale::scale(deployment, &sets));
    }
    match deployment.spec.strategy.kind.as_str() {
        "Recreate" => recreate(observed, &sets),
        _ => roll(observed, &sets),
    }
}

fn split(deployment: &Deployment, sets: &[Arc<ReplicaSet>]) -> Sets {
    let new = revision::find_new(deployment, sets);
    let mut old: Vec<_> = sets
        .iter()
        .filter(|s| new.as_ref().is_none_or(|n| n.metadata.uid != s.metadata.uid))
        .cloned()
        .collect();
    old.sort_by_key(|s| (s.metadata.creation_timestamp, s.metadata.name.clone()));
    Sets { new, old }
}

fn roll(observed: &Observed<'_>, sets: &Sets) -> Plan {
    let deployment = observed.deployment;
    let mut actions = ensure_new(deployment, sets, rolling::initial_size(deployment, sets));
    if actions.is_empty() {
        actions = rolling::grow_new(deployment, sets);
    }
    if actions.is_empty() {
        actions = rolling::shrink_old(deployment, sets);
    }
    if actions.is_empty() && status::is_complete(deployment, &status::counts(deployment, sets)) {
        actions = history::cleanup(deployment, &sets.old);
    }
    finish(observed, sets, actions)
}

fn recreate(observed: &Observed<'_>, sets: &Sets) -> Plan {
    let deployment = observed.deployment;
    let shrink: Vec<_> = sets
        .old
        .iter()
        .filter(|s| s.replicas() > 0)
        .map(|s| resize(deployment, s, 0))
        .collect();
    if !shrink.is_empty() {
        return finish(observed, sets, shrink);
    }
    // Pods of both templates must never run together.
    if sets.old.iter().any(|s| observed.running.contains(&s.metadata.uid)) {
        return finish(observed, sets, Vec::new());
    }
    let mut actions = ensure_new(deployment, sets, deployment.replicas());
    if actions.is_empty() {
        actions = rolling::grow_new(deployment, sets);
    }
    if actions.is_empty() && status::is_complete(deployment, &status::counts(deployment, sets)) {
        actions = history::cleanup(deployment, &sets.old);
    }
    finish(observed, sets, actions)
}

/// Makes the current set, or brings its annotations and the Deployment's revision up to date.
fn ensure_new(deployment: &Deployment, sets: &Sets, replicas: i32) -> Vec<Action> {
    let annotations = revision::missing_annotations(deployment, sets.new.as_deref(), &sets.old);
    let Some(new) = &sets.new else {
        let hash = hash::template_hash(&deployment.spec.template, deployment.status.collision_count);
        let name = format!("{}-{hash}", deployment.metadata.name);
        let number = annotations[revision::REVISION].clone();
        return vec![
            Action::Create {
                name,
                hash,
                replicas,
                annotations,
            },
            Action::Revision(number),
        ];
    };
    let mut actions = Vec::new();
    let number = annotations
        .get(revision::REVISION)
        .map(String::as_str)
        .or(new.annotation(revision::REVISION));
    if let Some(number) = number
        && deployment
            .metadata
            .annotations
            .get(revision::REVISION)
            .map(String::as_str)
            != Some(number)
    {
        actions.push(Action::Revision(number.to_owned()));
    }
    let min_ready_seconds = deployment.spec.min_ready_seconds;
    if !annotations.is_empty() || new.spec.min_ready_seconds != min_ready_seconds {
        actions.insert(
            0,
            Action::Annotate {
                set: new.clone(),
                annotations,
                min_ready_seconds,
            },
        );
    }
    actions
}

pub(super) fn resize(deployment: &Deployment, set: &Arc<ReplicaSet>, replicas: i32) -> Action {
    Action::Scale {
        set: set.clone(),
        replicas,
        annotations: revision::size_annotations(deployment),
    }
}

fn finish(observed: &Observed<'_>, sets: &Sets, actions: Vec<Action>) -> Plan {
    let (status, look_again) = conditions::complete(observed, sets, &actions);
    Plan {
        actions,
        status,
        look_again,
    }
}
