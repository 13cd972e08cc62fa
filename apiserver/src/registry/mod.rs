//! What the resources are and what create, update and delete mean for them.
//!
//! [`Registry`] is the mechanism (one generic store for every resource); a [`Strategy`] is what is special about one. Adding a
//! resource that the schema registry knows is one strategy file here and one line in [`strategies`]; a resource without a line
//! gets [`Plain`], which stores what validates against the schema.
//!
//! Resources are named `pods`, `deployments.apps` throughout; the namespace is empty for cluster-scoped ones. Reads:
//! `Reader::get(resource, namespace, name) -> Result<Value, ApiError>`, `Reader::list(resource, namespace, &ListFilter) ->
//! Result<Vec<Value>, ApiError>`, `Reader::events(resource) -> stream of changes with a synchronous initial list` (for views). Writes
//! run strategy and admission: `Registry::create(&context, resource, namespace, object)`, `Registry::update(&context, resource,
//! subresource, namespace, name, |&mut Value| ..)`, `Registry::delete(&context, resource, namespace, name, &DeleteOptions)`.

mod context;
pub mod strategy;
pub mod table;

pub use context::RequestContext;
pub use strategy::{
    Action, Cells, Column, Connect, DeleteOptions, Deletion, NameRule, Plain, Projection, Reply, SelectableField,
    Strategy, Subresource,
};

/// The table: `plural` or `plural.group` -> what is special about it.
pub fn strategies() -> Vec<(&'static str, Box<dyn Strategy>)> {
    vec![]
}

/// Reads by resource name. Cheap to clone; what authorizers, views and plugins hold.
#[derive(Clone)]
pub struct Reader {
    storage: storage::Storage,
}

impl Reader {
    /// The storage below, for watches that feed views.
    pub fn storage(&self) -> &storage::Storage {
        &self.storage
    }
}

/// The generic store: one for all resources.
pub struct Registry {
    reader: Reader,
}

impl Registry {
    /// The read half.
    pub fn reader(&self) -> &Reader {
        &self.reader
    }
}
