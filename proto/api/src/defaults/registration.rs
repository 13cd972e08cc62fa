//! Webhooks and admission policies.

use super::{Object, object, objects, set};
use serde_json::{Value, json};

const TIMEOUT_SECONDS: i64 = 10;
const HTTPS: i64 = 443;

/// Names follow from others.
pub fn definition(map: &mut Object) {
    let Some(spec) = object(map, "spec") else { return };
    if let Some(names) = object(spec, "names")
        && let Some(kind) = names.get("kind").and_then(Value::as_str).map(str::to_owned)
    {
        set(names, "singular", kind.to_lowercase());
        set(names, "listKind", format!("{kind}List"));
    }
    let conversion = spec.entry("conversion").or_insert_with(|| json!({}));
    if let Value::Object(conversion) = conversion {
        set(conversion, "strategy", "None");
    }
}

pub fn webhooks(map: &mut Object, mutating: bool) {
    for webhook in objects(map, "webhooks") {
        set(webhook, "failurePolicy", "Fail");
        set(webhook, "matchPolicy", "Equivalent");
        set(webhook, "timeoutSeconds", TIMEOUT_SECONDS);
        selectors(webhook);
        if mutating {
            set(webhook, "reinvocationPolicy", "Never");
        }
        for rule in objects(webhook, "rules") {
            set(rule, "scope", "*");
        }
        let service = object(webhook, "clientConfig").and_then(|config| object(config, "service"));
        if let Some(service) = service {
            set(service, "port", HTTPS);
        }
    }
}

/// An absent selector selects everything, and says so.
fn selectors(map: &mut Object) {
    set(map, "namespaceSelector", json!({}));
    set(map, "objectSelector", json!({}));
}

pub fn policy(map: &mut Object) {
    if let Some(spec) = object(map, "spec") {
        set(spec, "failurePolicy", "Fail");
        matching(spec, "matchConstraints");
    }
}

pub fn binding(map: &mut Object) {
    if let Some(spec) = object(map, "spec") {
        matching(spec, "matchResources");
    }
}

fn matching(spec: &mut Object, field: &str) {
    let Some(resources) = spec.get_mut(field).and_then(Value::as_object_mut) else {
        return;
    };
    set(resources, "matchPolicy", "Equivalent");
    selectors(resources);
    for rules in ["resourceRules", "excludeResourceRules"] {
        for rule in objects(resources, rules) {
            set(rule, "scope", "*");
        }
    }
}
