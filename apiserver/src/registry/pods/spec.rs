//! Validation of a pod spec: of pods themselves and of the templates inside workloads.
//!
//! Left out: affinity terms beyond their selectors, sysctls, dynamic resource claims, Windows options.

use super::{container, volumes};
use crate::FieldError;
use crate::registry::check::{self, Errors, join};
use crate::registry::fields::{at, flag, list, number, text};
use crate::registry::names;
use serde_json::{Value, json};
use std::collections::HashSet;

const RESTART_POLICIES: &[&str] = &["Always", "OnFailure", "Never"];
const DNS_POLICIES: &[&str] = &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
const TOLERATION_EFFECTS: &[&str] = &["NoSchedule", "PreferNoSchedule", "NoExecute"];
const DNS_NAMESERVERS_MAX: usize = 3;

/// Appends what is wrong with `spec`, which stands at `path`.
pub(crate) fn validate(errors: &mut Errors, spec: &Value, path: &str) {
    let volumes = volumes::validate(errors, spec, path);
    validate_containers(errors, spec, path, &volumes);
    check::one_of(errors, spec, path, "restartPolicy", RESTART_POLICIES);
    check::one_of(errors, spec, path, "dnsPolicy", DNS_POLICIES);
    check::labels(errors, at(spec, "nodeSelector"), &join(path, "nodeSelector"));
    check::shape(errors, spec, path, "serviceAccountName", names::dns_subdomain);
    check::shape(errors, spec, path, "nodeName", names::dns_subdomain);
    check::shape(errors, spec, path, "priorityClassName", names::dns_subdomain);
    check::shape(errors, spec, path, "hostname", names::dns_label);
    check::shape(errors, spec, path, "subdomain", names::dns_label);
    check::shape(errors, spec, path, "runtimeClassName", names::dns_subdomain);
    check::at_least(errors, spec, path, "terminationGracePeriodSeconds", 0);
    check::at_least(errors, spec, path, "activeDeadlineSeconds", 1);
    validate_dns(errors, spec, path);
    validate_tolerations(errors, spec, path);
    validate_spread(errors, spec, path);
    validate_gates(errors, spec, path);
    for (index, alias) in list(spec, "hostAliases").iter().enumerate() {
        check::ip(errors, text(alias, "ip"), format!("{path}.hostAliases[{index}].ip"));
    }
    if flag(spec, "shareProcessNamespace") && flag(spec, "hostPID") {
        errors.push(FieldError::invalid(
            join(path, "shareProcessNamespace"),
            &json!(true),
            "ShareProcessNamespace and HostPID cannot both be enabled",
        ));
    }
}

fn validate_containers(errors: &mut Errors, spec: &Value, path: &str, volumes: &HashSet<&str>) {
    let containers = list(spec, "containers");
    if containers.is_empty() {
        errors.push(FieldError::required(join(path, "containers"), ""));
    }
    let mut seen = HashSet::new();
    let scope = container::Scope {
        volumes,
        host_network: flag(spec, "hostNetwork"),
    };
    for (index, one) in list(spec, "initContainers").iter().enumerate() {
        let path = format!("{path}.initContainers[{index}]");
        container::validate(errors, one, &path, &scope, container::Kind::Init);
        unique_name(errors, one, &path, &mut seen);
    }
    for (index, one) in containers.iter().enumerate() {
        let path = format!("{path}.containers[{index}]");
        container::validate(errors, one, &path, &scope, container::Kind::Main);
        unique_name(errors, one, &path, &mut seen);
    }
    for (index, one) in list(spec, "ephemeralContainers").iter().enumerate() {
        let path = format!("{path}.ephemeralContainers[{index}]");
        container::validate(errors, one, &path, &scope, container::Kind::Ephemeral);
        unique_name(errors, one, &path, &mut seen);
    }
    conflicting_host_ports(errors, containers, path);
}

fn unique_name<'a>(errors: &mut Errors, container: &'a Value, path: &str, seen: &mut HashSet<&'a str>) {
    let name = text(container, "name");
    if !name.is_empty() && !seen.insert(name) {
        errors.push(FieldError::duplicate(join(path, "name"), &json!(name)));
    }
}

