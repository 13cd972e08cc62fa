//! Schemas of custom resources.
//!
//! # Theory
//! A CustomResourceDefinition carries a JSON schema that is *structural*: outside of `allOf`, `anyOf`, `oneOf` and `not` it says
//! the type of every field, and inside them it only narrows values. So one tree of [`Node`]s drives everything: what is
//! unknown ([`Node::prune`]), what is filled in ([`Node::fill`]), what is refused ([`Node::check`]), and, compiled to a
//! [`crate::schema::Registry`], who owns which field ([`registry::compile`]). [`rules::problems`] says whether a schema is
//! structural at all, with upstream's field paths.
//!
//! # Promises
//! - A schema that [`rules::problems`] accepts parses; its patterns are compiled once.
//! - Pruning and filling in twice changes nothing.
//!
//! # Left out
//! CEL rules (`x-kubernetes-validations`): [`has_rules`] tells whether a schema has any, so that somebody can say so.

mod check;
mod decode;
mod fill;
pub mod path;
mod prune;
mod published;
pub mod registry;
pub mod rules;

#[cfg(test)]
mod tests;

use crate::schema::ListKind;
pub use check::{Fault, Problem};
pub use decode::{conform, decode};
pub use published::{published_v2, published_v3};
use regex::Regex;
use serde_json::Value;
use std::collections::BTreeMap;

/// How deep a schema may nest.
const DEPTH_MAX: usize = 100;

/// The type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
    /// A number or a text.
    IntOrString,
    /// Not said.
    Any,
}

impl Kind {
    /// As schemas and messages spell it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Object => "object",
            Kind::Array => "array",
            Kind::String => "string",
            Kind::Integer => "integer",
            Kind::Number => "number",
            Kind::Boolean => "boolean",
            Kind::IntOrString => "int-or-string",
            Kind::Any => "",
        }
    }
}

/// What an object may have besides its properties.
#[derive(Clone, Debug)]
pub enum Additional {
    Nothing,
    Anything,
    Values(Box<Node>),
}

/// Bounds on the size of something; both inclusive.
#[derive(Clone, Copy, Debug, Default)]
pub struct Size {
    pub min: Option<u64>,
    pub max: Option<u64>,
}

/// A schema at one place of an object.
#[derive(Clone, Debug)]
pub struct Node {
    pub kind: Kind,
    pub nullable: bool,
    pub properties: BTreeMap<String, Node>,
    pub additional: Additional,
    pub items: Option<Box<Node>>,
    pub default: Option<Value>,
    /// Unknown fields stay.
    pub preserve: bool,
    /// A whole object of the API.
    pub embedded: bool,
    pub list: ListKind,
    /// Whether the list says how it is shared.
    pub list_typed: bool,
    /// Replaced as a whole by server-side apply.
    pub atomic: bool,
    pub required: Vec<String>,
    pub allowed: Vec<Value>,
    pub pattern: Option<Regex>,
    pub format: String,
    pub minimum: Option<f64>,
    pub maximum: Option<f64>,
    pub exclusive_minimum: bool,
    pub exclusive_maximum: bool,
    pub multiple_of: Option<f64>,
    pub length: Size,
    pub items_count: Size,
    pub properties_count: Size,
    pub all_of: Vec<Node>,
    pub any_of: Vec<Node>,
    pub one_of: Vec<Node>,
    pub not: Option<Box<Node>>,
}

impl Node {
    /// Reads a `JSONSchemaProps`. The error says what is wrong with it; a stored one has been checked before.
    pub fn parse(schema: &Value) -> Result<Node, String> {
        parse(schema, 0)
    }

    /// A schema that says nothing: everything is kept.
    pub fn open() -> Node {
        let schema = serde_json::json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        Node::parse(&schema).unwrap_or_else(|reason| panic!("the empty schema is broken: {reason}"))
    }

    /// The schema of a field or key.
    pub(crate) fn child(&self, key: &str) -> Option<&Node> {
        self.properties.get(key).or(match &self.additional {
            Additional::Values(node) => Some(node),
            Additional::Nothing | Additional::Anything => None,
        })
    }

    /// Whether anything in it has a default.
    pub fn has_defaults(&self) -> bool {
        let below = match &self.additional {
            Additional::Values(node) => node.has_defaults(),
            _ => false,
        };
        self.default.is_some()
            || below
            || self.properties.values().any(Node::has_defaults)
            || self.items.as_ref().is_some_and(|items| items.has_defaults())
    }

