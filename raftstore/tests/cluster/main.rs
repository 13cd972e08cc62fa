//! Clusters of three members in one process, over loopback TCP.
//!
//! Nothing here asserts how fast something happens: every wait is for a condition, with a bound that only a hang reaches.

mod failover;
mod harness;
mod leases;
mod replication;
mod restart;
mod tls;
