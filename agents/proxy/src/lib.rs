//! The service proxy: turns Services and EndpointSlices into one nftables table on every node.
//!
//! # Theory
//! A Service is a virtual address: no interface carries it. The kernel's NAT hooks see the *first* packet of each
//! connection and rewrite its destination to an endpoint; connection tracking rewrites the rest. So the ruleset only
//! has to be right at the moment a connection starts, and a change never disturbs connections that exist.
//!
//! The crate is a pure function with a thin loop around it:
//! ```text
//! services, slices, node -> ports::resolve -> rules::build -> Ruleset
//! (applied Ruleset, desired Ruleset) -> Ruleset::transaction -> text -> `nft -f -` (one atomic kernel transaction)
//! ```
//! Look-ups are maps, so a packet's cost does not grow with the number of Services:
//! `services` maps (address, protocol, port) to a chain, `nodeports` maps (protocol, port). A Service port without
//! affinity is one chain with one rule (a random index into a map of endpoints). With `ClientIP` affinity each endpoint
//! has a set of client addresses with a timeout, and a chain that refreshes it.
//!
//! # Promises
//! - One sync is one transaction: the kernel has the old ruleset or the new one, never a mixture and never none.
//! - A change touches only what differs, so affinity sets outlive every change that keeps their endpoint.
//! - Everything lives in one table of ours; [`cleanup`] removes it and with it every trace in the ruleset.
//! - If the table was changed behind our back or a transaction is refused, the whole table is loaded anew.
//! - Nothing a user writes reaches nft as text, apart from names checked to be plain DNS labels.
//!
//! # Choices
//! The cluster DNS address is made local on every node by the DNS agent (`dns::address`), so that Pods reach their own
//! node's resolver; list it in [`Config::local_addresses`] and this proxy leaves it alone.
//!
//! # Left out
//! IPv6, health check node ports, topology hints and traffic distribution, and removal of stale UDP conntrack entries
//! (a UDP client that keeps its port keeps a vanished endpoint until its entry times out).

mod config;
mod error;
mod limits;
mod nft;
mod ports;
mod rules;
mod ruleset;
mod sync;
mod sysctl;

pub use config::Config;
pub use error::Error;
pub use nft::{Nft, NftCommand};
pub use rules::build;
pub use ruleset::Ruleset;
pub use sync::{Syncer, cleanup, remove_table, run};
