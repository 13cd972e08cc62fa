//! What the API server is told by the binary. Everything has a value; nothing is read from the environment.

use ipnet::IpNet;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;

/// See the module.
#[derive(Clone)]
pub struct Config {
    /// The name of this member, for messages and the endpoints of the `kubernetes` Service.
    pub name: String,
    /// Where pods reach this member; becomes an endpoint of the `kubernetes` Service.
    pub advertise_address: IpAddr,
    /// The port there.
    pub secure_port: u16,
    /// ClusterIPs come from here. Its first address is the `kubernetes` Service's.
    pub service_cidr: IpNet,
    /// NodePorts come from here.
    pub node_ports: RangeInclusive<u16>,
    /// Where the cluster's DNS answers: the address of the service `kube-dns`, made at the first start if set.
    pub cluster_dns: Option<IpAddr>,
    /// The domain of services, without dots at the ends.
    pub cluster_domain: String,
    /// The issuer and default audience of service-account tokens.
    pub service_account_issuer: String,
    /// The key pair that signs service-account tokens (PEM); every key that verifies them.
    pub service_account_signing_key: Option<PathBuf>,
    pub service_account_keys: Vec<PathBuf>,
    /// The certificate and key this server shows kubelets, and the CA that kubelet certificates chain to.
    pub kubelet_client_certificate: Option<PathBuf>,
    pub kubelet_client_key: Option<PathBuf>,
    pub kubelet_ca: Option<PathBuf>,
    /// The CA whose client certificates identify users (their bundle is also published to pods).
    pub client_ca: Option<PathBuf>,
    /// The CA of the server's own certificate, published as `kube-root-ca.crt`.
    pub root_ca: Option<PathBuf>,
    /// Whether bootstrap tokens (Secrets in `kube-system`) are accepted.
    pub bootstrap_tokens: bool,
    /// Further ways to sign in and to be permitted.
    pub access: crate::access::Access,
    /// How often an idle watch that asked for bookmarks gets one.
    pub bookmark_interval: std::time::Duration,
    /// Where metrics are registered. One registry per process, passed in.
    pub metrics: Arc<parking_lot::Mutex<prometheus_client::registry::Registry>>,
}

impl Config {
    /// The defaults of a cluster, for a member with this name and address.
    pub fn new(name: impl Into<String>, advertise_address: IpAddr) -> Config {
        Config {
            name: name.into(),
            advertise_address,
            secure_port: 6443,
            service_cidr: IpNet::V4(ipnet::Ipv4Net::new_assert(std::net::Ipv4Addr::new(10, 96, 0, 0), 12)),
            node_ports: 30000..=32767,
            cluster_dns: None,
            cluster_domain: "cluster.local".into(),
            service_account_issuer: "https://kubernetes.default.svc.cluster.local".into(),
            service_account_signing_key: None,
            service_account_keys: Vec::new(),
            kubelet_client_certificate: None,
            kubelet_client_key: None,
            kubelet_ca: None,
            client_ca: None,
            root_ca: None,
            bootstrap_tokens: true,
            access: crate::access::Access::default(),
            bookmark_interval: crate::limits::BOOKMARK_INTERVAL,
            metrics: Arc::default(),
        }
    }
}
