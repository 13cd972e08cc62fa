//! The pod network, where the agent makes it: a bridge with the node's share of the pod addresses, and a route to every
//! other node's share through that node's address.
//!
//! **Theory.** CNI plugins, run by the container runtime, connect each sandbox to the bridge and give it an address from
//! the node's podCIDR; this module writes their configuration once the podCIDR is known. Nodes on one link reach each
//! other's pods by plain routes; nothing is encapsulated. The bridge shows its traffic to the firewall
//! (`bridge-nf-call-iptables`), or answers of a service's pod on the same node would bypass address translation.
//!
//! **Left out.** VXLAN for nodes that are not on one link, masquerading (the service proxy's), IPv6, removing the bridge.

mod cni;
mod routes;

use std::fs;
use std::path::Path;

use tracing::warn;

pub use cni::write_config;
pub(crate) use routes::remove_bridge;
pub use routes::{Routes, routes};

use crate::Error;

/// Switches on what forwarding pods' traffic needs. A kernel without bridge filtering works, except for a pod that
/// reaches itself or a neighbour through a service.
pub fn prepare_kernel() -> Result<(), Error> {
    let forward = Path::new("/proc/sys/net/ipv4/ip_forward");
    set(forward)?;
    let bridge = Path::new("/proc/sys/net/bridge/bridge-nf-call-iptables");
    if !bridge.exists() {
        // Without the module loader's program the module may still be built in or loaded by somebody else.
        let _ = std::process::Command::new("modprobe").arg("br_netfilter").output();
    }
    if let Err(error) = set(bridge) {
        warn!(%error, "services may not be reachable from pods on the same node; load the module br_netfilter");
    }
    Ok(())
}

fn set(path: &Path) -> Result<(), Error> {
    if fs::read_to_string(path).is_ok_and(|v| v.trim() == "1") {
        return Ok(());
    }
    fs::write(path, "1").map_err(Error::file("set to 1", path))
}
