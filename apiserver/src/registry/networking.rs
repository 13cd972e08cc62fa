//! Ingresses, their classes, network policies, address ranges of services.

use super::check::{self, Errors, join};
use super::columns::selector;
use super::declared::{Declared, PLAIN, STATUS};
use super::fields::{at, list, text};
use super::names;
use super::strategy::Cells;
use super::table::{AGE, NAME, age, column, name};
use crate::FieldError;
use ipnet::IpNet;
use jiff::Timestamp;
use serde_json::{Value, json};

/// `ingresses.networking.k8s.io`.
pub const INGRESSES: Declared = Declared {
    columns: &[
        NAME,
        column("Class", "string", "Who implements it."),
        column("Hosts", "string", "The hosts it answers for."),
        column("Address", "string", "Where it is reached."),
        column("Ports", "string", "80, and 443 where it has certificates."),
        AGE,
    ],
    cells: ingress_cells,
    check: ingress,
    generation: true,
    subresources: STATUS,
    ..PLAIN
};

/// `ingressclasses.networking.k8s.io`.
pub const INGRESS_CLASSES: Declared = Declared {
    columns: &[
        NAME,
        column("Controller", "string", "Who implements it."),
        column("Parameters", "string", "What configures it."),
        AGE,
    ],
    cells: |class, now| {
        let parameters = match at(class, "spec.parameters") {
            Some(reference) => {
                let kind = text(reference, "kind");
                let group = text(reference, "apiGroup");
                let kind = if group.is_empty() {
                    kind.to_owned()
                } else {
                    format!("{kind}.{group}")
                };
                format!("{kind}/{}", text(reference, "name"))
            }
            None => "<none>".to_owned(),
        };
        vec![
            name(class),
            json!(text(class, "spec.controller")),
            json!(parameters),
            age(class, now),
        ]
    },
    fixed: &["spec.controller"],
    generation: true,
    ..PLAIN
};

/// `networkpolicies.networking.k8s.io`.
pub const POLICIES: Declared = Declared {
    columns: &[NAME, column("Pod-Selector", "string", "The pods it is about."), AGE],
    cells: |policy, now| {
        vec![
            name(policy),
            json!(selector(at(policy, "spec.podSelector"))),
            age(policy, now),
        ]
    },
    check: policy,
    generation: true,
    ..PLAIN
};

/// `servicecidrs.networking.k8s.io`.
pub const SERVICE_CIDRS: Declared = Declared {
    columns: &[
        NAME,
        column("CIDRs", "string", "The ranges service addresses are taken from."),
        AGE,
    ],
    cells: |range, now| {
        let cidrs: Vec<&str> = list(range, "spec.cidrs").iter().filter_map(Value::as_str).collect();
        vec![name(range), json!(cidrs.join(",")), age(range, now)]
    },
    check: |errors, range| {
        let cidrs = list(range, "spec.cidrs");
        if cidrs.is_empty() {
            errors.push(FieldError::required("spec.cidrs", "at least one CIDR required"));
        }
        for (index, cidr) in cidrs.iter().enumerate() {
            cidr_at(errors, cidr, format!("spec.cidrs[{index}]"));
        }
    },
    fixed: &["spec.cidrs"],
    subresources: STATUS,
    ..PLAIN
};

/// `ipaddresses.networking.k8s.io`.
pub const IP_ADDRESSES: Declared = Declared {
    columns: &[NAME, column("ParentRef", "string", "What uses it."), AGE],
    cells: |address, now| {
        let part = |field: &str| text(address, &format!("spec.parentRef.{field}"));
        let kind = [part("resource"), part("group")].join(".");
        let owner = [kind.trim_end_matches('.'), part("namespace"), part("name")];
        let owner: Vec<&str> = owner.into_iter().filter(|part| !part.is_empty()).collect();
        vec![name(address), json!(owner.join("/")), age(address, now)]
    },
    check: |errors, address| {
        check::ip(errors, text(address, "metadata.name"), "metadata.name");
        check::required(errors, &address["spec"]["parentRef"], "spec.parentRef", "resource");
        check::required(errors, &address["spec"]["parentRef"], "spec.parentRef", "name");
    },
    fixed: &["spec.parentRef"],
    // An IPv6 address is no DNS name.
    name_rule: super::strategy::NameRule::PathSegment,
    ..PLAIN
};

