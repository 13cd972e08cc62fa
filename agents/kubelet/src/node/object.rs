//! The Node object as this node describes itself. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    ContainerImage, DaemonEndpoint, Node, NodeAddress, NodeCondition, NodeDaemonEndpoints, NodeSpec, NodeStatus,
    NodeSystemInfo, Taint,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::facts::Machine;
use crate::{Config, VERSION};

/// Memory that pods are not promised: the node itself needs some.
const MEMORY_RESERVED_BYTES: i64 = 100 << 20;

/// What the runtime says of itself.
#[derive(Debug, Clone, Default)]
pub(super) struct RuntimeFacts {
    /// `containerd://1.6.20`.
    pub(super) version: String,
    /// What is there to run.
    pub(super) images: Vec<ContainerImage>,
}

/// The labels a node gives itself.
pub(super) fn labels(config: &Config, machine: &Machine) -> BTreeMap<String, String> {
    let well_known = [
        ("kubernetes.io/hostname", config.node_name.as_str()),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", machine.architecture),
        ("beta.kubernetes.io/os", "linux"),
        ("beta.kubernetes.io/arch", machine.architecture),
    ];
    let mut labels = config.labels.clone();
    labels.extend(well_known.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())));
    labels
}

/// The object to register with.
pub(super) fn node(config: &Config, machine: &Machine, status: NodeStatus) -> Node {
    let taint = |t: &crate::config::Taint| Taint {
        key: t.key.clone(),
        value: (!t.value.is_empty()).then(|| t.value.clone()),
        effect: t.effect.clone(),
        time_added: None,
    };
    let taints: Vec<Taint> = config.taints.iter().map(taint).collect();
    let mut node = Node {
        spec: Some(NodeSpec {
            taints: (!taints.is_empty()).then_some(taints),
            ..Default::default()
        }),
        status: Some(status),
        ..Default::default()
    };
    node.metadata.name = Some(config.node_name.clone());
    node.metadata.labels = Some(labels(config, machine));
    node
}

/// The status.
pub(super) fn status(
    config: &Config,
    machine: &Machine,
    runtime: &RuntimeFacts,
    port: u16,
    conditions: Vec<NodeCondition>,
) -> NodeStatus {
    let quantities = |memory: i64| -> BTreeMap<String, Quantity> {
        [
            ("cpu", format!("{}m", machine.cpu_milli)),
            ("memory", format!("{}Ki", memory / 1024)),
            ("ephemeral-storage", format!("{}Ki", machine.storage_bytes / 1024)),
            ("pods", config.max_pods.to_string()),
        ]
        .into_iter()
        .map(|(k, v)| {
            (
                k.to_owned(),
                Quantity(v.strip_suffix("000m").map_or(v.clone(), str::to_owned)),
            )
        })
        .collect()
    };
    let address = |kind: &str, address: String| NodeAddress {
        type_: kind.into(),
        address,
    };
    NodeStatus {
        capacity: Some(quantities(machine.memory_bytes)),
        allocatable: Some(quantities((machine.memory_bytes - MEMORY_RESERVED_BYTES).max(0))),
        addresses: Some(vec![
            address("InternalIP", config.node_ip.to_string()),
            address("Hostname", config.node_name.clone()),
        ]),
        conditions: Some(conditions),
        daemon_endpoints: Some(NodeDaemonEndpoints {
            kubelet_endpoint: Some(DaemonEndpoint { port: port.into() }),
        }),
        images: Some(runtime.images.clone()),
        node_info: Some(NodeSystemInfo {
            architecture: machine.architecture.to_owned(),
            boot_id: machine.boot_id.clone(),
            container_runtime_version: runtime.version.clone(),
            kernel_version: machine.kernel_version.clone(),
            kube_proxy_version: VERSION.to_owned(),
            kubelet_version: VERSION.to_owned(),
            machine_id: machine.machine_id.clone(),
            operating_system: "linux".to_owned(),
            os_image: machine.os_image.clone(),
            system_uuid: machine.system_uuid.clone(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn well_known_labels_win_and_whole_cpus_have_no_suffix() {
        let mut config = Config::new("n1", std::net::IpAddr::from([10, 0, 0, 1]));
        config.labels.insert("kubernetes.io/os".into(), "plan9".into());
        config.labels.insert("disk".into(), "fast".into());
        let machine = Machine {
            cpu_milli: 2000,
            memory_bytes: 1 << 30,
            ..Default::default()
        };
        let labels = labels(&config, &machine);
        assert_eq!(
            (labels["kubernetes.io/os"].as_str(), labels["disk"].as_str()),
            ("linux", "fast")
        );
        let status = status(&config, &machine, &RuntimeFacts::default(), 10250, vec![]);
        let capacity = status.capacity.unwrap();
        assert_eq!(
            (capacity["cpu"].0.as_str(), capacity["memory"].0.as_str()),
            ("2", "1048576Ki")
        );
        assert_eq!(capacity["pods"].0, "110");
    }
}
