//! Integration tests of the binary, in one test program. They drive real processes through real clients; what this
//! machine lacks is skipped visibly (see `harness::skip`).

mod agents;
mod cli;
mod failover;
mod harness;
mod joining;
mod kubectl;
mod layers;
mod node;
mod operate;
mod rollout;
