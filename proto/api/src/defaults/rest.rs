//! Kinds with a rule or two.

use super::{Object, object, object_or_new, objects, set};
use serde_json::Value;

const RBAC: &str = "rbac.authorization.k8s.io";
const TOKEN_SECONDS: i64 = 3600;

/// Every namespace carries its name as a label, so that selectors can find it.
pub fn namespace(map: &mut Object) {
    if let Some(status) = object_or_new(map, "status") {
        set(status, "phase", "Active");
    }
    let Some(metadata) = object(map, "metadata") else {
        return;
    };
    let name = metadata
        .get("name")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_string();
    if !name.is_empty()
        && let Some(labels) = object_or_new(metadata, "labels")
    {
        labels.insert("kubernetes.io/metadata.name".to_string(), name.into());
    }
}

/// A node that says nothing else can give all it has.
pub fn node(map: &mut Object) {
    if let Some(status) = object(map, "status")
        && let Some(capacity) = status.get("capacity").cloned()
    {
        status.entry("allocatable").or_insert(capacity);
    }
}

pub fn claim(map: &mut Object) {
    if let Some(spec) = object(map, "spec") {
        set(spec, "volumeMode", "Filesystem");
    }
    if let Some(status) = object_or_new(map, "status") {
        set(status, "phase", "Pending");
    }
}

pub fn volume(map: &mut Object) {
    if let Some(spec) = object(map, "spec") {
        set(spec, "volumeMode", "Filesystem");
        set(spec, "persistentVolumeReclaimPolicy", "Retain");
    }
    if let Some(status) = object_or_new(map, "status") {
        set(status, "phase", "Pending");
    }
}

pub fn role_binding(map: &mut Object) {
    if let Some(role) = object(map, "roleRef") {
        set(role, "apiGroup", RBAC);
    }
    for subject in objects(map, "subjects") {
        if matches!(subject.get("kind").and_then(Value::as_str), Some("User" | "Group")) {
            set(subject, "apiGroup", RBAC);
        }
    }
}

pub fn token_request(map: &mut Object) {
    if let Some(spec) = object_or_new(map, "spec") {
        set(spec, "expirationSeconds", TOKEN_SECONDS);
    }
}
