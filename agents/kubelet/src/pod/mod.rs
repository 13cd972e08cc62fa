//! Pods: what one is (`spec`, `view`), what to do about it (`decide`), how it is going (`status`), and the worker that
//! does it.

pub mod api;
pub mod backoff;
pub mod cgroup;
pub mod decide;
pub mod env;
mod execute;
pub mod expand;
pub mod fields;
mod hook;
mod image;
pub mod memory;
pub mod network;
pub mod node;
pub mod pods;
pub mod runtime_config;
pub mod security;
pub mod spec;
pub mod status;
pub mod view;
pub mod worker;
