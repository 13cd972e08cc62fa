//! Whether a schema is one that custom resources may have, said with upstream's field paths and words.

use super::Node;
use serde_json::{Map, Value};

/// What may not be used at all, and why.
const UNSUPPORTED: &[&str] = &[
    "$ref",
    "id",
    "additionalItems",
    "patternProperties",
    "definitions",
    "dependencies",
];
/// What only the structure may say, never an alternative.
const STRUCTURE_ONLY: &[(&str, &str)] = &[
    ("type", "must be empty to be structural"),
    ("title", "must be empty to be structural"),
    ("description", "must be empty to be structural"),
    ("default", "must be undefined to be structural"),
    ("nullable", "must be false to be structural"),
    ("additionalProperties", "must be undefined to be structural"),
    (
        "x-kubernetes-preserve-unknown-fields",
        "must be undefined to be structural",
    ),
    ("x-kubernetes-embedded-resource", "must be false to be structural"),
    ("x-kubernetes-int-or-string", "must be false to be structural"),
    ("x-kubernetes-list-type", "must be undefined to be structural"),
    ("x-kubernetes-list-map-keys", "must be empty to be structural"),
    ("x-kubernetes-map-type", "must be undefined to be structural"),
];
const TYPES: &[&str] = &["array", "boolean", "integer", "number", "object", "string"];
/// How deep a schema may nest.
const DEPTH_MAX: usize = 90;

/// Something wrong with a schema.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// `properties[spec].type`, to be put behind the schema's own path.
    pub path: String,
    pub fault: RuleFault,
}

