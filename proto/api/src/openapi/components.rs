//! The definitions that a document's operations reach: `components.schemas` of version 3, `definitions` of version 2.

use super::Words;
use crate::gvk::Gvk;
use crate::schema::{Definition, Field, Form, ListKind, Presence, Schema, Type, registry};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

const DELETE_OPTIONS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";

/// The two forms of OpenAPI differ in where definitions live and in what can be said of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Swagger 2.0: no alternatives between types, and texts stand beside a reference.
    V2,
    /// OpenAPI 3.0: a reference stands alone, so texts go around it.
    V3,
}

impl Dialect {
    fn prefix(self) -> &'static str {
        match self {
            Dialect::V2 => "#/definitions/",
            Dialect::V3 => "#/components/schemas/",
        }
    }

    /// The reference to a definition.
    pub fn reference(self, name: &str) -> Value {
        json!({ "$ref": format!("{}{name}", self.prefix()) })
    }
}

/// Definitions to render, by name.
pub struct Needed<'w> {
    dialect: Dialect,
    words: &'w dyn Words,
    found: BTreeMap<String, Schema<'static>>,
    /// Kinds that are not built in: their names and what is said of them.
    foreign: BTreeMap<Gvk, (String, Value)>,
}

impl<'w> Needed<'w> {
    /// Nothing yet.
    pub fn new(dialect: Dialect, words: &'w dyn Words) -> Needed<'w> {
        Needed {
            dialect,
            words,
            found: BTreeMap::new(),
            foreign: BTreeMap::new(),
        }
    }

    /// Which form references take.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Adds a kind and everything below it; yields the reference to it.
    pub fn kind(&mut self, gvk: &Gvk) -> Option<Value> {
        if let Some((name, _)) = self.foreign.get(gvk) {
            return Some(self.dialect.reference(name));
        }
        let schema = registry().schema(gvk)?;
        self.add(schema);
        Some(self.dialect.reference(&schema.definition.name))
    }

    /// Whether a kind is one of [`Needed::foreign`].
    pub fn is_foreign(&self, gvk: &Gvk) -> bool {
        self.foreign.contains_key(gvk)
    }

    /// Adds a kind that is not built in; yields the reference to it.
    pub fn foreign(&mut self, gvk: &Gvk, schema: Value) -> Value {
        let mut name: Vec<&str> = gvk.group.rsplit('.').collect();
        name.extend([gvk.version.as_ref(), gvk.kind.as_ref()]);
        let name = name.join(".");
        let reference = self.dialect.reference(&name);
        self.foreign.insert(gvk.clone(), (name, schema));
        reference
    }

    /// Adds a built-in definition by its name; yields the reference to it.
    pub fn definition(&mut self, name: &str) -> Option<Value> {
        self.add(registry().definition(name)?);
        Some(self.dialect.reference(name))
    }

    /// The body of a delete request.
    pub fn delete_options(&mut self) -> Option<Value> {
        self.definition(DELETE_OPTIONS)
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
        let writer = Writer {
            dialect: self.dialect,
            words: self.words,
        };
        let schemas = self
            .found
            .iter()
            .map(|(name, schema)| (name.clone(), writer.definition(*schema)));
        let foreign = self.foreign.values().cloned();
        Value::Object(schemas.chain(foreign).collect())
    }
}

/// Renders definitions in one dialect.
struct Writer<'w> {
    dialect: Dialect,
    words: &'w dyn Words,
}

