//! ConfigMaps: keys that become file names, a size limit, and the promise of `immutable`.

use super::check::Errors;
use super::fields::{at, entries, flag, same};
use super::names;
use super::strategy::*;
use super::table::{AGE, NAME, age, column, name};
use crate::FieldError;
use serde_json::{Value, json};

/// The strategy of `configmaps`.
pub struct ConfigMaps;

/// The data of one object together, as upstream limits it.
pub(super) const DATA_BYTES_MAX: usize = 1024 * 1024;

/// How a problem of all fields together is addressed; without a field, `kubectl` would say `<nil>`.
const WHOLE_OBJECT: &str = "[]";

const COLUMNS: &[Column] = &[NAME, column("Data", "string", "How many keys it has."), AGE];

#[async_trait::async_trait]
impl Strategy for ConfigMaps {
    fn validate(&self, map: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        for (key, _) in entries(map, "binaryData") {
            if at(map, "data").is_some_and(|data| data.get(key).is_some()) {
                let detail = "duplicate of key present in data";
                errors.push(FieldError::invalid(format!("binaryData[{key}]"), &json!(key), detail));
            }
        }
        keys(&mut errors, map, "data");
        keys(&mut errors, map, "binaryData");
        size(&mut errors, map, &["data", "binaryData"]);
        errors
    }

    fn validate_update(&self, _subresource: &str, new: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = self.validate(new);
        immutable(&mut errors, new, old, &["data", "binaryData"]);
        errors
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, map: &Value, now: jiff::Timestamp) -> Cells {
        let count = entries(map, "data").count() + entries(map, "binaryData").count();
        vec![name(map), json!(count), age(map, now)]
    }
}

pub(super) fn keys(errors: &mut Errors, object: &Value, field: &str) {
    for (key, _) in entries(object, field) {
        if let Some(problem) = names::config_key(key) {
            errors.push(FieldError::invalid(format!("{field}[{key}]"), &json!(key), &problem));
        }
    }
}

pub(super) fn size(errors: &mut Errors, object: &Value, fields: &[&str]) {
    let values = fields.iter().flat_map(|field| entries(object, field));
    let total: usize = values.map(|(_, value)| value.as_str().map_or(0, str::len)).sum();
    if total > DATA_BYTES_MAX {
        errors.push(FieldError::too_long(WHOLE_OBJECT, DATA_BYTES_MAX));
    }
}

/// Once `immutable` is set it stays, and so does the data.
pub(super) fn immutable(errors: &mut Errors, new: &Value, old: &Value, fields: &[&str]) {
    if !flag(old, "immutable") {
        return;
    }
    if !flag(new, "immutable") {
        errors.push(FieldError::forbidden(
            "immutable",
            "field is immutable when `immutable` is set",
        ));
    }
    for field in fields {
        if !same(new.get(*field), old.get(*field)) {
            errors.push(FieldError::forbidden(
                *field,
                "field is immutable when `immutable` is set",
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_much_data_is_a_problem_of_the_whole() {
        let map = json!({"data": {"a": "x".repeat(DATA_BYTES_MAX), "b": "y"}});
        let problems = ConfigMaps.validate(&map);
        assert_eq!(
            problems[0].to_string(),
            "[]: Too long: may not be more than 1048576 bytes"
        );
    }

    #[test]
    fn immutable_data_stays() {
        let old = json!({"data": {"a": "1"}, "immutable": true});
        assert!(ConfigMaps.validate_update("", &old, &old).is_empty());
        assert_eq!(
            ConfigMaps
                .validate_update("", &json!({"data": {"a": "2"}, "immutable": true}), &old)
                .len(),
            1
        );
        assert_eq!(
            ConfigMaps.validate_update("", &json!({"data": {"a": "1"}}), &old).len(),
            1
        );
        assert_eq!(ConfigMaps.validate(&json!({"data": {"a/b": "1"}})).len(), 1);
    }
}
