//! `LabelSelector` objects against labels.

use serde_json::Value;

/// Whether the selector selects an object with these labels. One that cannot be read selects nothing.
pub(crate) fn selects(selector: &Value, labels: &Value) -> bool {
    api::LabelSelector::from_object(selector).is_ok_and(|selector| selector.matches(labels))
}