impl Writer<'_> {
    fn definition(&self, schema: Schema<'_>) -> Value {
        let definition = schema.definition;
        let mut out = match definition.form {
            Form::Struct => self.fields(schema),
            form => self.special(form),
        };
        if definition.name.ends_with(".v1.JSON") {
            out = json!({});
        }
        if let Some(text) = self.words.about(&definition.name, "") {
            out["description"] = text.into();
        }
        if definition.atomic {
            out["x-kubernetes-map-type"] = "atomic".into();
        }
        if !definition.gvks.is_empty() {
            out["x-kubernetes-group-version-kind"] = kinds(definition);
        }
        out
    }

    fn special(&self, form: Form) -> Value {
        match (form, self.dialect) {
            (Form::Quantity, Dialect::V2) => json!({"type": "string"}),
            (Form::Quantity, Dialect::V3) => json!({"oneOf": [{"type": "string"}, {"type": "number"}]}),
            (Form::IntOrString, Dialect::V2) => json!({"type": "string", "format": "int-or-string"}),
            (Form::IntOrString, Dialect::V3) => {
                json!({"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]})
            }
            (Form::Time | Form::MicroTime, _) => json!({"type": "string", "format": "date-time"}),
            (Form::Raw | Form::Any, _) => json!({"type": "object"}),
            _ => json!({}),
        }
    }

    fn fields(&self, schema: Schema<'_>) -> Value {
        let mut out = json!({"type": "object"});
        let fields = &schema.definition.fields;
        let properties: Map<String, Value> = fields
            .iter()
            .map(|field| (field.name.to_string(), self.property(schema, field)))
            .collect();
        if !properties.is_empty() {
            out["properties"] = Value::Object(properties);
        }
        let required = fields.iter().filter(|field| field.required);
        let required: Vec<&str> = required.map(|field| field.name.as_ref()).collect();
        if !required.is_empty() {
            out["required"] = json!(required);
        }
        out
    }

    fn property(&self, schema: Schema<'_>, field: &Field) -> Value {
        let mut out = self.r#type(schema, &field.r#type);
        if out.get("$ref").is_some() && self.dialect == Dialect::V3 {
            out = json!({ "allOf": [out] });
        }
        if let Some(text) = self.words.about(&schema.definition.name, &field.name) {
            out["description"] = text.into();
        }
        // Version 2 has never carried defaults of built-in fields; clients of it would take them for set.
        if self.dialect == Dialect::V3
            && let Some(default) = field.default.clone().or_else(|| shown_default(field))
        {
            out["default"] = default;
        }
        sharing(field, &mut out);
        out
    }

    fn r#type(&self, schema: Schema<'_>, r#type: &Type) -> Value {
        match r#type {
            Type::String => json!({"type": "string"}),
            Type::Bytes => json!({"type": "string", "format": "byte"}),
            Type::Bool => json!({"type": "boolean"}),
            Type::Int32 => json!({"type": "integer", "format": "int32"}),
            Type::Int64 => json!({"type": "integer", "format": "int64"}),
            Type::Double => json!({"type": "number", "format": "double"}),
            Type::Object => json!({"type": "object"}),
            Type::Ref(id) => self.dialect.reference(&schema.registry.get(*id).definition.name),
            Type::List(inner) => json!({"type": "array", "items": self.r#type(schema, inner)}),
            Type::Map(inner) => json!({"type": "object", "additionalProperties": self.r#type(schema, inner)}),
        }
    }
}

/// How appliers and patches share a field.
fn sharing(field: &Field, out: &mut Value) {
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
    let used: Vec<&str> = strategies
        .iter()
        .filter(|(used, _)| *used)
        .map(|(_, name)| *name)
        .collect();
    if !used.is_empty() {
        out["x-kubernetes-patch-strategy"] = used.join(",").into();
    }
    if let Some(key) = &field.merge_key {
        out["x-kubernetes-patch-merge-key"] = key.as_ref().into();
    }
}

fn kinds(definition: &Definition) -> Value {
    let render = |gvk: &Gvk| json!({"group": gvk.group, "version": gvk.version, "kind": gvk.kind});
    Value::Array(definition.gvks.iter().map(render).collect())
}

fn shown_default(field: &Field) -> Option<Value> {
    (field.presence == Presence::Struct).then(|| json!({}))
}
