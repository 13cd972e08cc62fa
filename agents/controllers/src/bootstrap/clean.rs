//! Deletes the Secrets of bootstrap tokens that have expired.

use std::sync::Arc;

use api::bootstrap_tokens::secret_remaining;
use client::{Cache, DeleteOptions, Error, Key, Outcome, Preconditions, Projection, WorkQueue};
use jiff::Timestamp;

use super::{TokenSecret, tokens};
use crate::limits;
use crate::run::Context;

/// Runs the controller.
pub(crate) async fn run(context: Context) -> Result<(), Error> {
    let secrets = context.informers.watch_scope::<TokenSecret>(tokens());
    let queue = Arc::new(WorkQueue::new());
    let to = queue.clone();
    let _subscription = secrets.subscribe(move |change| to.add(change.key()));
    let (context, stop) = (context.clone(), context.stop);
    client::work("token-cleaner", queue, limits::WORKERS, stop, |key| {
        reconcile(&context, &secrets, key)
    })
    .await
}

async fn reconcile(context: &Context, secrets: &Cache<TokenSecret>, key: Key) -> Result<Outcome, Error> {
    let Some(secret) = secrets.get_key(&key) else {
        return Ok(Outcome::Done);
    };
    match secret_remaining(&secret.data, Timestamp::now()) {
        None => return Ok(Outcome::Done),
        Some(left) if !left.is_zero() => return Ok(Outcome::After(left.min(limits::LOOK_MAX))),
        Some(_) => {}
    }
    // Its time may just have been extended.
    let options = DeleteOptions {
        preconditions: Some(Preconditions {
            uid: Some(secret.metadata.uid.clone()),
            resource_version: Some(secret.metadata.resource_version.clone()),
        }),
        ..DeleteOptions::default()
    };
    match context.client.delete(&TokenSecret::RESOURCE, &key, &options).await {
        // It is gone, or another one by now.
        Err(error) if error.is_not_found() || error.is_conflict() => Ok(Outcome::Done),
        deleted => deleted.map(|_| Outcome::Done),
    }
}
