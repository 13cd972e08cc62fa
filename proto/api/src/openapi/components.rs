//! `components.schemas`: the definitions that a document's operations reach.

use crate::gvk::Gvk;
use crate::schema::{Definition, Field, Form, ListKind, Presence, Schema, Type, registry};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

const DELETE_OPTIONS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";

/// Definitions to render, by name.
#[derive(Default)]
pub struct Needed {
    found: BTreeMap<String, Schema<'static>>,
}

impl Needed {
    /// Adds a kind and everything below it; yields the reference to it.
    pub fn kind(&mut self, gvk: &Gvk) -> Option<Value> {
        let schema = registry().schema(gvk)?;
        self.add(schema);
        Some(reference(&schema.definition.name))
    }

    /// The body of a delete request.
    pub fn delete_options(&mut self) -> Option<Value> {
        self.add(registry().definition(DELETE_OPTIONS)?);
        Some(reference(DELETE_OPTIONS))
    }

    fn add(&mut self, schema: Schema<'static>) {
        let name = schema.definition.name.to_string();
        if self.found.insert(name, schema).is_some() {
            return;
        }
        for field in &schema.definition.fields {
            let mut inner = &field.r#type;
            while let Type::List(next) | Type::Map(next) = inner {
                inner = next;
            }
            if let Some(target) = schema.follow(inner) {
                self.add(target);
            }
        }
    }

    /// Everything found.
    pub fn render(&self) -> Value {
        let schemas = self
            .found
            .iter()
            .map(|(name, schema)| (name.clone(), definition(*schema)));
        Value::Object(schemas.collect())
    }
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn definition(schema: Schema<'_>) -> Value {
    let definition = schema.definition;
    let mut out = match definition.form {
        Form::Struct => fields(schema),
        Form::Quantity => json!({"oneOf": [{"type": "string"}, {"type": "number"}]}),
        Form::IntOrString => json!({"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]}),
        Form::Time | Form::MicroTime => json!({"type": "string", "format": "date-time"}),
        Form::Raw | Form::Any => json!({"type": "object"}),
        Form::SchemaOrArray | Form::SchemaOrBool | Form::SchemaOrStrings => json!({}),
    };
    if definition.name.ends_with(".v1.JSON") {
        out = json!({});
    }
    if definition.atomic {
        out["x-kubernetes-map-type"] = "atomic".into();
    }
    if !definition.gvks.is_empty() {
        out["x-kubernetes-group-version-kind"] = kinds(definition);
    }
    out
}

fn kinds(definition: &Definition) -> Value {
    let render = |gvk: &Gvk| json!({"group": gvk.group, "version": gvk.version, "kind": gvk.kind});
    Value::Array(definition.gvks.iter().map(render).collect())
}

fn fields(schema: Schema<'_>) -> Value {
    let mut out = json!({"type": "object"});
    let properties: Map<String, Value> = schema
        .definition
        .fields
        .iter()
        .map(|field| (field.name.to_string(), property(schema, field)))
        .collect();
    if !properties.is_empty() {
        out["properties"] = Value::Object(properties);
    }
    let required: Vec<&str> = schema
        .definition
        .fields
        .iter()
        .filter(|field| field.required)
        .map(|field| field.name.as_ref())
        .collect();
    if !required.is_empty() {
        out["required"] = json!(required);
    }
    out
}

fn property(schema: Schema<'_>, field: &Field) -> Value {
    let mut out = r#type(schema, &field.r#type);
    if out.get("$ref").is_some() {
        out = json!({ "allOf": [out] });
    }
    if let Some(default) = field.default.clone().or_else(|| shown_default(field)) {
        out["default"] = default;
    }
    match &field.list {
        ListKind::Map(keys) => {
            out["x-kubernetes-list-type"] = "map".into();
            out["x-kubernetes-list-map-keys"] = json!(keys);
        }
        ListKind::Set => out["x-kubernetes-list-type"] = "set".into(),
        ListKind::Atomic if matches!(field.r#type, Type::List(_)) => out["x-kubernetes-list-type"] = "atomic".into(),
        ListKind::Atomic => {}
    }
    if field.atomic {
        out["x-kubernetes-map-type"] = "atomic".into();
    }
    let strategies = [(field.patch_merge, "merge"), (field.patch_retain_keys, "retainKeys")];
    let strategies: Vec<&str> = strategies
        .iter()
        .filter(|(used, _)| *used)
        .map(|(_, name)| *name)
        .collect();
    if !strategies.is_empty() {
        out["x-kubernetes-patch-strategy"] = strategies.join(",").into();
    }
    if let Some(key) = &field.merge_key {
        out["x-kubernetes-patch-merge-key"] = key.as_ref().into();
    }
    out
}

fn shown_default(field: &Field) -> Option<Value> {
    (field.presence == Presence::Struct).then(|| json!({}))
}

fn r#type(schema: Schema<'_>, r#type: &Type) -> Value {
    match r#type {
        Type::String => json!({"type": "string"}),
        Type::Bytes => json!({"type": "string", "format": "byte"}),
        Type::Bool => json!({"type": "boolean"}),
        Type::Int32 => json!({"type": "integer", "format": "int32"}),
        Type::Int64 => json!({"type": "integer", "format": "int64"}),
        Type::Double => json!({"type": "number", "format": "double"}),
        Type::Object => json!({"type": "object"}),
        Type::Ref(id) => reference(&schema.registry.get(*id).definition.name),
        Type::List(inner) => json!({"type": "array", "items": self::r#type(schema, inner)}),
        Type::Map(inner) => json!({"type": "object", "additionalProperties": self::r#type(schema, inner)}),
    }
}
