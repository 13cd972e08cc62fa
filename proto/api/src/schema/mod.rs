//! The schema registry: what every kind looks like, as data.
//!
//! A *definition* is a struct (or one of a few special scalars); a *registry* is a closed set of definitions that refer
//! to each other by index. The built-in one is compiled from a table on first use and never changes. Everything that
//! walks objects (decoding, pruning, defaulting, patching, protobuf, OpenAPI) walks a [`Schema`]: a definition together
//! with its registry.
//!
//! Promise: within a registry every `Type::Ref` resolves, fields are sorted by name, and no two have the same name.
//!
//! Left out: validation beyond types (each strategy does its own) and conversion between versions.

mod builder;
mod table;

use crate::gvk::Gvk;
pub use builder::Builder;
use serde_json::Value;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::OnceLock;

/// Every definition of Kubernetes v1.36, and a few hand-written ones that its OpenAPI leaves out.
pub fn registry() -> &'static Registry {
    static REGISTRY: OnceLock<Registry> = OnceLock::new();
    REGISTRY.get_or_init(|| {
        let tables = [
            include_str!("../../tables/v1_36.txt"),
            include_str!("../../tables/extra.txt"),
        ];
        table::load(&tables).unwrap_or_else(|reason| panic!("the built-in definitions are broken: {reason}"))
    })
}

/// The definition of JSON schemas, which three special forms contain.
pub(crate) const SCHEMA_PROPS: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";

/// Index of a definition in its registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DefinitionId(u32);

/// The type of a value.
#[derive(Clone, Debug, PartialEq)]
pub enum Type {
    /// Text.
    String,
    /// Base64 in JSON.
    Bytes,
    /// `true` or `false`.
    Bool,
    /// 32 bits.
    Int32,
    /// 64 bits.
    Int64,
    /// A floating point number.
    Double,
    /// An object of any shape.
    Object,
    /// A definition.
    Ref(DefinitionId),
    /// A list.
    List(Box<Type>),
    /// An object whose keys are data.
    Map(Box<Type>),
}

/// The form of a definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// An object with fields.
    Struct,
    /// A fixed-point number with a suffix.
    Quantity,
    /// A number or a text.
    IntOrString,
    /// RFC 3339 to the second.
    Time,
    /// RFC 3339 to the microsecond.
    MicroTime,
    /// Any JSON, carried as bytes in protobuf.
    Raw,
    /// Any JSON, without protobuf form.
    Any,
    /// A JSON schema or a list of them.
    SchemaOrArray,
    /// A JSON schema or a boolean.
    SchemaOrBool,
    /// A JSON schema or a list of texts.
    SchemaOrStrings,
    /// Whatever it is, down to where it shows: fields that a custom schema does not list.
    Unknown,
}

/// How concurrent appliers share a list.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum ListKind {
    /// Replaced as a whole.
    #[default]
    Atomic,
    /// Elements are their own keys.
    Set,
    /// Elements are found by these fields.
    Map(Vec<Cow<'static, str>>),
}

/// What an absent or zero value means; decides which zero values survive protobuf and which empty structs are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Presence {
    /// Zero is the same as absent, and is left out.
    #[default]
    OmitZero,
    /// Absent and zero differ.
    Pointer,
    /// A struct that is always there, if only as `{}`.
    Struct,
    /// A scalar that is written even when zero.
    Always,
}

/// One field of a definition.
#[derive(Clone, Debug)]
pub struct Field {
    /// JSON name.
    pub name: Cow<'static, str>,
    /// What it holds.
    pub r#type: Type,
    /// True when OpenAPI calls it required.
    pub required: bool,
    /// The meaning of zero.
    pub presence: Presence,
    /// Meaningful for lists.
    pub list: ListKind,
    /// The map, or the struct it refers to, is replaced as a whole by server-side apply.
    pub atomic: bool,
    /// Strategic merge: elements (or keys) are merged instead of replaced.
    pub patch_merge: bool,
    /// Strategic merge: the keys that a patch does not retain are removed.
    pub patch_retain_keys: bool,
    /// Strategic merge: the field by which elements are matched.
    pub merge_key: Option<Cow<'static, str>>,
    /// The value that an absent key field stands for.
    pub default: Option<Value>,
    /// The values of a closed set of texts; empty when open.
    pub allowed: Vec<Cow<'static, str>>,
    /// Field numbers from the message down through inlined messages; empty when protobuf lacks the field.
    pub proto: Vec<u32>,
    /// Protobuf wraps the innermost list in a message whose field 1 it is.
    pub proto_wrapped: bool,
}

/// A protobuf message as a tree of field numbers: inlined messages have no JSON field of their own.
#[derive(Clone, Debug, Default)]
pub struct Message {
    /// Sorted by number.
    pub slots: Vec<(u32, Slot)>,
}

/// What a field number leads to.
#[derive(Clone, Debug)]
pub enum Slot {
    /// Index into the definition's fields.
    Field(usize),
    /// A message whose fields belong to the JSON object around it.
    Inline(Message),
}

/// A named type.
#[derive(Clone, Debug)]
pub struct Definition {
    /// As in OpenAPI: `io.k8s.api.core.v1.Pod`.
    pub name: Cow<'static, str>,
    /// Struct or special.
    pub form: Form,
    /// Sorted by name.
    pub fields: Vec<Field>,
    /// The kinds it stands for.
    pub gvks: Vec<Gvk>,
    /// Replaced as a whole by server-side apply.
    pub atomic: bool,
    /// Has fields besides those that are listed.
    pub open: bool,
    /// Its protobuf layout.
    pub message: Message,
}

