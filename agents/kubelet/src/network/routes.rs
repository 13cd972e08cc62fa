//! Routes to the pods of other nodes.

use std::collections::BTreeMap;

use client::objects::Node;
use tokio::process::Command;
use tracing::{info, warn};

use crate::Error;

/// To the pods of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Their addresses.
    pub cidr: String,
    /// The node's address.
    pub via: String,
}

/// The routes a node needs, in order: one to each other node that has pods' addresses and an address of its own.
pub fn routes<'a>(own_name: &str, nodes: impl IntoIterator<Item = &'a Node>) -> Vec<Route> {
    let mut out: Vec<Route> = nodes
        .into_iter()
        .filter(|n| n.metadata.name != own_name && !n.spec.pod_cidr.is_empty())
        .filter_map(|n| {
            let via = n.address("InternalIP")?.to_owned();
            Some(Route {
                cidr: n.spec.pod_cidr.clone(),
                via,
            })
        })
        .collect();
    out.sort_by(|a, b| a.cidr.cmp(&b.cidr));
    out
}

/// The routes that are in place, as far as this process made them.
#[derive(Debug, Default)]
pub struct Routes {
    made: BTreeMap<String, String>,
}

impl Routes {
    /// Makes exactly these routes stand. What fails is tried again at the next call.
    pub async fn apply(&mut self, wanted: &[Route]) {
        for route in wanted {
            if self.made.get(&route.cidr) == Some(&route.via) {
                continue;
            }
            match ip(&["route", "replace", &route.cidr, "via", &route.via]).await {
                Ok(()) => {
                    info!(cidr = route.cidr, via = route.via, "route to another node's pods");
                    self.made.insert(route.cidr.clone(), route.via.clone());
                }
                Err(error) => warn!(cidr = route.cidr, via = route.via, %error, "cannot set a route"),
            }
        }
        let gone: Vec<String> = self
            .made
            .keys()
            .filter(|cidr| !wanted.iter().any(|r| r.cidr == **cidr))
            .cloned()
            .collect();
        for cidr in gone {
            // Gone already is as good.
            let _ = ip(&["route", "del", &cidr]).await;
            self.made.remove(&cidr);
        }
    }

    /// Whether all of these stand.
    pub fn has(&self, wanted: &[Route]) -> bool {
        wanted.iter().all(|r| self.made.get(&r.cidr) == Some(&r.via))
    }
}

async fn ip(arguments: &[&str]) -> Result<(), Error> {
    let error = |message: String| Error::Program {
        program: format!("ip {}", arguments.join(" ")),
        message,
    };
    let output = Command::new("ip").args(arguments).kill_on_drop(true).output().await;
    let output = output.map_err(|e| error(format!("{e}; install the iproute2 package")))?;
    if output.status.success() {
        return Ok(());
    }
    Err(error(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

/// Removes the bridge of the default network.
pub(crate) async fn remove_bridge() {
    let _ = ip(&["link", "del", super::cni::BRIDGE]).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_other_node_that_is_ready_for_it_gets_a_route() {
        let node = |name: &str, cidr: &str, ip: &str| -> Node {
            let addresses = serde_json::json!([{ "type": "InternalIP", "address": ip }]);
            let addresses = if ip.is_empty() {
                serde_json::json!([])
            } else {
                addresses
            };
            serde_json::from_value(serde_json::json!({
                "metadata": { "name": name }, "spec": { "podCIDR": cidr }, "status": { "addresses": addresses },
            }))
            .unwrap()
        };
        let nodes = [
            node("c", "10.244.3.0/24", "10.0.0.3"),
            node("a", "10.244.1.0/24", "10.0.0.1"),
            node("b", "10.244.2.0/24", "10.0.0.2"),
            node("new", "", "10.0.0.4"),
            node("mute", "10.244.5.0/24", ""),
        ];
        let got: Vec<_> = routes("a", &nodes).into_iter().map(|r| (r.cidr, r.via)).collect();
        let expected = [
            ("10.244.2.0/24".into(), "10.0.0.2".into()),
            ("10.244.3.0/24".into(), "10.0.0.3".into()),
        ];
        assert_eq!(got, expected);
    }
}
