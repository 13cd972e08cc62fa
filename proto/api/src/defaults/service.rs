//! Services and their endpoints.

use super::{Object, object, object_or_new, objects, set};
use serde_json::Value;

const AFFINITY_SECONDS: i64 = 10_800;

pub fn service(map: &mut Object) {
    let Some(spec) = object(map, "spec") else {
        return;
    };
    set(spec, "type", "ClusterIP");
    set(spec, "sessionAffinity", "None");
    if spec.get("sessionAffinity").and_then(Value::as_str) == Some("ClientIP")
        && let Some(client) =
            object_or_new(spec, "sessionAffinityConfig").and_then(|config| object_or_new(config, "clientIP"))
    {
        set(client, "timeoutSeconds", AFFINITY_SECONDS);
    }
    for port in objects(spec, "ports") {
        set(port, "protocol", "TCP");
        let number = port.get("port").cloned();
        let unset = |target: &Value| *target == 0 || *target == "";
        if let Some(number) = number.filter(|_| port.get("targetPort").is_none_or(unset)) {
            port.insert("targetPort".to_string(), number);
        }
    }
    match spec.get("type").and_then(Value::as_str) {
        Some("ClusterIP") => set(spec, "internalTrafficPolicy", "Cluster"),
        Some("NodePort") => traffic_policies(spec),
        Some("LoadBalancer") => {
            traffic_policies(spec);
            set(spec, "allocateLoadBalancerNodePorts", true);
        }
        _ => {}
    }
}

fn traffic_policies(spec: &mut Object) {
    set(spec, "internalTrafficPolicy", "Cluster");
    set(spec, "externalTrafficPolicy", "Cluster");
}

pub fn endpoints(map: &mut Object) {
    for subset in objects(map, "subsets") {
        for port in objects(subset, "ports") {
            set(port, "protocol", "TCP");
        }
    }
}

pub fn endpoint_slice(map: &mut Object) {
    for port in objects(map, "ports") {
        set(port, "name", "");
        set(port, "protocol", "TCP");
    }
}
