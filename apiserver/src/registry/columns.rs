//! Cells that several tables share.

use super::fields::{list, text};
use serde_json::Value;

/// Labels as `a=b,c=d`.
pub(crate) fn label_list(labels: Option<&Value>) -> String {
    let pairs = labels.and_then(Value::as_object).into_iter().flatten();
    let shown: Vec<String> = pairs
        .map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default()))
        .collect();
    shown.join(",")
}

/// A `LabelSelector` in the form of the `-l` flag, `<none>` when it selects nothing.
pub(crate) fn selector(selector: Option<&Value>) -> String {
    let Some(selector) = selector else {
        return "<none>".to_owned();
    };
    let mut terms: Vec<String> = Vec::new();
    let labels = label_list(selector.get("matchLabels"));
    if !labels.is_empty() {
        terms.push(labels);
    }
    terms.extend(list(selector, "matchExpressions").iter().map(expression));
    if terms.is_empty() {
        "<none>".to_owned()
    } else {
        terms.join(",")
    }
}

fn expression(term: &Value) -> String {
    let key = text(term, "key");
    let values: Vec<&str> = list(term, "values").iter().filter_map(Value::as_str).collect();
    let values = values.join(",");
    match text(term, "operator") {
        "In" => format!("{key} in ({values})"),
        "NotIn" => format!("{key} notin ({values})"),
        "Exists" => key.to_owned(),
        _ => format!("!{key}"),
    }
}

/// The names or the images of a pod template's containers.
pub(crate) fn containers(object: &Value, field: &str) -> String {
    let all: Vec<&str> = list(object, "spec.template.spec.containers")
        .iter()
        .map(|c| text(c, field))
        .collect();
    all.join(",")
}
