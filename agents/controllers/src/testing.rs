//! Objects for tests.

use client::objects::Pod;
use serde_json::json;

use crate::objects::{Deployment, ReplicaSet};

/// A Pod `default/<name>` labelled `app=a`.
pub(crate) fn pod(name: &str) -> Pod {
    serde_json::from_value(json!({
        "metadata": { "name": name, "namespace": "default", "uid": name, "labels": { "app": "a" } },
    }))
    .unwrap()
}

/// A ReplicaSet selecting `app=a` whose uid is its name.
pub(crate) fn replica_set(name: &str, replicas: i32) -> ReplicaSet {
    serde_json::from_value(json!({
        "metadata": { "name": name, "namespace": "default", "uid": name, "generation": 1 },
        "spec": {
            "replicas": replicas,
            "selector": { "matchLabels": { "app": "a" } },
            "template": { "metadata": { "labels": { "app": "a" } }, "spec": { "containers": [{ "name": "c", "image": "i" }] } },
        },
    }))
    .unwrap()
}

/// A Deployment of `image` selecting `app=a`, with the API server's defaults.
pub(crate) fn deployment(replicas: i32, image: &str) -> Deployment {
    serde_json::from_value(json!({
        "metadata": { "name": "d", "namespace": "default", "uid": "d", "generation": 1 },
        "spec": {
            "replicas": replicas,
            "selector": { "matchLabels": { "app": "a" } },
            "template": { "metadata": { "labels": { "app": "a" } }, "spec": { "containers": [{ "name": "c", "image": image }] } },
            "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": "25%", "maxUnavailable": "25%" } },
            "revisionHistoryLimit": 10,
            "progressDeadlineSeconds": 600,
        },
    }))
    .unwrap()
}
