//! Server-side apply: the body is all that its manager wants of the object, and the object is made if there is none.

use super::query::WriteOptions;
use super::write::{change, finish};
use super::{Answer, Call, body, negotiate};
use crate::registry::fields::text;
use crate::registry::{Updated, ownership};
use crate::{ApiError, Body, FieldError, chain};
use api::apply::{Applied, Conflict, Managed, Writer};
use http::{HeaderMap, Request};
use serde_json::{Map, Value, json};

/// The media type that makes a PATCH an apply.
pub(super) const MEDIA_TYPE: &str = crate::patch::MEDIA_TYPES[3];
/// How often a create and an update in turn are tried, when the object keeps coming and going.
const ATTEMPTS: usize = 4;
/// What a configuration may say of an object besides the part that a subresource is about.
const IDENTITY: &[&str] = &["name", "namespace", "uid", "resourceVersion"];

/// Whether the request is an apply.
pub(super) fn is_asked(headers: &HeaderMap) -> bool {
    body::content_type(headers)
        .split(';')
        .next()
        .is_some_and(|media| media.trim() == MEDIA_TYPE)
}

/// Whether an update that finds nothing may create, by authorization; asked only where it can matter.
pub(super) async fn may_create(call: &Call<'_>) -> Result<bool, ApiError> {
    if !call.served.strategy.create_on_update() || !call.info.subresource.is_empty() {
        return Ok(false);
    }
    let reader = call.server.registry.reader();
    let here = reader.local(&call.served.key, call.namespace, &call.info.name).await;
    match here {
        Ok(None) => authorize_create(call).await.map(|()| true),
        _ => Ok(false),
    }
}

async fn authorize_create(call: &Call<'_>) -> Result<(), ApiError> {
    let mut info = call.info.clone();
    info.verb = "create".into();
    chain::authorize(call.server, &call.context.user, &info).await
}

pub(super) async fn apply(
    mut call: Call<'_>,
    request: Request<Body>,
    options: &WriteOptions,
    output: negotiate::Output,
) -> Answer {
    let force = call.query.flag("force")?.unwrap_or(false);
    if options.field_manager.is_empty() {
        let problem = FieldError::required("fieldManager", "is required for apply patch");
        return Err(ApiError::invalid("PatchOptions.meta.k8s.io", "", vec![problem]));
    }
    let payload = body::read(request.into_body()).await?;
    let config = configuration(&call, &payload, options)?;
    call.context.applied = true;
    // An update that finds nothing ends here: what is to be made is made below, by those who may `create`.
    call.context.may_create = false;
    let writer_version = call.served.info.api_version();
    let (served, context, name) = (call.served.clone(), call.context.clone(), call.info.name.clone());
    let (subresource, validation) = (call.info.subresource.clone(), options.field_validation);
    let transform = move |old: &Value| {
        if old.is_null() && !subresource.is_empty() {
            return Err(served.not_found(&name));
        }
        let mut live = match old.is_null() {
            true => Value::Null,
            false => served.to_shown(old.clone()),
        };
        let records = (!live.is_null()).then(|| ownership::take(&mut live)).flatten();
        let managed = Managed::parse(records.as_ref()).unwrap_or_default();
        let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let writer = Writer {
            manager: &context.field_manager,
            api_version: &writer_version,
            subresource: &subresource,
            now: &now,
        };
        let schema = body::schema(&served)?;
        let Applied { object, managed } = api::apply::apply(schema, &live, &config, managed, writer, force)
            .map_err(|conflicts| refusal(&conflicts))?;
        let mut object = body::conform(&context, &served, object, validation).map(|object| served.to_stored(object))?;
        ownership::put(&mut object, managed.render());
        Ok(object)
    };
    for _ in 0..ATTEMPTS {
        match change(&call, &transform).await {
            Err(error) if error.is_not_found() && call.info.subresource.is_empty() => {}
            updated => return finish(&call, updated?, output),
        }
        match create(&call, &transform).await {
            // Somebody else made it meanwhile.
            Err(error) if error.reason == "AlreadyExists" => {}
            created => return finish(&call, created?, output),
        }
    }
    Err(ApiError::modified(&call.served.name, &call.info.name))
}

