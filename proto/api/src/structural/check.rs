//! Judging values.
//!
//! The texts are those of upstream's validator, which scripts and people know. What an update leaves as it was is not judged
//! again: a schema may become stricter than objects that exist.

use super::prune::join;
use super::{Kind, Node};
use crate::schema::ListKind;
use serde_json::{Map, Value, json};
use std::collections::{HashMap, HashSet};

/// One thing that is wrong with an object.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// `spec.replicas`; empty for the object as a whole.
    pub path: String,
    pub fault: Fault,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    Required {
        detail: String,
    },
    /// Of the wrong type; `found` is the type it has.
    Type {
        found: String,
        detail: String,
    },
    NotSupported {
        value: Value,
        allowed: Vec<Value>,
    },
    TooLong {
        max: u64,
    },
    TooMany {
        actual: usize,
        max: u64,
    },
    Duplicate {
        value: Value,
    },
    Invalid {
        value: Value,
        detail: String,
    },
}

impl Node {
    /// What is wrong with an object. `old` is what it was before an update.
    pub fn check(&self, object: &Value, old: Option<&Value>) -> Vec<Problem> {
        let mut problems = Vec::new();
        check(self, object, old, "", &mut problems);
        problems
    }
}

fn check(node: &Node, value: &Value, old: Option<&Value>, path: &str, problems: &mut Vec<Problem>) {
    if old == Some(value) {
        return;
    }
    if value.is_null() && node.nullable {
        return;
    }
    if !fits(node.kind, value) {
        // Only what has a name is named in the text.
        let (found, wanted) = (type_name(value), node.kind.name());
        let detail = format!("{path} in body must be of type {wanted}: {found:?}");
        problems.push(problem(
            path,
            Fault::Type {
                found: found.to_owned(),
                detail,
            },
        ));
        return;
    }
    if !node.allowed.is_empty() && !node.allowed.iter().any(|allowed| same(allowed, value)) {
        let (value, allowed) = (value.clone(), node.allowed.clone());
        problems.push(problem(path, Fault::NotSupported { value, allowed }));
    }
    match value {
        Value::String(text) => check_text(node, text, path, problems),
        Value::Number(_) => check_number(node, value, path, problems),
        Value::Array(items) => check_items(node, items, old, path, problems),
        Value::Object(map) => check_fields(node, map, old, path, problems),
        _ => {}
    }
    check_alternatives(node, value, path, problems);
}

fn problem(path: &str, fault: Fault) -> Problem {
    Problem {
        path: path.to_owned(),
        fault,
    }
}

fn invalid(path: &str, value: &Value, what: String) -> Problem {
    let detail = format!("{path} in body {what}");
    let value = value.clone();
    problem(path, Fault::Invalid { value, detail })
}

fn fits(kind: Kind, value: &Value) -> bool {
    match kind {
        Kind::Any => true,
        Kind::Object => value.is_object(),
        Kind::Array => value.is_array(),
        Kind::String => value.is_string(),
        Kind::Boolean => value.is_boolean(),
        Kind::Number => value.is_number(),
        Kind::Integer => is_integer(value),
        Kind::IntOrString => value.is_string() || is_integer(value),
    }
}

