//! How the controllers run.

use ipnet::Ipv4Net;

/// What the binary tells the controllers.
#[derive(Debug, Clone)]
pub struct ControllersConfig {
    /// Who holds the Lease object, as `master-1_<uuid>`.
    pub identity: String,
    /// The authority's certificate that every namespace gets as `kube-root-ca.crt`.
    pub root_ca_pem: String,
    /// The network of all Pods.
    pub pod_network: Ipv4Net,
    /// How large a piece of it each node gets: the length of its prefix.
    pub node_prefix_len: u8,
}

impl ControllersConfig {
    /// The usual networks: 10.244.0.0/16, a /24 a node.
    pub fn new(identity: impl Into<String>, root_ca_pem: impl Into<String>) -> Self {
        let pod_network = Ipv4Net::new_assert([10, 244, 0, 0].into(), 16);
        ControllersConfig {
            identity: identity.into(),
            root_ca_pem: root_ca_pem.into(),
            pod_network,
            node_prefix_len: 24,
        }
    }
}