async fn create(
    call: &Call<'_>,
    transform: &(dyn Fn(&Value) -> Result<Value, ApiError> + Send + Sync),
) -> Result<Updated, ApiError> {
    let name = &call.info.name;
    let mut object = transform(&Value::Null)?;
    let uid = text(&object, "metadata.uid");
    if !uid.is_empty() {
        return Err(ApiError::other_uid(&call.served.name, name, uid, ""));
    }
    if !text(&object, "metadata.resourceVersion").is_empty() {
        return Err(ApiError::modified(&call.served.name, name));
    }
    authorize_create(call).await?;
    object["metadata"]["name"] = name.as_str().into();
    let registry = &call.server.registry;
    registry
        .create_written(&call.context, &call.served.key, call.namespace, object)
        .await
        .map(Updated::Created)
}

/// The body as an object of the kind, without defaults: what is not said is not owned.
fn configuration(call: &Call<'_>, payload: &[u8], options: &WriteOptions) -> Result<Value, ApiError> {
    let config = api::decode_yaml(payload).map_err(|error| ApiError::bad_request(error.to_string()))?;
    let gvk = call.served.info.gvk();
    let (version, kind) = (text(&config, "apiVersion"), text(&config, "kind"));
    if version != gvk.api_version() || kind != gvk.kind {
        let message = format!(
            "the configuration is {kind:?} of {version:?}, but the path is about {:?} of {:?}",
            gvk.kind,
            gvk.api_version()
        );
        return Err(ApiError::bad_request(message));
    }
    if config["metadata"]
        .get("managedFields")
        .is_some_and(|fields| !fields.is_null() && *fields != json!([]))
    {
        return Err(ApiError::bad_request("metadata.managedFields must be nil"));
    }
    let mut config = body::checked(&call.context, &call.served, config, options.field_validation)?;
    let name = text(&config, "metadata.name");
    if !name.is_empty() && name != call.info.name {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            call.info.name
        )));
    }
    config["metadata"]["name"] = call.info.name.as_str().into();
    match call.info.subresource.as_str() {
        "status" => Ok(only_status(&config)),
        _ => {
            if call.served.strategy.has_status()
                && let Value::Object(map) = &mut config
            {
                map.remove("status");
            }
            Ok(config)
        }
    }
}

fn only_status(config: &Value) -> Value {
    let metadata = config["metadata"].as_object().into_iter().flatten();
    let metadata: Map<String, Value> = metadata
        .filter(|(field, _)| IDENTITY.contains(&field.as_str()))
        .map(|(field, value)| (field.clone(), value.clone()))
        .collect();
    let mut only = json!({"apiVersion": config["apiVersion"], "kind": config["kind"], "metadata": metadata});
    if let Some(status) = config.get("status") {
        only["status"] = status.clone();
    }
    only
}

/// 409 with a cause for every field.
fn refusal(conflicts: &[Conflict]) -> ApiError {
    let message = match conflicts {
        [one] => format!(
            "Apply failed with 1 conflict: conflict with {}: {}",
            one.manager, one.path
        ),
        many => {
            let mut managers: Vec<&str> = many.iter().map(|conflict| conflict.manager.as_str()).collect();
            managers.sort_unstable();
            managers.dedup();
            let mut lines = Vec::new();
            for manager in managers {
                lines.push(format!("conflicts with {manager}:"));
                let of_manager = many.iter().filter(|conflict| conflict.manager == manager);
                lines.extend(of_manager.map(|conflict| format!("- {}", conflict.path)));
            }
            format!("Apply failed with {} conflicts: {}", many.len(), lines.join("\n"))
        }
    };
    conflicts
        .iter()
        .fold(ApiError::new(409, "Conflict", message), |error, conflict| {
            let text = format!("conflict with {}", conflict.manager);
            error.cause("FieldManagerConflict", &text, &conflict.path)
        })
}
