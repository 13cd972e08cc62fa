//! NodePorts: the ports a Pod wants on its node must be free.

use super::{Plugin, Refusal};
use crate::cache::{NodeInfo, PodInfo};

pub(super) fn filter(pod: &PodInfo, info: &NodeInfo) -> Option<Refusal> {
    if pod.host_ports.is_empty() {
        return None;
    }
    let used = info.pods.values().flat_map(|p| &p.host_ports);
    let conflict = used.into_iter().any(|u| pod.host_ports.iter().any(|w| w.conflicts(u)));
    if !conflict {
        return None;
    }
    Refusal::new(
        Plugin::NodePorts,
        "node(s) didn't have free ports for the requested pod ports",
    )
}
