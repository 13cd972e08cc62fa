//! Namespace: a deleted namespace goes once everything in it is gone.
//!
//! Its content is whatever discovery knows at that time. A group that does not answer may hold content, so the namespace
//! waits for it.

use std::sync::Arc;

use client::objects::Namespace;
use client::{
    Cache, Change, DeleteOptions, Error, Key, List, MetaOnly, Outcome, Projection, Propagation, Resource, WorkQueue,
};
use http::Method;
use serde_json::{Value, json};

use crate::discovery::{Discovered, Discovery, discover};
use crate::limits;
use crate::run::Context;

const NAMESPACES: Resource = Namespace::RESOURCE;
/// The finalizer in `spec.finalizers` that this controller clears.
const FINALIZER: &str = "kubernetes";

struct Controller {
    context: Context,
    namespaces: Cache<Namespace>,
}

/// What a look found.
#[derive(Debug, Default, PartialEq)]
struct Remaining {
    /// Objects by resource.
    objects: Vec<(String, usize)>,
    /// What could not be looked into.
    unknown: Vec<String>,
}

/// Runs the controller.
pub(crate) async fn run(context: Context) -> Result<(), Error> {
    let namespaces = context.informers.watch::<Namespace>();
    let queue = Arc::new(WorkQueue::new());
    let to = queue.clone();
    let _subscription = namespaces.subscribe(move |change| {
        let was_deleting = matches!(change, Change::Modified { old, .. } if old.metadata.is_deleting());
        // From then on the clock brings it back: the conditions written here must not.
        if change.object().metadata.is_deleting() && !was_deleting {
            to.add(change.key());
        }
    });
    let controller = Controller {
        context: context.clone(),
        namespaces,
    };
    client::work("namespace", queue, limits::WORKERS, context.stop, |key| {
        controller.reconcile(key)
    })
    .await
}

impl Controller {
    async fn reconcile(&self, key: Key) -> Result<Outcome, Error> {
        let Some(namespace) = self.namespaces.get_key(&key) else {
            return Ok(Outcome::Done);
        };
        let ours = namespace.spec.finalizers.iter().any(|f| f == FINALIZER);
        if !namespace.metadata.is_deleting() || !ours {
            return Ok(Outcome::Done);
        }
        let discovery = discover(&self.context.client).await?;
        let remaining = self.empty(&key.name, &discovery).await?;
        if remaining == Remaining::default() {
            return self.finalize(&key, &namespace.metadata.uid).await;
        }
        tracing::debug!(namespace = key.name, ?remaining, "namespace still has content");
        self.tell(&key, &remaining).await?;
        Ok(Outcome::After(limits::NAMESPACE_RETRY))
    }

    /// Deletes what is there and reports what is there still.
    async fn empty(&self, namespace: &str, discovery: &Discovery) -> Result<Remaining, Error> {
        let mut remaining = Remaining {
            unknown: discovery.failed.clone(),
            ..Remaining::default()
        };
        for found in discovery
            .resources
            .iter()
            .filter(|d| d.resource.namespaced && d.can(&["list", "delete"]))
        {
            match self.empty_one(namespace, found).await {
                Ok(0) => {}
                Ok(count) => remaining.objects.push((found.resource.plural.to_string(), count)),
                Err(error) if error.is_fence_lost() => return Err(error),
                // The resource itself has gone.
                Err(error) if error.is_not_found() => {}
                Err(error) => {
                    tracing::warn!(namespace, resource = %found.resource.plural, %error, "cannot empty");
                    remaining.unknown.push(found.resource.plural.to_string());
                }
            }
        }
        Ok(remaining)
    }

