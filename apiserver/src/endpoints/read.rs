//! get.

use super::transform::{IncludeObject, has_protobuf};
use super::{Answer, Call, negotiate, options, respond};
use http::HeaderMap;

pub(super) async fn get(call: Call<'_>, headers: &HeaderMap) -> Answer {
    let output = negotiate::output(headers, has_protobuf(&call.served))?;
    let include = IncludeObject::parse(&call.query)?;
    let freshness = options::of_get(&call.query)?;
    let reader = call.server.registry.reader();
    let item = reader
        .item(&call.served.key, call.namespace, &call.info.name, freshness)
        .await?;
    respond::object(200, &call.served, item.json(), output, include)
}
