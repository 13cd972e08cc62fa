//! ServiceAccount: every namespace has one called `default`.

use std::sync::Arc;

use client::objects::Namespace;
use client::{Cache, Change, Error, Key, Outcome, Projection, WorkQueue};
use serde_json::{Value, json};

use crate::limits;
use crate::objects::ServiceAccount;
use crate::run::Context;

const NAME: &str = "default";

/// Runs the controller.
pub(crate) async fn run(context: Context) -> Result<(), Error> {
    let (namespaces, accounts) = (
        context.informers.watch::<Namespace>(),
        context.informers.watch::<ServiceAccount>(),
    );
    let queue = Arc::new(WorkQueue::new());
    let to = queue.clone();
    let _namespaces = namespaces.subscribe(move |change| to.add(change.key()));
    let to = queue.clone();
    let _accounts = accounts.subscribe(move |change| {
        let meta = &change.object().metadata;
        if matches!(change, Change::Deleted(_)) && meta.name == NAME {
            to.add(Key::cluster(&meta.namespace));
        }
    });
    let (context, stop) = (context.clone(), context.stop);
    client::work("serviceaccount", queue, limits::WORKERS, stop, |key| {
        reconcile(&context, &namespaces, &accounts, key)
    })
    .await
}

async fn reconcile(
    context: &Context,
    namespaces: &Cache<Namespace>,
    accounts: &Cache<ServiceAccount>,
    key: Key,
) -> Result<Outcome, Error> {
    let active = namespaces.get_key(&key).is_some_and(|n| !n.metadata.is_deleting());
    if !active || accounts.get(&key.name, NAME).is_some() {
        return Ok(Outcome::Done);
    }
    let account = json!({ "metadata": { "name": NAME, "namespace": key.name } });
    match context
        .client
        .create::<Value>(&ServiceAccount::RESOURCE, Some(&key.name), &account)
        .await
    {
        Err(error) if error.is_already_exists() || error.is_namespace_terminating() => Ok(Outcome::Done),
        result => result.map(|_| Outcome::Done),
    }
}
