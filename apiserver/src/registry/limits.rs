//! Resource quotas and limit ranges: what a namespace may use, and what one object in it may.

use super::check::Errors;
use super::declared::{Declared, PLAIN, STATUS};
use super::fields::{at, entries, list, text};
use super::strategy::Cells;
use super::table::{AGE, NAME, age, column, name};
use crate::FieldError;
use api::Quantity;
use jiff::Timestamp;
use serde_json::{Value, json};

/// `resourcequotas`.
pub const QUOTAS: Declared = Declared {
    columns: &[
        NAME,
        column("Request", "string", "What is used of requests and counts."),
        column("Limit", "string", "What is used of limits."),
        AGE,
    ],
    cells: quota_cells,
    check: |errors, quota| {
        for (resource, amount) in entries(quota, "spec.hard") {
            not_negative(errors, amount, format!("spec.hard[{resource}]"));
        }
    },
    fixed: &["spec.scopes"],
    subresources: STATUS,
    ..PLAIN
};

/// `limitranges`.
pub const RANGES: Declared = Declared { check: range, ..PLAIN };

fn quota_cells(quota: &Value, now: Timestamp) -> Cells {
    let (mut requests, mut limits) = (Vec::new(), Vec::new());
    for (resource, hard) in entries(quota, "status.hard") {
        let used = at(quota, "status.used")
            .and_then(|used| used.get(resource))
            .and_then(Value::as_str);
        let shown = format!(
            "{resource}: {}/{}",
            used.unwrap_or("0"),
            hard.as_str().unwrap_or_default()
        );
        match resource.starts_with("limits.") {
            true => limits.push(shown),
            false => requests.push(shown),
        }
    }
    vec![
        name(quota),
        json!(requests.join(", ")),
        json!(limits.join(", ")),
        age(quota, now),
    ]
}

fn not_negative(errors: &mut Errors, amount: &Value, path: String) {
    match amount.as_str().map(Quantity::parse) {
        Some(Ok(quantity)) if quantity.milli() >= 0 => {}
        _ => errors.push(FieldError::invalid(path, amount, "must be greater than or equal to 0")),
    }
}

/// Within one item: min <= defaultRequest <= default <= max.
fn range(errors: &mut Errors, range: &Value) {
    const ORDER: &[&str] = &["min", "defaultRequest", "default", "max"];
    let mut seen = Vec::new();
    for (index, item) in list(range, "spec.limits").iter().enumerate() {
        let path = format!("spec.limits[{index}]");
        let kind = text(item, "type");
        if seen.contains(&kind) {
            errors.push(FieldError::duplicate(format!("{path}.type"), &json!(kind)));
        }
        seen.push(kind);
        if kind == "Pod" {
            for field in ["default", "defaultRequest"] {
                if at(item, field).is_some() {
                    let detail = "may not be specified when `type` is 'Pod'";
                    errors.push(FieldError::forbidden(format!("{path}.{field}"), detail));
                }
            }
        }
        if kind == "PersistentVolumeClaim" && at(item, "min").is_none() && at(item, "max").is_none() {
            let detail = "either minimum or maximum storage value is required, but neither was provided";
            errors.push(FieldError::required(path.clone(), detail));
        }
        for (low, lower) in ORDER.iter().enumerate() {
            for upper in &ORDER[low + 1..] {
                ordered(errors, item, lower, upper, &path);
            }
        }
    }
}

fn ordered(errors: &mut Errors, item: &Value, lower: &str, upper: &str, path: &str) {
    for (resource, low) in entries(item, lower) {
        let high = at(item, upper).and_then(|amounts| amounts.get(resource));
        let amount = |value: &Value| value.as_str().and_then(|text| Quantity::parse(text).ok());
        if let (Some(low_amount), Some(high_amount)) = (amount(low), high.and_then(amount))
            && low_amount > high_amount
        {
            let high = high.and_then(Value::as_str).unwrap_or_default();
            let detail = format!(
                "{lower} value {} is greater than {upper} value {high}",
                low.as_str().unwrap_or_default()
            );
            errors.push(FieldError::invalid(format!("{path}.{lower}[{resource}]"), low, &detail));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_in_order() {
        let problems = |item: Value| {
            let mut errors = Errors::new();
            range(&mut errors, &json!({"spec": {"limits": [item]}}));
            errors.len()
        };
        assert_eq!(
            problems(json!({"type": "Container", "min": {"cpu": "1"}, "max": {"cpu": "2"}})),
            0
        );
        assert_eq!(
            problems(json!({"type": "Container", "min": {"cpu": "3"}, "max": {"cpu": "2"}})),
            1
        );
        assert_eq!(problems(json!({"type": "Pod", "default": {"cpu": "2"}})), 1);
    }
}
