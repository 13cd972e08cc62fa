//! Isolation of transactions by cycles, in the sense of Adya and of Elle.
//!
//! # Theory
//! If transactions took effect one after the other, then "must have come before" has no cycle. A history of the right kind
//! betrays that relation: when every written value is unique and reads tell what was overwritten or appended to, one can
//! say who wrote before whom (*ww*), who read whose write (*wr*), and whose read missed whose write (*rw*). A cycle of such
//! edges is a proof of a fault, and the edges in it say which:
//!
//! | name | the cycle has |
//! |---|---|
//! | `G0` | only ww: writes of two transactions interleave |
//! | `G1c` | ww and at least one wr: information flows in a circle |
//! | `G-single` | exactly one rw: a read skew |
//! | `G2` | two rw or more: a write skew |
//!
//! With the order in real time added (what completed before another began), the same cycles get the suffix `-realtime`, and
//! their absence means strict serializability. Some faults need no cycle: reading what was aborted (`G1a`), reading what
//! its own writer overwrote (`G1b`), and the checks each file lists.
//!
//! # Left out
//! Predicates (phantoms), and weaker levels' own verdicts: proreus and etcd promise strict serializability, so every
//! anomaly counts.

pub mod append;
mod classify;
mod graph;
mod realtime;
pub mod wr;

pub(crate) use classify::anomalies;
pub(crate) use graph::{Graph, Kind};
