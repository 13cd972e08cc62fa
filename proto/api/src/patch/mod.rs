//! Patches as pure functions.
//!
//! A JSON merge patch (RFC 7386) merges objects and replaces everything else. A strategic merge patch also merges lists
//! whose schema declares a merge key, and carries directives:
//!
//! | directive | in | meaning |
//! |---|---|---|
//! | `$patch: replace` | object, list element | what is there is replaced by the rest of the patch |
//! | `$patch: delete` | object, list element | what is there is emptied; the matching element is removed |
//! | `$patch: merge` | object | the default, said aloud |
//! | `$retainKeys: [..]` | object | keys of the object that are not named are removed |
//! | `$deleteFromPrimitiveList/f: [..]` | object | values are removed from the list of scalars `f` |
//! | `$setElementOrder/f: [..]` | object | the elements of `f` are put in this order |
//!
//! Promise: no directive and no null from a patch is left in the result. Left out: JSON patch (RFC 6902; a crate does it)
//! and server-side apply.

mod lists;
mod order;

use crate::error::PatchError;
use crate::schema::{Field, Form, Schema, Type};
use lists::{merge_list, remove_values};
use order::reorder;
use serde_json::{Map, Value};

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_PREFIX: &str = "$deleteFromPrimitiveList/";
const ORDER_PREFIX: &str = "$setElementOrder/";

type Object = Map<String, Value>;

/// Applies a JSON merge patch.
pub fn merge_patch(current: Value, patch: Value) -> Value {
    let Value::Object(patch) = patch else {
        return patch;
    };
    let mut merged = match current {
        Value::Object(map) => map,
        _ => Map::new(),
    };
    for (key, value) in patch {
        if value.is_null() {
            merged.remove(&key);
        } else {
            let old = merged.remove(&key).unwrap_or(Value::Null);
            merged.insert(key, merge_patch(old, value));
        }
    }
    Value::Object(merged)
}

/// Applies a strategic merge patch to an object of that schema.
pub fn strategic_merge(schema: Schema<'_>, current: Value, patch: Value) -> Result<Value, PatchError> {
    let Value::Object(patch) = patch else {
        return Err(PatchError::Invalid(
            "a strategic merge patch must be an object".to_string(),
        ));
    };
    let current = match current {
        Value::Object(map) => map,
        _ => Map::new(),
    };
    merge_object(Shape::Struct(schema), current, patch).map(Value::Object)
}

/// What is known about an object while it is merged.
#[derive(Clone, Copy)]
enum Shape<'r> {
    /// Fields are known.
    Struct(Schema<'r>),
    /// Keys are data; values have this type.
    Map(Schema<'r>, &'r Type),
    /// Outside the schema: objects merge, lists are replaced.
    Unknown,
}

impl<'r> Shape<'r> {
    fn of(owner: Schema<'r>, r#type: &'r Type) -> Shape<'r> {
        match (r#type, owner.follow(r#type)) {
            (_, Some(schema)) if schema.definition.form == Form::Struct => Shape::Struct(schema),
            (Type::Map(inner), _) => Shape::Map(owner, inner),
            _ => Shape::Unknown,
        }
    }

    fn field(&self, name: &str) -> Option<&'r Field> {
        match self {
            Shape::Struct(schema) => schema.field(name),
            _ => None,
        }
    }

    fn child(&self, name: &str) -> Shape<'r> {
        match *self {
            Shape::Struct(schema) => match schema.field(name) {
                Some(field) => Shape::of(schema, &field.r#type),
                None => Shape::Unknown,
            },
            Shape::Map(owner, inner) => Shape::of(owner, inner),
            Shape::Unknown => Shape::Unknown,
        }
    }

    fn element(&self, name: &str) -> Shape<'r> {
        match (self, self.field(name)) {
            (Shape::Struct(schema), Some(field)) => match &field.r#type {
                Type::List(inner) => Shape::of(*schema, inner),
                _ => Shape::Unknown,
            },
            _ => Shape::Unknown,
        }
    }
}

fn merge_object(shape: Shape<'_>, mut current: Object, mut patch: Object) -> Result<Object, PatchError> {
    match patch.remove(PATCH) {
        None => {}
        Some(directive) => match directive.as_str() {
            Some("merge") => {}
            Some("replace") => return Ok(clean_object(patch)),
            Some("delete") => return Ok(Map::new()),
            _ => return Err(PatchError::Invalid(format!("unknown patch type {directive} in map"))),
        },
    }
    retain_keys(&mut current, &mut patch)?;
    let (orders, mut patch): (Vec<_>, Object) = split(patch, ORDER_PREFIX);
    let mut originals = Vec::new();
    for (name, order) in &orders {
        check_order(shape, name, order, &patch)?;
        originals.push(current.get(name.as_str()).cloned());
    }
    let (deletions, rest) = split(std::mem::take(&mut patch), DELETE_PREFIX);
    for (name, value) in rest {
        merge_field(shape, &mut current, name, value)?;
    }
    for (name, values) in deletions {
        if let Some(Value::Array(list)) = current.get_mut(&name) {
            remove_values(list, &expect_list(&name, values)?);
        }
    }
    for ((name, order), original) in orders.into_iter().zip(originals) {
        let key = shape.field(&name).and_then(|field| field.merge_key.as_deref());
        if let Some(Value::Array(list)) = current.get_mut(&name) {
            let original = original
                .as_ref()
                .and_then(Value::as_array)
                .map(Vec::as_slice)
                .unwrap_or_default();
            *list = reorder(std::mem::take(list), &expect_list(&name, order)?, original, key);
        }
    }
    Ok(current)
}

