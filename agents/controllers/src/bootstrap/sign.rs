//! Signs the kubeconfig in ConfigMap `kube-public/cluster-info` with every token that is for it: who holds one of them can tell
//! that what everybody may read there is the cluster's.

use std::collections::BTreeMap;
use std::sync::Arc;

use client::{Cache, Error, Key, Outcome, Patch, Projection, Scope, WorkQueue};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{TokenSecret, tokens};
use crate::limits;
use crate::objects::ConfigMap;
use crate::run::Context;

const NAMESPACE: &str = "kube-public";
const NAME: &str = "cluster-info";
/// The entry that is signed.
const CONTENT: &str = "kubeconfig";
/// What the entry of a signature has before the token's id.
const SIGNATURE_PREFIX: &str = "jws-kubeconfig-";

/// Only this ConfigMap is followed.
pub(crate) fn scope() -> Scope {
    Scope {
        namespace: Some(NAMESPACE.into()),
        ..Scope::fields(format!("metadata.name={NAME}"))
    }
}

/// Runs the controller.
pub(crate) async fn run(context: Context) -> Result<(), Error> {
    let maps = context.informers.watch_scope::<ConfigMap>(scope());
    let secrets = context.informers.watch_scope::<TokenSecret>(tokens());
    let queue = Arc::new(WorkQueue::new());
    let to = queue.clone();
    let _maps = maps.subscribe(move |change| to.add(change.key()));
    let to = queue.clone();
    let _secrets = secrets.subscribe(move |_| to.add(Key::new(NAMESPACE, NAME)));
    let (context, stop) = (context.clone(), context.stop);
    client::work("bootstrap-signer", queue, 1, stop, |key| {
        reconcile(&context, &maps, &secrets, key)
    })
    .await
}

async fn reconcile(
    context: &Context,
    maps: &Cache<ConfigMap>,
    secrets: &Cache<TokenSecret>,
    key: Key,
) -> Result<Outcome, Error> {
    let Some(map) = maps.get_key(&key) else {
        return Ok(Outcome::Done);
    };
    let now = Timestamp::now();
    let secrets = secrets.list();
    let tokens: Vec<_> = secrets
        .iter()
        .filter_map(|secret| secret.token())
        .filter(|token| token.signs && !token.has_expired(now))
        .collect();
    let changes = match map.data.get(CONTENT) {
        Some(content) => {
            let signed = tokens.iter().map(|token| {
                let signature = pki::jws::sign(content, &token.id, &token.secret);
                (format!("{SIGNATURE_PREFIX}{}", token.id), signature)
            });
            changes(&map.data, &signed.collect())
        }
        None => return Ok(Outcome::Done),
    };
    if !changes.is_empty() {
        let metadata = json!({ "resourceVersion": map.metadata.resource_version });
        let body = json!({ "metadata": metadata, "data": changes });
        let written = context
            .client
            .patch::<Value>(&ConfigMap::RESOURCE, &key, None, Patch::Merge, &body)
            .await;
        match written {
            Err(error) if error.is_not_found() => return Ok(Outcome::Done),
            written => written?,
        };
    }
    let next = tokens.iter().filter_map(|token| token.remaining(now)).min();
    Ok(next.map_or(Outcome::Done, |left| Outcome::After(left.min(limits::LOOK_MAX))))
}

/// The merge patch from the signatures that are there to those that should be.
fn changes(data: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>) -> Map<String, Value> {
    let stale = data
        .keys()
        .filter(|key| key.starts_with(SIGNATURE_PREFIX) && !wanted.contains_key(*key))
        .map(|key| (key.clone(), Value::Null));
    let missing = wanted
        .iter()
        .filter(|(key, signature)| data.get(*key) != Some(signature))
        .map(|(key, signature)| (key.clone(), json!(signature)));
    stale.chain(missing).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::secret;
    use super::*;

    #[test]
    fn signatures_follow_tokens_and_other_entries_stay() {
        let map = |entries: &[(&str, &str)]| -> BTreeMap<String, String> {
            entries.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect()
        };
        let data = map(&[
            ("kubeconfig", "x"),
            ("jws-kubeconfig-aaaaaa", "old"),
            ("jws-kubeconfig-bbbbbb", "b"),
        ]);
        let wanted = map(&[("jws-kubeconfig-bbbbbb", "b"), ("jws-kubeconfig-cccccc", "c")]);
        let expected = json!({ "jws-kubeconfig-aaaaaa": null, "jws-kubeconfig-cccccc": "c" });
        assert_eq!(Value::Object(changes(&data, &wanted)), expected);
        assert!(changes(&wanted, &wanted).is_empty());
    }

    #[test]
    fn a_secret_is_read_as_its_token() {
        let token = secret("abcdef", &[]).token().unwrap();
        assert!(token.signs && token.id == "abcdef");
        assert!(
            !secret("abcdef", &[("usage-bootstrap-signing", "")])
                .token()
                .unwrap()
                .signs
        );
    }
}
