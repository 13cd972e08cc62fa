//! The projections that several components share, so that one process watches each resource once.
//!
//! A projection holds what its readers read and nothing else; a reader that needs one more field adds it here.

mod node;
mod pod;
mod selector;
mod service;

pub use node::{Address, ContainerImage, NODES, Node, NodeCondition, NodeSpec, NodeStatus, Taint};
pub use pod::{
    Affinity, Container, ContainerPort, ContainerStatus, NodeAffinity, NodeSelector, NodeSelectorTerm, PODS, Pod,
    PodCondition, PodIp, PodSpec, PodStatus, PreferredSchedulingTerm, Requirement, ResourceRequirements,
    SchedulingGate, Toleration,
};
pub use selector::{LabelSelector, SelectorRequirement};
pub use service::{
    ClientIp, Endpoint, EndpointConditions, EndpointPort, EndpointSlice, Ingress, LoadBalancer, Namespace,
    NamespaceSpec, NamespaceStatus, SERVICES, Service, ServicePort, ServiceSpec, ServiceStatus, SessionAffinityConfig,
};