fn is_integer(value: &Value) -> bool {
    value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0)
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) if is_integer(value) => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// 1 and 1.0 are one number.
fn same(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

fn check_text(node: &Node, text: &str, path: &str, problems: &mut Vec<Problem>) {
    let value = || Value::from(text);
    let length = text.chars().count() as u64;
    if let Some(max) = node.length.max.filter(|max| length > *max) {
        problems.push(problem(path, Fault::TooLong { max }));
    }
    if let Some(min) = node.length.min.filter(|min| length < *min) {
        problems.push(invalid(path, &value(), format!("should be at least {min} chars long")));
    }
    if let Some(pattern) = node.pattern.as_ref().filter(|pattern| !pattern.is_match(text)) {
        problems.push(invalid(path, &value(), format!("should match '{pattern}'")));
    }
    if !is_formatted(&node.format, text) {
        let detail = format!("{path} in body must be of type {}: {text:?}", node.format);
        let found = text.to_owned();
        problems.push(problem(path, Fault::Type { found, detail }));
    }
}

/// The formats that are judged; every other is a comment.
pub(super) fn is_formatted(format: &str, text: &str) -> bool {
    match format {
        "date-time" => text.parse::<jiff::Timestamp>().is_ok(),
        "date" => text.parse::<jiff::civil::Date>().is_ok(),
        "ipv4" => text.parse::<std::net::Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<std::net::Ipv6Addr>().is_ok(),
        "cidr" => is_cidr(text),
        "byte" => {
            use base64::Engine;
            base64::engine::general_purpose::STANDARD.decode(text).is_ok()
        }
        "uuid" | "uuid3" | "uuid4" | "uuid5" => is_uuid(format, text),
        "uri" => text.split_once(':').is_some_and(|(scheme, _)| !scheme.is_empty()) || text.starts_with('/'),
        _ => true,
    }
}

fn is_cidr(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else {
        return false;
    };
    let most = match address.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V4(_)) => 32,
        Ok(std::net::IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    bits.parse::<u8>().is_ok_and(|bits| bits <= most)
}

fn is_uuid(format: &str, text: &str) -> bool {
    let plain: Vec<char> = text.chars().filter(|c| *c != '-').collect();
    let version = format.strip_prefix("uuid").and_then(|digit| digit.chars().next());
    plain.len() == 32 && plain.iter().all(char::is_ascii_hexdigit) && version.is_none_or(|version| plain[12] == version)
}

fn check_number(node: &Node, value: &Value, path: &str, problems: &mut Vec<Problem>) {
    let Some(number) = value.as_f64() else { return };
    if let Some(max) = node.maximum {
        let (over, word) = match node.exclusive_maximum {
            true => (number >= max, "less than"),
            false => (number > max, "less than or equal to"),
        };
        if over {
            problems.push(invalid(path, value, format!("should be {word} {max}")));
        }
    }
    if let Some(min) = node.minimum {
        let (under, word) = match node.exclusive_minimum {
            true => (number <= min, "greater than"),
            false => (number < min, "greater than or equal to"),
        };
        if under {
            problems.push(invalid(path, value, format!("should be {word} {min}")));
        }
    }
    if let Some(step) = node
        .multiple_of
        .filter(|step| *step > 0.0 && (number / step).fract() != 0.0)
    {
        problems.push(invalid(path, value, format!("should be a multiple of {step}")));
    }
}

fn check_items(node: &Node, items: &[Value], old: Option<&Value>, path: &str, problems: &mut Vec<Problem>) {
    let value = || Value::Array(items.to_vec());
    let count = items.len() as u64;
    if let Some(max) = node.items_count.max.filter(|max| count > *max) {
        let actual = items.len();
        problems.push(problem(path, Fault::TooMany { actual, max }));
    }
    if let Some(min) = node.items_count.min.filter(|min| count < *min) {
        problems.push(invalid(path, &value(), format!("should have at least {min} items")));
    }
    duplicates(node, items, path, problems);
    let Some(inner) = &node.items else { return };
    let olds = olds(node, inner, old);
    for (index, item) in items.iter().enumerate() {
        let before = key_of(node, inner, item).and_then(|key| olds.get(&key.to_string()).copied());
        check(inner, item, before, &format!("{path}[{index}]"), problems);
    }
}

/// The elements that a list with keys had, by their keys.
fn olds<'a>(node: &Node, inner: &Node, old: Option<&'a Value>) -> HashMap<String, &'a Value> {
    let keyed = matches!(node.list, ListKind::Map(_));
    let olds = old.filter(|_| keyed).and_then(Value::as_array).into_iter().flatten();
    olds.filter_map(|old| Some((key_of(node, inner, old)?.to_string(), old)))
        .collect()
}

/// What tells an element of a list from others.
fn key_of(node: &Node, inner: &Node, item: &Value) -> Option<Value> {
    match &node.list {
        ListKind::Atomic => None,
        ListKind::Set => Some(item.clone()),
        ListKind::Map(keys) => {
            let one = |key: &str| {
                let default = || inner.properties.get(key).and_then(|child| child.default.as_ref());
                item.get(key).or_else(default).cloned()
            };
            let found: Map<String, Value> = keys
                .iter()
                .filter_map(|key| Some((key.to_string(), one(key)?)))
                .collect();
            Some(Value::Object(found))
        }
    }
}

