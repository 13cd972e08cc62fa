//! The small checks that many validations share. Each appends to the list it is given; an absent field is nobody's problem
//! here unless the name says `required`.

use super::fields::{at, text};
use super::names;
use crate::FieldError;
use serde_json::{Value, json};

pub(crate) type Errors = Vec<FieldError>;

/// `value[key]`, where given, has the shape `rule` asks for.
pub(crate) fn shape(errors: &mut Errors, value: &Value, path: &str, key: &str, rule: fn(&str) -> Option<String>) {
    let given = text(value, key);
    if !given.is_empty()
        && let Some(problem) = rule(given)
    {
        errors.push(FieldError::invalid(join(path, key), &json!(given), &problem));
    }
}

/// `value[key]` is a non-empty string of the shape `rule` asks for.
pub(crate) fn required_shape(
    errors: &mut Errors,
    value: &Value,
    path: &str,
    key: &str,
    rule: fn(&str) -> Option<String>,
) {
    required(errors, value, path, key);
    shape(errors, value, path, key, rule);
}

/// `value[key]` is a non-empty string.
pub(crate) fn required(errors: &mut Errors, value: &Value, path: &str, key: &str) {
    if text(value, key).is_empty() {
        errors.push(FieldError::required(join(path, key), ""));
    }
}

/// `value[key]`, where given, is one of `supported`.
pub(crate) fn one_of(errors: &mut Errors, value: &Value, path: &str, key: &str, supported: &[&str]) {
    let given = text(value, key);
    if !given.is_empty() && !supported.contains(&given) {
        errors.push(FieldError::not_supported(join(path, key), &json!(given), supported));
    }
}

/// `value[key]`, where given, is at least `least`.
pub(crate) fn at_least(errors: &mut Errors, value: &Value, path: &str, key: &str, least: i64) {
    if let Some(given) = at(value, key).and_then(Value::as_i64)
        && given < least
    {
        let detail = format!("must be greater than or equal to {least}");
        errors.push(FieldError::invalid(join(path, key), &json!(given), &detail));
    }
}

/// `value[key]`, where given, is a port number.
pub(crate) fn port(errors: &mut Errors, value: &Value, path: &str, key: &str) {
    if let Some(given) = at(value, key).and_then(Value::as_i64)
        && let Some(problem) = names::port_number(given)
    {
        errors.push(FieldError::invalid(join(path, key), &json!(given), &problem));
    }
}

/// A port given by number or by name (`IntOrString`), which has to be there.
pub(crate) fn port_reference(errors: &mut Errors, value: &Value, path: &str, key: &str) {
    match at(value, key) {
        None => errors.push(FieldError::required(join(path, key), "")),
        Some(Value::String(name)) => {
            if let Some(problem) = names::port_name(name) {
                errors.push(FieldError::invalid(join(path, key), &json!(name), &problem));
            }
        }
        Some(_) => port(errors, value, path, key),
    }
}

/// A map of label keys to label values.
pub(crate) fn labels(errors: &mut Errors, map: Option<&Value>, path: &str) {
    for (key, value) in map.and_then(Value::as_object).into_iter().flatten() {
        if let Some(problem) = names::qualified_name(key) {
            errors.push(FieldError::invalid(path, &json!(key), &problem));
        }
        if let Some(problem) = value.as_str().and_then(names::label_value) {
            errors.push(FieldError::invalid(path, value, &problem));
        }
    }
}

/// A `LabelSelector`.
pub(crate) fn selector(errors: &mut Errors, selector: &Value, path: &str) {
    labels(errors, at(selector, "matchLabels"), &join(path, "matchLabels"));
    for (index, term) in super::fields::list(selector, "matchExpressions").iter().enumerate() {
        let path = format!("{path}.matchExpressions[{index}]");
        required_shape(errors, term, &path, "key", names::qualified_name);
        let values = super::fields::list(term, "values").len();
        match text(term, "operator") {
            "In" | "NotIn" if values == 0 => errors.push(FieldError::required(
                join(&path, "values"),
                "must be specified when `operator` is 'In' or 'NotIn'",
            )),
            "Exists" | "DoesNotExist" if values > 0 => errors.push(FieldError::forbidden(
                join(&path, "values"),
                "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            )),
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => errors.push(FieldError::invalid(
                join(&path, "operator"),
                &json!(other),
                "not a valid selector operator",
            )),
        }
    }
}

/// An IP address.
pub(crate) fn ip(errors: &mut Errors, address: &str, path: impl Into<String>) {
    if address.parse::<std::net::IpAddr>().is_err() {
        let detail = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
        errors.push(FieldError::invalid(path, &json!(address), detail));
    }
}

/// `new[path]` is what it was, `field` being how the path is reported.
pub(crate) fn unchanged(errors: &mut Errors, new: &Value, old: &Value, path: &str) {
    if !super::fields::same(at(new, path), at(old, path)) {
        errors.push(FieldError::immutable(path, at(new, path).unwrap_or(&Value::Null)));
    }
}

pub(crate) fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}
