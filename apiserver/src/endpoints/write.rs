//! create, update, patch.

use super::negotiate::Output;
use super::query::WriteOptions;
use super::transform::{IncludeObject, has_protobuf};
use super::{Answer, Call, apply, body, negotiate, respond};
use crate::admission::Operation;
use crate::patch::Patch;
use crate::registry::{Action, RequestContext, Target, Updated};
use crate::{ApiError, Body};
use http::Request;
use serde_json::Value;

pub(super) async fn create(mut call: Call<'_>, request: Request<Body>) -> Answer {
    let (output, object) = received(&mut call, request, "CreateOptions").await?;
    if !call.served.strategy.stored() {
        let reply = act(&call, object).await?;
        return respond::foreign(reply.code, &reply.object, output);
    }
    let object = call.served.to_stored(object);
    let registry = &call.server.registry;
    let written = registry
        .create_written(&call.context, &call.served.key, call.namespace, object)
        .await?;
    respond::object(
        201,
        &call.served,
        written.json(),
        output,
        IncludeObject::parse(&call.query)?,
    )
}

/// What a create or an update brings, and in which form the answer is wanted.
async fn received(call: &mut Call<'_>, request: Request<Body>, options: &str) -> Result<(Output, Value), ApiError> {
    let output = negotiate::output(request.headers(), has_protobuf(&call.served))?;
    let options = WriteOptions::parse(&call.query, options)?;
    set_options(&mut call.context, &options);
    let (parts, payload) = request.into_parts();
    let payload = body::read(payload).await?;
    let content_type = body::content_type(&parts.headers);
    let object = body::decode_object(
        &call.context,
        &call.served,
        content_type,
        &payload,
        options.field_validation,
    )?;
    Ok((output, object))
}

/// A create on something that is not stored.
pub(super) async fn act(call: &Call<'_>, mut object: Value) -> Result<crate::registry::Reply, ApiError> {
    let registry = &call.server.registry;
    let target = Target {
        context: &call.context,
        served: &call.served,
        operation: Operation::Create,
        subresource: &call.info.subresource,
        namespace: call.namespace,
        name: &call.info.name,
    };
    registry.admit_action(&target, &mut object).await?;
    let action = Action {
        registry,
        context: &call.context,
        namespace: call.namespace,
        name: &call.info.name,
        subresource: &call.info.subresource,
        object,
    };
    call.served.strategy.act(action).await
}

pub(super) async fn update(mut call: Call<'_>, request: Request<Body>) -> Answer {
    let (output, object) = received(&mut call, request, "UpdateOptions").await?;
    let object = call.served.to_stored(object);
    call.context.may_create = apply::may_create(&call).await?;
    let updated = change(&call, &move |_old| Ok(object.clone())).await?;
    finish(&call, updated, output)
}

pub(super) async fn patch(mut call: Call<'_>, request: Request<Body>) -> Answer {
    let output = negotiate::output(request.headers(), has_protobuf(&call.served))?;
    let options = WriteOptions::parse(&call.query, "PatchOptions")?;
    set_options(&mut call.context, &options);
    if apply::is_asked(request.headers()) {
        return apply::apply(call, request, &options, output).await;
    }
    call.context.may_create = apply::may_create(&call).await?;
    let patch = read_patch(request).await?;
    let (served, context, name) = (call.served.clone(), call.context.clone(), call.info.name.clone());
    let (version, kind) = (served.info.api_version(), served.info.kind.clone());
    let transform = move |old: &Value| {
        if old.is_null() {
            return Err(served.not_found(&name));
        }
        let patched = match served.conversion {
            None => patch.apply(old, &version, &kind)?,
            Some(_) => patch.apply(&served.to_shown(old.clone()), &version, &kind)?,
        };
        body::conform(&context, &served, patched, options.field_validation).map(|object| served.to_stored(object))
    };
    let updated = change(&call, &transform).await?;
    finish(&call, updated, output)
}

/// Reads and parses a patch by its media type.
pub(super) async fn read_patch(request: Request<Body>) -> Result<Patch, ApiError> {
    let (parts, payload) = request.into_parts();
    let payload = body::read(payload).await?;
    let media = body::content_type(&parts.headers)
        .split(';')
        .next()
        .unwrap_or_default()
        .trim();
    if media == apply::MEDIA_TYPE {
        let message = "this subresource cannot be applied to; apply to the object, or use another kind of patch";
        return Err(ApiError::new(415, "UnsupportedMediaType", message));
    }
    Patch::parse(media, &payload)
}

/// Runs an update of the object (or of it under a subresource's rules).
pub(super) async fn change(
    call: &Call<'_>,
    transform: &(dyn Fn(&Value) -> Result<Value, ApiError> + Send + Sync),
) -> Result<Updated, ApiError> {
    let (registry, served, info) = (&call.server.registry, &call.served, call.info);
    registry
        .update_written(
            &call.context,
            &served.key,
            &info.subresource,
            call.namespace,
            &info.name,
            transform,
        )
        .await
}

/// The answer to an update.
pub(super) fn finish(call: &Call<'_>, updated: Updated, output: negotiate::Output) -> Answer {
    let code = if matches!(updated, Updated::Created(_)) {
        201
    } else {
        200
    };
    let include = IncludeObject::parse(&call.query)?;
    respond::object(code, &call.served, updated.written().json(), output, include)
}

/// Puts the options of a write into its context.
pub(super) fn set_options(context: &mut RequestContext, options: &WriteOptions) {
    context.dry_run = options.dry_run;
    if !options.field_manager.is_empty() {
        context.field_manager = options.field_manager.clone();
    }
}
