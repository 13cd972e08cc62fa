//! Namespaces and the services `kubernetes` and `kube-dns`.

use crate::config::Config;
use crate::registry::services::allocation::Range;
use serde_json::{Value, json};

/// The namespaces the cluster itself lives in.
const NAMESPACES: &[&str] = &["default", "kube-system", "kube-public", "kube-node-lease"];

/// What is created first, in order: everything else lives in a namespace.
pub(super) fn all() -> Vec<(&'static str, Value)> {
    let namespace = |name: &&str| {
        (
            "namespaces",
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}),
        )
    };
    NAMESPACES.iter().map(namespace).collect()
}

/// The service that leads pods to the API. It has no selector: this server keeps its endpoints.
pub(super) fn kubernetes_service(config: &Config) -> Value {
    let address = Range::of(&config.service_cidr).kubernetes().to_string();
    json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "kubernetes", "namespace": "default",
            "labels": {"component": "apiserver", "provider": "kubernetes"}},
        "spec": {"type": "ClusterIP", "clusterIP": address, "clusterIPs": [address], "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack", "internalTrafficPolicy": "Cluster", "sessionAffinity": "None",
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": config.secure_port}]}})
}

/// The service of the cluster's DNS. It has no selector: each node's agent answers on its address.
pub(super) fn dns_service(address: std::net::IpAddr) -> Value {
    let address = address.to_string();
    let port = |name: &str, protocol: &str| json!({"name": name, "port": 53, "protocol": protocol, "targetPort": 53});
    json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "kube-dns", "namespace": "kube-system",
            "labels": {"k8s-app": "kube-dns", "kubernetes.io/name": "CoreDNS"}},
        "spec": {"type": "ClusterIP", "clusterIP": address, "clusterIPs": [address], "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack", "internalTrafficPolicy": "Cluster", "sessionAffinity": "None",
            "ports": [port("dns", "UDP"), port("dns-tcp", "TCP")]}})
}
