//! `paths`: what can be done to each resource.

use super::components::{Dialect, Needed};
use crate::gvk::Gvk;
use crate::resources::{Resource, Subresource};
use serde_json::{Map, Value, json};

const BODIES: &[&str] = &[
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
];
const PATCHES: &[&str] = &[
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
];
/// Custom resources have neither protobuf nor keys to merge by.
const CUSTOM: usize = 1;

/// Adds the paths of a resource and of its subresources.
pub fn add_paths(row: &Resource, paths: &mut Map<String, Value>, needed: &mut Needed<'_>) {
    let collection = collection_path(row, row.namespaced);
    let kind = row.gvk();
    let list = Gvk {
        kind: row.list_kind.clone(),
        ..kind.clone()
    };
    let path = |name: bool, verbs: &[(&str, &str)], needed: &mut Needed<'_>| {
        let mut item = Item::new(needed.dialect(), row.namespaced, name);
        for (verb, method) in verbs.iter().filter(|(verb, _)| row.allows(verb)) {
            let answer = if *verb == "list" { &list } else { &kind };
            item.operation(verb, method, &kind, answer, needed);
        }
        item.finish()
    };
    if row.allows("create") || row.allows("list") {
        let verbs = [("list", "get"), ("create", "post"), ("deletecollection", "delete")];
        paths.insert(collection.clone(), path(false, &verbs, needed));
    }
    if row.allows("get") {
        let verbs = [
            ("get", "get"),
            ("update", "put"),
            ("patch", "patch"),
            ("delete", "delete"),
        ];
        paths.insert(format!("{collection}/{{name}}"), path(true, &verbs, needed));
    }
    if row.namespaced && row.allows("list") {
        let mut item = Item::new(needed.dialect(), false, false);
        item.operation("list", "get", &kind, &list, needed);
        paths.insert(collection_path(row, false), item.finish());
    }
    for sub in &row.subresources {
        paths.insert(
            format!("{collection}/{{name}}/{}", sub.name),
            subresource(row, sub, needed),
        );
    }
}

fn collection_path(row: &Resource, namespaced: bool) -> String {
    let root = if row.group.is_empty() { "/api" } else { "/apis" };
    let scope = if namespaced { "/namespaces/{namespace}" } else { "" };
    format!("{root}/{}{scope}/{}", row.api_version(), row.name)
}

fn subresource(row: &Resource, sub: &Subresource, needed: &mut Needed<'_>) -> Value {
    let mut item = Item::new(needed.dialect(), row.namespaced, true);
    let kind = sub.gvk();
    for verb in sub.verbs {
        let method = match *verb {
            "get" => "get",
            "update" => "put",
            "patch" => "patch",
            "delete" => "delete",
            _ => "post",
        };
        let action = if sub.kind.ends_with("Options") { "connect" } else { verb };
        item.operation(action, method, &kind, &kind, needed);
    }
    item.finish()
}

/// One entry of `paths`.
struct Item {
    dialect: Dialect,
    map: Map<String, Value>,
    parameters: Vec<Value>,
}

impl Item {
    fn new(dialect: Dialect, namespaced: bool, named: bool) -> Item {
        let mut parameters = Vec::new();
        for (present, name) in [(named, "name"), (namespaced, "namespace")] {
            if present {
                let mut parameter = parameter(dialect, name, "path", "string");
                parameter["required"] = true.into();
                parameters.push(parameter);
            }
        }
        Item {
            dialect,
            map: Map::new(),
            parameters,
        }
    }

