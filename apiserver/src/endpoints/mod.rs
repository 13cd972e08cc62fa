//! From a request that may happen to the answer: one file per verb, and the documents that are not about objects.

mod apply;
mod body;
mod delete;
mod discovery;
mod documents;
mod health;
mod list;
mod negotiate;
mod options;
pub(crate) mod query;
mod read;
mod respond;
mod selection;
mod subresource;
mod transform;
mod watch;
mod write;

pub(crate) use documents::{Document, Documents};

use crate::extensions;
use crate::registry::{RequestContext, Served};
use crate::{ApiError, Body, RequestInfo, Server};
use http::{Request, Response};
use query::Query;
use std::sync::Arc;

/// One request to a resource, with everything an endpoint needs.
pub(crate) struct Call<'a> {
    pub server: &'a Arc<Server>,
    pub context: RequestContext,
    pub info: &'a RequestInfo,
    pub served: Arc<Served>,
    pub query: Query,
    /// Empty for cluster-scoped resources, `namespaces` included.
    pub namespace: &'a str,
}

type Answer = Result<Response<Body>, ApiError>;

/// Routes a request.
pub(crate) async fn dispatch(
    server: &Arc<Server>,
    context: &RequestContext,
    info: &RequestInfo,
    request: Request<Body>,
) -> Answer {
    if !info.is_resource {
        return documents::answer(server, info, &request.into_parts().0).await;
    }
    let served = served(server, info).await?;
    if let Some(custom) = &served.custom {
        if custom.needs_webhook() {
            let message = format!(
                "objects of {} need conversion by webhook, which is not supported",
                served.key
            );
            return Err(ApiError::internal(message));
        }
        custom
            .deprecation()
            .into_iter()
            .for_each(|warning| context.warn(warning));
    }
    let namespaced = served.info.namespaced;
    if !namespaced && !info.namespace.is_empty() && info.resource != "namespaces" {
        return Err(ApiError::no_such_path());
    }
    let call = Call {
        server,
        context: context.clone(),
        info,
        query: Query::parse(request.uri().query()),
        namespace: if namespaced { &info.namespace } else { "" },
        served,
    };
    if !info.subresource.is_empty() {
        return subresource::answer(call, request).await;
    }
    call.allowed()?;
    match &*info.verb {
        "get" => read::get(call, &request.into_parts().0.headers).await,
        "list" => list::list(call, &request.into_parts().0.headers).await,
        "watch" => watch::watch(call, &request.into_parts().0.headers).await,
        "create" => write::create(call, request).await,
        "update" => write::update(call, request).await,
        "patch" => write::patch(call, request).await,
        "delete" => delete::delete(call, request).await,
        "deletecollection" => delete::delete_collection(call, request).await,
        _ => Err(ApiError::method_not_allowed(
            &call.served.name,
            request.method().as_str(),
        )),
    }
}

/// What a request is about. A custom resource that was defined a moment ago, through another server, is looked up.
async fn served(server: &Arc<Server>, info: &RequestInfo) -> Result<Arc<Served>, ApiError> {
    let reader = server.registry.reader();
    let find = || reader.served_at(&info.group, &info.version, &info.resource);
    match find() {
        Err(_) if extensions::look(reader, &info.group, &info.resource).await? => find(),
        found => found,
    }
}

impl Call<'_> {
    /// 405 for a verb that the resource does not have, 404 for a path that cannot name anything.
    fn allowed(&self) -> Result<(), ApiError> {
        let verb = &*self.info.verb;
        if !self.served.info.allows(verb) {
            return Err(ApiError::method_not_allowed(&self.served.name, verb));
        }
        let named = matches!(verb, "get" | "update" | "patch" | "delete");
        let homeless = self.served.info.namespaced && self.namespace.is_empty();
        if homeless && !self.info.name.is_empty() {
            return Err(ApiError::no_such_path());
        }
        // POST to a name, PUT to a collection, anything but reading across namespaces: paths that exist for other methods only.
        let misplaced = (verb == "create" && !self.info.name.is_empty()) || (named && self.info.name.is_empty());
        let writes = !matches!(verb, "get" | "list" | "watch");
        if misplaced || (homeless && writes) {
            return Err(ApiError::method_not_allowed(&self.served.name, verb));
        }
        Ok(())
    }
}
