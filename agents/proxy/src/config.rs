//! What the composition tells the proxy.

use std::{collections::BTreeSet, net::Ipv4Addr};

use ipnet::Ipv4Net;

use crate::Error;

/// Settings of one node's service proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The Node object's name: endpoints with this `nodeName` are local.
    pub node_name: String,
    /// Our table's name, in the family `ip`. Nothing else may use it.
    pub table: String,
    /// The range of all Pod addresses. Traffic from outside it to a virtual address is masqueraded.
    pub cluster_cidr: Option<Ipv4Net>,
    /// Masquerade what Pods send to addresses outside `cluster_cidr`. Switch it off where the CNI plugin does so.
    pub masquerade_egress: bool,
    /// Cluster addresses that are real addresses of this node (the cluster DNS address): no rule is made for them.
    pub local_addresses: BTreeSet<Ipv4Addr>,
    /// The packet mark bit that asks for masquerading; one bit that nobody else on the node uses.
    pub masquerade_mark: u32,
    /// Switch on forwarding and bridge filtering in the network namespace at the start.
    pub set_sysctls: bool,
}

impl Config {
    /// The usual settings for the node `node_name`.
    pub fn new(node_name: impl Into<String>) -> Self {
        Self {
            node_name: node_name.into(),
            table: "proreus-proxy".into(),
            cluster_cidr: None,
            masquerade_egress: false,
            local_addresses: BTreeSet::new(),
            masquerade_mark: 0x4000,
            set_sysctls: true,
        }
    }

    /// Refuses what would produce a ruleset that nft cannot parse.
    pub fn validate(&self) -> Result<(), Error> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let starts = self.table.starts_with(|c: char| c.is_ascii_alphabetic());
        if !starts || !self.table.chars().all(plain) {
            let reason = format!("{:?} is not a table name; use letters, digits, - and _", self.table);
            return Err(Error::Config { field: "table", reason });
        }
        if self.masquerade_mark.count_ones() != 1 {
            let reason = format!(
                "{:#x} must have exactly one bit set, such as 0x4000",
                self.masquerade_mark
            );
            return Err(Error::Config {
                field: "masquerade_mark",
                reason,
            });
        }
        if self.masquerade_egress && self.cluster_cidr.is_none() {
            let reason = "masquerading needs cluster_cidr to tell Pods from the world".into();
            return Err(Error::Config {
                field: "masquerade_egress",
                reason,
            });
        }
        Ok(())
    }
}
