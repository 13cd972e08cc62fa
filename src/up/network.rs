//! The cluster's network on this machine: a bridge with the masters' addresses, a namespace for each node when there
//! are several, and masquerading for what leaves them. Driven through iproute2 and nft; removal is idempotent.

use std::collections::BTreeSet;
use std::fs::{File, TryLockError};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use super::layout::{Bridge, Layout, Node};
use crate::config::DNS_SERVICE_ADDRESS;
use crate::output::say;

/// The service proxy's table and the pods' bridge, under the names their crates give them by default.
const PROXY_TABLE: &str = "proreus-proxy";
const POD_BRIDGE: &str = "cni0";
/// Locked by the cluster whose node uses the host's network.
const HOST_LOCK: &str = "/run/proreus-host-network.lock";

/// Makes the bridge, the masters' addresses and the nodes' namespaces.
pub fn create(layout: &Layout) -> anyhow::Result<()> {
    let Some(bridge) = &layout.bridge else { return Ok(()) };
    ip(&format!("link add {} type bridge forward_delay 0", bridge.name))?;
    ip(&format!("addr add {}/24 dev {}", bridge.gateway(), bridge.name))?;
    for master in &layout.masters {
        ip(&format!("addr add {}/32 dev {}", master.address, bridge.name))?;
    }
    ip(&format!("link set {} up", bridge.name))?;
    for node in &layout.nodes {
        create_namespace(bridge, node)?;
    }
    if layout.nodes.iter().any(|n| n.namespace.is_some()) {
        masquerade(bridge)?;
    }
    Ok(())
}

fn create_namespace(bridge: &Bridge, node: &Node) -> anyhow::Result<()> {
    let Some(namespace) = &node.namespace else {
        return Ok(());
    };
    let peer = outer_link(namespace);
    ip(&format!("netns add {namespace}"))?;
    ip(&format!(
        "-n {namespace} link add eth0 type veth peer name {peer} netns 1"
    ))?;
    ip(&format!("link set {peer} master {} up", bridge.name))?;
    ip(&format!("-n {namespace} link set lo up"))?;
    ip(&format!("-n {namespace} addr add {}/24 dev eth0", node.address))?;
    ip(&format!("-n {namespace} link set eth0 up"))?;
    ip(&format!("-n {namespace} route add default via {}", bridge.gateway()))
}

/// The name of a node's link on the host: the namespace's own, within the kernel's 15 characters.
fn outer_link(namespace: &str) -> String {
    format!("v{}", namespace.replace('-', ""))
}

/// Lets the nodes reach what the machine reaches.
fn masquerade(bridge: &Bridge) -> anyhow::Result<()> {
    run("sysctl", &["-qw", "net.ipv4.ip_forward=1"])?;
    let table = table(bridge);
    let (network, name) = (format!("172.30.{}.0/24", bridge.subnet), &bridge.name);
    run("nft", &["add", "table", "ip", &table])?;
    run(
        "nft",
        &[
            "add",
            "chain",
            "ip",
            &table,
            "post",
            "{ type nat hook postrouting priority 100; }",
        ],
    )?;
    run(
        "nft",
        &[
            "add",
            "rule",
            "ip",
            &table,
            "post",
            "ip",
            "saddr",
            &network,
            "oifname",
            "!=",
            name,
            "masquerade",
        ],
    )
}

fn table(bridge: &Bridge) -> String {
    format!("proreus-up-{}", bridge.name)
}

/// Removes whatever [`create`] made, as far as it is there.
pub fn remove(layout: &Layout, host: Option<&HostClaim>) {
    let Some(bridge) = &layout.bridge else { return };
    for namespace in layout.nodes.iter().filter_map(|n| n.namespace.as_ref()) {
        // A namespace dies late; its link would still be there at the next start.
        quietly("ip", &["link", "del", &outer_link(namespace)]);
        quietly("ip", &["netns", "del", namespace]);
    }
    if host.is_some() {
        remove_host_node();
    }
    quietly("nft", &["delete", "table", "ip", &table(bridge)]);
    quietly("ip", &["link", "del", &bridge.name]);
}

/// The right to use the host's network for a node: its bridge, table and DNS address have fixed names, so one cluster
/// at a time has it. It ends with the process.
pub struct HostClaim {
    _lock: File,
}

impl HostClaim {
    /// Takes the claim if the layout needs it. Only who has it may remove what such a node leaves behind.
    pub fn take(layout: &Layout) -> anyhow::Result<Option<HostClaim>> {
        if layout.bridge.is_none() || !layout.nodes.iter().any(|n| n.namespace.is_none()) {
            return Ok(None);
        }
        let file = File::create(HOST_LOCK).with_context(|| format!("cannot create {HOST_LOCK}"))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(HostClaim { _lock: file })),
            Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("cannot lock {HOST_LOCK}")),
            Err(TryLockError::WouldBlock) => bail!(
                "another cluster's node uses this machine's network: stop that cluster, or start this one in a new \
                 --data-dir with --nodes 2, whose nodes have networks of their own"
            ),
        }
    }
}

/// A node on the host's network removes its own traces when it stops, unless its pods are to go on; these are left then, and
/// when it was killed.
pub fn remove_host_node() {
    quietly("nft", &["delete", "table", "ip", PROXY_TABLE]);
    quietly("ip", &["link", "del", POD_BRIDGE]);
    quietly(
        "ip",
        &["addr", "del", &format!("{DNS_SERVICE_ADDRESS}/32"), "dev", "lo"],
    );
}

/// Third octets of the 172.30.x.0/24 networks that this machine already uses.
pub fn used_subnets() -> anyhow::Result<BTreeSet<u8>> {
    let output = Command::new("ip")
        .args(["-4", "-o", "route"])
        .output()
        .context("cannot run ip")?;
    Ok(subnets_in(&String::from_utf8_lossy(&output.stdout)))
}

fn subnets_in(routes: &str) -> BTreeSet<u8> {
    let after = routes
        .split_whitespace()
        .filter_map(|word| word.strip_prefix("172.30."));
    after.filter_map(|rest| rest.split('.').next()?.parse().ok()).collect()
}

fn ip(arguments: &str) -> anyhow::Result<()> {
    run("ip", &arguments.split(' ').collect::<Vec<_>>())
}

fn run(program: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("cannot run {program}"))?;
    if !output.status.success() {
        bail!(
            "`{program} {}` failed: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}

/// Runs a removal; that there is nothing to remove is fine, anything else is shown.
fn quietly(program: &str, arguments: &[&str]) {
    if let Err(error) = run(program, arguments) {
        let text = format!("{error:#}");
        if !ABSENT.iter().any(|absent| text.contains(absent)) {
            say!("{text}");
        }
    }
}

/// What iproute2 and nft say when there is nothing to remove.
const ABSENT: [&str; 6] = [
    "Cannot find device",
    "No such file or directory",
    "Cannot assign requested address",
    "cannot run",
    "does not exist",
    "Address not found",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn used_subnets_are_read_from_the_routes() {
        let routes =
            "default via 10.0.0.1 dev eth0\n172.30.3.0/24 dev pr-a proto kernel src 172.30.3.1\n172.31.9.0/24 dev x";
        assert_eq!(subnets_in(routes), BTreeSet::from([3]));
    }

    #[test]
    fn link_names_fit_the_kernel() {
        assert!(outer_link("pr-abcdef-9").len() <= 15);
    }
}
