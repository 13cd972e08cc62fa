//! Which masters and nodes a cluster has, and their addresses. Decided once and kept as `cluster.yaml` in the data
//! directory: a member's address is part of the replicated membership and must not change between starts.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};

use super::capabilities::Capabilities;
use super::network;
use crate::commands::UpArgs;
use crate::config::{self, Master};
use crate::output::{say, word};

/// Where the layout is kept.
const FILE: &str = "cluster.yaml";
const API_PORT: u16 = 6443;
const CLIENT_PORT: u16 = 2379;
const PEER_PORT: u16 = 2380;
/// Without addresses of their own, masters take ports this far apart.
const LOOPBACK_PORT_STEP: u16 = 10_000;
/// How many ports above 6443 are tried for the balancer.
const PORTS_TRIED: u16 = 100;
/// Third octets of 172.30.x.0/24 that are tried for the cluster's bridge.
const SUBNETS: std::ops::Range<u8> = 0..200;
/// Masters' addresses on the bridge start here, nodes' at [`FIRST_NODE`]; the bridge itself is .1.
const FIRST_MASTER: u8 = 101;
const FIRST_NODE: u8 = 11;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Layout {
    /// Short random name of the cluster: part of the names of its bridge, namespaces and cgroup.
    pub id: String,
    pub masters: Vec<Master>,
    pub nodes: Vec<Node>,
    /// Port of the balancer on 127.0.0.1.
    pub api_port: u16,
    /// The bridge that carries masters and nodes; `None` without root.
    pub bridge: Option<Bridge>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Node {
    pub name: String,
    pub address: IpAddr,
    /// The node's own network namespace; `None` means the host's network.
    pub namespace: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Bridge {
    pub name: String,
    /// Third octet of 172.30.x.0/24.
    pub subnet: u8,
}

impl Bridge {
    pub fn host(&self, host: u8) -> Ipv4Addr {
        Ipv4Addr::new(172, 30, self.subnet, host)
    }

    /// The bridge's own address: the nodes' gateway, and the node's address when it uses the host's network.
    pub fn gateway(&self) -> Ipv4Addr {
        self.host(1)
    }
}

/// The layout that the data directory holds, or a new one as the flags say.
pub fn resolve(directory: &Path, args: &UpArgs, capabilities: &Capabilities) -> anyhow::Result<Layout> {
    if Layout::is_in(directory) {
        let layout = Layout::of(directory)?;
        layout.check(directory, args, capabilities)?;
        return Ok(layout);
    }
    let nodes = node_count(args, capabilities)?;
    let layout = Layout::new(args.masters.unwrap_or(1), nodes, args.api_port, capabilities.root)?;
    config::write(&directory.join(FILE), &layout)?;
    Ok(layout)
}

fn node_count(args: &UpArgs, capabilities: &Capabilities) -> anyhow::Result<u8> {
    if capabilities.missing.is_empty() || args.nodes == Some(0) {
        return Ok(args.nodes.unwrap_or(1));
    }
    let why = capabilities.missing.join("; ");
    match args.nodes {
        Some(nodes) => bail!("--nodes {nodes}: no node can run on this machine: {why}"),
        None => say!("running the control plane alone: {why}"),
    }
    Ok(0)
}

impl Layout {
    /// The layout of the cluster in a directory that was given to `up`.
    pub fn of(directory: &Path) -> anyhow::Result<Layout> {
        ensure!(
            Layout::is_in(directory),
            "--data-dir: {} holds no cluster of `up` (no {FILE})",
            directory.display()
        );
        config::read(&directory.join(FILE))
    }

    /// Whether a directory holds a cluster of `up`.
    pub fn is_in(directory: &Path) -> bool {
        directory.join(FILE).exists()
    }

    fn new(masters: u8, nodes: u8, api_port: Option<u16>, root: bool) -> anyhow::Result<Layout> {
        let id = format!("{:06x}", rand::random::<u32>() & 0xff_ffff);
        let bridge = if root {
            Some(Bridge {
                name: format!("pr-{id}"),
                subnet: free_subnet()?,
            })
        } else {
            None
        };
        let masters = (0..masters).map(|index| master(index, bridge.as_ref())).collect();
        let nodes = (0..nodes)
            .map(|index| node(index, nodes, &id, bridge.as_ref()))
            .collect::<anyhow::Result<_>>()?;
        Ok(Layout {
            api_port: free_port(api_port)?,
            id,
            masters,
            nodes,
            bridge,
        })
    }

    /// Refuses flags that ask for another cluster than the one in the directory.
    fn check(&self, directory: &Path, args: &UpArgs, capabilities: &Capabilities) -> anyhow::Result<()> {
        let differs = |flag: &str, wanted: usize, held: usize| {
            format!(
                "--{flag} {wanted}: {} holds a cluster with {held}; leave the flag out or use another --data-dir",
                directory.display()
            )
        };
        if let Some(wanted) = args.masters.map(usize::from).filter(|w| *w != self.masters.len()) {
            bail!(differs("masters", wanted, self.masters.len()));
        }
        if let Some(wanted) = args.nodes.map(usize::from).filter(|w| *w != self.nodes.len()) {
            bail!(differs("nodes", wanted, self.nodes.len()));
        }
        if let Some(wanted) = args.api_port.filter(|w| *w != self.api_port) {
            bail!(differs("api-port", wanted.into(), self.api_port.into()));
        }
        if self.bridge.is_some() && !capabilities.root {
            bail!("{} was made by root: run as root again", directory.display());
        }
        if !self.nodes.is_empty() && !capabilities.missing.is_empty() {
            bail!("the cluster's nodes cannot run: {}", capabilities.missing.join("; "));
        }
        Ok(())
    }

    pub fn summary(&self) -> String {
        let network = self
            .bridge
            .as_ref()
            .map_or("loopback".into(), |b| format!("{} on {}", b.gateway(), b.name));
        format!(
            "cluster {}, {} master(s), {} node(s), {network}",
            self.id,
            self.masters.len(),
            self.nodes.len()
        )
    }

    pub fn api_addresses(&self) -> Vec<SocketAddr> {
        self.masters.iter().map(Master::api).collect()
    }

    /// The cgroup below which everything of this cluster runs.
    pub fn cgroup(&self) -> String {
        format!("/proreus-{}", self.id)
    }

    /// The command that starts the named process again.
    pub fn restart_command(&self, directory: &Path, name: &str) -> anyhow::Result<String> {
        let program = std::env::current_exe().context("cannot find this program")?;
        let config = directory.join(name).join("config.yaml");
        if self.masters.iter().any(|m| m.name == name) {
            return Ok(format!("{} server --config {}", word(&program), word(&config)));
        }
        let node = self
            .nodes
            .iter()
            .find(|n| n.name == name)
            .with_context(|| format!("no process is named {name}"))?;
        let start = format!("{} node --config {}", word(&program), word(&config));
        Ok(match &node.namespace {
            Some(namespace) => format!("nsenter --net=/run/netns/{namespace} {start}"),
            None => start,
        })
    }
}

fn master(index: u8, bridge: Option<&Bridge>) -> Master {
    let step = if bridge.is_some() {
        0
    } else {
        (u16::from(index) + 1) * LOOPBACK_PORT_STEP
    };
    let address = bridge.map_or(Ipv4Addr::LOCALHOST, |b| b.host(FIRST_MASTER + index));
    Master {
        id: u64::from(index) + 1,
        name: format!("master-{}", index + 1),
        address: address.into(),
        api_port: API_PORT + step,
        client_port: CLIENT_PORT + step,
        peer_port: PEER_PORT + step,
    }
}

fn node(index: u8, count: u8, id: &str, bridge: Option<&Bridge>) -> anyhow::Result<Node> {
    let bridge = bridge.context("nodes need root")?;
    let name = format!("node-{}", index + 1);
    if count == 1 {
        return Ok(Node {
            name,
            address: bridge.gateway().into(),
            namespace: None,
        });
    }
    let namespace = Some(format!("pr-{id}-{}", index + 1));
    Ok(Node {
        name,
        address: bridge.host(FIRST_NODE + index).into(),
        namespace,
    })
}

fn free_subnet() -> anyhow::Result<u8> {
    let used = network::used_subnets()?;
    let free = SUBNETS.into_iter().find(|s| !used.contains(s));
    free.context("no free network 172.30.x.0/24: remove the addresses of clusters that are gone (`ip addr`)")
}

fn free_port(wanted: Option<u16>) -> anyhow::Result<u16> {
    if let Some(port) = wanted {
        return Ok(port);
    }
    let free = (API_PORT..API_PORT + PORTS_TRIED).find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    free.with_context(|| format!("no free port from {API_PORT} on 127.0.0.1: choose one with --api-port"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bridge() -> Bridge {
        Bridge {
            name: "pr-x".into(),
            subnet: 7,
        }
    }

    #[test]
    fn masters_with_a_bridge_share_ports_and_have_addresses_of_their_own() {
        let (a, b) = (master(0, Some(&bridge())), master(1, Some(&bridge())));
        assert_eq!((a.api_port, b.api_port), (6443, 6443));
        assert_eq!(a.address.to_string(), "172.30.7.101");
        assert_ne!(a.address, b.address);
    }

    #[test]
    fn masters_on_loopback_have_distinct_ports() {
        let all: Vec<Master> = (0..5).map(|i| master(i, None)).collect();
        let mut ports: Vec<u16> = all
            .iter()
            .flat_map(|m| [m.api_port, m.client_port, m.peer_port])
            .collect();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 15);
    }

    #[test]
    fn one_node_uses_the_host_network_and_several_have_namespaces() {
        assert!(node(0, 1, "x", Some(&bridge())).unwrap().namespace.is_none());
        assert_eq!(
            node(1, 2, "x", Some(&bridge())).unwrap().namespace.as_deref(),
            Some("pr-x-2")
        );
    }
}
