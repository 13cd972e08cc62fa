//! What the composition tells the DNS agent.

use std::{net::SocketAddr, path::PathBuf};

use ipnet::IpNet;

/// Settings of one node's DNS agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The cluster domain, without a dot at the end.
    pub domain: String,
    /// Where to listen, UDP and TCP: the cluster DNS address, port 53.
    pub listen: Vec<SocketAddr>,
    /// The link that gets the addresses of `listen` while the agent runs; `None` if they are there already.
    pub claim_on_link: Option<String>,
    /// Where the upstream resolvers are listed; without it names outside the cluster are SERVFAIL.
    pub resolv_conf: Option<PathBuf>,
    /// Networks whose reverse names are ours alone (Services, Pods): unknown ones are NXDOMAIN, not asked upstream.
    pub networks: Vec<IpNet>,
}

impl Config {
    /// The usual settings: `listen` claimed on the loopback link, upstream from the node's own resolv.conf.
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            domain: "cluster.local".into(),
            listen: vec![listen],
            claim_on_link: Some("lo".into()),
            resolv_conf: Some("/etc/resolv.conf".into()),
            networks: Vec::new(),
        }
    }
}
