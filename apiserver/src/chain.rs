//! The path of every request, in one place. Nothing else wraps a request.

use crate::authz::{Attributes, Decision, streams};
use crate::endpoints;
use crate::filters::{authenticate, compress, headers, impersonate, in_flight, panics, timeout};
use crate::identity::User;
use crate::registry::RequestContext;
use crate::registry::ownership::manager_of;
use crate::status::from_storage;
use crate::{ApiError, Body, RequestInfo, Server};
use http::{Method, Request, Response};
use std::sync::Arc;
use std::time::Instant;
use storage::Fence;

/// Who a request is from and under which fence, decided by the door it came in through: a request extension of this private type
/// exists only on requests made by [`crate::Local`].
#[derive(Clone)]
pub(crate) struct InProcess {
    pub user: User,
    pub fence: Option<Fence>,
}

/// Answers one request. The order matters; each step says why it stands where it does.
pub(crate) async fn handle(server: Arc<Server>, request: Request<Body>) -> Response<Body> {
    let started = Instant::now();
    let info = RequestInfo::resolve(request.method(), request.uri().path(), request.uri().query());
    // Before anything can fail, so that every answer carries it.
    let audit_id = headers::audit_id(request.headers());
    let wants_body = request.method() != Method::HEAD;
    let accepts_gzip = compress::accepted(request.headers());
    let running = server.metrics.started(&info);
    // Outermost: a panic anywhere below becomes a 500, not a lost connection.
    let outcome = panics::catch(admit(&server, request, &info)).await;
    let (mut response, warnings) = match outcome {
        Ok(answer) => answer,
        Err(error) => (error.response(), Vec::new()),
    };
    headers::finish(&mut response, &audit_id, &warnings);
    // After the headers are complete, because compression changes some.
    let response = compress::apply(response, accepts_gzip);
    running.finished(&info, response.status(), started);
    if wants_body { response } else { headers::alone(response) }
}

type Answer = Result<(Response<Body>, Vec<String>), ApiError>;

async fn admit(server: &Arc<Server>, request: Request<Body>, info: &RequestInfo) -> Answer {
    let (mut parts, body) = request.into_parts();
    // Before anything looks at them.
    headers::check_size(&parts.headers)?;
    let limit = timeout::limit(info, parts.uri.query())?;
    let local = parts.extensions.remove::<InProcess>();
    // Before anyone is believed: tokens and roles are judged by this member's copy, which must not be of last week. What is not
    // about objects (health, above all) is answered all the same.
    if info.is_resource {
        let recent = server.registry.reader().storage().check_recent().await;
        recent.map_err(|error| from_storage(error, "", ""))?;
    }
    // Authentication first: everything after it is about somebody. In-process callers were identified by the binary.
    let (user, fence) = match local.clone() {
        Some(InProcess { user, fence }) => (user, fence),
        None => (authenticate::user(server, &parts).await?, None),
    };
    // Impersonation before authorization, which must judge the impersonated user; it is itself authorized for the real one.
    let user = impersonate::effective(server, &parts, user).await?;
    // Both have been judged: what passes a request on shall not pass them on.
    authenticate::strip(server, &mut parts.headers);
    // Limits before the expensive part, but after authentication so that in-process components and masters are never starved by
    // strangers; a slot is held until the answer (not its body) is ready.
    let _slot = in_flight::enter(server, info, local.is_some() || user.is_in(crate::identity::MASTERS))?;
    let upgrading = parts.headers.contains_key(http::header::UPGRADE);
    authorize(server, &user, &info.with_selected_name(parts.uri.query())).await?;
    // What is more than its method says is permitted as what it is.
    if let Some(more) = streams::implied(info, upgrading) {
        authorize(server, &user, &more).await?;
    }
    let mut context = RequestContext::of(user);
    context.fence = fence;
    let agent = parts.headers.get(http::header::USER_AGENT);
    context.field_manager = manager_of(agent.and_then(|agent| agent.to_str().ok()).unwrap_or_default());
    let request = Request::from_parts(parts, body);
    // Innermost: the endpoint. When the timeout drops it, a write that is on its way still happens, or not: the client is told
    // 504, which says just that. What would have followed the write (giving back an allocation, for one) does not happen;
    // the repair of allocations finds it.
    let response = timeout::bounded(info, limit, endpoints::dispatch(server, &context, info, request)).await?;
    Ok((response, context.warnings()))
}

pub(crate) async fn authorize(server: &Server, user: &User, info: &RequestInfo) -> Result<(), ApiError> {
    let attributes = Attributes {
        user: user.clone(),
        info: info.clone(),
    };
    match server.authorizer.authorize(&attributes).await {
        Decision::Allow { .. } => Ok(()),
        Decision::Deny { reason } | Decision::NoOpinion { reason } => Err(refusal(user, info, &reason)),
    }
}

/// Upstream's sentence, which tells the user exactly what to put into a role.
pub(crate) fn refusal(user: &User, info: &RequestInfo, reason: &str) -> ApiError {
    let suffix = if reason.is_empty() {
        String::new()
    } else {
        format!(": {reason}")
    };
    if !info.is_resource {
        let why = format!("User {:?} cannot {} path {:?}{suffix}", user.name, info.verb, info.path);
        return ApiError::new(403, "Forbidden", format!("forbidden: {why}"));
    }
    let resource = match info.subresource.as_str() {
        "" => info.resource.clone(),
        subresource => format!("{}/{subresource}", info.resource),
    };
    let place = match info.namespace.as_str() {
        "" => " at the cluster scope".to_string(),
        namespace => format!(" in the namespace {namespace:?}"),
    };
    let why = format!(
        "User {:?} cannot {} resource {resource:?} in API group {:?}{place}{suffix}",
        user.name, info.verb, info.group
    );
    ApiError::forbidden(&info.group_resource(), &info.name, &why)
}
