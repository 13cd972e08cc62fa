//! OpenAPI documents from the schema registry and the resource table: version 3, one per group version, and version 2,
//! one for everything, as JSON or as the protobuf that older clients insist on ([`gnostic`]).
//!
//! Enough for clients that validate, patch and explain: schemas with merge keys, list types and kinds; operations with
//! their action, kind and query parameters. The texts come from outside ([`Words`]). Left out: response schemas of
//! streams.

mod components;
mod gnostic;
mod operations;

use crate::gvk::{self, Gvk};
use crate::resources::{Resource, resources};
use crate::structural::{published_v2, published_v3};
use components::{Dialect, Needed};
pub use gnostic::gnostic;
use serde_json::{Map, Value, json};

/// The Kubernetes version that the documents describe.
const VERSION: &str = "v1.36.0";

/// What is said about definitions and fields, for people. `()` says nothing.
pub trait Words {
    /// The text about a field of a definition, or about the definition itself when `field` is empty.
    fn about(&self, definition: &str, field: &str) -> Option<&str>;
}

impl Words for () {
    fn about(&self, _definition: &str, _field: &str) -> Option<&str> {
        None
    }
}

/// The document that lists the documents of version 3: `(group, version, hash of its content)` each.
pub fn openapi_v3_index<'a>(documents: impl IntoIterator<Item = (&'a str, &'a str, &'a str)>) -> Value {
    let mut paths = Map::new();
    for (group, version, hash) in documents {
        let path = document_path(group, version);
        let url = format!("/openapi/v3/{path}?hash={hash}");
        paths.insert(path, json!({ "serverRelativeURL": url }));
    }
    json!({ "paths": paths })
}

/// The document of one group version; `None` when it is not served. Built anew on every call: as a `Value` it takes many
/// times its text, so whoever serves it should keep the bytes.
pub fn openapi_v3(group: &str, version: &str, words: &dyn Words) -> Option<Value> {
    let mut rows = resources()
        .iter()
        .filter(|row| row.group == group && row.version == version)
        .peekable();
    rows.peek()?;
    let (paths, schemas) = render(Dialect::V3, rows, words);
    Some(json!({
        "openapi": "3.0.0", "info": info(), "paths": paths, "components": { "schemas": schemas },
    }))
}

/// The one document of version 2. The same advice on keeping it.
pub fn openapi_v2(words: &dyn Words) -> Value {
    let (paths, definitions) = render(Dialect::V2, resources().iter(), words);
    json!({ "swagger": "2.0", "info": info(), "paths": paths, "definitions": definitions })
}

/// A custom resource, to be described.
#[derive(Clone, Copy)]
pub struct Custom<'a> {
    /// Its names and verbs.
    pub resource: &'a Resource,
    /// The `JSONSchemaProps` of its objects, if there is one.
    pub schema: Option<&'a Value>,
}

/// The document of version 3 about the custom resources of one group version.
pub fn openapi_v3_custom(resources: &[Custom<'_>], words: &dyn Words) -> Value {
    let (paths, schemas) = render_custom(Dialect::V3, resources, words);
    json!({
        "openapi": "3.0.0", "info": info(), "paths": paths, "components": { "schemas": schemas },
    })
}

/// What custom resources add to the document of version 2: only paths and definitions, and only those that are not built in.
pub fn openapi_v2_custom(resources: &[Custom<'_>], words: &dyn Words) -> Value {
    let (paths, mut definitions) = render_custom(Dialect::V2, resources, words);
    if let Value::Object(map) = &mut definitions {
        map.retain(|name, _| crate::schema::registry().definition(name).is_none());
    }
    json!({ "paths": paths, "definitions": definitions })
}

fn render_custom(dialect: Dialect, resources: &[Custom<'_>], words: &dyn Words) -> (Value, Value) {
    let mut needed = Needed::new(dialect, words);
    for custom in resources {
        let gvk = custom.resource.gvk();
        let metadata = needed.definition(OBJECT_META).unwrap_or_default();
        let schema = match dialect {
            Dialect::V2 => published_v2(custom.schema, &gvk, &metadata),
            Dialect::V3 => published_v3(custom.schema, &gvk, &metadata),
        };
        let item = needed.foreign(&gvk, schema);
        let list_gvk = Gvk {
            kind: custom.resource.list_kind.clone(),
            ..gvk
        };
        let list = list_of(&list_gvk, item, &needed.definition(LIST_META).unwrap_or_default());
        needed.foreign(&list_gvk, list);
    }
    let mut paths = Map::new();
    for custom in resources {
        operations::add_paths(custom.resource, &mut paths, &mut needed);
    }
    (Value::Object(paths), needed.render())
}

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";

fn list_of(gvk: &Gvk, item: Value, metadata: &Value) -> Value {
    json!({"type": "object", "description": format!("{} is a list of {}", gvk.kind, gvk.kind.trim_end_matches("List")),
        "required": ["items"],
        "properties": {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": metadata,
            "items": {"type": "array", "items": item}},
        "x-kubernetes-group-version-kind": [{"group": gvk.group, "version": gvk.version, "kind": gvk.kind}]})
}

fn render<'a>(dialect: Dialect, rows: impl Iterator<Item = &'a Resource>, words: &dyn Words) -> (Value, Value) {
    let mut needed = Needed::new(dialect, words);
    let mut paths = Map::new();
    for row in rows {
        operations::add_paths(row, &mut paths, &mut needed);
    }
    (Value::Object(paths), needed.render())
}

fn info() -> Value {
    json!({ "title": "Kubernetes", "version": VERSION })
}

/// `api/v1`, or `apis/apps/v1`.
pub fn document_path(group: &str, version: &str) -> String {
    let root = if group.is_empty() { "api" } else { "apis" };
    format!("{root}/{}", gvk::api_version(group, version))
}

#[cfg(test)]
mod tests;
