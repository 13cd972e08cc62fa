//! Cluster DNS: every node answers its own Pods' names.
//!
//! # Theory
//! A Pod's resolver knows one address, the cluster DNS address. This crate makes that address local on *each* node
//! ([`address`]), so a query never leaves the node unless it is for a name outside the cluster; there is no DNS
//! Deployment to schedule before anything else works, and a dead node takes only its own Pods' DNS with it. The service
//! proxy must leave that address alone (`proxy::Config::local_addresses`).
//!
//! Answers are a pure function of a [`Zone`], and a zone is a pure function of Services and EndpointSlices:
//! ```text
//! services, slices -> records::zone -> Zone -> Zone::answer(name, type) -> Answer
//! ```
//! The zone is rebuilt as a whole when something changed and swapped in at once, so one query never sees half a change.
//!
//! # What is answered (the Kubernetes DNS schema, version 1.1.0)
//! | name under the cluster domain | records |
//! |---|---|
//! | `SERVICE.NAMESPACE.svc` | A, AAAA: cluster addresses; of a headless Service its ready endpoints; CNAME of an ExternalName |
//! | `_PORT._PROTOCOL.SERVICE.NAMESPACE.svc` | SRV |
//! | `HOSTNAME.SERVICE.NAMESPACE.svc` | A, AAAA of that endpoint of a headless Service |
//! | `1-2-3-4.NAMESPACE.pod` | A 1.2.3.4 |
//! | `dns-version` | TXT |
//! PTR records lead back from cluster addresses and headless endpoints.
//!
//! # Promises
//! - A name that exists without records of the asked type is NODATA, never NXDOMAIN: a resolver that asks for AAAA first
//!   must not give up on the name.
//! - Until the first complete list of Services has arrived the cluster's names are SERVFAIL, never NXDOMAIN.
//! - Names outside the cluster go to the upstream resolvers of a resolv.conf, which is read again when it changes.
//!
//! # Left out
//! A cache for upstream answers, DNSSEC, zone transfers, DNS over TLS, stub domains.

pub mod address;
mod config;
mod error;
mod forward;
mod limits;
mod records;
mod resolv_conf;
mod run;
mod server;
mod zone;

pub use config::Config;
pub use error::Error;
pub use forward::Forwarder;
pub use records::zone;
pub use run::{Bound, run, serve};
pub use server::Resolver;
pub use zone::{Answer, Zone};
