//! What a create of a custom object depends on: its definition, which must be there and not on its way out at the very moment of
//! the write. An object written behind the last look of whoever empties the definition would stay forever.

use super::DEFINITIONS;
use crate::ApiError;
use crate::registry::fields::{at, text};
use crate::registry::{Reader, Served};
use storage::{Freshness, Guard};

/// The condition of a create; nothing for built-in resources.
pub(crate) async fn guard(reader: &Reader, served: &Served, freshness: Freshness) -> Result<Option<Guard>, ApiError> {
    let Some(custom) = &served.custom else {
        return Ok(None);
    };
    let item = match reader.item(DEFINITIONS, "", custom.definition(), freshness).await {
        Err(error) if error.is_not_found() => return Err(ApiError::no_such_path()),
        found => found?,
    };
    let definition = item.value().map_err(ApiError::internal)?;
    if text(&definition, "metadata.uid") != custom.definition_uid() {
        return Err(ApiError::no_such_path());
    }
    if at(&definition, "metadata.deletionTimestamp").is_some() {
        let message = "create not allowed while custom resource definition is terminating";
        return Err(ApiError::new(405, "MethodNotAllowed", message));
    }
    Ok(Some(Guard {
        key: reader.served(DEFINITIONS)?.collection.key("", custom.definition()),
        revision: item.revision(),
        becomes: None,
    }))
}