    /// The schema at a path of fields, as `.spec.replicas` without the first dot.
    pub fn at(&self, path: &str) -> Option<&Node> {
        path.split('.').try_fold(self, |node, step| node.properties.get(step))
    }
}

/// Whether a `JSONSchemaProps` has CEL rules anywhere.
pub fn has_rules(schema: &Value) -> bool {
    match schema {
        Value::Object(map) => map.iter().any(|(key, value)| match key.as_str() {
            "x-kubernetes-validations" => value.as_array().is_some_and(|rules| !rules.is_empty()),
            "default" | "enum" | "example" => false,
            _ => has_rules(value),
        }),
        Value::Array(items) => items.iter().any(has_rules),
        _ => false,
    }
}

fn parse(schema: &Value, depth: usize) -> Result<Node, String> {
    if depth > DEPTH_MAX {
        return Err(format!("nests deeper than {DEPTH_MAX}"));
    }
    let one = |key: &str| schema.get(key).filter(|value| !value.is_null());
    let flag = |key: &str| one(key).and_then(Value::as_bool).unwrap_or(false);
    let text = |key: &str| one(key).and_then(Value::as_str).unwrap_or_default();
    let number = |key: &str| one(key).and_then(Value::as_f64);
    let size = |kind: &str| Size {
        min: one(&format!("min{kind}")).and_then(Value::as_u64),
        max: one(&format!("max{kind}")).and_then(Value::as_u64),
    };
    let list = |key: &str| one(key).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let nodes =
        |key: &str| -> Result<Vec<Node>, String> { list(key).iter().map(|schema| parse(schema, depth + 1)).collect() };
    let boxed = |key: &str| -> Result<Option<Box<Node>>, String> {
        one(key)
            .map(|schema| parse(schema, depth + 1).map(Box::new))
            .transpose()
    };
    let mut properties = BTreeMap::new();
    for (name, schema) in one("properties").and_then(Value::as_object).into_iter().flatten() {
        properties.insert(name.clone(), parse(schema, depth + 1)?);
    }
    let keys = list("x-kubernetes-list-map-keys").iter().filter_map(Value::as_str);
    Ok(Node {
        kind: kind(text("type"), flag("x-kubernetes-int-or-string"))?,
        nullable: flag("nullable"),
        properties,
        additional: match one("additionalProperties") {
            None | Some(Value::Bool(false)) => Additional::Nothing,
            Some(Value::Bool(true)) => Additional::Anything,
            Some(schema) => Additional::Values(Box::new(parse(schema, depth + 1)?)),
        },
        items: boxed("items")?,
        default: one("default").cloned(),
        preserve: flag("x-kubernetes-preserve-unknown-fields"),
        embedded: flag("x-kubernetes-embedded-resource"),
        list: match text("x-kubernetes-list-type") {
            "set" => ListKind::Set,
            "map" => ListKind::Map(keys.map(|key| key.to_owned().into()).collect()),
            _ => ListKind::Atomic,
        },
        list_typed: !text("x-kubernetes-list-type").is_empty(),
        atomic: text("x-kubernetes-map-type") == "atomic",
        required: list("required")
            .iter()
            .filter_map(|name| Some(name.as_str()?.to_owned()))
            .collect(),
        allowed: list("enum").to_vec(),
        pattern: one("pattern")
            .and_then(Value::as_str)
            .filter(|p| !p.is_empty())
            .map(regex)
            .transpose()?,
        format: text("format").to_owned(),
        minimum: number("minimum"),
        maximum: number("maximum"),
        exclusive_minimum: flag("exclusiveMinimum"),
        exclusive_maximum: flag("exclusiveMaximum"),
        multiple_of: number("multipleOf"),
        length: size("Length"),
        items_count: size("Items"),
        properties_count: size("Properties"),
        all_of: nodes("allOf")?,
        any_of: nodes("anyOf")?,
        one_of: nodes("oneOf")?,
        not: boxed("not")?,
    })
}

/// Patterns are Go's, whose language this engine shares.
pub(crate) fn regex(pattern: &str) -> Result<Regex, String> {
    Regex::new(pattern).map_err(|error| format!("{pattern:?} is no pattern: {error}"))
}

fn kind(name: &str, int_or_string: bool) -> Result<Kind, String> {
    Ok(match name {
        _ if int_or_string => Kind::IntOrString,
        "" => Kind::Any,
        "object" => Kind::Object,
        "array" => Kind::Array,
        "string" => Kind::String,
        "integer" => Kind::Integer,
        "number" => Kind::Number,
        "boolean" => Kind::Boolean,
        other => return Err(format!("{other:?} is no type")),
    })
}
