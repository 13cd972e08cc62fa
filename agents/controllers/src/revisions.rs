//! ControllerRevisions: the templates that a StatefulSet or a DaemonSet has had, numbered. `kubectl rollout history` and
//! `undo` read them. What is to be done about them is decided here without I/O and then carried out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use client::{Cache, DeleteOptions, Error, Key, Meta, OwnerReference, Patch, Projection, Resource};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::hash::template_hash;
use crate::objects::template_labels;
use crate::run::Context;

pub(crate) const CONTROLLER_REVISIONS: Resource =
    Resource::namespaced("apps", "v1", "ControllerRevision", "controllerrevisions");

/// The label that ties Pods to the revision of their template.
pub(crate) const HASH_LABEL: &str = "controller-revision-hash";

/// Why its owner was changed: `kubectl rollout history` shows it.
const CHANGE_CAUSE: &str = "kubernetes.io/change-cause";

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ControllerRevision {
    pub metadata: Meta,
    pub revision: i64,
    /// A patch that gives its owner this template.
    pub data: Value,
}

impl Projection for ControllerRevision {
    const RESOURCE: Resource = CONTROLLER_REVISIONS;

    fn meta(&self) -> &Meta {
        &self.metadata
    }
}

impl ControllerRevision {
    /// Its name without its owner's: what distinguishes the owner's Pods.
    pub fn hash(&self) -> &str {
        self.metadata.labels.get(HASH_LABEL).map_or("", String::as_str)
    }

    /// The template it stands for.
    pub fn template(&self) -> Value {
        let mut template = self.data.pointer("/spec/template").cloned().unwrap_or_default();
        if let Some(map) = template.as_object_mut() {
            map.remove("$patch");
        }
        template
    }
}

/// What stands for a template.
#[derive(Debug, PartialEq)]
pub(crate) enum Needed {
    /// This one, which is the newest.
    Newest(Arc<ControllerRevision>),
    /// This one, which was current before: it becomes the newest under this number.
    Again(Arc<ControllerRevision>, i64),
    /// One that has to be made.
    New { name: String, object: Value },
}

fn patch(template: &Value) -> Value {
    let mut template = template.clone();
    if let Some(map) = template.as_object_mut() {
        map.insert("$patch".to_owned(), "replace".into());
    }
    json!({ "spec": { "template": template } })
}

/// The revision that an owner's template needs, given those it has. `None` if the owner is being deleted: what the garbage
/// collector takes away must not be made again.
pub(crate) fn needed(
    kind: &Resource,
    owner: &Meta,
    template: &Value,
    collisions: Option<i32>,
    known: &[Arc<ControllerRevision>],
) -> Option<Needed> {
    if owner.is_deleting() {
        return None;
    }
    let data = patch(template);
    let newest = known.iter().map(|r| r.revision).max().unwrap_or(0);
    let same = known.iter().filter(|r| r.data == data).max_by_key(|r| r.revision);
    match same {
        Some(revision) if revision.revision == newest => return Some(Needed::Newest(revision.clone())),
        Some(revision) => return Some(Needed::Again(revision.clone(), newest + 1)),
        None => {}
    }
    let hash = template_hash(&data, collisions);
    let name = format!("{}-{hash}", owner.name);
    let mut labels = template_labels(template);
    labels.insert(HASH_LABEL.to_owned(), hash);
    let cause = owner.annotations.get_key_value(CHANGE_CAUSE);
    let metadata = json!({
        "name": name,
        "namespace": owner.namespace,
        "labels": labels,
        "annotations": cause.into_iter().collect::<BTreeMap<_, _>>(),
        "ownerReferences": [OwnerReference::controlled_by(kind, owner)],
    });
    Some(Needed::New {
        name,
        object: json!({ "metadata": metadata, "data": data, "revision": newest + 1 }),
    })
}

/// The revisions that go: the oldest of those nobody uses, as long as there are more than `limit` of them.
fn superfluous(known: &[Arc<ControllerRevision>], used: &BTreeSet<&str>, limit: usize) -> Vec<Arc<ControllerRevision>> {
    let unused = |r: &&Arc<ControllerRevision>| !used.contains(r.metadata.name.as_str());
    let mut unused: Vec<_> = known.iter().filter(unused).cloned().collect();
    unused.sort_by_key(|r| r.revision);
    unused.truncate(unused.len().saturating_sub(limit));
    unused
}

/// What came of making a revision.
pub(crate) enum Made {
    Revision(Arc<ControllerRevision>),
    /// The name is taken by a revision of another template; so many collisions are to be remembered.
    Collision(i32),
    /// None: the owner is being deleted, and what it has is the garbage collector's.
    Nothing,
}

/// An owner's revisions.
pub(crate) fn of(cache: &Cache<ControllerRevision>, owner: &Meta) -> Vec<Arc<ControllerRevision>> {
    let all = cache.list_namespace(&owner.namespace).into_iter();
    all.filter(|r| r.metadata.controller().is_some_and(|c| c.uid == owner.uid))
        .collect()
}

