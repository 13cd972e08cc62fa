//! The Kubernetes API: one server that turns HTTP requests into reads and compare-and-put transactions.
//!
//! **Theory.** A request walks through one chain of filters ([`chain`] holds the order and the reasons), is resolved to a
//! resource by its path ([`request_info`]), and ends in an endpoint. Endpoints know HTTP, media types and options; the generic
//! store in [`registry`] knows what create, update and delete *mean*; a [`registry::Strategy`] knows what is special about
//! one resource; `storage` is the only thing below that knows the replicated store. Objects are dynamic
//! (`serde_json::Value`) and described by the schema registry of the `api` crate.
//!
//! **Promises.** An object that was acknowledged is durable and visible to every later read. Nothing is written that admission
//! and validation have not seen in exactly that form. Reads copy stored bytes and do not re-encode them. Every error leaves as
//! a `metav1.Status`, a panic included. A request that came over a socket can carry neither a ready-made identity nor a fence.
//!
//! **Left out so far.** Aggregated API servers.

pub mod access;
pub mod admission;
pub mod authn;
pub mod authz;
pub mod bootstrap;
mod chain;
pub mod config;
mod endpoints;
pub mod error;
mod extensions;
mod filters;
pub mod identity;
pub mod limits;
mod local;
mod metrics;
mod openapi;
pub mod outbound;
pub mod patch;
pub mod registry;
pub mod request_info;
mod server;
pub mod status;

pub use config::Config;
pub use error::{ApiError, FieldError, ServeError};
pub use identity::User;
pub use local::Local;
pub use request_info::RequestInfo;
pub use server::Server;
pub use storage::{Fence, Storage};

/// The body of every request and response inside the server, however it arrived.
pub use axum::body::Body;
