//! Nodes and Pods for tests.

use client::objects::{Node, Pod};
use serde_json::json;

/// A Pod in `default` whose uid is its name, asking for this much CPU.
pub(crate) fn pod(name: &str, cpu: &str) -> Pod {
    let container = json!({ "name": "c", "resources": { "requests": { "cpu": cpu, "memory": "100Mi" } } });
    serde_json::from_value(json!({
        "metadata": { "name": name, "namespace": "default", "uid": name },
        "spec": { "containers": [container] },
    }))
    .unwrap()
}

/// A node with this much CPU, 8 GiB, and room for 110 Pods.
pub(crate) fn node(name: &str, cpu: &str) -> Node {
    serde_json::from_value(json!({
        "metadata": { "name": name, "uid": name, "labels": { "kubernetes.io/hostname": name } },
        "status": { "allocatable": { "cpu": cpu, "memory": "8Gi", "pods": "110", "ephemeral-storage": "10Gi" } },
    }))
    .unwrap()
}