/// Makes sure that the revision of an owner's template exists and is the newest.
pub(crate) async fn make(
    context: &Context,
    kind: &Resource,
    owner: &Meta,
    template: &Value,
    collisions: Option<i32>,
    known: &[Arc<ControllerRevision>],
) -> Result<Made, Error> {
    let (client, namespace) = (&context.client, owner.namespace.as_str());
    let Some(needed) = needed(kind, owner, template, collisions, known) else {
        return Ok(Made::Nothing);
    };
    match needed {
        Needed::Newest(revision) => Ok(Made::Revision(revision)),
        Needed::Again(revision, number) => {
            let metadata = json!({ "resourceVersion": revision.metadata.resource_version });
            let body = json!({ "metadata": metadata, "revision": number });
            let key = revision.metadata.key();
            let renumbered = client
                .patch(&CONTROLLER_REVISIONS, &key, None, Patch::Merge, &body)
                .await?;
            Ok(Made::Revision(Arc::new(renumbered)))
        }
        Needed::New { name, object } => match client.create(&CONTROLLER_REVISIONS, Some(namespace), &object).await {
            Ok(made) => Ok(Made::Revision(Arc::new(made))),
            Err(error) if error.is_already_exists() => {
                let key = Key::new(namespace, &name);
                let there: ControllerRevision = client.get(&CONTROLLER_REVISIONS, &key).await?;
                // The cache is behind, or a stranger has the name.
                let ours = object
                    .pointer("/metadata/ownerReferences/0/uid")
                    .and_then(Value::as_str);
                let same = there.data == object["data"] && there.metadata.controller().map(|c| c.uid.as_str()) == ours;
                Ok(if same {
                    Made::Revision(Arc::new(there))
                } else {
                    Made::Collision(collisions.unwrap_or(0) + 1)
                })
            }
            Err(error) => Err(error),
        },
    }
}

/// Deletes the revisions that nobody uses, the oldest first, as long as there are more than `limit` of them.
pub(crate) async fn forget(
    context: &Context,
    known: &[Arc<ControllerRevision>],
    used: &BTreeSet<&str>,
    limit: usize,
) -> Result<(), Error> {
    for revision in superfluous(known, used, limit) {
        let options = DeleteOptions::uid(&revision.metadata.uid);
        let key = revision.metadata.key();
        match context.client.delete(&CONTROLLER_REVISIONS, &key, &options).await {
            Err(error) if !error.is_not_found() => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
pub(crate) fn from_object(object: Value) -> Arc<ControllerRevision> {
    Arc::new(serde_json::from_value(object).unwrap())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETS: Resource = Resource::namespaced("apps", "v1", "StatefulSet", "statefulsets");

    fn template(image: &str) -> Value {
        json!({ "metadata": { "labels": { "app": "a" } }, "spec": { "containers": [{ "image": image }] } })
    }

    fn need(image: &str, known: &[Arc<ControllerRevision>]) -> Needed {
        let owner = serde_json::from_value(json!({ "name": "web", "namespace": "n", "uid": "u" })).unwrap();
        needed(&SETS, &owner, &template(image), None, known).unwrap()
    }

    #[test]
    fn an_owner_that_is_going_needs_none() {
        let owner = json!({ "name": "web", "namespace": "n", "uid": "u", "deletionTimestamp": "2026-01-01T00:00:00Z" });
        let owner = serde_json::from_value(owner).unwrap();
        assert_eq!(needed(&SETS, &owner, &template("v1"), None, &[]), None);
    }

    fn add(image: &str, known: &mut Vec<Arc<ControllerRevision>>) -> i64 {
        let revision = match need(image, known) {
            Needed::New { object, .. } => from_object(object),
            other => panic!("{other:?}"),
        };
        known.push(revision.clone());
        revision.revision
    }

    #[test]
    fn each_template_gets_a_number_once_and_a_new_one_when_it_returns() {
        let mut known = Vec::new();
        assert_eq!((add("v1", &mut known), add("v2", &mut known)), (1, 2));
        assert_eq!(need("v2", &known), Needed::Newest(known[1].clone()));
        assert_eq!(need("v1", &known), Needed::Again(known[0].clone(), 3));
        assert_eq!(known[0].template(), template("v1"));
        assert_eq!(known[0].metadata.name, format!("web-{}", known[0].hash()));
        assert_eq!(
            known[0].metadata.labels["app"], "a",
            "kubectl finds them by the owner's selector"
        );
    }

    #[test]
    fn history_is_limited_and_what_is_used_stays() {
        let mut known = Vec::new();
        for image in ["v1", "v2", "v3", "v4"] {
            add(image, &mut known);
        }
        let names: Vec<String> = known.iter().map(|r| r.metadata.name.clone()).collect();
        let used = BTreeSet::from([names[0].as_str(), names[3].as_str()]);
        let gone = superfluous(&known, &used, 1);
        assert_eq!(gone.len(), 1);
        assert_eq!(gone[0].metadata.name, names[1]);
        assert!(superfluous(&known, &used, 2).is_empty());
    }
}
