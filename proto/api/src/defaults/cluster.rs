//! Networking, storage, limits and flow control.

use super::{Object, object, object_or_new, objects, set};
use serde_json::{Value, json};

/// A container's limit is the most it may have, its request what its limit is, where nobody says otherwise.
pub fn limit_range(map: &mut Object) {
    let Some(spec) = object(map, "spec") else {
        return;
    };
    for item in objects(spec, "limits") {
        if item.get("type").and_then(Value::as_str) != Some("Container") {
            continue;
        }
        fill(item, "default", "max");
        fill(item, "defaultRequest", "default");
        fill(item, "defaultRequest", "min");
    }
}

/// Adds to one map of amounts what only another names.
fn fill(item: &mut Object, to: &str, from: &str) {
    let Some(Value::Object(source)) = item.get(from).cloned() else {
        return;
    };
    if let Some(target) = object_or_new(item, to) {
        for (resource, amount) in source {
            target.entry(resource).or_insert(amount);
        }
    }
}

pub fn network_policy(map: &mut Object) {
    let Some(spec) = object(map, "spec") else {
        return;
    };
    for direction in ["ingress", "egress"] {
        for rule in objects(spec, direction) {
            for port in objects(rule, "ports") {
                set(port, "protocol", "TCP");
            }
        }
    }
    let none = |types: &Value| types.as_array().is_some_and(Vec::is_empty);
    if spec.get("policyTypes").is_none_or(none) {
        let egress = spec
            .get("egress")
            .and_then(Value::as_array)
            .is_some_and(|rules| !rules.is_empty());
        let types = if egress {
            json!(["Ingress", "Egress"])
        } else {
            json!(["Ingress"])
        };
        spec.insert("policyTypes".into(), types);
    }
}

pub fn ingress_class(map: &mut Object) {
    if let Some(parameters) = object(map, "spec").and_then(|spec| object(spec, "parameters")) {
        set(parameters, "scope", "Cluster");
    }
}

pub fn storage_class(map: &mut Object) {
    set(map, "reclaimPolicy", "Delete");
    set(map, "volumeBindingMode", "Immediate");
}

pub fn csi_driver(map: &mut Object) {
    let Some(spec) = object_or_new(map, "spec") else {
        return;
    };
    set(spec, "attachRequired", true);
    set(spec, "fsGroupPolicy", "ReadWriteOnceWithFSType");
    for off in ["podInfoOnMount", "storageCapacity", "requiresRepublish", "seLinuxMount"] {
        set(spec, off, false);
    }
    set(spec, "volumeLifecycleModes", json!(["Persistent"]));
}

pub fn flow_schema(map: &mut Object) {
    if let Some(spec) = object(map, "spec") {
        set(spec, "matchingPrecedence", 1000);
    }
}

pub fn priority_level(map: &mut Object) {
    let Some(spec) = object(map, "spec") else {
        return;
    };
    if let Some(exempt) = object(spec, "exempt") {
        set(exempt, "nominalConcurrencyShares", 0);
        set(exempt, "lendablePercent", 0);
    }
    let Some(limited) = object(spec, "limited") else {
        return;
    };
    set(limited, "nominalConcurrencyShares", 30);
    set(limited, "lendablePercent", 0);
    let queuing = object(limited, "limitResponse").and_then(|response| object(response, "queuing"));
    if let Some(queuing) = queuing {
        set(queuing, "queues", 64);
        set(queuing, "handSize", 8);
        set(queuing, "queueLengthLimit", 50);
    }
}
