//! What the agent must be told, and what it assumes.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use crate::Error;

/// The configuration of one node's agent. [`Config::new`] fills in everything but the node's name and address.
#[derive(Debug, Clone)]
pub struct Config {
    /// The name of the Node object.
    pub node_name: String,
    /// The address under which other nodes and the API server reach this one.
    pub node_ip: IpAddr,
    /// The agent's own directory: volumes and the state of pods. Containers mount from here.
    pub root_dir: PathBuf,
    /// Where container logs are, as `<namespace>_<pod>_<uid>/<container>/<restarts>.log`.
    pub pod_logs_dir: PathBuf,
    /// The socket of a container runtime that somebody else runs. `None`: the agent runs its own containerd.
    pub cri_endpoint: Option<PathBuf>,
    /// How the agent runs its own containerd; unused when `cri_endpoint` is given.
    pub containerd: ContainerdConfig,
    /// Every `*.tar` in here is imported into the agent's own containerd at its start.
    pub images_dir: PathBuf,
    /// Where the CNI plugins are.
    pub cni_bin_dir: PathBuf,
    /// Where the CNI configuration is read from, and written to when `network` says so.
    pub cni_conf_dir: PathBuf,
    /// Where the default network remembers which pod has which address.
    pub cni_state_dir: PathBuf,
    /// Whether the agent makes the pod network itself.
    pub network: Network,
    /// The certificate of the node's API.
    pub serving_cert: PathBuf,
    /// Its private key.
    pub serving_key: PathBuf,
    /// The node's own certificate as a client, which is renewed here before it ends; `None`: somebody else does.
    pub client_certificate: Option<client::certificate::Files>,
    /// The CA that signs the certificates of those who may use the node's API.
    pub client_ca: PathBuf,
    /// The address the node's API listens on.
    pub server_address: IpAddr,
    /// The port of the node's API; 0 takes a free one.
    pub server_port: u16,
    /// The address of the cluster's DNS, given to pods with dnsPolicy ClusterFirst.
    pub cluster_dns: Vec<IpAddr>,
    /// The cluster's domain.
    pub cluster_domain: String,
    /// The node's own resolver configuration, given to pods with dnsPolicy Default.
    pub resolv_conf: PathBuf,
    /// How many pods the node takes.
    pub max_pods: u32,
    /// The cgroup below which the pods' cgroups are. It starts with a slash.
    pub cgroup_parent: String,
    /// Labels the node gives itself besides the well-known ones.
    pub labels: BTreeMap<String, String>,
    /// Taints the node registers with.
    pub taints: Vec<Taint>,
    /// When the agent stops: also stop every pod and, if it is the agent's own, containerd, and leave no mount or
    /// cgroup. Otherwise pods go on and the next agent adopts them.
    pub teardown_on_stop: bool,
}

/// A taint the node registers with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taint {
    /// Its key.
    pub key: String,
    /// Its value, which may be empty.
    pub value: String,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
    pub effect: String,
}

/// Who makes the pod network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// The agent: a bridge, addresses from the node's podCIDR, and routes to the other nodes.
    HostGateway,
    /// Somebody else writes the CNI configuration (flannel, Calico).
    External,
}

/// How the agent runs containerd.
#[derive(Debug, Clone)]
pub struct ContainerdConfig {
    /// The program.
    pub program: PathBuf,
    /// The client program that imports images.
    pub ctr: PathBuf,
    /// Persistent data: images and snapshots.
    pub root_dir: PathBuf,
    /// Data of this boot. Its path must be short: sockets are made in it.
    pub state_dir: PathBuf,
    /// The socket to listen on.
    pub socket: PathBuf,
    /// The image of the sandboxes; `None`: the agent's own.
    pub sandbox_image: Option<String>,
    /// Directory of registry configurations (`hosts.toml`).
    pub registry_conf_dir: PathBuf,
    /// The snapshotter.
    pub snapshotter: String,
}

