//! The Pods of a Job: what they are made of, which index they have, when and how they ended. Pure.

use client::objects::{ContainerStatus, Pod};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::objects::{JOBS, Job};
use crate::pods::from_template;

/// Keeps a Pod that has ended from being removed before it is counted.
pub(super) const FINALIZER: &str = "batch.kubernetes.io/job-tracking";

const INDEX: &str = "batch.kubernetes.io/job-completion-index";
const INDEX_VARIABLE: &str = "JOB_COMPLETION_INDEX";

/// A Pod of the Job, with a completion index if the Job is indexed.
pub(super) fn pod(job: &Job, index: Option<i32>) -> Value {
    let mut pod = from_template(&JOBS, &job.metadata, &job.spec.template);
    let mut finalizers = pod["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
    if !finalizers.contains(&FINALIZER.into()) {
        finalizers.push(FINALIZER.into());
    }
    pod["metadata"]["finalizers"] = finalizers.into();
    if let Some(index) = index {
        give_index(job, index, &mut pod);
    }
    pod
}

fn give_index(job: &Job, index: i32, pod: &mut Value) {
    let name = &job.metadata.name[..job.metadata.name.len().min(50)];
    pod["metadata"]["generateName"] = format!("{name}-{index}-").into();
    if let Some(metadata) = pod["metadata"].as_object_mut() {
        for map in ["labels", "annotations"] {
            let map = metadata.entry(map).or_insert_with(|| Value::Object(Map::new()));
            map[INDEX] = index.to_string().into();
        }
    }
    pod["spec"]["hostname"] = format!("{name}-{index}").into();
    let source = json!({ "fieldRef": { "fieldPath": format!("metadata.annotations['{INDEX}']") } });
    let variable = json!({ "name": INDEX_VARIABLE, "valueFrom": source });
    for containers in ["containers", "initContainers"] {
        // Looking for a list by index would make one of nothing.
        let containers = pod.pointer_mut(&format!("/spec/{containers}"));
        for container in containers.and_then(Value::as_array_mut).into_iter().flatten() {
            let mut env = container["env"].as_array().cloned().unwrap_or_default();
            // What the template sets stays.
            if !env.iter().any(|v| v["name"] == INDEX_VARIABLE) {
                env.push(variable.clone());
            }
            container["env"] = env.into();
        }
    }
}

/// The completion index of a Pod.
pub(super) fn index(pod: &Pod) -> Option<i32> {
    pod.metadata.annotations.get(INDEX)?.parse().ok()
}

/// Whether a Pod has not been counted yet.
pub(super) fn is_tracked(pod: &Pod) -> bool {
    pod.metadata.finalizers.iter().any(|f| f == FINALIZER)
}

/// When a Pod ended, as far as one can tell.
pub(super) fn ended_at(pod: &Pod) -> Option<Timestamp> {
    let ends = |statuses: &[ContainerStatus]| {
        let ended = statuses.iter().filter_map(|c| c.state.terminated.as_ref());
        ended.filter_map(|t| t.finished_at).max()
    };
    let started = pod.status.start_time.or(pod.metadata.creation_timestamp);
    ends(&pod.status.container_statuses)
        .or(pod.metadata.deletion_timestamp)
        .or(started)
}

/// How often the Pod's containers have been restarted.
pub(super) fn restarts(pod: &Pod) -> i32 {
    let all = pod
        .status
        .container_statuses
        .iter()
        .chain(&pod.status.init_container_statuses);
    all.map(|c| c.restart_count).sum()
}
