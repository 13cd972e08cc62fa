//! The projections that several components share, so that one process watches each resource once.
//!
//! A projection holds what its readers read and nothing else; a reader that needs one more field adds it here.

mod affinity;
mod node;
mod pod;
mod selector;
mod service;

pub use affinity::{
    Affinity, NodeAffinity, NodeSelector, NodeSelectorTerm, PodAffinity, PodAffinityTerm, PreferredSchedulingTerm,
    Requirement, TopologySpreadConstraint, WeightedPodAffinityTerm,
};
pub use node::{Address, ContainerImage, NODES, Node, NodeCondition, NodeSpec, NodeStatus, Taint};
pub use pod::{
    Container, ContainerPort, ContainerState, ContainerStatus, PODS, Pod, PodCondition, PodIp, PodSpec, PodStatus,
    ResourceRequirements, SchedulingGate, Terminated, Toleration,
};
pub use selector::{LabelSelector, SelectorRequirement};
pub use service::{
    ClientIp, Endpoint, EndpointConditions, EndpointPort, EndpointSlice, Ingress, LoadBalancer, Namespace,
    NamespaceSpec, NamespaceStatus, SERVICES, Service, ServicePort, ServiceSpec, ServiceStatus, SessionAffinityConfig,
};
