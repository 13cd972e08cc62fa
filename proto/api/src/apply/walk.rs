//! The walks over a value and its schema.

use super::set::Set;
use crate::schema::{Field, Form, ListKind, Schema, Type};
use serde_json::{Map, Value};
use std::borrow::Cow;

/// How a value is owned.
#[derive(Clone, Copy)]
enum Shape<'r> {
    /// As a whole.
    Leaf,
    /// Field by field.
    Struct(Schema<'r>),
    /// Key by key.
    Map(Schema<'r>, &'r Type),
    /// Element by element, each its own key.
    Set,
    /// Field by field as far as there are any, or else as a whole.
    Unknown,
    /// Element by element, by these fields.
    Keyed(Schema<'r>, &'r Type, &'r [Cow<'static, str>]),
}

/// `schema` is where references resolve.
fn shape<'r>(schema: Schema<'r>, r#type: &'r Type, field: Option<&'r Field>) -> Shape<'r> {
    let atomic = field.is_some_and(|field| field.atomic);
    match r#type {
        _ if atomic => Shape::Leaf,
        Type::Ref(id) => whole(schema.registry.get(*id)),
        Type::Map(inner) => Shape::Map(schema, inner),
        Type::List(inner) => match field.map(|field| &field.list) {
            Some(ListKind::Set) => Shape::Set,
            Some(ListKind::Map(keys)) => Shape::Keyed(schema, inner, keys),
            _ => Shape::Leaf,
        },
        _ => Shape::Leaf,
    }
}

fn whole(schema: Schema<'_>) -> Shape<'_> {
    match schema.definition.form {
        Form::Struct if !schema.definition.atomic => Shape::Struct(schema),
        Form::Unknown => Shape::Unknown,
        _ => Shape::Leaf,
    }
}

impl<'r> Shape<'r> {
    /// The shape of what is below a field or key; `None` for a field that the schema lacks.
    fn child(self, key: &str) -> Shape<'r> {
        match self {
            Shape::Struct(schema) => match schema.field(key) {
                Some(field) => shape(schema, &field.r#type, Some(field)),
                None if schema.definition.open => Shape::Unknown,
                None => Shape::Leaf,
            },
            Shape::Unknown => Shape::Unknown,
            Shape::Map(schema, inner) | Shape::Keyed(schema, inner, _) => shape(schema, inner, None),
            Shape::Leaf | Shape::Set => Shape::Leaf,
        }
    }

    fn element(self) -> Shape<'r> {
        self.child("")
    }

    /// The path element of a list's element.
    fn name(self, element: &Value) -> Option<String> {
        let Shape::Keyed(schema, inner, keys) = self else {
            return Some(format!("v:{element}"));
        };
        let defaults = schema.follow(inner);
        let mut found = Map::new();
        for key in keys {
            let default = || defaults.and_then(|schema| schema.field(key)?.default.clone());
            if let Some(value) = element.get(key.as_ref()).cloned().or_else(default) {
                found.insert(key.to_string(), value);
            }
        }
        (!found.is_empty()).then(|| format!("k:{}", Value::Object(found)))
    }

    /// The elements of a list by name; `None` when two have the same, or one has none: then the list is one value.
    fn names(self, value: Option<&'r Value>) -> Option<Vec<(String, &'r Value)>> {
        let elements = value.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let mut named: Vec<(String, &Value)> = Vec::with_capacity(elements.len());
        for element in elements {
            named.push((self.name(element)?, element));
        }
        let mut sorted: Vec<&str> = named.iter().map(|(name, _)| name.as_str()).collect();
        sorted.sort_unstable();
        sorted.windows(2).all(|pair| pair[0] != pair[1]).then_some(named)
    }

    fn is_list(self) -> bool {
        matches!(self, Shape::Set | Shape::Keyed(..))
    }

    /// What is unknown shows in a value whether it has fields.
    fn seen(self, value: Option<&Value>) -> Shape<'r> {
        match self {
            Shape::Unknown if !value.is_some_and(Value::is_object) => Shape::Leaf,
            shape => shape,
        }
    }
}

fn field(name: &str) -> String {
    format!("f:{name}")
}

