//! Validation of requests and limits.

use crate::FieldError;
use crate::registry::check::{Errors, join};
use crate::registry::fields::{at, entries};
use api::Quantity;
use serde_json::Value;

/// Appends what is wrong with the resources of `container`.
pub(super) fn validate(errors: &mut Errors, container: &Value, path: &str) {
    let path = join(path, "resources");
    for kind in ["limits", "requests"] {
        for (name, amount) in entries(container, &format!("resources.{kind}")) {
            validate_amount(errors, amount, &format!("{path}.{kind}[{name}]"));
        }
    }
    for (name, request) in entries(container, "resources.requests") {
        let limit = at(container, "resources.limits").and_then(|limits| limits.get(name.as_str()));
        if let (Some(request_amount), Some(limit_amount)) =
            (Quantity::from_value(request), limit.and_then(Quantity::from_value))
            && request_amount > limit_amount
        {
            let shown = limit.and_then(Value::as_str).unwrap_or_default();
            let detail = format!("must be less than or equal to {name} limit of {shown}");
            errors.push(FieldError::invalid(format!("{path}.requests"), request, &detail));
        }
    }
}

fn validate_amount(errors: &mut Errors, amount: &Value, field: &str) {
    match Quantity::from_value(amount) {
        None => errors.push(FieldError::invalid(
            field,
            amount,
            "must be a quantity such as 500m, 1 or 2Gi",
        )),
        Some(given) if given < Quantity::ZERO => {
            errors.push(FieldError::invalid(field, amount, "must be greater than or equal to 0"));
        }
        Some(_) => {}
    }
}
