//! Merging one list: by key for objects, as a set for scalars.

use super::{Object, PATCH, Shape, clean_object, merge_object};
use crate::error::PatchError;
use crate::schema::Field;
use serde_json::{Map, Value};

pub fn merge_list(
    element: Shape<'_>,
    field: &Field,
    current: Vec<Value>,
    patch: Vec<Value>,
) -> Result<Vec<Value>, PatchError> {
    if patch.iter().chain(&current).all(|item| !item.is_object()) {
        return Ok(union(current, patch));
    }
    let Some(key) = field.merge_key.as_deref() else {
        return Err(PatchError::Invalid(format!(
            "cannot merge lists without merge key for {}",
            field.name
        )));
    };
    let patch = patch.into_iter().map(expect_object).collect::<Result<Vec<_>, _>>()?;
    let directive = |item: &Object| item.get(PATCH).and_then(Value::as_str).map(str::to_string);
    if patch.iter().any(|item| directive(item).as_deref() == Some("replace")) {
        let kept = patch.into_iter().filter(|item| directive(item).is_none());
        return Ok(kept.map(|item| Value::Object(clean_object(item))).collect());
    }
    let mut merged = current;
    for item in patch {
        let identity = identity(&item, key)?;
        match directive(&item).as_deref() {
            Some("delete") => merged.retain(|old| old.get(key) != Some(&identity)),
            None => merge_item(element, &mut merged, key, identity, item)?,
            Some(other) => {
                return Err(PatchError::Invalid(format!(
                    "unknown patch type {other:?} in list {}",
                    field.name
                )));
            }
        }
    }
    Ok(merged)
}

/// Removes each value wherever it stands.
pub fn remove_values(list: &mut Vec<Value>, values: &[Value]) {
    list.retain(|item| !values.contains(item));
}

fn union(current: Vec<Value>, patch: Vec<Value>) -> Vec<Value> {
    let mut merged: Vec<Value> = Vec::with_capacity(current.len() + patch.len());
    for item in current.into_iter().chain(patch) {
        if !merged.contains(&item) && !item.is_null() {
            merged.push(item);
        }
    }
    merged
}

fn expect_object(item: Value) -> Result<Object, PatchError> {
    match item {
        Value::Object(map) => Ok(map),
        other => Err(PatchError::Invalid(format!(
            "expected an object as element of a merged list, found {other}"
        ))),
    }
}

fn identity(item: &Object, key: &str) -> Result<Value, PatchError> {
    item.get(key).cloned().ok_or_else(|| PatchError::MissingMergeKey {
        element: Value::Object(item.clone()).to_string(),
        key: key.to_string(),
    })
}

fn merge_item(
    element: Shape<'_>,
    list: &mut Vec<Value>,
    key: &str,
    identity: Value,
    item: Object,
) -> Result<(), PatchError> {
    match list.iter_mut().find(|old| old.get(key) == Some(&identity)) {
        Some(slot) => {
            let old = match slot.take() {
                Value::Object(map) => map,
                _ => Map::new(),
            };
            *slot = Value::Object(merge_object(element, old, item)?);
        }
        None => list.push(Value::Object(merge_object(element, Map::new(), item)?)),
    }
    Ok(())
}
