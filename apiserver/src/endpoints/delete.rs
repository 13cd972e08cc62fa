//! delete and deletecollection.

use super::transform::{IncludeObject, has_protobuf};
use super::{Answer, Call, body, list, negotiate, query, respond};
use crate::registry::{DeleteOptions, Deleted, Registry, RequestContext};
use crate::{ApiError, Body, limits, status};
use api::{FieldValidation, Gvk};
use futures::{StreamExt, TryStreamExt};
use http::Request;
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) async fn delete(mut call: Call<'_>, request: Request<Body>) -> Answer {
    let output = negotiate::output(request.headers(), has_protobuf(&call.served))?;
    let options = options(&mut call, request).await?;
    let (registry, served) = (&call.server.registry, &call.served);
    let deleted = registry
        .delete(&call.context, &served.key, call.namespace, &call.info.name, &options)
        .await?;
    match deleted {
        Deleted::Marked(written) => {
            respond::object(200, served, written.json(), output, IncludeObject::parse(&call.query)?)
        }
        Deleted::Gone(last) => {
            let uid = last["metadata"]["uid"].as_str().unwrap_or_default();
            Ok(respond::json(200, &status::success(&served.name, &call.info.name, uid)))
        }
    }
}

/// Deletes what a list with the same selectors shows, each like a single delete; answers with that list.
pub(super) async fn delete_collection(mut call: Call<'_>, request: Request<Body>) -> Answer {
    let options = options(&mut call, request).await?;
    let page = list::page(&call).await?;
    let served = &call.served;
    let shared = Arc::new((
        call.server.registry.clone(),
        call.context.clone(),
        served.key.clone(),
        options,
    ));
    // Owned, because futures that borrow from a closure's argument are not provably Send.
    let deletions: Vec<_> = page
        .items
        .iter()
        .map(|item| {
            let meta = item.meta();
            let (namespace, name, uid) = (&meta.namespace, &meta.name, &meta.uid);
            one(shared.clone(), namespace.to_string(), name.to_string(), uid.to_string())
        })
        .collect();
    let deleted: Vec<Option<Value>> = futures::stream::iter(deletions)
        .buffered(limits::DELETE_COLLECTION_CONCURRENCY)
        .try_collect()
        .await?;
    let items: Vec<Value> = deleted
        .into_iter()
        .flatten()
        .map(|object| served.to_shown(object))
        .collect();
    let list = json!({
        "kind": served.info.list_kind, "apiVersion": served.info.api_version(),
        "metadata": {"resourceVersion": page.revision.to_string()}, "items": items,
    });
    Ok(respond::json(200, &list))
}

type Shared = Arc<(Arc<Registry>, RequestContext, String, DeleteOptions)>;

/// Deletes the object that was listed; one that took its name meanwhile is another, and stays.
async fn one(shared: Shared, namespace: String, name: String, uid: String) -> Result<Option<Value>, ApiError> {
    let (registry, context, resource, options) = &*shared;
    let mut options = options.clone();
    let ours = options.precondition_uid.is_none() && options.precondition_resource_version.is_none();
    options.precondition_uid.get_or_insert(uid);
    match registry.delete(context, resource, &namespace, &name, &options).await {
        Ok(Deleted::Gone(last)) => Ok(Some(last)),
        Ok(Deleted::Marked(written)) => written.value().map(Some),
        // Somebody else was faster, which is what was wanted.
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) if ours && error.is_other_uid() => Ok(None),
        Err(error) => Err(error),
    }
}

async fn options(call: &mut Call<'_>, request: Request<Body>) -> Result<DeleteOptions, ApiError> {
    let (parts, payload) = request.into_parts();
    let payload = body::read(payload).await?;
    let decoded = match payload.is_empty() {
        true => None,
        false => Some(decode(&call.context, body::content_type(&parts.headers), &payload)?),
    };
    let (options, dry_run) = query::delete_options(&call.query, decoded.as_ref())?;
    call.context.dry_run = dry_run;
    Ok(options)
}

fn decode(context: &RequestContext, content_type: &str, payload: &[u8]) -> Result<Value, ApiError> {
    let expected = Gvk::of("meta.k8s.io", "v1", "DeleteOptions");
    body::decode(context, content_type, payload, &expected, FieldValidation::Ignore)
}