/// How it is wrong.
#[derive(Clone, Debug, PartialEq)]
pub enum RuleFault {
    Required(String),
    Forbidden(String),
    Invalid(Value, String),
    NotSupported(Value, Vec<&'static str>),
}

/// What is wrong with the schema (a `JSONSchemaProps`) of a version.
pub fn problems(schema: &Value) -> Vec<Rule> {
    let mut found = Vec::new();
    let kind = text(schema, "type");
    if kind.is_empty() {
        push(&mut found, "type", required("must not be empty at the root"));
    } else if kind != "object" {
        push(
            &mut found,
            "type",
            RuleFault::Invalid(kind.into(), "must be object at the root".into()),
        );
    }
    if let Some(metadata) = schema
        .get("properties")
        .and_then(|properties| properties.get("metadata"))
    {
        restricted(metadata, &mut found);
    }
    let walk = Walk { depth: 0 };
    walk.node(schema, "", Place::Root, &mut found);
    // What the rules above do not see (a pattern, above all) shows when it is compiled.
    if found.is_empty()
        && let Err(reason) = Node::parse(schema)
    {
        push(&mut found, "", RuleFault::Invalid("".into(), reason));
    }
    found
}

/// Of the metadata only names may be narrowed.
fn restricted(metadata: &Value, found: &mut Vec<Rule>) {
    let fields = metadata.get("properties").and_then(Value::as_object);
    let odd = fields.is_some_and(|fields| {
        fields
            .keys()
            .any(|key| !matches!(key.as_str(), "name" | "generateName"))
    });
    if odd {
        let detail = "must not specify anything other than name and generateName, but metadata is implicitly specified";
        push(found, "properties[metadata]", RuleFault::Forbidden(detail.into()));
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Place {
    Root,
    Field,
    Item,
}

#[derive(Clone, Copy)]
struct Walk {
    depth: usize,
}

impl Walk {
    /// One step of the structure.
    fn node(self, schema: &Value, path: &str, place: Place, found: &mut Vec<Rule>) {
        if self.depth > DEPTH_MAX {
            push(
                found,
                path,
                RuleFault::Forbidden(format!("nests deeper than {DEPTH_MAX}")),
            );
            return;
        }
        let below = Walk { depth: self.depth + 1 };
        self.kind(schema, path, place, found);
        unsupported(schema, path, found);
        sharing(schema, path, found);
        embedded(schema, path, found);
        default(schema, path, found);
        pattern(schema, path, found);
        let (properties, additional) = (schema.get("properties"), schema.get("additionalProperties"));
        let fields = properties.and_then(Value::as_object);
        for (name, schema) in fields.into_iter().flatten() {
            below.node(
                schema,
                &format!("{}properties[{name}]", dotted(path)),
                Place::Field,
                found,
            );
        }
        match additional {
            Some(Value::Bool(false)) => {
                let detail = "additionalProperties cannot be set to false";
                at(found, path, "additionalProperties", RuleFault::Forbidden(detail.into()));
            }
            Some(_) if fields.is_some_and(|fields| !fields.is_empty()) => {
                let detail = "additionalProperties and properties are mutual exclusive";
                at(found, path, "additionalProperties", RuleFault::Forbidden(detail.into()));
            }
            Some(schema @ Value::Object(_)) => {
                below.node(
                    schema,
                    &format!("{}additionalProperties", dotted(path)),
                    Place::Field,
                    found,
                );
            }
            _ => {}
        }
        match schema.get("items") {
            Some(items @ Value::Object(_)) => {
                below.node(items, &format!("{}items", dotted(path)), Place::Item, found);
            }
            Some(Value::Array(_)) => {
                let detail = "items must be a schema object and not an array";
                at(found, path, "items", RuleFault::Forbidden(detail.into()));
            }
            _ if text(schema, "type") == "array" => at(found, path, "items", required("must be specified")),
            _ => {}
        }
        for (key, alternative, suffix) in alternatives(schema) {
            let int_or_string = flag(schema, "x-kubernetes-int-or-string");
            below.narrowing(
                alternative,
                schema,
                &format!("{}{key}{suffix}", dotted(path)),
                int_or_string,
                found,
            );
        }
    }

    fn kind(self, schema: &Value, path: &str, place: Place, found: &mut Vec<Rule>) {
        let kind = text(schema, "type");
        let free = flag(schema, "x-kubernetes-int-or-string") || flag(schema, "x-kubernetes-preserve-unknown-fields");
        if flag(schema, "x-kubernetes-int-or-string") && !kind.is_empty() {
            let detail = "must be empty if x-kubernetes-int-or-string is true";
            at(found, path, "type", RuleFault::Forbidden(detail.into()));
        } else if kind == "null" {
            let detail = "type cannot be set to null, use nullable as an alternative";
            at(found, path, "type", RuleFault::Forbidden(detail.into()));
        } else if !kind.is_empty() && !TYPES.contains(&kind) {
            at(
                found,
                path,
                "type",
                RuleFault::NotSupported(kind.into(), TYPES.to_vec()),
            );
        }
        if kind.is_empty() && !free && place != Place::Root {
            let what = if place == Place::Item {
                "array items"
            } else {
                "object fields"
            };
            at(
                found,
                path,
                "type",
                required(&format!("must not be empty for specified {what}")),
            );
        }
        if schema.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(false)) {
            let detail = "must be true or undefined".to_owned();
            at(
                found,
                path,
                "x-kubernetes-preserve-unknown-fields",
                RuleFault::Invalid(false.into(), detail),
            );
        }
    }

    /// Below an alternative: values only, and only of fields that the structure has.
    fn narrowing(self, schema: &Value, structure: &Value, path: &str, int_or_string: bool, found: &mut Vec<Rule>) {
        if self.depth > DEPTH_MAX {
            push(
                found,
                path,
                RuleFault::Forbidden(format!("nests deeper than {DEPTH_MAX}")),
            );
            return;
        }
        let below = Walk { depth: self.depth + 1 };
        for (key, detail) in STRUCTURE_ONLY {
            let given = schema.get(*key).is_some_and(|value| !is_empty(value));
            // `anyOf: [{type: integer}, {type: string}]` is how int-or-string is documented.
            if given && !(int_or_string && *key == "type") {
                at(found, path, key, RuleFault::Forbidden((*detail).into()));
            }
        }
        unsupported(schema, path, found);
        pattern(schema, path, found);
        let known = structure.get("properties");
        let values = structure
            .get("additionalProperties")
            .filter(|schema| schema.is_object());
        for (name, inner) in schema
            .get("properties")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            let path = format!("{}properties[{name}]", dotted(path));
            match known.and_then(|known| known.get(name)).or(values) {
                Some(structure) => {
                    let loose = flag(structure, "x-kubernetes-int-or-string");
                    below.narrowing(inner, structure, &path, loose, found);
                }
                None if flag(structure, "x-kubernetes-preserve-unknown-fields") && known.is_none() => {}
                None => {
                    let name = format!("properties[{name}]");
                    push(found, &name, required(&format!("because it is defined in {path}")));
                }
            }
        }
        if let (Some(inner), Some(structure)) = (schema.get("items"), structure.get("items")) {
            let loose = flag(structure, "x-kubernetes-int-or-string");
            below.narrowing(inner, structure, &format!("{}items", dotted(path)), loose, found);
        }
        for (key, alternative, suffix) in alternatives(schema) {
            let path = format!("{}{key}{suffix}", dotted(path));
            below.narrowing(alternative, structure, &path, int_or_string, found);
        }
    }
}

/// The alternatives of a schema: key, schema, and the index for the path.
fn alternatives(schema: &Value) -> Vec<(&'static str, &Value, String)> {
    let mut all = Vec::new();
    for key in ["allOf", "anyOf", "oneOf"] {
        let list = schema.get(key).and_then(Value::as_array).into_iter().flatten();
        all.extend(
            list.enumerate()
                .map(|(index, schema)| (key, schema, format!("[{index}]"))),
        );
    }
    all.extend(schema.get("not").map(|schema| ("not", schema, String::new())));
    all
}

fn unsupported(schema: &Value, path: &str, found: &mut Vec<Rule>) {
    for key in UNSUPPORTED {
        if schema.get(*key).is_some_and(|value| !is_empty(value)) {
            at(
                found,
                path,
                key,
                RuleFault::Forbidden(format!("{key} is not supported")),
            );
        }
    }
    if flag(schema, "uniqueItems") {
        let detail = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        at(found, path, "uniqueItems", RuleFault::Forbidden(detail.into()));
    }
}

fn sharing(schema: &Value, path: &str, found: &mut Vec<Rule>) {
    const LIST: &str = "x-kubernetes-list-type";
    const KEYS: &str = "x-kubernetes-list-map-keys";
    const MAP: &str = "x-kubernetes-map-type";
    let (list, map, kind) = (text(schema, LIST), text(schema, MAP), text(schema, "type"));
    let keys = schema
        .get(KEYS)
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice);
    if !matches!(list, "" | "atomic" | "set" | "map") {
        at(
            found,
            path,
            LIST,
            RuleFault::NotSupported(list.into(), vec!["atomic", "map", "set"]),
        );
    }
    if !list.is_empty() && kind != "array" {
        let detail = format!("must be array if {LIST} is specified");
        at(
            found,
            path,
            "type",
            match kind {
                "" => RuleFault::Required(detail),
                kind => RuleFault::Invalid(kind.into(), detail),
            },
        );
    }
    if !matches!(map, "" | "atomic" | "granular") {
        at(
            found,
            path,
            MAP,
            RuleFault::NotSupported(map.into(), vec!["atomic", "granular"]),
        );
    }
    if !map.is_empty() && kind != "object" {
        let detail = format!("must be object if {MAP} is specified");
        at(found, path, "type", RuleFault::Invalid(kind.into(), detail));
    }
    if list == "map" && keys.is_empty() {
        at(
            found,
            path,
            KEYS,
            required(&format!("must not be empty if {LIST} is map")),
        );
    }
    if list != "map" && !keys.is_empty() {
        let detail = format!("must be map if {KEYS} is non-empty");
        at(
            found,
            path,
            LIST,
            match list {
                "" => RuleFault::Required(detail),
                list => RuleFault::Invalid(list.into(), detail),
            },
        );
    }
    if list == "map" {
        keyed(schema, keys, path, found);
    }
}

