//! Clusters of three members in one process, over loopback TCP.
//!
//! Nothing here asserts how fast something happens: every wait is for a condition, with a bound that only a hang reaches.

mod auth;
mod failover;
mod harness;
mod leases;
mod membership;
mod replication;
mod restart;
mod space;
mod tables;
mod tls;
