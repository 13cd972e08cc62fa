//! The numbers of a Deployment's status.

use super::plan::Sets;
use crate::objects::{Deployment, DeploymentStatus};

/// Everything but the conditions, which are the present ones.
pub(super) fn counts(deployment: &Deployment, sets: &Sets) -> DeploymentStatus {
    let sum = |of: fn(&crate::objects::ReplicaSetStatus) -> i32| -> i32 {
        sets.all().map(|s| of(&s.status)).fold(0, i32::saturating_add)
    };
    let specified: i32 = sets.all().map(|s| s.replicas()).fold(0, i32::saturating_add);
    let available = sum(|s| s.available_replicas);
    DeploymentStatus {
        observed_generation: deployment.metadata.generation,
        replicas: sum(|s| s.replicas),
        updated_replicas: sets.new.as_ref().map_or(0, |s| s.status.replicas),
        ready_replicas: sum(|s| s.ready_replicas),
        available_replicas: available,
        unavailable_replicas: (specified - available).max(0),
        collision_count: deployment.status.collision_count,
        conditions: deployment.status.conditions.clone(),
    }
}

/// Whether everything runs as asked: all updated, all available, none left over.
pub(super) fn is_complete(deployment: &Deployment, status: &DeploymentStatus) -> bool {
    let wanted = deployment.replicas();
    status.updated_replicas == wanted
        && status.replicas == wanted
        && status.available_replicas == wanted
        && status.observed_generation >= deployment.metadata.generation
}

/// Whether something moved since the last status.
pub(super) fn is_progressing(old: &DeploymentStatus, new: &DeploymentStatus) -> bool {
    new.updated_replicas > old.updated_replicas
        || new.replicas - new.updated_replicas < old.replicas - old.updated_replicas
        || new.ready_replicas > old.ready_replicas
        || new.available_replicas > old.available_replicas
}