fn keyed(schema: &Value, keys: &[Value], path: &str, found: &mut Vec<Rule>) {
    let empty = Value::Null;
    let items = schema.get("items").unwrap_or(&empty);
    let required_fields = items
        .get("required")
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice);
    for (index, key) in keys.iter().enumerate() {
        let name = key.as_str().unwrap_or_default();
        match items.get("properties").and_then(|properties| properties.get(name)) {
            None => {
                let detail = "entries must all be names of item properties".to_owned();
                let place = format!("x-kubernetes-list-map-keys[{index}]");
                at(found, path, &place, RuleFault::Invalid(key.clone(), detail));
            }
            Some(property) if property.get("default").is_none() && !required_fields.contains(key) => {
                let detail = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
                let place = format!("items.properties[{name}].default");
                at(found, path, &place, required(detail));
            }
            Some(_) => {}
        }
    }
}

fn embedded(schema: &Value, path: &str, found: &mut Vec<Rule>) {
    if !flag(schema, "x-kubernetes-embedded-resource") {
        return;
    }
    let kind = text(schema, "type");
    if kind != "object" {
        let detail = "must be object if x-kubernetes-embedded-resource is true";
        at(
            found,
            path,
            "type",
            match kind {
                "" => required(detail),
                kind => RuleFault::Invalid(kind.into(), detail.into()),
            },
        );
    }
    let fields = schema
        .get("properties")
        .and_then(Value::as_object)
        .is_some_and(|fields| !fields.is_empty());
    if !fields && !flag(schema, "x-kubernetes-preserve-unknown-fields") {
        let detail =
            "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields";
        at(found, path, "properties", required(detail));
    }
}

