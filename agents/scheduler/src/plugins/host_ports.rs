//! Two Pods cannot have the same host port, protocol and (overlapping) address on one node.

use client::objects::{ContainerPort, Pod};

use super::Reasons;
use crate::NodeInfo;

pub fn filter(pod: &Pod, info: &NodeInfo) -> Result<(), Reasons> {
    let taken = || {
        info.pods
            .values()
            .filter(|p| !p.is_terminal())
            .flat_map(|p| host_ports(p))
    };
    if host_ports(pod).all(|wanted| !taken().any(|other| clash(wanted, other))) {
        return Ok(());
    }
    Err(vec![
        "node(s) didn't have free ports for the requested pod ports".into(),
    ])
}

fn host_ports(pod: &Pod) -> impl Iterator<Item = &ContainerPort> {
    let containers = pod.spec.containers.iter().chain(&pod.spec.init_containers);
    containers.flat_map(|c| &c.ports).filter(|p| p.host_port > 0)
}

fn clash(a: &ContainerPort, b: &ContainerPort) -> bool {
    let protocol = |p: &ContainerPort| {
        if p.protocol.is_empty() {
            "TCP".to_string()
        } else {
            p.protocol.clone()
        }
    };
    let any = |p: &ContainerPort| matches!(p.host_ip.as_str(), "" | "0.0.0.0");
    a.host_port == b.host_port && protocol(a) == protocol(b) && (any(a) || any(b) || a.host_ip == b.host_ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_clash_by_number_protocol_and_address() {
        let port = |protocol: &str, host_ip: &str| ContainerPort {
            host_port: 80,
            protocol: protocol.into(),
            host_ip: host_ip.into(),
            ..ContainerPort::default()
        };
        assert!(clash(&port("", ""), &port("TCP", "10.0.0.1")));
        assert!(!clash(&port("UDP", ""), &port("TCP", "")));
        assert!(!clash(&port("TCP", "10.0.0.2"), &port("TCP", "10.0.0.1")));
    }
}