    fn operation(&mut self, verb: &str, method: &str, kind: &Gvk, answer: &Gvk, needed: &mut Needed<'_>) {
        let action = match verb {
            "create" => "post",
            "update" => "put",
            other => other,
        };
        let parameters = query_parameters(verb);
        let parameters: Vec<Value> = parameters
            .iter()
            .map(|(name, kind)| parameter(self.dialect, name, "query", kind))
            .collect();
        let mut operation = json!({
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
            "parameters": parameters,
        });
        let fewer = if needed.is_foreign(kind) { CUSTOM } else { 0 };
        let body = match verb {
            "create" | "update" => needed.kind(kind).map(|schema| (&["*/*"][..], schema)),
            "patch" => Some((&PATCHES[..PATCHES.len() - fewer], json!({"type": "object"}))),
            "delete" | "deletecollection" => needed.delete_options().map(|schema| (&["*/*"][..], schema)),
            _ => None,
        };
        let answer = needed.kind(answer);
        match self.dialect {
            Dialect::V2 => swagger_bodies(&mut operation, body, answer, verb == "patch", fewer),
            Dialect::V3 => bodies(&mut operation, body, answer, fewer),
        }
        self.map.insert(method.to_string(), operation);
    }

    fn finish(mut self) -> Value {
        if !self.parameters.is_empty() {
            self.map.insert("parameters".to_string(), Value::Array(self.parameters));
        }
        Value::Object(self.map)
    }
}

/// Request and answer, as version 3 says it.
fn bodies(operation: &mut Value, body: Option<(&[&str], Value)>, answer: Option<Value>, fewer: usize) {
    let content = |types: &[&str], schema: &Value| -> Value {
        let entries = types.iter().map(|media| (media.to_string(), json!({"schema": schema})));
        Value::Object(entries.collect())
    };
    if let Some((types, schema)) = body {
        operation["requestBody"] = json!({"content": content(types, &schema)});
    }
    let answered = match answer {
        Some(schema) => json!({"description": "OK", "content": content(&BODIES[..BODIES.len() - fewer], &schema)}),
        None => json!({"description": "OK"}),
    };
    operation["responses"] = json!({"200": answered, "401": {"description": "Unauthorized"}});
}

/// The same, as version 2 says it: the body is a parameter.
fn swagger_bodies(
    operation: &mut Value,
    body: Option<(&[&str], Value)>,
    answer: Option<Value>,
    required: bool,
    fewer: usize,
) {
    operation["schemes"] = json!(["https"]);
    operation["produces"] = json!(&BODIES[..BODIES.len() - fewer]);
    operation["consumes"] = json!(["*/*"]);
    if let Some((types, schema)) = body {
        operation["consumes"] = json!(types);
        let mut parameter = json!({"name": "body", "in": "body", "schema": schema});
        if required {
            parameter["required"] = true.into();
        }
        if let Some(parameters) = operation["parameters"].as_array_mut() {
            parameters.push(parameter);
        }
    }
    let answered = match answer {
        Some(schema) => json!({"description": "OK", "schema": schema}),
        None => json!({"description": "OK"}),
    };
    operation["responses"] = json!({"200": answered, "401": {"description": "Unauthorized"}});
}

fn parameter(dialect: Dialect, name: &str, place: &str, kind: &str) -> Value {
    match dialect {
        Dialect::V2 => json!({"name": name, "in": place, "type": kind, "uniqueItems": true}),
        Dialect::V3 => json!({"name": name, "in": place, "schema": {"type": kind, "uniqueItems": true}}),
    }
}

fn query_parameters(verb: &str) -> &'static [(&'static str, &'static str)] {
    match verb {
        "create" | "update" => &[
            ("dryRun", "string"),
            ("fieldManager", "string"),
            ("fieldValidation", "string"),
        ],
        "patch" => &[
            ("dryRun", "string"),
            ("fieldManager", "string"),
            ("fieldValidation", "string"),
            ("force", "boolean"),
        ],
        "delete" => &[
            ("dryRun", "string"),
            ("gracePeriodSeconds", "integer"),
            ("orphanDependents", "boolean"),
            ("propagationPolicy", "string"),
        ],
        "list" | "deletecollection" => &[
            ("allowWatchBookmarks", "boolean"),
            ("continue", "string"),
            ("fieldSelector", "string"),
            ("labelSelector", "string"),
            ("limit", "integer"),
            ("resourceVersion", "string"),
            ("resourceVersionMatch", "string"),
            ("sendInitialEvents", "boolean"),
            ("timeoutSeconds", "integer"),
            ("watch", "boolean"),
        ],
        _ => &[],
    }
}