fn conflicting_host_ports(errors: &mut Errors, containers: &[Value], path: &str) {
    let mut seen = HashSet::new();
    for (index, container) in containers.iter().enumerate() {
        for (port_index, port) in list(container, "ports").iter().enumerate() {
            let host_port = number(port, "hostPort");
            let protocol = at(port, "protocol").and_then(Value::as_str).unwrap_or("TCP");
            if host_port != 0 && !seen.insert((host_port, protocol, text(port, "hostIP"))) {
                let field = format!("{path}.containers[{index}].ports[{port_index}].hostPort");
                let shown = format!("{}/{protocol}/{host_port}", text(port, "hostIP"));
                errors.push(FieldError::duplicate(field, &json!(shown)));
            }
        }
    }
}

fn validate_dns(errors: &mut Errors, spec: &Value, path: &str) {
    let servers = list(spec, "dnsConfig.nameservers");
    let field = format!("{path}.dnsConfig.nameservers");
    if text(spec, "dnsPolicy") == "None" && servers.is_empty() {
        let detail = "must provide at least one DNS nameserver when `dnsPolicy` is None";
        errors.push(FieldError::required(field.clone(), detail));
    }
    if servers.len() > DNS_NAMESERVERS_MAX {
        errors.push(FieldError::too_many(field.clone(), servers.len(), DNS_NAMESERVERS_MAX));
    }
    for (index, server) in servers.iter().enumerate() {
        check::ip(errors, server.as_str().unwrap_or_default(), format!("{field}[{index}]"));
    }
}

fn validate_tolerations(errors: &mut Errors, spec: &Value, path: &str) {
    for (index, toleration) in list(spec, "tolerations").iter().enumerate() {
        let path = format!("{path}.tolerations[{index}]");
        let (key, value) = (text(toleration, "key"), text(toleration, "value"));
        let operator = text(toleration, "operator");
        check::shape(errors, toleration, &path, "key", names::qualified_name);
        check::one_of(errors, toleration, &path, "operator", &["Equal", "Exists", "Lt", "Gt"]);
        check::one_of(errors, toleration, &path, "effect", TOLERATION_EFFECTS);
        if key.is_empty() && operator != "Exists" {
            let detail = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            errors.push(FieldError::invalid(join(&path, "operator"), &json!(operator), detail));
        }
        if operator == "Exists" && !value.is_empty() {
            let detail = "value must be empty when `operator` is 'Exists'";
            errors.push(FieldError::invalid(join(&path, "operator"), toleration, detail));
        }
        if at(toleration, "tolerationSeconds").is_some() && text(toleration, "effect") != "NoExecute" {
            let detail = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            errors.push(FieldError::invalid(
                join(&path, "effect"),
                &json!(text(toleration, "effect")),
                detail,
            ));
        }
    }
}

fn validate_spread(errors: &mut Errors, spec: &Value, path: &str) {
    for (index, constraint) in list(spec, "topologySpreadConstraints").iter().enumerate() {
        let path = format!("{path}.topologySpreadConstraints[{index}]");
        if number(constraint, "maxSkew") < 1 {
            let given = at(constraint, "maxSkew").cloned().unwrap_or(json!(0));
            errors.push(FieldError::invalid(
                join(&path, "maxSkew"),
                &given,
                "must be greater than zero",
            ));
        }
        check::required_shape(errors, constraint, &path, "topologyKey", names::qualified_name);
        check::required(errors, constraint, &path, "whenUnsatisfiable");
        check::one_of(
            errors,
            constraint,
            &path,
            "whenUnsatisfiable",
            &["DoNotSchedule", "ScheduleAnyway"],
        );
        check::at_least(errors, constraint, &path, "minDomains", 1);
        if let Some(selector) = at(constraint, "labelSelector") {
            check::selector(errors, selector, &join(&path, "labelSelector"));
        }
    }
}

fn validate_gates(errors: &mut Errors, spec: &Value, path: &str) {
    let mut seen = HashSet::new();
    for (index, gate) in list(spec, "schedulingGates").iter().enumerate() {
        let path = format!("{path}.schedulingGates[{index}]");
        check::required_shape(errors, gate, &path, "name", names::qualified_name);
        if !seen.insert(text(gate, "name")) {
            errors.push(FieldError::duplicate(path, &json!(text(gate, "name"))));
        }
    }
    for (index, gate) in list(spec, "readinessGates").iter().enumerate() {
        let path = format!("{path}.readinessGates[{index}]");
        check::required_shape(errors, gate, &path, "conditionType", names::qualified_name);
    }
}