fn duplicates(node: &Node, items: &[Value], path: &str, problems: &mut Vec<Problem>) {
    let Some(inner) = &node.items else { return };
    let mut seen = HashSet::new();
    for (index, item) in items.iter().enumerate() {
        let Some(value) = key_of(node, inner, item) else { return };
        if !seen.insert(value.to_string()) {
            problems.push(problem(&format!("{path}[{index}]"), Fault::Duplicate { value }));
        }
    }
}

fn check_fields(node: &Node, map: &Map<String, Value>, old: Option<&Value>, path: &str, problems: &mut Vec<Problem>) {
    let value = || Value::Object(map.clone());
    let count = map.len() as u64;
    if let Some(max) = node.properties_count.max.filter(|max| count > *max) {
        let actual = map.len();
        problems.push(problem(path, Fault::TooMany { actual, max }));
    }
    if let Some(min) = node.properties_count.min.filter(|min| count < *min) {
        problems.push(invalid(
            path,
            &value(),
            format!("should have at least {min} properties"),
        ));
    }
    let required = |name: &str, detail: &str, problems: &mut Vec<Problem>| {
        let detail = detail.to_owned();
        problems.push(problem(&join(path, name), Fault::Required { detail }));
    };
    for name in node.required.iter().filter(|name| !map.contains_key(*name)) {
        required(name, "", problems);
    }
    if node.embedded {
        for name in ["apiVersion", "kind"] {
            if map.get(name).and_then(Value::as_str).unwrap_or_default().is_empty() {
                required(name, "must not be empty", problems);
            }
        }
    }
    for (key, value) in map {
        if let Some(child) = node.child(key) {
            let old = old.and_then(|old| old.get(key));
            check(child, value, old, &join(path, key), problems);
        }
    }
}

/// Every alternative is judged once: they nest, and judging twice at each level would take twice as long with every level.
fn check_alternatives(node: &Node, value: &Value, path: &str, problems: &mut Vec<Problem>) {
    let whole = |detail: String| Problem {
        path: String::new(),
        fault: Fault::Invalid {
            value: json!(""),
            detail,
        },
    };
    let all = outcomes(&node.all_of, value, path);
    if all.iter().any(|found| !found.is_empty()) {
        problems.extend(all.into_iter().flatten());
        problems.push(whole(format!("{path:?} must validate all the schemas (allOf)")));
    }
    let any = outcomes(&node.any_of, value, path);
    if !any.is_empty() && any.iter().all(|found| !found.is_empty()) {
        problems.push(whole(format!("{path:?} must validate at least one schema (anyOf)")));
        problems.extend(closest(any));
    }
    let one = outcomes(&node.one_of, value, path);
    let accepted = one.iter().filter(|found| found.is_empty()).count();
    if !one.is_empty() && accepted != 1 {
        let why = match accepted {
            0 => "Found none valid".to_owned(),
            more => format!("Found {more} valid alternatives"),
        };
        let detail = format!("{path:?} must validate one and only one schema (oneOf). {why}");
        problems.push(whole(detail));
        if accepted == 0 {
            problems.extend(closest(one));
        }
    }
    let not = node.not.as_deref().map(std::slice::from_ref).unwrap_or_default();
    if outcomes(not, value, path).iter().any(Vec::is_empty) {
        problems.push(whole(format!("{path:?} must not validate the schema (not)")));
    }
}

/// What each alternative finds wrong.
fn outcomes(alternatives: &[Node], value: &Value, path: &str) -> Vec<Vec<Problem>> {
    let one = |node: &Node| {
        let mut found = Vec::new();
        check(node, value, None, path, &mut found);
        found
    };
    alternatives.iter().map(one).collect()
}

/// What keeps the value from the alternative that it comes closest to.
fn closest(outcomes: Vec<Vec<Problem>>) -> Vec<Problem> {
    outcomes.into_iter().min_by_key(Vec::len).unwrap_or_default()
}
