//! A custom schema as OpenAPI documents show it.

use crate::gvk::Gvk;
use serde_json::{Map, Value, json};

/// What version 2 has no words for, or clients of it misread.
const NOT_IN_V2: &[&str] = &[
    "oneOf",
    "anyOf",
    "allOf",
    "not",
    "nullable",
    "default",
    "x-kubernetes-validations",
];

/// The definition of a kind for version 3. `metadata` refers to the definition of `ObjectMeta`.
pub fn published_v3(schema: Option<&Value>, gvk: &Gvk, metadata: &Value) -> Value {
    let metadata = json!({"allOf": [metadata], "default": {}, "description": ABOUT_METADATA});
    match schema {
        None => anything(gvk),
        Some(schema) => whole(schema.clone(), gvk, metadata),
    }
}

/// The definition of a kind for version 2.
pub fn published_v2(schema: Option<&Value>, gvk: &Gvk, metadata: &Value) -> Value {
    let mut metadata = metadata.clone();
    metadata["description"] = ABOUT_METADATA.into();
    match schema {
        // Clients of version 2 take every field that is not listed for an error.
        Some(schema) if schema["x-kubernetes-preserve-unknown-fields"] != true => {
            whole(narrowed(schema), gvk, metadata)
        }
        _ => anything(gvk),
    }
}

const ABOUT_METADATA: &str = "Standard object's metadata. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";
const ABOUT_VERSION: &str = "APIVersion defines the versioned schema of this representation of an object. Servers should convert recognized schemas to the latest internal value, and may reject unrecognized values. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources";
const ABOUT_KIND: &str = "Kind is a string value representing the REST resource this object represents. Servers may infer this from the endpoint the client submits requests to. Cannot be updated. In CamelCase. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds";

fn anything(gvk: &Gvk) -> Value {
    json!({"type": "object", "x-kubernetes-group-version-kind": [kind(gvk)]})
}

fn kind(gvk: &Gvk) -> Value {
    json!({"group": gvk.group, "version": gvk.version, "kind": gvk.kind})
}

fn whole(mut schema: Value, gvk: &Gvk, metadata: Value) -> Value {
    if !schema["properties"].is_object() {
        schema["properties"] = Value::Object(Map::new());
    }
    schema["properties"]["apiVersion"] = json!({"type": "string", "description": ABOUT_VERSION});
    schema["properties"]["kind"] = json!({"type": "string", "description": ABOUT_KIND});
    schema["properties"]["metadata"] = metadata;
    schema["x-kubernetes-group-version-kind"] = json!([kind(gvk)]);
    schema
}

/// A schema in what version 2 can say.
fn narrowed(schema: &Value) -> Value {
    let Value::Object(map) = schema else {
        return schema.clone();
    };
    let is = |key: &str| map.get(key) == Some(&Value::Bool(true));
    // Several types at once, or fields that are not listed: best not described at all.
    let vague = is("nullable") || is("x-kubernetes-int-or-string");
    let open = vague || is("x-kubernetes-preserve-unknown-fields");
    let mut out = Map::new();
    for (key, value) in map {
        let value = match key.as_str() {
            key if NOT_IN_V2.contains(&key) => continue,
            "type" if vague => continue,
            "properties" | "items" | "additionalProperties" if open => continue,
            "properties" => {
                let fields = value.as_object().into_iter().flatten();
                Value::Object(fields.map(|(name, schema)| (name.clone(), narrowed(schema))).collect())
            }
            "items" | "additionalProperties" => narrowed(value),
            _ => value.clone(),
        };
        out.insert(key.clone(), value);
    }
    Value::Object(out)
}
