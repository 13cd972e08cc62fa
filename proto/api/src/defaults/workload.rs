//! Workloads: everything with a pod template.

use super::pod::pod_spec;
use super::{Object, object, object_or_new, set};
use serde_json::{Value, json};

const REVISIONS: i64 = 10;
const PROGRESS_SECONDS: i64 = 600;

/// The template of a workload's spec, or of a `PodTemplate`.
pub fn template(holder: &mut Object) {
    if let Some(spec) = object(holder, "template").and_then(|template| object(template, "spec")) {
        pod_spec(spec);
    }
}

pub fn deployment(map: &mut Object) {
    let Some(spec) = object(map, "spec") else {
        return;
    };
    set(spec, "replicas", 1);
    set(spec, "revisionHistoryLimit", REVISIONS);
    set(spec, "progressDeadlineSeconds", PROGRESS_SECONDS);
    template(spec);
    let Some(strategy) = object_or_new(spec, "strategy") else {
        return;
    };
    set(strategy, "type", "RollingUpdate");
    if strategy.get("type").and_then(Value::as_str) == Some("RollingUpdate")
        && let Some(rolling) = object_or_new(strategy, "rollingUpdate")
    {
        set(rolling, "maxUnavailable", "25%");
        set(rolling, "maxSurge", "25%");
    }
}

pub fn replica_set(map: &mut Object) {
    if let Some(spec) = object(map, "spec") {
        set(spec, "replicas", 1);
        template(spec);
    }
}

pub fn replication_controller(map: &mut Object) {
    let Some(spec) = object(map, "spec") else {
        return;
    };
    set(spec, "replicas", 1);
    template(spec);
    let labels = spec
        .get("template")
        .map(|template| template["metadata"]["labels"].clone());
    let labels = labels.filter(Value::is_object);
    if let Some(labels) = labels.filter(|_| !spec.contains_key("selector")) {
        spec.insert("selector".to_string(), labels);
    }
}

pub fn stateful_set(map: &mut Object) {
    let Some(spec) = object(map, "spec") else {
        return;
    };
    set(spec, "replicas", 1);
    set(spec, "revisionHistoryLimit", REVISIONS);
    set(spec, "podManagementPolicy", "OrderedReady");
    set(spec, "persistentVolumeClaimRetentionPolicy", json!({}));
    if let Some(policy) = object(spec, "persistentVolumeClaimRetentionPolicy") {
        set(policy, "whenDeleted", "Retain");
        set(policy, "whenScaled", "Retain");
    }
    template(spec);
    if let Some(strategy) = object_or_new(spec, "updateStrategy") {
        set(strategy, "type", "RollingUpdate");
        if strategy.get("type").and_then(Value::as_str) == Some("RollingUpdate")
            && let Some(rolling) = object_or_new(strategy, "rollingUpdate")
        {
            set(rolling, "partition", 0);
        }
    }
}

pub fn daemon_set(map: &mut Object) {
    let Some(spec) = object(map, "spec") else {
        return;
    };
    set(spec, "revisionHistoryLimit", REVISIONS);
    template(spec);
    if let Some(strategy) = object_or_new(spec, "updateStrategy") {
        set(strategy, "type", "RollingUpdate");
        if strategy.get("type").and_then(Value::as_str) == Some("RollingUpdate")
            && let Some(rolling) = object_or_new(strategy, "rollingUpdate")
        {
            set(rolling, "maxUnavailable", 1);
            set(rolling, "maxSurge", 0);
        }
    }
}
