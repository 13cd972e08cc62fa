//! Pod disruption budgets and horizontal autoscalers.

use super::check::{self, Errors};
use super::declared::{Declared, PLAIN, STATUS};
use super::fields::{at, list, number, text};
use super::strategy::Cells;
use super::table::{AGE, NAME, age, column, name};
use crate::FieldError;
use jiff::Timestamp;
use serde_json::{Value, json};

/// `poddisruptionbudgets.policy`.
pub const BUDGETS: Declared = Declared {
    columns: &[
        NAME,
        column("Min Available", "string", "Pods that have to stay."),
        column("Max Unavailable", "string", "Pods that may be gone."),
        column("Allowed Disruptions", "integer", "Evictions that are possible now."),
        AGE,
    ],
    cells: |budget, now| {
        let amount = |path: &str| match at(budget, path) {
            Some(Value::String(text)) => json!(text),
            Some(number) => json!(number.to_string()),
            None => json!("N/A"),
        };
        vec![
            name(budget),
            amount("spec.minAvailable"),
            amount("spec.maxUnavailable"),
            json!(number(budget, "status.disruptionsAllowed")),
            age(budget, now),
        ]
    },
    check: budget,
    generation: true,
    subresources: STATUS,
    prepare: |_, budget| {
        budget["status"] =
            json!({"currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0});
    },
    ..PLAIN
};

/// `horizontalpodautoscalers.autoscaling`.
pub const AUTOSCALERS: Declared = Declared {
    columns: &[
        NAME,
        column("Reference", "string", "What it scales."),
        column("Targets", "string", "What it measured, of what it aims for."),
        column("MinPods", "string", "The fewest pods."),
        column("MaxPods", "integer", "The most pods."),
        column("Replicas", "integer", "Pods at the last look."),
        AGE,
    ],
    cells: autoscaler_cells,
    check: autoscaler,
    subresources: STATUS,
    ..PLAIN
};

fn budget(errors: &mut Errors, budget: &Value) {
    let (least, most) = (at(budget, "spec.minAvailable"), at(budget, "spec.maxUnavailable"));
    if least.is_some() && most.is_some() {
        let detail = "minAvailable and maxUnavailable cannot be both set";
        errors.push(FieldError::invalid("spec", &budget["spec"], detail));
    }
    for (field, value) in [("minAvailable", least), ("maxUnavailable", most)] {
        let Some(value) = value else { continue };
        let path = format!("spec.{field}");
        match value {
            Value::String(text) => {
                let percent = text.strip_suffix('%').and_then(|t| t.parse::<u32>().ok());
                if percent.is_none_or(|percent| percent > 100) {
                    let detail = "must be a percentage between 0% and 100%, such as '50%'";
                    errors.push(FieldError::invalid(path, value, detail));
                }
            }
            _ => check::at_least(errors, &budget["spec"], "spec", field, 0),
        }
    }
    if let Some(selector) = at(budget, "spec.selector") {
        check::selector(errors, selector, "spec.selector");
    }
}

fn autoscaler(errors: &mut Errors, scaler: &Value) {
    let spec = &scaler["spec"];
    check::at_least(errors, spec, "spec", "minReplicas", 1);
    let (least, most) = (number(spec, "minReplicas"), number(spec, "maxReplicas"));
    if most < 1 {
        errors.push(FieldError::invalid(
            "spec.maxReplicas",
            &json!(most),
            "must be greater than 0",
        ));
    }
    if most < least {
        let detail = "must be greater than or equal to `minReplicas`";
        errors.push(FieldError::invalid("spec.maxReplicas", &json!(most), detail));
    }
    for (index, metric) in list(spec, "metrics").iter().enumerate() {
        let source = match text(metric, "type") {
            "Resource" => "resource",
            "ContainerResource" => "containerResource",
            "Pods" => "pods",
            "Object" => "object",
            "External" => "external",
            _ => continue,
        };
        let path = format!("spec.metrics[{index}].{source}");
        let Some(source) = at(metric, source) else {
            errors.push(FieldError::required(
                path,
                "must populate information for the given metric source",
            ));
            continue;
        };
        let target = at(source, "target").unwrap_or(&Value::Null);
        let aims = ["averageUtilization", "averageValue", "value"];
        if aims.iter().all(|aim| at(target, aim).is_none()) {
            let detail = "must set either a target raw value or a target utilization";
            errors.push(FieldError::required(
                format!("{path}.target.averageUtilization"),
                detail,
            ));
        }
    }
}

fn autoscaler_cells(scaler: &Value, now: Timestamp) -> Cells {
    let reference = format!(
        "{}/{}",
        text(scaler, "spec.scaleTargetRef.kind"),
        text(scaler, "spec.scaleTargetRef.name")
    );
    let current = list(scaler, "status.currentMetrics");
    let targets: Vec<String> = list(scaler, "spec.metrics")
        .iter()
        .enumerate()
        .map(|(index, metric)| target(metric, current.get(index)))
        .collect();
    let shown = match targets.len() {
        0 => "<none>".to_owned(),
        1 | 2 => targets.join(", "),
        more => format!("{} + {} more...", targets[..2].join(", "), more - 2),
    };
    let least = at(scaler, "spec.minReplicas").map_or("<unset>".to_owned(), Value::to_string);
    vec![
        name(scaler),
        json!(reference),
        json!(shown),
        json!(least),
        json!(number(scaler, "spec.maxReplicas")),
        json!(number(scaler, "status.currentReplicas")),
        age(scaler, now),
    ]
}

/// One metric as `cpu: 30%/80%`.
fn target(metric: &Value, current: Option<&Value>) -> String {
    let kind = text(metric, "type");
    let source = kind
        .char_indices()
        .map(|(i, c)| if i == 0 { c.to_ascii_lowercase() } else { c });
    let source: String = source.collect();
    let aim = |field: &str| at(metric, &format!("{source}.target.{field}"));
    let seen = |field: &str| current.and_then(|current| at(current, &format!("{source}.current.{field}")));
    let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let unknown = || "<unknown>".to_owned();
    let text_of = match (aim("averageUtilization"), aim("averageValue"), aim("value")) {
        (Some(aim), _, _) => {
            let seen = seen("averageUtilization").map_or_else(unknown, |seen| format!("{seen}%"));
            format!("{seen}/{aim}%")
        }
        (_, Some(aim), _) => {
            let seen = seen("averageValue").map_or_else(unknown, plain);
            let average = if kind == "External" || kind == "Object" {
                " (avg)"
            } else {
                ""
            };
            format!("{seen}/{}{average}", plain(aim))
        }
        (_, _, Some(aim)) => format!("{}/{}", seen("value").map_or_else(unknown, plain), plain(aim)),
        _ => "<unknown>/<auto>".to_owned(),
    };
    match kind {
        "Resource" | "ContainerResource" => format!("{}: {text_of}", text(metric, &format!("{source}.name"))),
        _ => text_of,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_says_one_thing() {
        let problems = |spec: Value| {
            let mut errors = Errors::new();
            budget(&mut errors, &json!({"spec": spec}));
            errors.len()
        };
        assert_eq!(problems(json!({"minAvailable": "50%"})), 0);
        assert_eq!(problems(json!({"minAvailable": 1, "maxUnavailable": 1})), 1);
        assert_eq!(problems(json!({"maxUnavailable": "150%"})), 1);
        assert_eq!(problems(json!({"maxUnavailable": -1})), 1);
    }

    #[test]
    fn targets_are_shown_as_measured_of_wanted() {
        let metric = json!({"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": 80}}});
        assert_eq!(target(&metric, None), "cpu: <unknown>/80%");
        let seen = json!({"type": "Resource", "resource": {"current": {"averageUtilization": 30}}});
        assert_eq!(target(&metric, Some(&seen)), "cpu: 30%/80%");
    }
}
