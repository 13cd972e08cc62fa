//! What controllers, the service proxy and DNS read of Services, EndpointSlices and Namespaces.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::{Meta, Projection, Resource};

/// Programs in Go write an absent list as `null`; both mean empty.
fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// The Service resource.
pub const SERVICES: Resource = Resource::namespaced("", "v1", "Service", "services");

/// A Service.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct Service {
    /// Metadata.
    pub metadata: Meta,
    /// Desired state.
    pub spec: ServiceSpec,
    /// What somebody made for it outside of the cluster.
    pub status: ServiceStatus,
}

/// The spec of a Service.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceSpec {
    /// Which Pods serve it; none means that somebody else writes its endpoints.
    #[serde(deserialize_with = "or_default")]
    pub selector: BTreeMap<String, String>,
    /// Ports.
    #[serde(deserialize_with = "or_default")]
    pub ports: Vec<ServicePort>,
    /// `ClusterIP` (also if empty), `NodePort`, `LoadBalancer`, `ExternalName`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its address; `None` makes it headless.
    #[serde(rename = "clusterIP")]
    pub cluster_ip: String,
    /// All its addresses.
    #[serde(rename = "clusterIPs", deserialize_with = "or_default")]
    pub cluster_ips: Vec<String>,
    /// `IPv4`, `IPv6`.
    #[serde(deserialize_with = "or_default")]
    pub ip_families: Vec<String>,
    /// Addresses outside that lead here.
    #[serde(rename = "externalIPs", deserialize_with = "or_default")]
    pub external_ips: Vec<String>,
    /// Of an `ExternalName` service.
    pub external_name: String,
    /// `ClientIP` or `None`.
    pub session_affinity: String,
    /// How long a client stays with its endpoint.
    pub session_affinity_config: Option<SessionAffinityConfig>,
    /// Who may come through a load balancer; empty means everyone.
    #[serde(deserialize_with = "or_default")]
    pub load_balancer_source_ranges: Vec<String>,
    /// `Cluster` or `Local`.
    pub external_traffic_policy: String,
    /// `Cluster` or `Local`.
    pub internal_traffic_policy: String,
    /// Whether Pods count before they are ready.
    pub publish_not_ready_addresses: bool,
}

/// A port of a Service.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServicePort {
    /// Name; may be empty if it is the only one.
    pub name: String,
    /// `TCP` (also if empty), `UDP` or `SCTP`.
    pub protocol: String,
    /// Port of the service.
    pub port: u16,
    /// Number or name of the Pods' port; `null` means `port`.
    pub target_port: Value,
    /// Port on every node; 0 for none.
    pub node_port: u16,
    /// Hint of what is spoken.
    pub app_protocol: Option<String>,
}

/// Settings of session affinity.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct SessionAffinityConfig {
    /// Of affinity by client address.
    #[serde(rename = "clientIP")]
    pub client_ip: Option<ClientIp>,
}

/// Settings of affinity by client address.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClientIp {
    /// How long it lasts, in seconds.
    pub timeout_seconds: Option<u32>,
}

/// The status of a Service.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceStatus {
    /// Its load balancer.
    #[serde(deserialize_with = "or_default")]
    pub load_balancer: LoadBalancer,
}

/// A load balancer.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct LoadBalancer {
    /// Where it is entered.
    #[serde(deserialize_with = "or_default")]
    pub ingress: Vec<Ingress>,
}

/// A way into a load balancer.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Ingress {
    /// Its address; may be empty.
    pub ip: String,
    /// `VIP` (also if absent), or `Proxy`, which nodes must not answer for.
    pub ip_mode: Option<String>,
}

impl Projection for Service {
    const RESOURCE: Resource = SERVICES;

    fn meta(&self) -> &Meta {
        &self.metadata
    }
}

/// A slice of a Service's endpoints.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EndpointSlice {
    /// Metadata; the label `kubernetes.io/service-name` names the service.
    pub metadata: Meta,
    /// `IPv4`, `IPv6` or `FQDN`.
    pub address_type: String,
    /// Endpoints.
    #[serde(deserialize_with = "or_default")]
    pub endpoints: Vec<Endpoint>,
    /// Ports that all of them have.
    #[serde(deserialize_with = "or_default")]
    pub ports: Vec<EndpointPort>,
}

impl EndpointSlice {
    /// The service it belongs to.
    pub fn service(&self) -> Option<&str> {
        self.metadata
            .labels
            .get("kubernetes.io/service-name")
            .map(String::as_str)
    }
}

/// An endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Endpoint {
    /// Addresses; only the first counts.
    #[serde(deserialize_with = "or_default")]
    pub addresses: Vec<String>,
    /// State.
    #[serde(deserialize_with = "or_default")]
    pub conditions: EndpointConditions,
    /// Host name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// The node it is on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_name: Option<String>,
    /// The zone it is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// The object behind it, as the API has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_ref: Option<Value>,
}

/// The state of an endpoint. An absent `ready` or `serving` counts as true.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct EndpointConditions {
    /// Whether it takes new traffic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready: Option<bool>,
    /// Whether it answers, even if it is ending.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serving: Option<bool>,
    /// Whether it is ending.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub terminating: Option<bool>,
}

/// A port of the endpoints.
#[derive(Debug, Clone, PartialEq, Eq, Default, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EndpointPort {
    /// The service port's name.
    pub name: Option<String>,
    /// Protocol.
    pub protocol: Option<String>,
    /// Number.
    pub port: Option<u16>,
    /// Hint of what is spoken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_protocol: Option<String>,
}

impl Projection for EndpointSlice {
    const RESOURCE: Resource = Resource::namespaced("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices");

    fn meta(&self) -> &Meta {
        &self.metadata
    }
}

/// A Namespace.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct Namespace {
    /// Metadata.
    pub metadata: Meta,
    /// Finalizers.
    pub spec: NamespaceSpec,
    /// Phase.
    pub status: NamespaceStatus,
}

/// The spec of a Namespace.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct NamespaceSpec {
    /// What must be done before it goes; `kubernetes` is the namespace controller's.
    pub finalizers: Vec<String>,
}

/// The status of a Namespace.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct NamespaceStatus {
    /// `Active` or `Terminating`.
    pub phase: String,
}

impl Projection for Namespace {
    const RESOURCE: Resource = Resource::cluster("", "v1", "Namespace", "namespaces");

    fn meta(&self) -> &Meta {
        &self.metadata
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_may_be_null() {
        let service = r#"{"metadata": {"name": "a"}, "spec": {"ports": null, "selector": null, "clusterIPs": null},
            "status": {"loadBalancer": null}}"#;
        assert!(serde_json::from_str::<Service>(service).unwrap().spec.ports.is_empty());
        let slice = r#"{"metadata": {"name": "a"}, "endpoints": null, "ports": null}"#;
        assert!(
            serde_json::from_str::<EndpointSlice>(slice)
                .unwrap()
                .endpoints
                .is_empty()
        );
        let endpoint = r#"{"addresses": null, "conditions": null}"#;
        assert_eq!(serde_json::from_str::<Endpoint>(endpoint).unwrap(), Endpoint::default());
    }
}
