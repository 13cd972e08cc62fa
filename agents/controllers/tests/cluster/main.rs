//! The controllers against the real API server: what a user would miss if they did not do their part.

mod certificates;
mod custom;
mod garbage;
mod harness;
mod joining;
mod namespaces;
mod nodes;
mod workloads;

use serde_json::{Value, json};

/// A Pod `name`, owned by these objects, who must not go in the foreground before it.
fn pod(name: &str, owners: &[&Value]) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name, "labels": { "app": name }, "ownerReferences": references(owners) },
        "spec": { "containers": [{ "name": "c", "image": "i" }] },
    })
}

fn references(owners: &[&Value]) -> Vec<Value> {
    let reference = |owner: &&Value| {
        json!({
            "apiVersion": owner["apiVersion"],
            "kind": owner["kind"],
            "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"],
            "blockOwnerDeletion": true,
        })
    };
    owners.iter().map(reference).collect()
}

fn config_map(name: &str, owners: &[&Value]) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "name": name, "ownerReferences": references(owners) },
    })
}

fn deployment(name: &str, replicas: usize) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": name },
        "spec": {
            "replicas": replicas,
            "selector": { "matchLabels": { "app": name } },
            "template": {
                "metadata": { "labels": { "app": name } },
                "spec": { "containers": [{ "name": "c", "image": "i" }] },
            },
        },
    })
}
