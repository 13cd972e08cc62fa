//! What the scheduler and the controllers read of a Pod.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;

use super::{Affinity, LabelSelector, Node, Taint, TopologySpreadConstraint};
use crate::{Meta, Projection, Resource};

/// The Pod resource.
pub const PODS: Resource = Resource::namespaced("", "v1", "Pod", "pods");

/// A Pod.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct Pod {
    /// Metadata.
    pub metadata: Meta,
    /// Desired state.
    pub spec: PodSpec,
    /// Observed state.
    pub status: PodStatus,
}

/// The spec of a Pod.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSpec {
    /// The node it is bound to; empty while it is not.
    pub node_name: String,
    /// Labels its node must have.
    pub node_selector: BTreeMap<String, String>,
    /// Affinities.
    pub affinity: Option<Affinity>,
    /// Taints it bears.
    pub tolerations: Vec<Toleration>,
    /// How it is spread over nodes and zones.
    pub topology_spread_constraints: Vec<TopologySpreadConstraint>,
    /// Containers that run together.
    pub containers: Vec<Container>,
    /// Containers that run before, one by one (or beside, if they restart always).
    pub init_containers: Vec<Container>,
    /// What the Pod itself costs.
    pub overhead: BTreeMap<String, String>,
    /// Resources of the Pod as a whole.
    pub resources: Option<ResourceRequirements>,
    /// Which scheduler places it.
    pub scheduler_name: String,
    /// Larger is scheduled first.
    pub priority: Option<i32>,
    /// `Never` keeps it from taking the place of others; else `PreemptLowerPriority`.
    pub preemption_policy: String,
    /// What must be cleared before it is scheduled.
    pub scheduling_gates: Vec<SchedulingGate>,
    /// Whether it uses its node's network.
    pub host_network: bool,
    /// Its host name.
    pub hostname: String,
    /// The headless service that names it.
    pub subdomain: String,
    /// When its containers restart.
    pub restart_policy: String,
}

/// A gate that holds a Pod back from scheduling.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct SchedulingGate {
    /// Its name.
    pub name: String,
}

/// A container of a Pod.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Container {
    /// Name.
    pub name: String,
    /// Image.
    pub image: String,
    /// Ports.
    pub ports: Vec<ContainerPort>,
    /// Requests and limits.
    pub resources: ResourceRequirements,
    /// `Always` on an init container makes it a sidecar.
    pub restart_policy: Option<String>,
}

/// A port of a container.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerPort {
    /// Name.
    pub name: String,
    /// The port in the Pod.
    pub container_port: u16,
    /// The port on the node; 0 for none.
    pub host_port: u16,
    /// The node's address it binds to; empty for all.
    #[serde(rename = "hostIP")]
    pub host_ip: String,
    /// `TCP` (also if empty), `UDP` or `SCTP`.
    pub protocol: String,
}

/// Requests and limits, as quantities by resource name.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct ResourceRequirements {
    /// What is set aside.
    pub requests: BTreeMap<String, String>,
    /// What is not exceeded.
    pub limits: BTreeMap<String, String>,
}

/// A taint that is borne.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Toleration {
    /// Empty with `Exists` bears every taint.
    pub key: String,
    /// `Equal` (also if empty) or `Exists`.
    pub operator: String,
    /// For `Equal`.
    pub value: String,
    /// Empty bears every effect.
    pub effect: String,
    /// How long a `NoExecute` taint is borne; forever if absent.
    pub toleration_seconds: Option<i64>,
}

impl Toleration {
    /// Whether it bears this taint.
    pub fn tolerates(&self, key: &str, value: &str, effect: &str) -> bool {
        if !self.effect.is_empty() && self.effect != effect {
            return false;
        }
        if !self.key.is_empty() && self.key != key {
            return false;
        }
        match self.operator.as_str() {
            "" | "Equal" => !self.key.is_empty() && self.value == value,
            "Exists" => true,
            _ => false,
        }
    }
}

