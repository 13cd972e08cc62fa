//! The namespace that an object is created in. It has to exist and not to be on its way out, and that has to hold at the very
//! moment of the write: an object written behind the last look of whoever empties the namespace would stay forever. So the write
//! compares the namespace's revision, and a namespace that changed meanwhile is looked at again.

use super::fields::{at, text};
use super::reader::value_of;
use super::{Reader, Served};
use crate::ApiError;
use storage::{Freshness, Guard, Item};

const NAMESPACES: &str = "namespaces";
const ENDING: &str = "NamespaceTerminating";

/// The namespace, open for new objects. This member's copy will do where `freshness` says so; a namespace that is not here yet is
/// looked up where it must be. `resource` and `name` are what is to be created, for the refusal.
pub(crate) async fn open(
    reader: &Reader,
    namespace: &str,
    freshness: Freshness,
    resource: &str,
    name: &str,
) -> Result<Item, ApiError> {
    let item = match reader.item(NAMESPACES, "", namespace, freshness).await {
        Err(error) if error.is_not_found() && freshness == Freshness::Any => {
            reader.item(NAMESPACES, "", namespace, Freshness::Latest).await?
        }
        found => found?,
    };
    let object = value_of(&item)?;
    if at(&object, "metadata.deletionTimestamp").is_none() && text(&object, "status.phase") != "Terminating" {
        return Ok(item);
    }
    let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
    let error = ApiError::forbidden(resource, name, &why);
    let message = format!("namespace {namespace} is being terminated");
    Err(error.cause(ENDING, &message, "metadata.namespace"))
}

/// Whether [`open`] refused because the namespace is on its way out.
pub(crate) fn is_ending(error: &ApiError) -> bool {
    error.details["causes"][0]["reason"] == ENDING
}

/// What a create into `namespace` depends on; nothing for cluster-wide objects.
pub(super) async fn guard(
    reader: &Reader,
    served: &Served,
    namespace: &str,
    name: &str,
    freshness: Freshness,
) -> Result<Option<Guard>, ApiError> {
    if namespace.is_empty() {
        return Ok(None);
    }
    let item = open(reader, namespace, freshness, &served.name, name).await?;
    Ok(Some(Guard {
        key: reader.served(NAMESPACES)?.collection.key("", namespace),
        revision: item.revision(),
        becomes: None,
    }))
}