fn entries(value: Option<&Value>) -> impl Iterator<Item = (&String, &Value)> {
    value.and_then(Value::as_object).into_iter().flatten()
}

/// The fields that a value has.
pub(super) fn paths(schema: Schema<'_>, value: &Value) -> Set {
    let mut set = Set::default();
    paths_below(whole(schema), value, &mut set);
    set
}

fn paths_below(shape: Shape<'_>, value: &Value, set: &mut Set) {
    if shape.is_list() {
        for (name, element) in shape.names(Some(value)).unwrap_or_default() {
            set.insert(name.clone());
            let mut below = Set::default();
            paths_below(shape.element(), element, &mut below);
            set.put(name, below);
        }
        return;
    }
    for (key, value) in entries(Some(value)) {
        let child = shape.child(key).seen(Some(value));
        let empty = value.is_null() || value.as_object().is_some_and(Map::is_empty);
        let whole = matches!(child, Shape::Leaf) || child.is_list() && child.names(Some(value)).is_none();
        if whole || empty || matches!(shape, Shape::Map(..) | Shape::Unknown) {
            set.insert(field(key));
        }
        if !whole {
            let mut below = Set::default();
            paths_below(child, value, &mut below);
            set.put(field(key), below);
        }
    }
}

/// What two values differ in.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) added: Set,
    pub(super) modified: Set,
    pub(super) removed: Set,
}

impl Changes {
    pub(super) fn is_empty(&self) -> bool {
        self.added.is_empty() && self.modified.is_empty() && self.removed.is_empty()
    }

    /// What the second value says anew.
    pub(super) fn written(&self) -> Set {
        let mut set = self.added.clone();
        set.unite(&self.modified);
        set
    }

    fn put(&mut self, name: String, below: Changes) {
        self.added.put(name.clone(), below.added);
        self.modified.put(name.clone(), below.modified);
        self.removed.put(name, below.removed);
    }
}

/// Compares two values of a kind; null is none.
pub(super) fn compare(schema: Schema<'_>, old: &Value, new: &Value) -> Changes {
    let mut changes = Changes::default();
    compare_below(whole(schema), Some(old), Some(new), &mut changes);
    changes
}

fn compare_below<'r>(shape: Shape<'r>, old: Option<&'r Value>, new: Option<&'r Value>, changes: &mut Changes) {
    if shape.is_list() {
        let olds = shape.names(old).unwrap_or_default();
        let news = shape.names(new).unwrap_or_default();
        for (name, value) in &olds {
            let other = news.iter().find(|(other, _)| other == name).map(|(_, value)| *value);
            one(name.clone(), shape.element(), Some(*value), other, changes);
        }
        for (name, value) in news {
            if !olds.iter().any(|(other, _)| *other == name) {
                one(name, shape.element(), None, Some(value), changes);
            }
        }
        return;
    }
    for (key, value) in entries(old) {
        let other = new.and_then(|new| new.get(key));
        one(field(key), shape.child(key), Some(value), other, changes);
    }
    for (key, value) in entries(new) {
        if old.and_then(|old| old.get(key)).is_none() {
            one(field(key), shape.child(key), None, Some(value), changes);
        }
    }
}

/// One path element that at least one of the values has.
fn one<'r>(name: String, shape: Shape<'r>, old: Option<&'r Value>, new: Option<&'r Value>, changes: &mut Changes) {
    if old == new {
        return;
    }
    match (old, new) {
        (None, _) => changes.added.insert(name.clone()),
        (_, None) => changes.removed.insert(name.clone()),
        _ => {}
    }
    let shape = match (old, new) {
        (Some(_), Some(_)) => shape.seen(old).seen(new),
        (only, None) | (None, only) => shape.seen(only),
    };
    let list = shape.is_list() && shape.names(old).is_some() && shape.names(new).is_some();
    match shape {
        Shape::Leaf => {}
        _ if !list && shape.is_list() => {}
        _ => {
            let mut below = Changes::default();
            compare_below(shape, old, new, &mut below);
            changes.put(name, below);
            return;
        }
    }
    if old.is_some() && new.is_some() {
        changes.modified.insert(name);
    }
}

