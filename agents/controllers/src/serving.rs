//! How Pods serve a Service: the addresses, ports and states that EndpointSlices and Endpoints are made of. Pure.

use std::collections::BTreeMap;

use client::Change;
use client::objects::{EndpointPort, Pod, Service, ServicePort};
use serde_json::Value;

/// The Services of a namespace that select a Pod.
pub(crate) fn selects(service: &Service, labels: &BTreeMap<String, String>) -> bool {
    let selector = &service.spec.selector;
    managed(service) && selector.iter().all(|(k, v)| labels.get(k) == Some(v))
}

/// Whether the endpoints of a Service are the controllers' business.
pub(crate) fn managed(service: &Service) -> bool {
    !service.spec.selector.is_empty() && service.spec.kind != "ExternalName"
}

/// Whether a Service has no address of its own.
pub(crate) fn headless(service: &Service) -> bool {
    service.spec.cluster_ip == "None"
}

/// Whether a Pod has an address that may serve.
pub(crate) fn addressed(pod: &Pod) -> bool {
    let unaddressed = pod.status.pod_ip.is_empty() && pod.status.pod_ips.is_empty();
    !pod.is_terminal() && !unaddressed
}

/// Whether a Pod takes new traffic.
pub(crate) fn ready(service: &Service, pod: &Pod) -> bool {
    service.spec.publish_not_ready_addresses || (pod.is_ready() && !pod.metadata.is_deleting())
}

/// The Pod's host name, if it has one in this Service's domain.
pub(crate) fn hostname(service: &Service, pod: &Pod) -> Option<String> {
    let named = !pod.spec.hostname.is_empty() && pod.spec.subdomain == service.metadata.name;
    named.then(|| pod.spec.hostname.clone())
}

/// The Pod's address of a family.
pub(crate) fn address<'a>(pod: &'a Pod, family: &str) -> Option<&'a str> {
    let is_family = |ip: &&str| ip.contains(':') == (family == "IPv6");
    let all = pod
        .status
        .pod_ips
        .iter()
        .map(|ip| ip.ip.as_str())
        .chain([pod.status.pod_ip.as_str()]);
    all.filter(|ip| !ip.is_empty()).find(is_family)
}

/// The reference from an endpoint to its Pod.
pub(crate) fn target(pod: &Pod) -> Value {
    let meta = &pod.metadata;
    serde_json::json!({ "kind": "Pod", "namespace": meta.namespace, "name": meta.name, "uid": meta.uid })
}

/// The Service's ports as this Pod has them; a port whose name the Pod does not know is left out.
pub(crate) fn ports(service: &Service, pod: &Pod) -> Vec<EndpointPort> {
    let resolved = service.spec.ports.iter().filter_map(|port| {
        Some(EndpointPort {
            name: Some(port.name.clone()),
            protocol: Some(protocol(&port.protocol).to_owned()),
            port: Some(target_port(port, pod)?),
            app_protocol: port.app_protocol.clone(),
        })
    });
    resolved.collect()
}

fn target_port(port: &ServicePort, pod: &Pod) -> Option<u16> {
    match &port.target_port {
        Value::Number(number) => match number.as_u64()? {
            0 => Some(port.port),
            number => u16::try_from(number).ok(),
        },
        Value::String(name) if !name.is_empty() => named_port(name, protocol(&port.protocol), pod),
        _ => Some(port.port),
    }
}

fn named_port(name: &str, wanted: &str, pod: &Pod) -> Option<u16> {
    let sidecars = pod
        .spec
        .init_containers
        .iter()
        .filter(|c| c.restart_policy.as_deref() == Some("Always"));
    let mut ports = pod.spec.containers.iter().chain(sidecars).flat_map(|c| &c.ports);
    ports
        .find(|p| p.name == name && protocol(&p.protocol) == wanted)
        .map(|p| p.container_port)
}

fn protocol(text: &str) -> &str {
    if text.is_empty() { "TCP" } else { text }
}

/// Whether a Pod's change can change an endpoint.
pub(crate) fn matters(change: &Change<Pod>) -> bool {
    let Change::Modified { old, new } = change else {
        return true;
    };
    let look = |p: &Pod| {
        let addresses: Vec<_> = p.status.pod_ips.iter().map(|ip| ip.ip.clone()).collect();
        let going = (p.metadata.is_deleting(), p.is_terminal(), p.is_ready());
        (
            addresses,
            p.status.pod_ip.clone(),
            going,
            p.spec.node_name.clone(),
            p.metadata.uid.clone(),
        )
    };
    old.metadata.labels != new.metadata.labels || look(old) != look(new) || old.spec.hostname != new.spec.hostname
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ports_are_numbers_names_or_the_services_own() {
        let service: Service = serde_json::from_value(json!({ "spec": { "ports": [
            { "name": "number", "port": 80, "targetPort": 8080 },
            { "name": "named", "port": 81, "targetPort": "web" },
            { "name": "own", "port": 82 },
            { "name": "unknown", "port": 83, "targetPort": "none" },
            { "name": "udp", "port": 84, "targetPort": "web", "protocol": "UDP" },
        ] } }))
        .unwrap();
        let pod: Pod = serde_json::from_value(json!({ "spec": { "containers": [
            { "name": "c", "ports": [{ "name": "web", "containerPort": 8000 }] },
        ] } }))
        .unwrap();
        let found: Vec<_> = ports(&service, &pod)
            .into_iter()
            .map(|p| (p.name.unwrap(), p.port.unwrap()))
            .collect();
        let expected = [("number", 8080), ("named", 8000), ("own", 82)].map(|(n, p)| (n.to_owned(), p));
        assert_eq!(found, expected);
    }

    #[test]
    fn addresses_by_family() {
        let pod: Pod = serde_json::from_value(json!({ "status": {
            "podIP": "10.0.0.1", "podIPs": [{ "ip": "10.0.0.1" }, { "ip": "fd00::1" }],
        } }))
        .unwrap();
        assert_eq!(
            (address(&pod, "IPv4"), address(&pod, "IPv6")),
            (Some("10.0.0.1"), Some("fd00::1"))
        );
    }
}
