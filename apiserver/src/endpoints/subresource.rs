//! Subresources: the object under other rules, another view of it, an action, or a raw stream.

use super::query::WriteOptions;
use super::{Answer, Call, body, negotiate, options, read, respond, write};
use crate::admission::Operation;
use crate::authz::streams;
use crate::registry::{Connect, Projection, Subresource, Target};
use crate::{ApiError, Body};
use http::Request;
use serde_json::{Value, json};

pub(super) async fn answer(call: Call<'_>, request: Request<Body>) -> Answer {
    let subresource = &call.info.subresource;
    let unknown = ApiError::no_such_path;
    let served = call.served.clone();
    let info = served.info.subresource(subresource).ok_or_else(unknown)?;
    let kind = served.strategy.subresource(subresource).ok_or_else(unknown)?;
    if call.info.name.is_empty() || (call.served.info.namespaced && call.namespace.is_empty()) {
        return Err(unknown());
    }
    let refused = || ApiError::method_not_allowed(&format!("{}/{subresource}", call.served.name), &call.info.verb);
    let offered = match kind {
        Subresource::Stream => streams::answers(subresource, &call.info.verb),
        _ => info.verbs.contains(&&*call.info.verb),
    };
    if !offered {
        return Err(refused());
    }
    match (kind, &*call.info.verb) {
        (Subresource::Object, "get") => read::get(call, &request.into_parts().0.headers).await,
        (Subresource::Object, "update") => write::update(call, request).await,
        (Subresource::Object, "patch") => write::patch(call, request).await,
        (Subresource::Projection(view), "get") => projected(call, &request.into_parts().0.headers, view).await,
        (Subresource::Projection(view), "update") => put(call, request, view).await,
        (Subresource::Projection(view), "patch") => patch(call, request, view).await,
        (Subresource::Action, "create") => act(call, request).await,
        (Subresource::Stream, _) => connect(call, request).await,
        _ => Err(refused()),
    }
}

async fn projected(call: Call<'_>, headers: &http::HeaderMap, view: &dyn Projection) -> Answer {
    let output = negotiate::output(headers, true)?;
    let freshness = options::of_get(&call.query)?;
    let reader = call.server.registry.reader();
    let item = reader
        .item(&call.served.key, call.namespace, &call.info.name, freshness)
        .await?;
    let object = item.value().map_err(ApiError::internal)?;
    respond::foreign(200, &view.read(&object), output)
}

async fn put(mut call: Call<'_>, request: Request<Body>, view: &dyn Projection) -> Answer {
    let output = negotiate::output(request.headers(), true)?;
    let options = WriteOptions::parse(&call.query, "UpdateOptions")?;
    write::set_options(&mut call.context, &options);
    let (parts, payload) = request.into_parts();
    let payload = body::read(payload).await?;
    let gvk = gvk(&call)?;
    let content_type = body::content_type(&parts.headers);
    let wanted = body::decode(&call.context, content_type, &payload, &gvk, options.field_validation)?;
    change(&call, view, output, &move |_| Ok(wanted.clone())).await
}

async fn patch(mut call: Call<'_>, request: Request<Body>, view: &dyn Projection) -> Answer {
    let output = negotiate::output(request.headers(), true)?;
    let options = WriteOptions::parse(&call.query, "PatchOptions")?;
    write::set_options(&mut call.context, &options);
    let patch = write::read_patch(request).await?;
    let gvk = gvk(&call)?;
    let version = gvk.api_version();
    change(&call, view, output, &move |current| {
        patch.apply(current, &version, &gvk.kind)
    })
    .await
}

/// Updates the object through its view: read the view, change it, check it, write it back.
async fn change(
    call: &Call<'_>,
    view: &dyn Projection,
    output: negotiate::Output,
    wanted: &(dyn Fn(&Value) -> Result<Value, ApiError> + Send + Sync),
) -> Answer {
    let (kind, name) = (gvk(call)?.kind.to_string(), call.info.name.clone());
    let transform = |old: &Value| {
        let current = view.read(old);
        let new = wanted(&current)?;
        let problems = view.validate(&new);
        if !problems.is_empty() {
            return Err(ApiError::invalid(&kind, &name, problems));
        }
        let mut object = old.clone();
        view.write(&new, &mut object);
        // The client's precondition is about the object as much as about its view.
        for field in ["resourceVersion", "uid"] {
            if let Some(given) = new["metadata"].get(field).filter(|given| *given != "") {
                object["metadata"][field] = given.clone();
            }
        }
        Ok(object)
    };
    let written = write::change(call, &transform).await?.written();
    respond::foreign(200, &view.read(&written.value()?), output)
}

async fn act(mut call: Call<'_>, request: Request<Body>) -> Answer {
    let output = negotiate::output(request.headers(), true)?;
    let options = WriteOptions::parse(&call.query, "CreateOptions")?;
    write::set_options(&mut call.context, &options);
    let (parts, payload) = request.into_parts();
    let payload = body::read(payload).await?;
    let content_type = body::content_type(&parts.headers);
    let object = body::decode(
        &call.context,
        content_type,
        &payload,
        &gvk(&call)?,
        options.field_validation,
    )?;
    let reply = write::act(&call, object).await?;
    respond::foreign(reply.code, &reply.object, output)
}

async fn connect(call: Call<'_>, request: Request<Body>) -> Answer {
    let registry = &call.server.registry;
    let target = Target {
        context: &call.context,
        served: &call.served,
        operation: Operation::Connect,
        subresource: &call.info.subresource,
        namespace: call.namespace,
        name: &call.info.name,
    };
    if call.info.subresource != "log" {
        registry.admit_action(&target, &mut json!({})).await?;
    }
    let connect = Connect {
        registry,
        context: &call.context,
        info: call.info,
        request,
    };
    call.served.strategy.connect(connect).await
}

fn gvk(call: &Call<'_>) -> Result<api::Gvk, ApiError> {
    call.served
        .info
        .subresource(&call.info.subresource)
        .map(|info| info.gvk())
        .ok_or_else(ApiError::no_such_path)
}