    async fn empty_one(&self, namespace: &str, found: &Discovered) -> Result<usize, Error> {
        let resource = &found.resource;
        if self.list(namespace, resource).await?.is_empty() {
            return Ok(0);
        }
        let options = DeleteOptions::default().propagate(Propagation::Background);
        if found.can(&["deletecollection"]) {
            self.context
                .client
                .delete_collection(resource, namespace, &options)
                .await?;
        } else {
            for object in self.list(namespace, resource).await? {
                match self
                    .context
                    .client
                    .delete(resource, &object.metadata.key(), &options)
                    .await
                {
                    Err(error) if !error.is_not_found() => return Err(error),
                    _ => {}
                }
            }
        }
        Ok(self.list(namespace, resource).await?.len())
    }

    async fn list(&self, namespace: &str, resource: &Resource) -> Result<Vec<MetaOnly>, Error> {
        let list: List<MetaOnly> = self.context.client.list(resource, Some(namespace), "").await?;
        Ok(list.items)
    }

    /// Takes this controller's finalizer away; with the last one the API server removes the namespace.
    async fn finalize(&self, key: &Key, uid: &str) -> Result<Outcome, Error> {
        let Some(mut object) = self.context.client.find::<Value>(&NAMESPACES, key).await? else {
            return Ok(Outcome::Done);
        };
        if object.pointer("/metadata/uid").and_then(Value::as_str) != Some(uid) {
            return Ok(Outcome::Done);
        }
        if let Some(finalizers) = object.pointer_mut("/spec/finalizers").and_then(Value::as_array_mut) {
            finalizers.retain(|f| f != FINALIZER);
        }
        let path = NAMESPACES.object(key, Some("finalize"));
        match self
            .context
            .client
            .json::<Value>(Method::PUT, &path, Some(&object))
            .await
        {
            Err(error) if error.is_not_found() => Ok(Outcome::Done),
            result => result.map(|_| Outcome::Done),
        }
    }

    /// Says in the status why the namespace is still there.
    async fn tell(&self, key: &Key, remaining: &Remaining) -> Result<(), Error> {
        let patch = json!({ "conditions": conditions(remaining, jiff::Timestamp::now()) });
        match self
            .context
            .client
            .patch_status::<Value>(&NAMESPACES, key, &patch)
            .await
        {
            Err(error) if error.is_fence_lost() => Err(error),
            Err(error) => {
                tracing::debug!(namespace = key.name, %error, "cannot write the namespace's conditions");
                Ok(())
            }
            Ok(_) => Ok(()),
        }
    }
}

fn conditions(remaining: &Remaining, now: jiff::Timestamp) -> Vec<Value> {
    let condition = |kind: &str, bad: bool, bad_reason: &str, good_reason: &str, message: String| {
        json!({
            "type": kind,
            "status": if bad { "True" } else { "False" },
            "reason": if bad { bad_reason } else { good_reason },
            "message": message,
            "lastTransitionTime": crate::objects::time(now),
        })
    };
    let objects: Vec<_> = remaining
        .objects
        .iter()
        .map(|(r, n)| format!("{r} has {n} resource instances"))
        .collect();
    let unknown = !remaining.unknown.is_empty();
    vec![
        condition(
            "NamespaceDeletionDiscoveryFailure",
            unknown,
            "DiscoveryFailed",
            "ResourcesDiscovered",
            match unknown {
                true => format!("Could not look into: {}", remaining.unknown.join(", ")),
                false => "All resources successfully discovered".to_owned(),
            },
        ),
        condition(
            "NamespaceContentRemaining",
            !objects.is_empty(),
            "SomeResourcesRemain",
            "ContentRemoved",
            match objects.is_empty() {
                true => "All content successfully removed".to_owned(),
                false => format!("Some resources are remaining: {}", objects.join(", ")),
            },
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_remains_is_said() {
        let remaining = Remaining {
            objects: vec![("pods".to_owned(), 2)],
            unknown: vec![],
        };
        let conditions = conditions(&remaining, jiff::Timestamp::UNIX_EPOCH);
        assert_eq!(
            (&conditions[0]["status"], &conditions[1]["status"]),
            (&json!("False"), &json!("True"))
        );
        assert!(
            conditions[1]["message"]
                .as_str()
                .unwrap()
                .contains("pods has 2 resource instances")
        );
    }
}
