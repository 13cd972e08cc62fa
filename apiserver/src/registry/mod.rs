//! What the resources are and what create, update and delete mean for them.
//!
//! [`Registry`] is the mechanism (one generic store for every resource); a [`Strategy`] is what is special about one. Adding a
//! resource that the schema registry knows is one strategy file here and one line in [`strategies`]; a resource without a line
//! gets [`Plain`], which stores what validates against the schema.
//!
//! Resources are named `pods`, `deployments.apps` throughout; the namespace is empty for cluster-scoped ones. [`Reader`] reads;
//! [`Registry::create`], [`Registry::update`] and [`Registry::delete`] run strategy and admission around one conditional write.

mod batch;
mod builtin;
pub(crate) mod certificates;
pub(crate) mod check;
pub(crate) mod columns;
mod configmaps;
mod context;
mod create;
mod declared;
mod delete;
mod disruption;
mod endpoints;
mod events;
pub(crate) mod fields;
pub(crate) mod home;
mod leases;
mod limits;
mod metadata;
pub(crate) mod names;
mod namespaces;
mod networking;
mod nodes;
pub(crate) mod ownership;
pub(crate) mod pods;
mod quota;
mod race;
pub(crate) mod rbac;
mod reader;
pub(crate) mod recount;
mod registration;
mod reviews;
mod secrets;
mod selection;
mod served;
mod serviceaccounts;
pub(crate) mod services;
mod store;
pub mod strategy;
pub mod table;
mod templates;
mod update;
mod volumes;
pub(crate) mod workloads;

pub use builtin::strategies;
pub use context::RequestContext;
pub(crate) use context::dry_run;
pub use delete::Deleted;
pub use reader::{ListFilter, Reader};
pub(crate) use selection::selects;
pub use served::Served;
pub(crate) use served::{Conversion, Overlay, fields as selectable_fields};
pub(crate) use store::Target;
pub use store::{Access, Registry, Written};
pub use strategy::{
    Action, Cells, Column, Connect, DeleteOptions, Deletion, NameRule, Plain, Projection, Reply, SelectableField,
    Strategy, Subresource,
};
pub(crate) use update::Updated;
