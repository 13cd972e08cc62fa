//! Writing the status of an object that a controller looked at.

use client::{Client, Error, Meta, Patch, Resource};
use serde::Serialize;
use serde_json::{Value, json};

/// Writes a status, unless it is the one that was observed. A conflict if the object has changed since; that it is gone is
/// fine.
pub(crate) async fn write<S: Serialize + PartialEq>(
    client: &Client,
    kind: &Resource,
    object: &Meta,
    old: &S,
    new: &S,
) -> Result<(), Error> {
    match old == new {
        true => Ok(()),
        false => write_value(client, kind, object, json!(new)).await,
    }
}

/// Writes a status, which may hold `null` for what is to be taken away.
pub(crate) async fn write_value(client: &Client, kind: &Resource, object: &Meta, status: Value) -> Result<(), Error> {
    let metadata = json!({ "resourceVersion": object.resource_version });
    let body = json!({ "metadata": metadata, "status": status });
    let key = object.key();
    match client
        .patch::<Value>(kind, &key, Some("status"), Patch::Merge, &body)
        .await
    {
        Err(error) if error.is_not_found() => Ok(()),
        result => result.map(|_| ()),
    }
}
