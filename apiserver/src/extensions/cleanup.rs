//! The end of a definition: its objects go first, then the finalizer that held it.

use super::{CLEANUP, DEFINITIONS, set_condition};
use crate::ApiError;
use crate::registry::fields::{at, list, name};
use crate::registry::{DeleteOptions, Registry, RequestContext};
use futures::StreamExt;
use serde_json::Value;
use std::sync::Arc;
use storage::Freshness;

/// Objects deleted at once.
const CONCURRENCY: usize = 16;

/// Whether the objects of a definition are to be deleted.
pub(super) fn is_due(definition: &Value) -> bool {
    at(definition, "metadata.deletionTimestamp").is_some()
        && list(definition, "metadata.finalizers").iter().any(|f| f == CLEANUP)
}

/// Deletes the objects of a definition and, once none is left, lets it go. True when it is done.
pub(super) async fn run(registry: &Arc<Registry>, definition: &Value) -> Result<bool, ApiError> {
    let (context, resource) = (RequestContext::system(), name(definition));
    let reader = registry.reader();
    let left = match reader.served(resource) {
        Ok(_) => {
            progress(
                registry,
                resource,
                "True",
                "InstanceDeletionInProgress",
                "CustomResource deletion is in progress",
            )
            .await?;
            let all = Default::default();
            let items = reader.items(resource, "", &all, Freshness::Latest).await?;
            let deletions: Vec<_> = items
                .iter()
                .map(|item| {
                    let (namespace, name) = (item.meta().namespace.to_string(), item.meta().name.to_string());
                    delete(registry.clone(), context.clone(), resource.to_owned(), namespace, name)
                })
                .collect();
            let outcomes: Vec<Result<(), ApiError>> =
                futures::stream::iter(deletions).buffered(CONCURRENCY).collect().await;
            outcomes.into_iter().collect::<Result<Vec<()>, ApiError>>()?;
            reader.items(resource, "", &all, Freshness::Latest).await?.len()
        }
        // Never established: there can be none.
        Err(_) => 0,
    };
    if left > 0 {
        return Ok(false);
    }
    progress(
        registry,
        resource,
        "False",
        "InstanceDeletionCompleted",
        "removed all instances",
    )
    .await?;
    let done = registry
        .update(&context, DEFINITIONS, "", "", resource, |definition| {
            let kept: Vec<Value> = list(definition, "metadata.finalizers")
                .iter()
                .filter(|finalizer| *finalizer != CLEANUP)
                .cloned()
                .collect();
            definition["metadata"]["finalizers"] = kept.into();
            Ok(())
        })
        .await;
    match done {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(true),
    }
}

/// Says in the definition's status how far it is.
async fn progress(
    registry: &Arc<Registry>,
    definition: &str,
    status: &str,
    reason: &str,
    message: &str,
) -> Result<(), ApiError> {
    let context = RequestContext::system();
    let updated = registry
        .update(&context, DEFINITIONS, "status", "", definition, |definition| {
            set_condition(definition, "Terminating", status, reason, message);
            Ok(())
        })
        .await;
    match updated {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(()),
    }
}

async fn delete(
    registry: Arc<Registry>,
    context: RequestContext,
    resource: String,
    namespace: String,
    name: String,
) -> Result<(), ApiError> {
    let options = DeleteOptions::default();
    match registry.delete(&context, &resource, &namespace, &name, &options).await {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(()),
    }
}
