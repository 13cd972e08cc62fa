//! What an object means where it is silent.
//!
//! Two steps: every struct that is always shown is added as `{}`, so that a stored object looks as clients of Kubernetes
//! expect; then come the rules of its kind, hand-written, which only ever add what is absent. In this order because a
//! struct that is shown has defaults of its own.
//!
//! Promise: defaulting twice changes nothing. Left out: what a strategy decides on creation only (finalizers of a
//! namespace, cluster addresses, uids), and the kinds that are not served yet.

mod batch;
mod cluster;
mod pod;
mod registration;
mod rest;
mod service;
mod workload;

use crate::gvk::Gvk;
use crate::schema::{Field, Form, Presence, Schema, Type, registry};
use serde_json::{Map, Value};

pub(crate) type Object = Map<String, Value>;

/// Fills in the defaults of a built-in kind. Other kinds are left alone.
pub fn default_object(gvk: &Gvk, object: &mut Value) {
    let Some(map) = object.as_object_mut() else {
        return;
    };
    if let Some(schema) = registry().schema(gvk) {
        show_structs(schema, map);
    }
    match (gvk.group.as_ref(), gvk.kind.as_ref()) {
        ("", "Pod") => pod::pod(map),
        ("", "PodTemplate") => workload::template(map),
        ("", "ReplicationController") => workload::replication_controller(map),
        ("apps", "Deployment") => workload::deployment(map),
        ("apps", "ReplicaSet") => workload::replica_set(map),
        ("apps", "StatefulSet") => workload::stateful_set(map),
        ("apps", "DaemonSet") => workload::daemon_set(map),
        ("", "Service") => service::service(map),
        ("", "Endpoints") => service::endpoints(map),
        ("discovery.k8s.io", "EndpointSlice") => service::endpoint_slice(map),
        ("", "Secret") => set(map, "type", "Opaque"),
        ("", "Namespace") => rest::namespace(map),
        ("", "Node") => rest::node(map),
        ("", "PersistentVolumeClaim") => rest::claim(map),
        ("", "PersistentVolume") => rest::volume(map),
        ("batch", "Job") => batch::job(map),
        ("batch", "CronJob") => batch::cron_job(map),
        ("autoscaling", "HorizontalPodAutoscaler") if gvk.version == "v2" => batch::autoscaler(map),
        ("", "LimitRange") => cluster::limit_range(map),
        ("networking.k8s.io", "NetworkPolicy") => cluster::network_policy(map),
        ("networking.k8s.io", "IngressClass") => cluster::ingress_class(map),
        ("storage.k8s.io", "StorageClass") => cluster::storage_class(map),
        ("storage.k8s.io", "CSIDriver") => cluster::csi_driver(map),
        ("scheduling.k8s.io", "PriorityClass") => set(map, "preemptionPolicy", "PreemptLowerPriority"),
        ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration") => cluster::priority_level(map),
        ("flowcontrol.apiserver.k8s.io", "FlowSchema") => cluster::flow_schema(map),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => registration::definition(map),
        ("admissionregistration.k8s.io", "MutatingWebhookConfiguration") => registration::webhooks(map, true),
        ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration") => registration::webhooks(map, false),
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy") => registration::policy(map),
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding") => registration::binding(map),
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => rest::role_binding(map),
        ("authentication.k8s.io", "TokenRequest") => rest::token_request(map),
        _ => {}
    }
}

/// Adds the structs that are always shown, all the way down.
fn show_structs(schema: Schema<'_>, map: &mut Object) {
    for field in &schema.definition.fields {
        if field.presence == Presence::Struct && !map.contains_key(field.name.as_ref()) {
            map.insert(field.name.to_string(), Value::Object(Map::new()));
        }
        if let Some(value) = map.get_mut(field.name.as_ref()) {
            descend(schema, field, value);
        }
    }
}

fn descend(schema: Schema<'_>, field: &Field, value: &mut Value) {
    let Some(inner) = schema
        .follow_element(&field.r#type)
        .filter(|inner| inner.definition.form == Form::Struct)
    else {
        return;
    };
    match (&field.r#type, value) {
        (Type::Ref(_), Value::Object(map)) => show_structs(inner, map),
        (Type::List(_), Value::Array(items)) => {
            items
                .iter_mut()
                .filter_map(Value::as_object_mut)
                .for_each(|map| show_structs(inner, map));
        }
        (Type::Map(_), Value::Object(entries)) => {
            entries
                .values_mut()
                .filter_map(Value::as_object_mut)
                .for_each(|map| show_structs(inner, map));
        }
        _ => {}
    }
}

/// Sets a field that is absent or empty.
pub(crate) fn set(map: &mut Object, key: &str, default: impl Into<Value>) {
    let empty = |value: &Value| value.is_null() || value.as_str() == Some("");
    if map.get(key).is_none_or(empty) {
        map.insert(key.to_string(), default.into());
    }
}

/// The object of that name, if it is there.
pub(crate) fn object<'m>(map: &'m mut Object, key: &str) -> Option<&'m mut Object> {
    map.get_mut(key).and_then(Value::as_object_mut)
}

/// The object of that name, added when absent.
pub(crate) fn object_or_new<'m>(map: &'m mut Object, key: &str) -> Option<&'m mut Object> {
    map.entry(key)
        .or_insert_with(|| Value::Object(Map::new()))
        .as_object_mut()
}

/// The objects in the list of that name.
pub(crate) fn objects<'m>(map: &'m mut Object, key: &str) -> impl Iterator<Item = &'m mut Object> {
    map.get_mut(key)
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
        .filter_map(Value::as_object_mut)
}

#[cfg(test)]
mod tests;