impl Config {
    /// The usual paths and ports for a node. Serving certificates are where kubeadm puts them.
    pub fn new(node_name: impl Into<String>, node_ip: IpAddr) -> Self {
        Config {
            node_name: node_name.into(),
            node_ip,
            root_dir: "/var/lib/kubelet".into(),
            pod_logs_dir: "/var/log/pods".into(),
            cri_endpoint: None,
            containerd: ContainerdConfig::default(),
            images_dir: "/var/lib/proreus/images".into(),
            cni_bin_dir: default_cni_bin_dir(),
            cni_conf_dir: "/etc/cni/net.d".into(),
            cni_state_dir: "/var/lib/cni/networks".into(),
            network: Network::HostGateway,
            serving_cert: "/var/lib/kubelet/pki/kubelet.crt".into(),
            serving_key: "/var/lib/kubelet/pki/kubelet.key".into(),
            client_certificate: None,
            client_ca: "/etc/kubernetes/pki/ca.crt".into(),
            server_address: IpAddr::from([0, 0, 0, 0]),
            server_port: 10250,
            cluster_dns: vec![IpAddr::from([10, 96, 0, 10])],
            cluster_domain: "cluster.local".into(),
            resolv_conf: "/etc/resolv.conf".into(),
            max_pods: 110,
            cgroup_parent: "/kubepods".into(),
            labels: BTreeMap::new(),
            taints: Vec::new(),
            teardown_on_stop: false,
        }
    }

    /// Refuses a configuration that could not work, naming the field.
    pub fn validate(&self) -> Result<(), Error> {
        let wrong = |field, message: &str| {
            Err(Error::Config {
                field,
                message: message.to_owned(),
            })
        };
        if self.node_name.is_empty() || self.node_name.len() > 253 {
            return wrong("node_name", "must be 1 to 253 characters long");
        }
        if !self.cgroup_parent.starts_with('/') || self.cgroup_parent.contains("..") {
            return wrong("cgroup_parent", "must be an absolute path such as /kubepods");
        }
        if self.max_pods == 0 {
            return wrong("max_pods", "must be at least 1");
        }
        for (field, path) in [("root_dir", &self.root_dir), ("pod_logs_dir", &self.pod_logs_dir)] {
            if !path.is_absolute() {
                return wrong(field, "must be an absolute path: containers mount from it");
            }
        }
        // A shim's socket path has at most 107 bytes, and containerd appends about 80 to its state directory.
        if self.cri_endpoint.is_none() && self.containerd.socket.as_os_str().len() > 100 {
            return wrong(
                "containerd.socket",
                "must be at most 100 bytes long, the limit of unix sockets",
            );
        }
        Ok(())
    }

    /// The directory of one pod.
    pub(crate) fn pod_dir(&self, uid: &str) -> PathBuf {
        self.root_dir.join("pods").join(uid)
    }

    /// The directory of one pod's logs.
    pub(crate) fn pod_log_dir(&self, namespace: &str, name: &str, uid: &str) -> PathBuf {
        self.pod_logs_dir.join(format!("{namespace}_{name}_{uid}"))
    }
}

impl Default for ContainerdConfig {
    fn default() -> Self {
        ContainerdConfig {
            program: "containerd".into(),
            ctr: "ctr".into(),
            root_dir: "/var/lib/containerd".into(),
            state_dir: "/run/containerd".into(),
            socket: "/run/containerd/containerd.sock".into(),
            sandbox_image: None,
            registry_conf_dir: "/etc/containerd/certs.d".into(),
            snapshotter: "overlayfs".into(),
        }
    }
}

/// Debian packages the plugins elsewhere than the project's own releases.
fn default_cni_bin_dir() -> PathBuf {
    let project = PathBuf::from("/opt/cni/bin");
    if project.join("bridge").exists() {
        project
    } else {
        PathBuf::from("/usr/lib/cni")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_value_is_named() {
        let mut config = Config::new("n", IpAddr::from([10, 0, 0, 1]));
        config.validate().unwrap();
        config.cgroup_parent = "kubepods".into();
        assert!(config.validate().unwrap_err().to_string().contains("cgroup_parent"));
    }
}
