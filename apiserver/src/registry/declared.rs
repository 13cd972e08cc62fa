//! Resources that a table can describe: columns, checks and what never changes. Each is a `const` of [`Declared`].
//!
//! What the schema says (required fields, closed sets) is checked for all of them by [`schema_problems`]; a resource adds what
//! the schema does not know.

use super::check::{Errors, join, unchanged};
use super::fields::at;
use super::strategy::{
    Cells, Column, NameRule, SelectableField, Strategy, Subresource, copy_field, keep_all_but, remove,
};
use super::{RequestContext, table};
use crate::FieldError;
use api::Gvk;
use api::schema::{Field, Form, Presence, Schema, Type};
use jiff::Timestamp;
use serde_json::{Value, json};

/// See the module.
#[derive(Clone, Copy)]
pub struct Declared {
    pub columns: &'static [Column],
    pub cells: fn(&Value, Timestamp) -> Cells,
    /// Checks of a new state, whoever set it.
    pub check: fn(&mut Errors, &Value),
    /// What users are told about a state that is kept all the same.
    pub warnings: fn(&Value) -> Vec<String>,
    /// Checks of a change (new, old) besides `check`.
    pub check_update: fn(&mut Errors, &Value, &Value),
    /// Paths that stay what they were.
    pub fixed: &'static [&'static str],
    /// Counts changes of everything but metadata and status.
    pub generation: bool,
    pub subresources: &'static [(&'static str, Subresource<'static>)],
    pub name_rule: NameRule,
    pub fields: &'static [SelectableField],
    /// Sets what only the server sets on a new object, the status included.
    pub prepare: fn(&RequestContext, &mut Value),
    /// The resource is about to be deleted: whether it waits for somebody.
    pub orphans: bool,
}

/// A resource that has nothing special.
pub const PLAIN: Declared = Declared {
    columns: table::DEFAULT_COLUMNS,
    cells: table::default_cells,
    check: |_, _| {},
    warnings: |_| Vec::new(),
    check_update: |_, _, _| {},
    fixed: &[],
    generation: false,
    subresources: &[],
    name_rule: NameRule::Subdomain,
    fields: &[],
    prepare: |_, _| {},
    orphans: false,
};

/// The subresources of a resource with a status and nothing else.
pub const STATUS: &[(&str, Subresource<'static>)] = &[("status", Subresource::Object)];

impl Strategy for Declared {
    fn name_rule(&self) -> NameRule {
        self.name_rule
    }

    fn tracks_generation(&self) -> bool {
        self.generation
    }

    fn prepare_for_create(&self, context: &RequestContext, object: &mut Value) {
        if self.has_status() {
            remove(object, "status");
        }
        (self.prepare)(context, object);
        // Structs that are always shown, in the status that was just dropped.
        if let Some(gvk) = Gvk::from_object(object) {
            api::default_object(&gvk, object);
        }
    }

    fn prepare_for_update(&self, _context: &RequestContext, subresource: &str, old: &Value, new: &mut Value) {
        match subresource {
            "" if self.has_status() => copy_field(new, old, "status"),
            "" => {}
            // `approval` writes conditions, which are in the status as well.
            _ => keep_all_but(new, old, "status"),
        }
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = schema_problems(object);
        (self.check)(&mut errors, object);
        errors
    }

    fn validate_update(&self, subresource: &str, new: &Value, old: &Value) -> Vec<FieldError> {
        if !subresource.is_empty() {
            return Vec::new();
        }
        let mut errors = self.validate(new);
        for path in self.fixed {
            unchanged(&mut errors, new, old, path);
        }
        (self.check_update)(&mut errors, new, old);
        errors
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        (self.warnings)(object)
    }

    fn columns(&self) -> &'static [Column] {
        self.columns
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Cells {
        (self.cells)(object, now)
    }

    fn selectable_fields(&self) -> &'static [SelectableField] {
        self.fields
    }

    fn orphans_by_default(&self) -> bool {
        self.orphans
    }

    fn subresource(&self, name: &str) -> Option<Subresource<'_>> {
        self.subresources
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, kind)| *kind)
    }
}

/// Definitions with checks of their own.
const CHECKED_ELSEWHERE: &[&str] = &[
    "io.k8s.api.core.v1.PodTemplateSpec",
    "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta",
];

/// What the schema itself forbids: required fields that are missing, and texts outside their closed set. The status is the
/// business of whoever reports it.
pub(super) fn schema_problems(object: &Value) -> Errors {
    let mut errors = Errors::new();
    if let Some(schema) = Gvk::from_object(object).and_then(|gvk| api::registry().schema(&gvk)) {
        for field in schema.definition.fields.iter().filter(|field| field.name != "status") {
            one(&mut errors, schema, field, object, "");
        }
    }
    errors
}

fn below(errors: &mut Errors, schema: Schema<'_>, value: &Value, path: &str) {
    if schema.definition.form != Form::Struct || CHECKED_ELSEWHERE.contains(&schema.definition.name.as_ref()) {
        return;
    }
    for field in &schema.definition.fields {
        one(errors, schema, field, value, path);
    }
}

fn one(errors: &mut Errors, schema: Schema<'_>, field: &Field, holder: &Value, path: &str) {
    let path = join(path, &field.name);
    let Some(value) = at(holder, &field.name)
        .or_else(|| holder.get(field.name.as_ref()))
        .filter(|v| !v.is_null())
    else {
        // A number that is 0 and a list that is empty are left out like ones that were never there.
        let text = matches!(field.r#type, Type::String)
            || matches!(field.r#type, Type::Ref(_)) && field.presence == Presence::Pointer;
        if field.required && text && field.default.as_ref().is_none_or(|default| *default == json!("")) {
            errors.push(FieldError::required(path, ""));
        }
        return;
    };
    if !field.allowed.is_empty()
        && let Some(text) = value.as_str()
        && !field.allowed.iter().any(|allowed| allowed == text)
    {
        let allowed: Vec<&str> = field.allowed.iter().map(AsRef::as_ref).collect();
        errors.push(FieldError::not_supported(path.clone(), value, &allowed));
    }
    let Some(inner) = schema.follow_element(&field.r#type) else {
        return;
    };
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                below(errors, inner, item, &format!("{path}[{index}]"));
            }
        }
        Value::Object(map) if matches!(field.r#type, Type::Map(_)) => {
            for (key, item) in map {
                below(errors, inner, item, &format!("{path}[{key}]"));
            }
        }
        Value::Object(_) => below(errors, inner, value, &path),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_finds_what_is_missing_or_unknown() {
        let class = json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "c"},
            "reclaimPolicy": "Burn"});
        let found: Vec<String> = schema_problems(&class).iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!(found[0], "provisioner: Required value");
        assert!(
            found[1].starts_with("reclaimPolicy: Unsupported value: \"Burn\": supported values: "),
            "{found:?}"
        );
    }

    #[test]
    fn names_in_lists_say_where() {
        let ingress = json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "spec": {"rules": [
            {"http": {"paths": [{"path": "/", "pathType": "Odd", "backend": {}}]}}]}});
        let found: Vec<String> = schema_problems(&ingress).iter().map(ToString::to_string).collect();
        assert!(
            found
                .iter()
                .any(|text| text.starts_with("spec.rules[0].http.paths[0].pathType: Unsupported")),
            "{found:?}"
        );
    }
}
