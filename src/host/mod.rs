//! One machine of a cluster of several: where its files are, and its two processes.
//!
//! Paths are kubeadm's, below a root that is `/` in production. Another root stands for another machine: that is how several
//! are tried on one. A node below such a root gets a mount namespace in which its directories lie over the usual paths.

pub mod preflight;
pub mod process;
pub mod systemd;

use std::net::{IpAddr, UdpSocket};
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::config::{self, AgentConfig, ServerConfig};
use crate::up::processes::identified;

/// Directories that a node's programs expect at fixed paths. Below another root than `/` they are bound over those paths.
pub const NODE_DIRECTORIES: [&str; 6] = [
    "/var/lib/containerd",
    "/var/lib/kubelet",
    "/etc/cni/net.d",
    "/var/lib/cni",
    "/var/log/pods",
    "/var/log/containers",
];

/// A machine.
#[derive(Clone, Debug)]
pub struct Host {
    root: PathBuf,
}

/// One of a machine's two processes.
#[derive(Clone, Debug)]
pub struct Part {
    /// `server` or `agent`.
    pub name: &'static str,
    /// What it reads.
    pub config: PathBuf,
    /// Where it writes its id.
    pub pid: PathBuf,
    /// Where its output goes, unless systemd takes it.
    pub log: PathBuf,
    /// The command of this program that runs it.
    pub command: &'static str,
}

impl Part {
    /// Its process, if it runs.
    pub fn running(&self) -> Option<i32> {
        identified(&self.pid, &self.config)
    }

    /// Whether this machine has it.
    pub fn is_set_up(&self) -> bool {
        self.config.exists()
    }
}

impl Host {
    /// The machine with this root, which is made if it is not there.
    pub fn at(root: &Path) -> anyhow::Result<Host> {
        std::fs::create_dir_all(root).with_context(|| format!("--rootfs: cannot create {}", root.display()))?;
        let root = root
            .canonicalize()
            .with_context(|| format!("--rootfs: {}", root.display()))?;
        Ok(Host { root })
    }

    /// A usual path, on this machine.
    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether the root is that of the real machine.
    pub fn is_real(&self) -> bool {
        self.root == Path::new("/")
    }

    /// Certificates of a master.
    pub fn pki(&self) -> PathBuf {
        self.path("/etc/kubernetes/pki")
    }

    /// Certificates of a node.
    pub fn node_pki(&self) -> PathBuf {
        self.path("/var/lib/kubelet/pki")
    }

    /// A kubeconfig file by its name, as `admin.conf`.
    pub fn kubeconfig(&self, name: &str) -> PathBuf {
        self.path("/etc/kubernetes").join(name)
    }

    /// The master.
    pub fn server(&self) -> Part {
        self.part("server", "server")
    }

    /// The node. Below another root it is started in namespaces of its own.
    pub fn agent(&self) -> Part {
        self.part("agent", if self.is_real() { "agent" } else { "node" })
    }

    fn part(&self, name: &'static str, command: &'static str) -> Part {
        Part {
            name,
            config: self.path("/etc/proreus").join(format!("{name}.yaml")),
            pid: self.path("/run/proreus").join(format!("{name}.pid")),
            log: self.path("/var/log/proreus").join(format!("{name}.log")),
            command,
        }
    }

    /// The master's configuration, if this machine has one.
    pub fn server_config(&self) -> anyhow::Result<Option<ServerConfig>> {
        let part = self.server();
        part.is_set_up().then(|| ServerConfig::load(&part.config)).transpose()
    }

    /// The node's configuration, if this machine has one.
    pub fn agent_config(&self) -> anyhow::Result<Option<AgentConfig>> {
        let part = self.agent();
        part.is_set_up().then(|| AgentConfig::load(&part.config)).transpose()
    }

    /// The directories that a node of this machine has bound over the usual paths.
    pub fn binds(&self) -> Vec<config::Bind> {
        if self.is_real() {
            return Vec::new();
        }
        let bind = |path: &&str| config::Bind {
            from: self.path(path),
            to: path.into(),
        };
        NODE_DIRECTORIES.iter().map(bind).collect()
    }
}

/// The name of this machine, as a node may have it.
pub fn host_name() -> anyhow::Result<String> {
    let name = nix::unistd::gethostname().context("cannot read this machine's name")?;
    Ok(name.to_string_lossy().trim().to_lowercase())
}

/// The address from which this machine reaches others: that of the link with the default route.
pub fn own_address() -> anyhow::Result<IpAddr> {
    // Nothing is sent: connecting a datagram socket only looks the route up. The address is reserved for documentation.
    let socket = UdpSocket::bind("0.0.0.0:0").context("cannot open a socket")?;
    let found = socket.connect("192.0.2.1:9").and_then(|()| socket.local_addr());
    Ok(found
        .context("this machine has no default route, so its address is not clear")?
        .ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_the_usual_ones_below_the_root() {
        let directory = tempfile::tempdir().unwrap();
        let host = Host::at(&directory.path().join("h1")).unwrap();
        let root = directory.path().canonicalize().unwrap().join("h1");
        assert_eq!(host.pki(), root.join("etc/kubernetes/pki"));
        assert_eq!(host.agent().command, "node");
        assert_eq!(host.binds().len(), NODE_DIRECTORIES.len());
        let real = Host::at(Path::new("/")).unwrap();
        assert_eq!(real.kubeconfig("admin.conf"), Path::new("/etc/kubernetes/admin.conf"));
        assert_eq!(real.agent().command, "agent");
        assert!(real.binds().is_empty());
    }
}