fn ingress_cells(ingress: &Value, now: Timestamp) -> Cells {
    let class = at(ingress, "spec.ingressClassName")
        .and_then(Value::as_str)
        .unwrap_or("<none>");
    let hosts: Vec<&str> = list(ingress, "spec.rules")
        .iter()
        .map(|rule| text(rule, "host"))
        .filter(|h| !h.is_empty())
        .collect();
    let hosts = match hosts.len() {
        0 => "*".to_owned(),
        1..=3 => hosts.join(","),
        more => format!("{} + {} more...", hosts[..3].join(","), more - 3),
    };
    let addresses: Vec<&str> = list(ingress, "status.loadBalancer.ingress")
        .iter()
        .map(|point| match text(point, "ip") {
            "" => text(point, "hostname"),
            ip => ip,
        })
        .collect();
    let ports = if list(ingress, "spec.tls").is_empty() {
        "80"
    } else {
        "80, 443"
    };
    vec![
        name(ingress),
        json!(class),
        json!(hosts),
        json!(addresses.join(",")),
        json!(ports),
        age(ingress, now),
    ]
}

fn ingress(errors: &mut Errors, ingress: &Value) {
    let spec = &ingress["spec"];
    let rules = list(spec, "rules");
    if rules.is_empty() && at(spec, "defaultBackend").is_none() {
        let detail = "either `defaultBackend` or `rules` must be specified";
        errors.push(FieldError::invalid("spec", spec, detail));
    }
    check::shape(errors, spec, "spec", "ingressClassName", names::dns_subdomain);
    if let Some(default) = at(spec, "defaultBackend") {
        backend(errors, default, "spec.defaultBackend");
    }
    for (index, rule) in rules.iter().enumerate() {
        let path = format!("spec.rules[{index}]");
        host(errors, text(rule, "host"), &path);
        if let Some(http) = at(rule, "http")
            && list(http, "paths").is_empty()
        {
            errors.push(FieldError::required(format!("{path}.http.paths"), ""));
        }
        for (index, entry) in list(rule, "http.paths").iter().enumerate() {
            http_path(errors, entry, &format!("{path}.http.paths[{index}]"));
        }
    }
}

fn host(errors: &mut Errors, host: &str, path: &str) {
    let shape = host.strip_prefix("*.").unwrap_or(host);
    if host.is_empty() {
        return;
    }
    if host.parse::<std::net::IpAddr>().is_ok() {
        let detail = "must be a DNS name, not an IP address";
        errors.push(FieldError::invalid(join(path, "host"), &json!(host), detail));
    } else if let Some(problem) = names::dns_subdomain(shape) {
        errors.push(FieldError::invalid(join(path, "host"), &json!(host), &problem));
    }
}

fn http_path(errors: &mut Errors, entry: &Value, path: &str) {
    let given = text(entry, "path");
    match text(entry, "pathType") {
        "" => errors.push(FieldError::required(
            join(path, "pathType"),
            "pathType must be specified",
        )),
        "Exact" | "Prefix" if !given.starts_with('/') => {
            errors.push(FieldError::invalid(
                join(path, "path"),
                &json!(given),
                "must be an absolute path",
            ));
        }
        "Exact" | "Prefix" => {
            for bad in ["//", "/./", "/../", "%2f", "%2F"] {
                if given.contains(bad) {
                    let detail = format!("must not contain '{bad}'");
                    errors.push(FieldError::invalid(join(path, "path"), &json!(given), &detail));
                }
            }
        }
        "ImplementationSpecific" if !given.is_empty() && !given.starts_with('/') => {
            errors.push(FieldError::invalid(
                join(path, "path"),
                &json!(given),
                "must be an absolute path",
            ));
        }
        _ => {}
    }
    backend(errors, &entry["backend"], &join(path, "backend"));
}

fn backend(errors: &mut Errors, backend: &Value, path: &str) {
    match (at(backend, "service"), at(backend, "resource")) {
        (Some(_), Some(_)) => {
            let detail = "cannot set both resource and service backends";
            errors.push(FieldError::invalid(path, backend, detail));
        }
        (None, None) => errors.push(FieldError::required(path, "must specify a service or a resource")),
        (Some(service), None) => {
            let path = join(path, "service");
            check::required_shape(errors, service, &path, "name", names::dns_1035_label);
            let (number, named) = (at(service, "port.number"), text(service, "port.name"));
            match (number, named) {
                (None, "") => errors.push(FieldError::required(path, "port name or number is required")),
                (Some(_), "") => check::port(errors, &service["port"], &join(&path, "port"), "number"),
                (None, _) => check::shape(errors, &service["port"], &join(&path, "port"), "name", names::port_name),
                (Some(_), _) => errors.push(FieldError::invalid(
                    path,
                    service,
                    "cannot set both port name & port number",
                )),
            }
        }
        (None, Some(_)) => {}
    }
}

