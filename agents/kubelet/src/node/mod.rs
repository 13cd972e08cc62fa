//! The Node object: registering it, saying how the node is, and renewing its Lease object.
//!
//! **Theory.** The Lease object says every ten seconds that the node lives; the status, which is larger, is written
//! only when it changed or every five minutes. Both are written by the node alone. What others decide about the node
//! (podCIDR, taints, cordon) is read from a watch of its own object.
//!
//! **Left out.** Eviction under pressure (the conditions are reported, nothing is evicted), device plugins, hugepages,
//! resource reservations beyond a fixed share of memory.

mod conditions;
mod facts;
mod lease;
mod object;
mod register;

pub use facts::Machine;
pub use lease::renew;
pub use register::{Registration, run};
