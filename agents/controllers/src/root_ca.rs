//! The root CA publisher: every namespace has a ConfigMap `kube-root-ca.crt` with which Pods verify the API server.

use std::collections::BTreeMap;
use std::sync::Arc;

use client::objects::Namespace;
use client::{Cache, Error, Key, Outcome, Patch, Projection, Scope, WorkQueue};
use serde_json::{Value, json};

use crate::limits;
use crate::objects::ConfigMap;
use crate::run::Context;

const NAME: &str = "kube-root-ca.crt";
const DESCRIPTION: (&str, &str) = (
    "kubernetes.io/description",
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the \
     internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes \
     clusters.",
);

/// Only these ConfigMaps are followed.
pub(crate) fn scope() -> Scope {
    Scope::fields(format!("metadata.name={NAME}"))
}

/// Runs the controller.
pub(crate) async fn run(context: Context) -> Result<(), Error> {
    let namespaces = context.informers.watch::<Namespace>();
    let maps = context.informers.watch_scope::<ConfigMap>(scope());
    let queue = Arc::new(WorkQueue::new());
    let to = queue.clone();
    let _namespaces = namespaces.subscribe(move |change| to.add(change.key()));
    let to = queue.clone();
    let _maps = maps.subscribe(move |change| to.add(Key::cluster(&change.object().metadata.namespace)));
    let (context, stop) = (context.clone(), context.stop);
    client::work("root-ca", queue, limits::WORKERS, stop, |key| {
        reconcile(&context, &namespaces, &maps, key)
    })
    .await
}

async fn reconcile(
    context: &Context,
    namespaces: &Cache<Namespace>,
    maps: &Cache<ConfigMap>,
    key: Key,
) -> Result<Outcome, Error> {
    if namespaces.get_key(&key).is_none_or(|n| n.metadata.is_deleting()) {
        return Ok(Outcome::Done);
    }
    let data: BTreeMap<String, String> = [("ca.crt".to_owned(), context.config.root_ca_pem.clone())].into();
    let result = match maps.get(&key.name, NAME) {
        Some(map) if map.data == data => return Ok(Outcome::Done),
        Some(map) => {
            // Foreign entries go: a merge patch removes what is null.
            let mut body = json!({ "data": data });
            for name in map.data.keys().filter(|name| !data.contains_key(*name)) {
                body["data"][name] = Value::Null;
            }
            context
                .client
                .patch::<Value>(&ConfigMap::RESOURCE, &map.metadata.key(), None, Patch::Merge, &body)
                .await
        }
        None => {
            let annotations = BTreeMap::from([DESCRIPTION]);
            let metadata = json!({ "name": NAME, "namespace": key.name, "annotations": annotations });
            let object = json!({ "metadata": metadata, "data": data });
            context
                .client
                .create::<Value>(&ConfigMap::RESOURCE, Some(&key.name), &object)
                .await
        }
    };
    match result {
        Err(error) if error.is_already_exists() || error.is_namespace_terminating() => Ok(Outcome::Done),
        result => result.map(|_| Outcome::Done),
    }
}