fn policy(errors: &mut Errors, policy: &Value) {
    let spec = &policy["spec"];
    check::selector(errors, &spec["podSelector"], "spec.podSelector");
    for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
        for (index, rule) in list(spec, direction).iter().enumerate() {
            let path = format!("spec.{direction}[{index}]");
            for (index, port) in list(rule, "ports").iter().enumerate() {
                policy_port(errors, port, &format!("{path}.ports[{index}]"));
            }
            for (index, peer) in list(rule, peers).iter().enumerate() {
                policy_peer(errors, peer, &format!("{path}.{peers}[{index}]"));
            }
        }
    }
    let types = list(spec, "policyTypes");
    for (index, kind) in types.iter().enumerate() {
        if !matches!(kind.as_str(), Some("Ingress" | "Egress")) {
            let supported = ["Egress", "Ingress"];
            errors.push(FieldError::not_supported(
                format!("spec.policyTypes[{index}]"),
                kind,
                &supported,
            ));
        }
    }
}

fn policy_port(errors: &mut Errors, port: &Value, path: &str) {
    check::one_of(errors, port, path, "protocol", &["SCTP", "TCP", "UDP"]);
    if at(port, "port").is_some() {
        check::port_reference(errors, port, path, "port");
    }
    if let Some(end) = at(port, "endPort").and_then(Value::as_i64) {
        match at(port, "port").and_then(Value::as_i64) {
            Some(first) if end < first => {
                let detail = "must be greater than or equal to `port`";
                errors.push(FieldError::invalid(join(path, "endPort"), &json!(end), detail));
            }
            Some(_) => check::port(errors, port, path, "endPort"),
            None => {
                let detail = "may not be specified when `port` is not a number";
                errors.push(FieldError::invalid(join(path, "endPort"), &json!(end), detail));
            }
        }
    }
}

fn policy_peer(errors: &mut Errors, peer: &Value, path: &str) {
    let selectors = ["podSelector", "namespaceSelector"];
    let given = selectors.iter().filter(|field| peer.get(**field).is_some()).count();
    for field in selectors {
        if let Some(selector) = peer.get(field) {
            check::selector(errors, selector, &join(path, field));
        }
    }
    let Some(block) = at(peer, "ipBlock") else {
        if given == 0 {
            errors.push(FieldError::required(path, "must specify a peer"));
        }
        return;
    };
    if given > 0 {
        let detail = "may not specify both ipBlock and another peer";
        errors.push(FieldError::forbidden(path, detail));
    }
    let path = join(path, "ipBlock");
    let outer = cidr_at(errors, &block["cidr"], join(&path, "cidr"));
    for (index, except) in list(block, "except").iter().enumerate() {
        let path = format!("{path}.except[{index}]");
        let inner = cidr_at(errors, except, path.clone());
        if let (Some(outer), Some(inner)) = (outer, inner)
            && (!outer.contains(&inner) || outer == inner)
        {
            errors.push(FieldError::invalid(path, except, "must be a strict subset of `cidr`"));
        }
    }
}

fn cidr_at(errors: &mut Errors, value: &Value, path: String) -> Option<IpNet> {
    let parsed = value.as_str().and_then(|text| text.parse::<IpNet>().ok());
    if parsed.is_none() {
        let detail = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
        errors.push(FieldError::invalid(path, value, detail));
    }
    parsed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(check: fn(&mut Errors, &Value), spec: Value) -> Vec<String> {
        let mut errors = Errors::new();
        check(&mut errors, &json!({"spec": spec}));
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_ingress_leads_somewhere() {
        let rule = |path: Value| json!({"rules": [{"host": "a.b", "http": {"paths": [path]}}]});
        let service = json!({"service": {"name": "s", "port": {"number": 80}}});
        assert_eq!(
            problems(
                ingress,
                rule(json!({"path": "/", "pathType": "Prefix", "backend": service}))
            ),
            [""; 0]
        );
        assert_eq!(problems(ingress, json!({})).len(), 1);
        assert_eq!(
            problems(
                ingress,
                rule(json!({"path": "x", "pathType": "Exact", "backend": service}))
            )
            .len(),
            1
        );
        assert_eq!(
            problems(ingress, rule(json!({"path": "/", "pathType": "Exact", "backend": {}}))).len(),
            1
        );
        assert_eq!(problems(ingress, json!({"rules": [{"host": "1.2.3.4"}]})).len(), 1);
    }

    #[test]
    fn a_policy_names_its_peers() {
        let from = |peer: Value| json!({"ingress": [{"from": [peer]}]});
        assert_eq!(problems(policy, from(json!({"podSelector": {}}))), [""; 0]);
        assert_eq!(problems(policy, from(json!({}))).len(), 1);
        let block = json!({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}});
        assert_eq!(problems(policy, from(block)), [""; 0]);
        assert_eq!(
            problems(
                policy,
                from(json!({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/16"]}}))
            )
            .len(),
            1
        );
        assert_eq!(
            problems(policy, json!({"egress": [{"ports": [{"port": 9, "endPort": 5}]}]})).len(),
            1
        );
    }
}