/// A default is a value that the schema itself would take as it is.
fn default(schema: &Value, path: &str, found: &mut Vec<Rule>) {
    let Some(default) = schema.get("default").filter(|value| !value.is_null()) else {
        return;
    };
    let Ok(node) = Node::parse(schema) else { return };
    let mut pruned = default.clone();
    if !node.prune(&mut pruned).is_empty() {
        let detail = "must not have unknown fields".to_owned();
        at(found, path, "default", RuleFault::Invalid(default.clone(), detail));
        return;
    }
    node.fill(&mut pruned);
    for problem in node.check(&pruned, None) {
        let place = match problem.path.as_str() {
            "" => "default".to_owned(),
            inner => format!("default.{inner}"),
        };
        let fault = match problem.fault {
            super::Fault::Required { detail } => RuleFault::Required(detail),
            super::Fault::NotSupported { value, .. } => RuleFault::Invalid(value, "is not one of the enum".into()),
            super::Fault::Type { detail, .. } | super::Fault::Invalid { detail, .. } => {
                RuleFault::Invalid(default.clone(), detail.trim_start().to_owned())
            }
            super::Fault::TooLong { max } => {
                RuleFault::Invalid(default.clone(), format!("may not be longer than {max}"))
            }
            super::Fault::TooMany { max, .. } => {
                RuleFault::Invalid(default.clone(), format!("must have at most {max} items"))
            }
            super::Fault::Duplicate { value } => RuleFault::Invalid(value, "is there twice".into()),
        };
        at(found, path, &place, fault);
    }
}

fn pattern(schema: &Value, path: &str, found: &mut Vec<Rule>) {
    let pattern = text(schema, "pattern");
    if !pattern.is_empty()
        && let Err(reason) = super::regex(pattern)
    {
        let detail = format!("must be a valid regular expression, but isn't: {reason}");
        at(found, path, "pattern", RuleFault::Invalid(pattern.into(), detail));
    }
}

fn required(detail: &str) -> RuleFault {
    RuleFault::Required(detail.to_owned())
}

fn push(found: &mut Vec<Rule>, path: &str, fault: RuleFault) {
    let path = path.to_owned();
    found.push(Rule { path, fault });
}

fn at(found: &mut Vec<Rule>, path: &str, key: &str, fault: RuleFault) {
    push(found, &format!("{}{key}", dotted(path)), fault);
}

fn dotted(path: &str) -> String {
    match path {
        "" => String::new(),
        path => format!("{path}."),
    }
}

fn text<'a>(schema: &'a Value, key: &str) -> &'a str {
    schema.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn flag(schema: &Value, key: &str) -> bool {
    schema.get(key).and_then(Value::as_bool).unwrap_or_default()
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => Map::is_empty(map),
        _ => false,
    }
}