impl Field {
    /// A field that is nothing special.
    pub fn new(name: String, r#type: Type) -> Field {
        Field {
            name: name.into(),
            r#type,
            required: false,
            presence: Presence::Pointer,
            list: ListKind::Atomic,
            atomic: false,
            patch_merge: false,
            patch_retain_keys: false,
            merge_key: None,
            default: None,
            allowed: Vec::new(),
            proto: Vec::new(),
            proto_wrapped: false,
        }
    }
}

impl Definition {
    /// A definition without a name.
    pub fn of(form: Form, mut fields: Vec<Field>) -> Definition {
        fields.sort_by(|a, b| a.name.cmp(&b.name));
        Definition {
            name: "".into(),
            form,
            fields,
            gvks: Vec::new(),
            atomic: false,
            open: false,
            message: Message::default(),
        }
    }

    /// The field of that JSON name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        let found = self.fields.binary_search_by(|field| field.name.as_ref().cmp(name));
        found.ok().map(|index| &self.fields[index])
    }

    /// The last part of the name, with its package: `v1.Pod`.
    pub fn short_name(&self) -> &str {
        let mut dots = self.name.rmatch_indices('.');
        dots.next();
        dots.next().map_or(&self.name, |(index, _)| &self.name[index + 1..])
    }

    /// The last part of the name: `Pod`.
    pub fn bare_name(&self) -> &str {
        self.name.rsplit('.').next().unwrap_or(&self.name)
    }
}

/// A closed set of definitions.
#[derive(Debug, Default)]
pub struct Registry {
    definitions: Vec<Definition>,
    by_name: HashMap<Cow<'static, str>, DefinitionId>,
    by_gvk: HashMap<Gvk, DefinitionId>,
}

impl Registry {
    /// The schema of a kind.
    pub fn schema(&self, gvk: &Gvk) -> Option<Schema<'_>> {
        self.by_gvk.get(gvk).map(|id| self.get(*id))
    }

    /// The schema of a definition by its full name.
    pub fn definition(&self, name: &str) -> Option<Schema<'_>> {
        self.by_name.get(name).map(|id| self.get(*id))
    }

    /// The schema behind a reference.
    pub fn get(&self, id: DefinitionId) -> Schema<'_> {
        Schema {
            registry: self,
            definition: &self.definitions[id.0 as usize],
        }
    }

    /// Every definition, in the order of names.
    pub fn definitions(&self) -> impl Iterator<Item = Schema<'_>> {
        self.definitions.iter().map(|definition| Schema {
            registry: self,
            definition,
        })
    }
}

/// A definition in its registry. Cheap to copy; this is what everything that walks objects takes.
#[derive(Clone, Copy)]
pub struct Schema<'r> {
    /// Where references resolve.
    pub registry: &'r Registry,
    /// The definition itself.
    pub definition: &'r Definition,
}

impl<'r> Schema<'r> {
    /// The struct or special definition that a type refers to, if it refers to one directly.
    pub fn follow(&self, r#type: &Type) -> Option<Schema<'r>> {
        match r#type {
            Type::Ref(id) => Some(self.registry.get(*id)),
            _ => None,
        }
    }

    /// Like [`Schema::follow`], through one list or map.
    pub fn follow_element(&self, r#type: &Type) -> Option<Schema<'r>> {
        match r#type {
            Type::List(inner) | Type::Map(inner) => self.follow(inner),
            _ => self.follow(r#type),
        }
    }

    /// The field of that JSON name.
    pub fn field(&self, name: &str) -> Option<&'r Field> {
        self.definition.field(name)
    }

    /// How messages name the type, the way Go prints it.
    pub fn type_name(&self, r#type: &Type) -> String {
        match r#type {
            Type::String => "string".to_string(),
            Type::Bytes => "[]uint8".to_string(),
            Type::Bool => "bool".to_string(),
            Type::Int32 => "int32".to_string(),
            Type::Int64 => "int64".to_string(),
            Type::Double => "float64".to_string(),
            Type::Object => "map[string]interface {}".to_string(),
            Type::Ref(id) => self.registry.get(*id).definition.short_name().to_string(),
            Type::List(inner) => format!("[]{}", self.type_name(inner)),
            Type::Map(inner) => format!("map[string]{}", self.type_name(inner)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_table_loads_and_resolves() {
        let pod = registry().schema(&Gvk::of("", "v1", "Pod")).unwrap();
        let spec = pod.follow(&pod.field("spec").unwrap().r#type).unwrap();
        let containers = spec.field("containers").unwrap();
        assert_eq!(containers.merge_key.as_deref(), Some("name"));
        assert_eq!(containers.list, ListKind::Map(vec!["name".into()]));
        let container = spec.follow_element(&containers.r#type).unwrap();
        assert_eq!(container.definition.short_name(), "v1.Container");
        assert!(registry().definitions().count() > 770);
    }

    #[test]
    fn inlined_messages_become_paths() {
        let probe = registry().definition("io.k8s.api.core.v1.Probe").unwrap();
        assert_eq!(probe.field("httpGet").unwrap().proto, vec![1, 2]);
        assert_eq!(probe.field("periodSeconds").unwrap().proto, vec![4]);
    }
}
