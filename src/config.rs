//! The configuration files of the two long-running processes, as YAML. Unknown fields are refused, so a typo is an
//! error at the start and not a setting that is silently ignored.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Addresses that every cluster uses unless told otherwise; kubeadm's conventions.
pub const SERVICE_CIDR: &str = "10.96.0.0/12";
pub const POD_CIDR: &str = "10.244.0.0/16";
pub const API_SERVICE_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);
pub const DNS_SERVICE_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);
pub const CLUSTER_DOMAIN: &str = "cluster.local";

/// One master as the others know it.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Master {
    /// Raft id; never reused for another disk.
    pub id: u64,
    pub name: String,
    pub address: IpAddr,
    pub api_port: u16,
    /// The etcd door.
    pub client_port: u16,
    /// Raft between members.
    pub peer_port: u16,
}

impl Master {
    pub fn api(&self) -> SocketAddr {
        (self.address, self.api_port).into()
    }

    pub fn client(&self) -> SocketAddr {
        (self.address, self.client_port).into()
    }

    pub fn peer(&self) -> SocketAddr {
        (self.address, self.peer_port).into()
    }
}

/// What `proreus server` reads.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServerConfig {
    /// This master's name; one of `masters`.
    pub name: String,
    /// Prefix of kubeadm's paths: `/` in production.
    pub root: PathBuf,
    /// All initial masters, this one included; the same list on each.
    pub masters: Vec<Master>,
    /// Keeps the members of two clusters apart.
    pub cluster_token: String,
    /// The cluster's id (hexadecimal) where the cluster exists already: this member joined it, or founded it before, and founds
    /// no other one, whatever becomes of its data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<String>,
    /// Where the process writes its id; `up` and `status` look there.
    #[serde(default)]
    pub pid_file: Option<PathBuf>,
    /// How long a certificate that is signed on request is valid at most, and if its request does not say:
    /// kube-controller-manager's `--cluster-signing-duration`.
    #[serde(default = "default_signing_duration")]
    pub cluster_signing_duration_seconds: u64,
    /// Ways to sign in and to be permitted, beside the cluster's own.
    #[serde(default, skip_serializing_if = "is_default")]
    pub access: apiserver::access::Options,
    #[serde(default = "default_log")]
    pub log: String,
}

/// What `proreus agent` reads.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AgentConfig {
    /// The Node object's name.
    pub name: String,
    pub address: IpAddr,
    /// `host:port` of each master's API.
    pub servers: Vec<SocketAddr>,
    /// Directory of the node's certificates: `ca.crt`, `kubelet-client.{crt,key}`, `kubelet.{crt,key}`.
    pub pki: PathBuf,
    /// Image archives to import at the start.
    pub images: PathBuf,
    /// A CRI endpoint (`unix:///run/...`); without it the agent runs a containerd of its own.
    #[serde(default)]
    pub cri_endpoint: Option<String>,
    /// Ask the cluster to sign the certificate of the node's API, which somebody has to approve; else the one that is there is
    /// used until it ends.
    #[serde(default)]
    pub request_serving_certificate: bool,
    /// Whether a master runs on this machine, too: the node registers with the taint of masters.
    #[serde(default)]
    pub control_plane: bool,
    /// Cgroup under which the pods' cgroups are made.
    #[serde(default = "default_cgroup_parent")]
    pub cgroup_parent: String,
    /// Stop the pods and remove what the agent made on the host when it stops: what `up` wants, and production does not.
    #[serde(default)]
    pub teardown: bool,
    /// Where `up` keeps this node's directories; they are bound over the usual paths in the node's mount namespace.
    #[serde(default)]
    pub binds: Vec<Bind>,
    /// Where the process writes its id; `up` and `status` look there.
    #[serde(default)]
    pub pid_file: Option<PathBuf>,
    #[serde(default = "default_log")]
    pub log: String,
}

/// A directory bound over a well-known path.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bind {
    pub from: PathBuf,
    pub to: PathBuf,
}

/// The label and the taint of machines that carry masters.
pub const MASTER_LABEL: &str = "node-role.kubernetes.io/control-plane";
pub const MASTER_TAINT_EFFECT: &str = "NoSchedule";

/// The log filter unless told otherwise: libraries speak up only when something is wrong.
pub fn default_log() -> String {
    // openraft warns of a member that is down several times a second; the transport says it once.
    "info,openraft=error,hickory_server=warn".into()
}

/// From what a request may ask for at least to a century.
const SIGNING_SECONDS: std::ops::RangeInclusive<u64> = 600..=100 * 365 * 24 * 3600;

/// A year.
pub fn default_signing_duration() -> u64 {
    365 * 24 * 3600
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn default_cgroup_parent() -> String {
    "/kubepods".into()
}

impl ServerConfig {
    pub fn load(path: &Path) -> anyhow::Result<ServerConfig> {
        let config: ServerConfig = read(path)?;
        config.me().with_context(|| path.display().to_string())?;
        config.existing_cluster().with_context(|| path.display().to_string())?;
        anyhow::ensure!(
            SIGNING_SECONDS.contains(&config.cluster_signing_duration_seconds),
            "{}: clusterSigningDurationSeconds: must be between {} and {}",
            path.display(),
            SIGNING_SECONDS.start(),
            SIGNING_SECONDS.end()
        );
        Ok(config)
    }

    /// This master's own entry.
    pub fn me(&self) -> anyhow::Result<&Master> {
        let named = self.masters.iter().find(|m| m.name == self.name);
        named.with_context(|| format!("name: {:?} is not one of the masters listed under `masters`", self.name))
    }

    /// The id of the cluster that exists already, if this member is of one.
    pub fn existing_cluster(&self) -> anyhow::Result<Option<u64>> {
        let parse = |id: &String| {
            let parsed = u64::from_str_radix(id, 16).ok().filter(|id| *id != 0);
            parsed.with_context(|| format!("clusterId: {id:?} is no cluster's id: 1 to 16 hexadecimal digits are"))
        };
        self.cluster_id.as_ref().map(parse).transpose()
    }

    /// Where the process tells of itself: beside its id.
    pub fn status_directory(&self) -> PathBuf {
        let beside = self.pid_file.as_deref().and_then(Path::parent);
        beside.unwrap_or(&self.root).to_path_buf()
    }

    /// A path of kubeadm's under this master's root.
    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    pub fn pki(&self, file: &str) -> PathBuf {
        self.path("/etc/kubernetes/pki").join(file)
    }
}

impl AgentConfig {
    pub fn load(path: &Path) -> anyhow::Result<AgentConfig> {
        let config: AgentConfig = read(path)?;
        anyhow::ensure!(
            !config.servers.is_empty(),
            "{}: servers: at least one master is needed",
            path.display()
        );
        Ok(config)
    }
}

/// Reads a YAML file into `T`, naming the file and the field that is wrong.
pub fn read<T: DeserializeOwned>(path: &Path) -> anyhow::Result<T> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_saphyr::from_str(&text).map_err(|e| anyhow::anyhow!("{} is not valid: {e}", path.display()))
}

/// Writes `value` as YAML, replacing the file whole.
pub fn write<T: Serialize>(path: &Path, value: &T) -> anyhow::Result<()> {
    let text = serde_saphyr::to_string(value).map_err(|e| anyhow::anyhow!("cannot encode {}: {e}", path.display()))?;
    Ok(pki::write_public(path, &text)?)
}
