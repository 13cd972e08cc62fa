//! How the controllers run.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

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
    /// With what requests for certificates are signed; without it they are not.
    pub signing: Option<Arc<Signing>>,
}

/// What the cluster's own signers sign with.
pub struct Signing {
    /// The authority that the API trusts for clients, and clients for kubelets.
    pub authority: pki::Ca,
    /// How long a certificate is valid at most, and if its request does not say.
    pub duration: Duration,
}

impl Signing {
    /// For a year at most, the usual `--cluster-signing-duration`.
    pub fn new(authority: pki::Ca) -> Self {
        Signing {
            authority,
            duration: Duration::from_secs(365 * 24 * 3600),
        }
    }
}

/// The authority holds a private key, which is not for logs.
impl fmt::Debug for Signing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signing")
            .field("duration", &self.duration)
            .finish_non_exhaustive()
    }
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
            signing: None,
        }
    }
}
