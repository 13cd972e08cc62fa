//! What each resource promises its users, tried through the whole chain over a store in memory.

mod access;
mod apply;
mod builtin;
mod certificates;
mod cluster;
mod custom;
mod deployments;
mod harness;
mod pods;
mod quota;
mod services;
mod streams;
mod webhooks;
mod who;
