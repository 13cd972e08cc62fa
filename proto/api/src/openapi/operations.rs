//! `paths`: what can be done to each resource.

use super::components::Needed;
use crate::gvk::{self, Gvk};
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

/// Adds the paths of a resource and of its subresources.
pub fn add_paths(row: &Resource, paths: &mut Map<String, Value>, needed: &mut Needed) {
    let collection = collection_path(row, row.namespaced);
    let kind = row.gvk();
    let list = Gvk::new(row.group, row.version, row.list_kind());
    let path = |name: bool, verbs: &[(&str, &str)], needed: &mut Needed| {
        let mut item = Item::new(row.namespaced, name);
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
        let mut item = Item::new(false, false);
        item.operation("list", "get", &kind, &list, needed);
        paths.insert(collection_path(row, false), item.finish());
    }
    for sub in row.subresources {
        paths.insert(
            format!("{collection}/{{name}}/{}", sub.name),
            subresource(row, sub, needed),
        );
    }
}

fn collection_path(row: &Resource, namespaced: bool) -> String {
    let root = if row.group.is_empty() { "/api" } else { "/apis" };
    let scope = if namespaced { "/namespaces/{namespace}" } else { "" };
    format!(
        "{root}/{}{scope}/{}",
        gvk::api_version(row.group, row.version),
        row.name
    )
}

fn subresource(row: &Resource, sub: &Subresource, needed: &mut Needed) -> Value {
    let mut item = Item::new(row.namespaced, true);
    let kind = sub.gvk();
    for verb in sub.verbs {
        let method = match *verb {
            "get" => "get",
            "update" => "put",
            "patch" => "patch",
            _ => "post",
        };
        let action = if sub.kind.ends_with("Options") { "connect" } else { verb };
        item.operation(action, method, &kind, &kind, needed);
    }
    item.finish()
}

/// One entry of `paths`.
struct Item {
    map: Map<String, Value>,
    parameters: Vec<Value>,
}

impl Item {
    fn new(namespaced: bool, named: bool) -> Item {
        let mut parameters = Vec::new();
        for (present, name) in [(named, "name"), (namespaced, "namespace")] {
            if present {
                let schema = json!({"type": "string", "uniqueItems": true});
                parameters.push(json!({"name": name, "in": "path", "required": true, "schema": schema}));
            }
        }
        Item {
            map: Map::new(),
            parameters,
        }
    }

    fn operation(&mut self, verb: &str, method: &str, kind: &Gvk, answer: &Gvk, needed: &mut Needed) {
        let action = match verb {
            "create" => "post",
            "update" => "put",
            other => other,
        };
        let mut operation = json!({
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
            "parameters": query_parameters(verb),
        });
        let content = |types: &[&str], schema: &Value| -> Value {
            Value::Object(
                types
                    .iter()
                    .map(|media| (media.to_string(), json!({"schema": schema})))
                    .collect(),
            )
        };
        let body = match verb {
            "create" | "update" => needed.kind(kind).map(|schema| content(&["*/*"], &schema)),
            "patch" => Some(content(PATCHES, &json!({"type": "object"}))),
            "delete" | "deletecollection" => needed.delete_options().map(|schema| content(&["*/*"], &schema)),
            _ => None,
        };
        if let Some(content) = body {
            operation["requestBody"] = json!({"content": content});
        }
        let answered = match needed.kind(answer) {
            Some(schema) => json!({"description": "OK", "content": content(BODIES, &schema)}),
            None => json!({"description": "OK"}),
        };
        operation["responses"] = json!({"200": answered, "401": {"description": "Unauthorized"}});
        self.map.insert(method.to_string(), operation);
    }

    fn finish(mut self) -> Value {
        if !self.parameters.is_empty() {
            self.map.insert("parameters".to_string(), Value::Array(self.parameters));
        }
        Value::Object(self.map)
    }
}

fn query_parameters(verb: &str) -> Vec<Value> {
    let names: &[(&str, &str)] = match verb {
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
    };
    let parameter = |(name, kind): &(&str, &str)| json!({"name": name, "in": "query", "schema": {"type": kind, "uniqueItems": true}});
    names.iter().map(parameter).collect()
}
