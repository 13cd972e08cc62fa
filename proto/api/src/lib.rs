//! The Kubernetes object model: what objects look like, and every pure function on them that more than one part needs.
//!
//! # Theory
//! Objects are dynamic: a `serde_json::Value` whose keys are sorted (canonical JSON is `to_vec` of it). What they may
//! contain is data too: one [`Schema`] per kind, compiled from a table of facts about Kubernetes v1.36. Decoding, strict
//! validation, pruning, protobuf, defaulting, strategic merge and OpenAPI are each one walk over that schema, so a custom
//! resource that compiles to the same form gets all of them.
//!
//! # Promises
//! - No I/O and no clock. Every function is a function of its arguments.
//! - A decoded object has no nulls, no unknown fields, and canonical quantities and times; decoding it again changes
//!   nothing.
//! - Bad input is an error with a text that users of kubectl know; never a panic.
//!
//! # Left out
//! Validation of values beyond their types (the API server's strategies, and the schemas of custom resources, which are
//! [`structural`]), conversion between versions, the texts of field descriptions.

pub mod apply;
pub mod autoscaling;
pub mod bootstrap_tokens;
pub mod cron;
pub mod defaults;
pub mod events;
pub mod openapi;
pub mod owners;
pub mod patch;
pub mod pods;
pub mod quantity;
pub mod resources;
pub mod schema;
pub mod selector;
pub mod structural;
pub mod taints;

mod codec;
mod duration;
mod error;
mod gvk;
mod limits;
mod protobuf;

pub use codec::{Decoded, FieldValidation, MediaType, conform, decode, decode_yaml};
pub use defaults::default_object;
pub use duration::duration;
pub use error::{DecodeError, EncodeError, PatchError, QuantityError, ScheduleError, SelectorError};
pub use gvk::Gvk;
pub use openapi::{openapi_v2, openapi_v3, openapi_v3_index};
pub use patch::{merge_patch, strategic_merge};
pub use protobuf::{decode_protobuf, encode_protobuf, encode_protobuf_raw};
pub use quantity::Quantity;
pub use resources::{Resource, STANDARD_VERBS, Subresource, group_versions, resource, resource_of, resources};
pub use schema::{Registry, Schema, registry};
pub use selector::{FieldRequirement, FieldSelector, LabelRequirement, LabelSelector, Operator};
