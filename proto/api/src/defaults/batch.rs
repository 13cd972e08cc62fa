//! Jobs, cron jobs and autoscalers.

use super::workload::template;
use super::{Object, object, object_or_new, objects, set};
use serde_json::{Value, json};

const BACKOFF: i64 = 6;
const SUCCESSES_KEPT: i64 = 3;
const FAILURES_KEPT: i64 = 1;
/// Percent, of the CPU that the pods request.
const CPU_TARGET: i64 = 80;

pub fn job(map: &mut Object) {
    if let Some(spec) = object(map, "spec") {
        job_spec(spec);
    }
}

fn job_spec(spec: &mut Object) {
    // Without either, one pod that completes is all.
    if !spec.contains_key("completions") && !spec.contains_key("parallelism") {
        spec.insert("completions".into(), 1.into());
    }
    set(spec, "parallelism", 1);
    set(spec, "completionMode", "NonIndexed");
    set(spec, "suspend", false);
    set(spec, "podReplacementPolicy", "TerminatingOrFailed");
    if spec.contains_key("podFailurePolicy") {
        spec.insert("podReplacementPolicy".into(), "Failed".into());
    }
    // With a limit of its own for each index, the job as a whole has none that could be reached.
    let backoff = if spec.contains_key("backoffLimitPerIndex") {
        i64::from(i32::MAX)
    } else {
        BACKOFF
    };
    set(spec, "backoffLimit", backoff);
    template(spec);
}

pub fn cron_job(map: &mut Object) {
    let Some(spec) = object(map, "spec") else {
        return;
    };
    set(spec, "concurrencyPolicy", "Allow");
    set(spec, "suspend", false);
    set(spec, "successfulJobsHistoryLimit", SUCCESSES_KEPT);
    set(spec, "failedJobsHistoryLimit", FAILURES_KEPT);
    // The template's job is defaulted when it is made, its pods now, so that both read alike.
    if let Some(job) = object(spec, "jobTemplate").and_then(|template| object(template, "spec")) {
        template(job);
    }
}

pub fn autoscaler(map: &mut Object) {
    let Some(spec) = object(map, "spec") else {
        return;
    };
    set(spec, "minReplicas", 1);
    let none = |metrics: &Value| metrics.as_array().is_some_and(Vec::is_empty);
    if spec.get("metrics").is_none_or(none) {
        let cpu = json!([{"type": "Resource", "resource": {"name": "cpu",
            "target": {"type": "Utilization", "averageUtilization": CPU_TARGET}}}]);
        spec.insert("metrics".into(), cpu);
    }
    if let Some(behavior) = object(spec, "behavior") {
        let up = json!([{"type": "Pods", "value": 4, "periodSeconds": 15}, {"type": "Percent", "value": 100, "periodSeconds": 15}]);
        let down = json!([{"type": "Percent", "value": 100, "periodSeconds": 15}]);
        for (direction, policies, window) in [("scaleUp", up, Some(0)), ("scaleDown", down, None)] {
            let Some(rules) = object_or_new(behavior, direction) else {
                continue;
            };
            set(rules, "selectPolicy", "Max");
            if let Some(seconds) = window {
                set(rules, "stabilizationWindowSeconds", seconds);
            }
            if objects(rules, "policies").next().is_none() {
                rules.insert("policies".into(), policies);
            }
        }
    }
}
