//! Validation of workloads.

use super::Workload;
use crate::FieldError;
use crate::registry::check::{self, Errors};
use crate::registry::fields::{at, entries, number, same, text};
use crate::registry::pods;
use serde_json::{Value, json};

/// Appends what is wrong with a workload.
pub(super) fn workload(errors: &mut Errors, kind: Workload, object: &Value) {
    let Some(spec) = at(object, "spec") else {
        errors.push(FieldError::required("spec", ""));
        return;
    };
    for field in ["replicas", "minReadySeconds", "revisionHistoryLimit"] {
        check::at_least(errors, spec, "spec", field, 0);
    }
    selector(errors, spec);
    template(errors, spec);
    match kind {
        Workload::Deployment => deployment(errors, spec),
        Workload::StatefulSet => {
            check::one_of(
                errors,
                spec,
                "spec",
                "podManagementPolicy",
                &["OrderedReady", "Parallel"],
            );
            check::one_of(
                errors,
                &spec["updateStrategy"],
                "spec.updateStrategy",
                "type",
                &["RollingUpdate", "OnDelete"],
            );
        }
        Workload::DaemonSet => {
            check::one_of(
                errors,
                &spec["updateStrategy"],
                "spec.updateStrategy",
                "type",
                &["RollingUpdate", "OnDelete"],
            );
        }
        Workload::ReplicaSet => {}
    }
}

fn selector(errors: &mut Errors, spec: &Value) {
    let Some(selector) = at(spec, "selector") else {
        errors.push(FieldError::required("spec.selector", ""));
        return;
    };
    check::selector(errors, selector, "spec.selector");
    if same(Some(selector), None) {
        errors.push(FieldError::invalid(
            "spec.selector",
            selector,
            "empty selector is invalid for deployment",
        ));
        return;
    }
    let labels = at(spec, "template.metadata.labels").cloned().unwrap_or(json!({}));
    if !crate::registry::selects(selector, &labels) {
        let detail = "`selector` does not match template `labels`";
        errors.push(FieldError::invalid("spec.template.metadata.labels", &labels, detail));
    }
}

fn template(errors: &mut Errors, spec: &Value) {
    let path = "spec.template.spec";
    check::labels(
        errors,
        at(spec, "template.metadata.labels"),
        "spec.template.metadata.labels",
    );
    for (key, _) in entries(spec, "template.metadata.annotations") {
        if let Some(problem) = crate::registry::names::qualified_name(&key.to_lowercase()) {
            errors.push(FieldError::invalid(
                "spec.template.metadata.annotations",
                &json!(key),
                &problem,
            ));
        }
    }
    let Some(pod) = at(spec, "template.spec") else {
        errors.push(FieldError::required(path, ""));
        return;
    };
    pods::spec::validate(errors, pod, path);
    let policy = text(pod, "restartPolicy");
    if !matches!(policy, "" | "Always") {
        errors.push(FieldError::not_supported(
            format!("{path}.restartPolicy"),
            &json!(policy),
            &["Always"],
        ));
    }
    if at(pod, "activeDeadlineSeconds").is_some() {
        let detail = "activeDeadlineSeconds in this workload is not Supported";
        errors.push(FieldError::forbidden(format!("{path}.activeDeadlineSeconds"), detail));
    }
}

fn deployment(errors: &mut Errors, spec: &Value) {
    let path = "spec.strategy";
    check::one_of(errors, &spec["strategy"], path, "type", &["Recreate", "RollingUpdate"]);
    let rolling = at(spec, "strategy.rollingUpdate");
    if text(spec, "strategy.type") == "Recreate" && rolling.is_some() {
        let detail = "may not be specified when strategy `type` is 'Recreate'";
        errors.push(FieldError::forbidden("spec.strategy.rollingUpdate", detail));
    }
    if let Some(rolling) = rolling {
        let (surge, unavailable) = (
            amount(errors, rolling, "maxSurge"),
            amount(errors, rolling, "maxUnavailable"),
        );
        if surge == Some(0) && unavailable == Some(0) {
            let detail = "may not be 0 when `maxSurge` is 0";
            let given = rolling["maxUnavailable"].clone();
            errors.push(FieldError::invalid(
                "spec.strategy.rollingUpdate.maxUnavailable",
                &given,
                detail,
            ));
        }
    }
    if let Some(deadline) = at(spec, "progressDeadlineSeconds").and_then(Value::as_i64) {
        check::at_least(errors, spec, "spec", "progressDeadlineSeconds", 0);
        if deadline <= number(spec, "minReadySeconds") {
            let detail = "must be greater than minReadySeconds";
            errors.push(FieldError::invalid(
                "spec.progressDeadlineSeconds",
                &json!(deadline),
                detail,
            ));
        }
    }
}

/// The number of an `IntOrString` that may be a percentage.
fn amount(errors: &mut Errors, rolling: &Value, key: &str) -> Option<i64> {
    let value = at(rolling, key)?;
    let parsed = match value {
        Value::String(text) => text.strip_suffix('%').and_then(|t| t.parse::<i64>().ok()),
        other => other.as_i64(),
    };
    if parsed.is_none_or(|n| n < 0) {
        let detail = "must be a non-negative number or a percentage such as 25%";
        errors.push(FieldError::invalid(
            format!("spec.strategy.rollingUpdate.{key}"),
            value,
            detail,
        ));
    }
    parsed
}

/// Appends what is wrong with a reported status: counts are not negative and parts are not more than the whole.
pub(super) fn status(errors: &mut Errors, kind: Workload, object: &Value) {
    let Some(status) = at(object, "status") else { return };
    for field in [
        "replicas",
        "updatedReplicas",
        "readyReplicas",
        "availableReplicas",
        "fullyLabeledReplicas",
    ] {
        check::at_least(errors, status, "status", field, 0);
    }
    if kind == Workload::DaemonSet {
        return;
    }
    for (part, whole) in [("readyReplicas", "replicas"), ("availableReplicas", "readyReplicas")] {
        if number(status, part) > number(status, whole) {
            let detail = format!("cannot be greater than {whole}");
            errors.push(FieldError::invalid(
                format!("status.{part}"),
                &json!(number(status, part)),
                &detail,
            ));
        }
    }
}

/// Of a StatefulSet's spec only what does not touch the identity of its pods may change.
pub(super) fn fixed_stateful_fields(errors: &mut Errors, kind: Workload, new: &Value, old: &Value) {
    if kind != Workload::StatefulSet {
        return;
    }
    for field in [
        "spec.serviceName",
        "spec.podManagementPolicy",
        "spec.volumeClaimTemplates",
    ] {
        if !same(at(new, field), at(old, field)) {
            let detail = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
                'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' \
                are forbidden";
            errors.push(FieldError::forbidden("spec", detail));
            return;
        }
    }
}