/// Takes the directives with this prefix out of the patch, keyed by the field they are about.
fn split(patch: Object, prefix: &str) -> (Vec<(String, Value)>, Object) {
    let mut directives = Vec::new();
    let mut rest = Map::new();
    for (key, value) in patch {
        match key.strip_prefix(prefix) {
            Some(name) => directives.push((name.to_string(), value)),
            None => {
                rest.insert(key, value);
            }
        }
    }
    (directives, rest)
}

fn expect_list(name: &str, value: Value) -> Result<Vec<Value>, PatchError> {
    match value {
        Value::Array(items) => Ok(items),
        other => Err(PatchError::WrongType {
            path: name.to_string(),
            reason: format!("expected a list, found {other}"),
        }),
    }
}

fn retain_keys(current: &mut Object, patch: &mut Object) -> Result<(), PatchError> {
    let Some(directive) = patch.remove(RETAIN_KEYS) else {
        return Ok(());
    };
    let keys = expect_list(RETAIN_KEYS, directive)?;
    let retained = |name: &String| keys.iter().any(|key| key.as_str() == Some(name));
    let directive = |name: &str| name.starts_with(DELETE_PREFIX) || name.starts_with(ORDER_PREFIX);
    if let Some((name, _)) = patch
        .iter()
        .find(|(name, value)| !value.is_null() && !directive(name) && !retained(name))
    {
        return Err(PatchError::Invalid(format!(
            "{name} is patched but missing from its $retainKeys list"
        )));
    }
    current.retain(|name, _| retained(name));
    Ok(())
}

/// The elements that a patch gives must stand in the order that it asks for.
fn check_order(shape: Shape<'_>, name: &str, order: &Value, patch: &Object) -> Result<(), PatchError> {
    let order = order
        .as_array()
        .ok_or_else(|| PatchError::Invalid(format!("$setElementOrder/{name} is not a list")))?;
    let key = shape.field(name).and_then(|field| field.merge_key.as_deref());
    let identity = |item: &Value| match key {
        Some(key) if item.is_object() => item[key].clone(),
        _ => item.clone(),
    };
    let plain = |item: &&Value| item.get(PATCH).is_none();
    let given = patch
        .get(name)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter(plain);
    let mut rest = order.iter();
    for item in given {
        if !rest.any(|wanted| identity(wanted) == identity(item)) {
            return Err(PatchError::Invalid(format!(
                "the order in the patch list {name} does not match its $setElementOrder list"
            )));
        }
    }
    Ok(())
}

fn merge_field(shape: Shape<'_>, current: &mut Object, name: String, value: Value) -> Result<(), PatchError> {
    if value.is_null() {
        current.remove(&name);
        return Ok(());
    }
    let field = shape.field(&name);
    let merged = match (current.remove(&name), value) {
        (Some(Value::Object(old)), Value::Object(new)) => Value::Object(merge_object(shape.child(&name), old, new)?),
        (Some(Value::Array(old)), Value::Array(new)) => match field.filter(|field| field.patch_merge) {
            Some(field) => Value::Array(merge_list(shape.element(&name), field, old, new)?),
            None => Value::Array(new.into_iter().filter_map(clean).collect()),
        },
        (None, Value::Object(new)) => Value::Object(merge_object(shape.child(&name), Map::new(), new)?),
        (None, Value::Array(new)) => match field.filter(|field| field.patch_merge) {
            Some(field) => Value::Array(merge_list(shape.element(&name), field, Vec::new(), new)?),
            None => Value::Array(new.into_iter().filter_map(clean).collect()),
        },
        (_, new) => match clean(new) {
            Some(new) => new,
            None => return Ok(()),
        },
    };
    current.insert(name, merged);
    Ok(())
}

/// A new value without nulls and directives; `None` for a list element that says it is to be deleted.
fn clean(value: Value) -> Option<Value> {
    match value {
        Value::Object(map) if map.get(PATCH).and_then(Value::as_str) == Some("delete") => None,
        Value::Object(map) => Some(Value::Object(clean_object(map))),
        Value::Array(items) => Some(Value::Array(items.into_iter().filter_map(clean).collect())),
        Value::Null => None,
        scalar => Some(scalar),
    }
}

fn clean_object(map: Object) -> Object {
    let directive = |key: &str| {
        key == PATCH || key == RETAIN_KEYS || key.starts_with(DELETE_PREFIX) || key.starts_with(ORDER_PREFIX)
    };
    let kept = map.into_iter().filter(|(key, _)| !directive(key));
    kept.filter_map(|(key, value)| clean(value).map(|value| (key, value)))
        .collect()
}

#[cfg(test)]
mod tests;
