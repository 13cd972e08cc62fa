//! What can go wrong in the DNS agent.

use std::net::SocketAddr;

/// An error of the DNS agent.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A listening socket could not be opened.
    #[error("cannot listen on {address} ({protocol}): {source}; is the address on this node and the port free?")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// `UDP` or `TCP`.
        protocol: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// The cluster domain is not a domain name.
    #[error("cluster domain {domain:?} is not a domain name: {reason}; use something like cluster.local")]
    Domain {
        /// What was configured.
        domain: String,
        /// Why not.
        reason: String,
    },
    /// The DNS address could not be put on, or taken from, a link.
    #[error("`{command}` failed: {reason}; the DNS agent must run as root in the node's network namespace")]
    Address {
        /// The command line.
        command: String,
        /// What it said.
        reason: String,
    },
    /// No upstream server answered.
    #[error("no upstream resolver answered ({servers} tried): {reason}")]
    Upstream {
        /// How many there are.
        servers: usize,
        /// The last failure.
        reason: String,
    },
    /// The server loop ended by itself.
    #[error("the DNS server stopped: {0}")]
    Server(String),
}