/// The first value with the second laid over it.
pub(super) fn merge(schema: Schema<'_>, live: &Value, config: &Value) -> Value {
    merge_below(whole(schema), Some(live), config)
}

fn merge_below(shape: Shape<'_>, live: Option<&Value>, config: &Value) -> Value {
    match (shape, live, config) {
        (Shape::Struct(_) | Shape::Map(..) | Shape::Unknown, Some(Value::Object(live)), Value::Object(config)) => {
            let mut merged = live.clone();
            for (key, value) in config {
                let value = merge_below(shape.child(key), live.get(key), value);
                merged.insert(key.clone(), value);
            }
            Value::Object(merged)
        }
        (Shape::Set | Shape::Keyed(..), Some(live), config) => merge_lists(shape, live, config),
        _ => config.clone(),
    }
}

/// The elements of both: shared ones in the order of the configuration, others where they stood.
fn merge_lists(shape: Shape<'_>, live: &Value, config: &Value) -> Value {
    let (Some(live), Some(config_elements)) = (shape.names(Some(live)), shape.names(Some(config))) else {
        return config.clone();
    };
    let find = |list: &[(String, &Value)], name: &str| list.iter().position(|(other, _)| other == name);
    let mut merged = Vec::with_capacity(live.len() + config_elements.len());
    let mut wanted = config_elements.iter();
    let take = |merged: &mut Vec<Value>, name: &str, value: &Value| {
        let old = find(&live, name).map(|index| live[index].1);
        merged.push(merge_below(shape.element(), old, value));
    };
    for (name, value) in &live {
        if find(&config_elements, name).is_none() {
            merged.push((*value).clone());
            continue;
        }
        // Everything new before the next shared one, and that one.
        for (name, value) in wanted.by_ref() {
            take(&mut merged, name, value);
            if find(&live, name).is_some() {
                break;
            }
        }
    }
    for (name, value) in wanted {
        take(&mut merged, name, value);
    }
    Value::Array(merged)
}

/// The value without the members of a set; containers that lost everything go too.
pub(super) fn remove(schema: Schema<'_>, value: &Value, set: &Set) -> Value {
    remove_below(whole(schema), value, set).unwrap_or(Value::Object(Map::new()))
}

fn remove_below(shape: Shape<'_>, value: &Value, set: &Set) -> Option<Value> {
    let keep = |name: &str, child: Shape<'_>, value: &Value| match (set.has(name), set.below(name)) {
        (true, _) => None,
        (false, Some(below)) => remove_below(child, value, below),
        (false, None) => Some(value.clone()),
    };
    match (shape, value) {
        (Shape::Leaf, _) => Some(value.clone()),
        (Shape::Set | Shape::Keyed(..), Value::Array(_)) => {
            let Some(named) = shape.names(Some(value)) else {
                return Some(value.clone());
            };
            let kept = named.into_iter();
            let kept: Vec<Value> = kept
                .filter_map(|(name, element)| keep(&name, shape.element(), element))
                .collect();
            (!kept.is_empty()).then_some(Value::Array(kept))
        }
        (_, Value::Object(map)) => {
            let kept = map.iter();
            let kept: Map<String, Value> = kept
                .filter_map(|(key, value)| Some((key.clone(), keep(&field(key), shape.child(key), value)?)))
                .collect();
            (!kept.is_empty()).then_some(Value::Object(kept))
        }
        _ => Some(value.clone()),
    }
}

/// The set with every struct field that has members below it a member too.
pub(super) fn with_containers(schema: Schema<'_>, set: &Set) -> Set {
    containers_below(whole(schema), set)
}

fn containers_below(shape: Shape<'_>, set: &Set) -> Set {
    let mut full = Set::default();
    for (element, member, below) in set.elements() {
        let name = element.strip_prefix("f:");
        let is_field = match (shape, name) {
            (Shape::Struct(schema), Some(name)) => schema.field(name).is_some(),
            _ => false,
        };
        if member || is_field {
            full.insert(element.to_string());
        }
        let child = name.map_or_else(|| shape.element(), |name| shape.child(name));
        full.put(element.to_string(), containers_below(child, below));
    }
    full
}
