//! The certificates of a cluster that `up` makes: kubeadm's, with this cluster's names and addresses.

use std::net::IpAddr;
use std::path::Path;

use pki::kubeadm::{self, MasterNames, Present};

use crate::config::{API_SERVICE_ADDRESS, CLUSTER_DOMAIN, Master};

/// The authorities of one cluster, in `pki/` of the data directory.
pub struct Authorities(kubeadm::Authorities);

impl Authorities {
    /// Reads the authorities below `pki`, making those that are missing, and the service-account key pair.
    pub fn ensure(pki: &Path) -> anyhow::Result<Authorities> {
        Ok(Authorities(kubeadm::Authorities::ensure(pki)?))
    }

    /// Fills `to`, a master's `/etc/kubernetes/pki`, from the cluster's `from`. Existing certificates stay.
    pub fn write_master(&self, from: &Path, to: &Path, master: &Master) -> anyhow::Result<()> {
        let names = MasterNames {
            name: &master.name,
            address: master.address,
            service_names: &api_service_names(),
            service_address: API_SERVICE_ADDRESS.into(),
        };
        Ok(self.0.write_master(from, to, &names, Present::Stays)?)
    }

    /// Fills a node's certificate directory: its client identity and its serving certificate.
    pub fn write_node(&self, from: &Path, to: &Path, name: &str, address: IpAddr) -> anyhow::Result<()> {
        Ok(self.0.write_node(from, to, name, address)?)
    }

    /// The operator's identities: `admin` for the API, `etcd/client` for the etcd door.
    pub fn write_admin(&self, to: &Path) -> anyhow::Result<()> {
        let admin = kubeadm::client("kubernetes-admin", "kubeadm:cluster-admins");
        kubeadm::issue(&self.0.cluster, &admin, to, "admin", Present::Stays)?;
        let root = kubeadm::client("root", "");
        Ok(kubeadm::issue(&self.0.etcd, &root, to, "etcd/client", Present::Stays)?)
    }
}

/// What the API is called inside the cluster.
pub fn api_service_names() -> [String; 4] {
    let short = ["kubernetes", "kubernetes.default", "kubernetes.default.svc"].map(String::from);
    let [a, b, c] = short;
    [a, b, c, format!("kubernetes.default.svc.{CLUSTER_DOMAIN}")]
}