/// The status of a Pod.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodStatus {
    /// `Pending`, `Running`, `Succeeded`, `Failed`, `Unknown`.
    pub phase: String,
    /// Why, in a word.
    pub reason: String,
    /// Conditions.
    pub conditions: Vec<PodCondition>,
    /// Its main address.
    #[serde(rename = "podIP")]
    pub pod_ip: String,
    /// All its addresses.
    #[serde(rename = "podIPs")]
    pub pod_ips: Vec<PodIp>,
    /// Its node's address.
    #[serde(rename = "hostIP")]
    pub host_ip: String,
    /// State of the containers.
    pub container_statuses: Vec<ContainerStatus>,
    /// State of the init containers.
    pub init_container_statuses: Vec<ContainerStatus>,
    /// When its kubelet took it up.
    pub start_time: Option<Timestamp>,
    /// Node a preempting Pod hopes for.
    pub nominated_node_name: String,
}

/// A condition of a Pod.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodCondition {
    /// `Ready`, `PodScheduled`, ...
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False`, `Unknown`.
    pub status: String,
    /// Why, in a word.
    pub reason: String,
    /// Why.
    pub message: String,
    /// Since when.
    pub last_transition_time: Option<Timestamp>,
}

/// An address of a Pod.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct PodIp {
    /// The address.
    pub ip: String,
}

/// The state of a container.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerStatus {
    /// Name.
    pub name: String,
    /// How often it restarted.
    pub restart_count: i32,
    /// What it does now.
    pub state: ContainerState,
}

/// What a container does.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct ContainerState {
    /// Set once it has ended.
    pub terminated: Option<Terminated>,
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Terminated {
    /// 0 is well.
    pub exit_code: i32,
    /// When.
    pub finished_at: Option<Timestamp>,
}

impl Pod {
    /// A condition by its type.
    pub fn condition(&self, kind: &str) -> Option<&PodCondition> {
        self.status.conditions.iter().find(|c| c.kind == kind)
    }

    /// Whether its `Ready` condition is true.
    pub fn is_ready(&self) -> bool {
        self.condition("Ready").is_some_and(|c| c.status == "True")
    }

    /// Since when it has been ready.
    pub fn ready_since(&self) -> Option<Timestamp> {
        self.condition("Ready")
            .filter(|c| c.status == "True")?
            .last_transition_time
    }

    /// Whether it has ended, well or not.
    pub fn is_terminal(&self) -> bool {
        matches!(self.status.phase.as_str(), "Succeeded" | "Failed")
    }

    /// Whether it counts towards its owner's replicas: not ended and not being deleted.
    pub fn is_active(&self) -> bool {
        !self.is_terminal() && !self.metadata.is_deleting()
    }

    /// Whether its `nodeSelector` and its required node affinity allow this node.
    pub fn may_run_on(&self, node: &Node) -> bool {
        let labels = &node.metadata.labels;
        let selected = self.spec.node_selector.iter().all(|(k, v)| labels.get(k) == Some(v));
        let affinity = self.spec.affinity.as_ref().and_then(|a| a.node_affinity.as_ref());
        let required = affinity.and_then(|a| a.required.as_ref());
        selected && required.is_none_or(|r| r.matches(node))
    }

    /// Whether one of its tolerations bears this taint.
    pub fn tolerates(&self, taint: &Taint) -> bool {
        let bears = |t: &Toleration| t.tolerates(&taint.key, &taint.value, &taint.effect);
        self.spec.tolerations.iter().any(bears)
    }

    /// Whether `selector` selects it.
    pub fn selected_by(&self, selector: &LabelSelector) -> bool {
        selector.matches(&self.metadata.labels)
    }
}

impl Projection for Pod {
    const RESOURCE: Resource = PODS;

    fn meta(&self) -> &Meta {
        &self.metadata
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tolerations() {
        let all = Toleration {
            operator: "Exists".to_owned(),
            ..Toleration::default()
        };
        assert!(all.tolerates("k", "v", "NoSchedule"));
        let one = Toleration {
            key: "k".to_owned(),
            value: "v".to_owned(),
            ..Toleration::default()
        };
        assert!(one.tolerates("k", "v", "NoExecute") && !one.tolerates("k", "w", "NoExecute"));
        let effect = Toleration {
            effect: "NoSchedule".to_owned(),
            ..all
        };
        assert!(!effect.tolerates("k", "v", "NoExecute"));
    }
}
