//! Validation of services.

use super::{HEADLESS, has_cluster_ip, has_node_ports};
use crate::FieldError;
use crate::registry::check::{self, Errors};
use crate::registry::fields::{at, list, number, text};
use crate::registry::names;
use serde_json::{Value, json};
use std::collections::HashSet;

const TYPES: &[&str] = &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];

/// What is wrong with a service.
pub(super) fn service(service: &Value) -> Errors {
    let mut errors = Errors::new();
    let Some(spec) = at(service, "spec") else {
        return vec![FieldError::required("spec", "")];
    };
    check::required(&mut errors, spec, "spec", "type");
    check::one_of(&mut errors, spec, "spec", "type", TYPES);
    check::one_of(&mut errors, spec, "spec", "sessionAffinity", &["ClientIP", "None"]);
    check::one_of(
        &mut errors,
        spec,
        "spec",
        "externalTrafficPolicy",
        &["Cluster", "Local"],
    );
    check::one_of(
        &mut errors,
        spec,
        "spec",
        "internalTrafficPolicy",
        &["Cluster", "Local"],
    );
    check::labels(&mut errors, at(spec, "selector"), "spec.selector");
    validate_ports(&mut errors, service);
    validate_addresses(&mut errors, service);
    errors
}

fn validate_ports(errors: &mut Errors, service: &Value) {
    let ports = list(service, "spec.ports");
    let headless = text(service, "spec.clusterIP") == HEADLESS;
    if ports.is_empty() && has_cluster_ip(service) && !headless {
        errors.push(FieldError::required("spec.ports", ""));
    }
    let (mut seen_names, mut seen_ports) = (HashSet::new(), HashSet::new());
    for (index, port) in ports.iter().enumerate() {
        let path = format!("spec.ports[{index}]");
        validate_port(errors, port, &path, ports.len() > 1);
        let name = text(port, "name");
        if !name.is_empty() && !seen_names.insert(name) {
            errors.push(FieldError::duplicate(format!("{path}.name"), &json!(name)));
        }
        let number_ = number(port, "port");
        if !seen_ports.insert((text(port, "protocol"), number_)) {
            let shown = json!({"port": number_, "protocol": text(port, "protocol")});
            errors.push(FieldError::duplicate(path.clone(), &shown));
        }
        validate_node_port(errors, service, port, &path);
    }
}

fn validate_port(errors: &mut Errors, port: &Value, path: &str, needs_name: bool) {
    if needs_name {
        check::required(errors, port, path, "name");
    }
    check::shape(errors, port, path, "name", names::dns_label);
    if at(port, "port").is_none() {
        errors.push(FieldError::invalid(
            format!("{path}.port"),
            &json!(0),
            "must be between 1 and 65535, inclusive",
        ));
    }
    check::port(errors, port, path, "port");
    if at(port, "targetPort").is_some() {
        check::port_reference(errors, port, path, "targetPort");
    }
    check::one_of(errors, port, path, "protocol", &["SCTP", "TCP", "UDP"]);
}

fn validate_node_port(errors: &mut Errors, service: &Value, port: &Value, path: &str) {
    let node_port = number(port, "nodePort");
    if node_port == 0 {
        return;
    }
    let path = format!("{path}.nodePort");
    if !has_node_ports(service) && text(service, "spec.type") != "LoadBalancer" {
        errors.push(FieldError::forbidden(
            path,
            "may not be used when `type` is 'ClusterIP'",
        ));
    }
}

fn validate_addresses(errors: &mut Errors, service: &Value) {
    let (cluster_ip, kind) = (text(service, "spec.clusterIP"), text(service, "spec.type"));
    if !has_cluster_ip(service) {
        if !cluster_ip.is_empty() {
            errors.push(FieldError::forbidden(
                "spec.clusterIP",
                "may not be set for ExternalName services",
            ));
        }
        check::required_shape(errors, &service["spec"], "spec", "externalName", names::dns_subdomain);
        return;
    }
    if cluster_ip == HEADLESS && matches!(kind, "NodePort" | "LoadBalancer") {
        let detail = format!("may not be set to 'None' for {kind} services");
        errors.push(FieldError::invalid("spec.clusterIP", &json!(HEADLESS), &detail));
    }
    if !cluster_ip.is_empty() && cluster_ip != HEADLESS {
        check::ip(errors, cluster_ip, "spec.clusterIP");
    }
    let first = list(service, "spec.clusterIPs").first().and_then(Value::as_str);
    if let Some(first) = first.filter(|first| *first != cluster_ip) {
        errors.push(FieldError::invalid(
            "spec.clusterIPs",
            &json!([first]),
            "first value must match `clusterIP`",
        ));
    }
    for (index, family) in list(service, "spec.ipFamilies").iter().enumerate() {
        if family != "IPv4" {
            let detail = "not configured on this cluster";
            errors.push(FieldError::invalid(format!("spec.ipFamilies[{index}]"), family, detail));
        }
    }
    if text(service, "spec.ipFamilyPolicy") == "RequireDualStack" {
        let detail = "Cluster is not configured for dual-stack services";
        errors.push(FieldError::invalid(
            "spec.ipFamilyPolicy",
            &json!("RequireDualStack"),
            detail,
        ));
    }
    for (index, address) in list(service, "spec.externalIPs").iter().enumerate() {
        check::ip(
            errors,
            address.as_str().unwrap_or_default(),
            format!("spec.externalIPs[{index}]"),
        );
    }
}

/// The address of a service that has one is what its clients know: it stays.
pub(super) fn update(errors: &mut Errors, new: &Value, old: &Value) {
    let (before, after) = (text(old, "spec.clusterIP"), text(new, "spec.clusterIP"));
    if has_cluster_ip(old) && has_cluster_ip(new) && !before.is_empty() && before != after {
        let detail = "may not change once set";
        errors.push(FieldError::invalid("spec.clusterIPs[0]", &json!(after), detail));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(spec: Value, want: &str) {
        let found: Vec<String> = service(&json!({ "spec": spec }))
            .iter()
            .map(|e| e.to_string())
            .collect();
        match want {
            "" => assert!(found.is_empty(), "{found:?}"),
            _ => assert!(found.iter().any(|p| p.starts_with(want)), "{want} not in {found:?}"),
        }
    }

    #[test]
    fn services_are_checked_by_type() {
        let port = json!([{"port": 80, "protocol": "TCP", "targetPort": 8080}]);
        check(json!({"type": "ClusterIP", "ports": port}), "");
        check(json!({"type": "ClusterIP"}), "spec.ports: Required value");
        check(json!({"type": "ClusterIP", "clusterIP": "None"}), "");
        check(json!({"type": "ExternalName"}), "spec.externalName: Required value");
        check(
            json!({"type": "X", "ports": port}),
            "spec.type: Unsupported value: \"X\"",
        );
        check(
            json!({"type": "ClusterIP", "ports": [{"port": 1, "nodePort": 80}]}),
            "spec.ports[0].nodePort: Forbidden",
        );
        check(
            json!({"type": "ClusterIP", "ports": [{"port": 0}]}),
            "spec.ports[0].port: Invalid value: 0",
        );
        check(
            json!({"type": "ClusterIP", "ports": [{"port": 1}, {"port": 2}]}),
            "spec.ports[0].name: Required value",
        );
    }
}
