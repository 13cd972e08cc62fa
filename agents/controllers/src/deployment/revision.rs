//! Which ReplicaSet stands for the current template, how it is made, and the revision numbers that `kubectl rollout`
//! reads.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::{owner, percent};
use crate::objects::{Deployment, ReplicaSet};

/// The number of a revision, on sets and on the Deployment.
pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
/// Earlier numbers of a set that became current again.
pub(super) const HISTORY: &str = "deployment.kubernetes.io/revision-history";
/// The Deployment's size when the set was last scaled: how a change of size is noticed.
pub(super) const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
/// The same plus surge: the base of proportional scaling.
pub(super) const MAX: &str = "deployment.kubernetes.io/max-replicas";
/// The label that ties Pods to the set of their template.
pub(super) const HASH_LABEL: &str = "pod-template-hash";

/// Annotations of a Deployment that its sets do not get.
const NOT_COPIED: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    HISTORY,
    DESIRED,
    MAX,
    "deprecated.deployment.rollback.revisionTo",
];

/// Longest history kept, in bytes.
const HISTORY_BYTES_MAX: usize = 2000;

/// Whether two templates are the same but for the hash label.
pub(super) fn same_template(a: &Value, b: &Value) -> bool {
    without_hash(a) == without_hash(b)
}

fn without_hash(template: &Value) -> Value {
    let mut template = template.clone();
    if let Some(labels) = template.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.remove(HASH_LABEL);
    }
    template
}

/// The set that stands for the current template: the oldest if there are several.
pub(super) fn find_new(deployment: &Deployment, sets: &[Arc<ReplicaSet>]) -> Option<Arc<ReplicaSet>> {
    let same = sets
        .iter()
        .filter(|s| same_template(&s.spec.template, &deployment.spec.template));
    same.min_by_key(|s| (s.metadata.creation_timestamp, s.metadata.name.clone()))
        .cloned()
}

/// The revision of a set; 0 if it has none.
pub(super) fn revision(set: &ReplicaSet) -> i64 {
    set.annotation(REVISION).and_then(|r| r.parse().ok()).unwrap_or(0)
}

/// The sizes that a scaled set remembers.
pub(super) fn size_annotations(deployment: &Deployment) -> BTreeMap<String, String> {
    let replicas = deployment.replicas();
    let max = if replicas == 0 {
        0
    } else {
        replicas.saturating_add(percent::bounds(deployment).0)
    };
    [
        (DESIRED.to_owned(), replicas.to_string()),
        (MAX.to_owned(), max.to_string()),
    ]
    .into()
}

/// The annotations that the current set should have and has not: the Deployment's own, and the next revision.
pub(super) fn missing_annotations(
    deployment: &Deployment,
    set: Option<&ReplicaSet>,
    old: &[Arc<ReplicaSet>],
) -> BTreeMap<String, String> {
    let next = old.iter().map(|s| revision(s)).max().unwrap_or(0) + 1;
    let mut wanted: BTreeMap<String, String> = deployment.metadata.annotations.clone();
    wanted.retain(|name, _| !NOT_COPIED.contains(&name.as_str()));
    let Some(set) = set else {
        wanted.extend(size_annotations(deployment));
        wanted.insert(REVISION.to_owned(), next.to_string());
        return wanted;
    };
    // A number may be larger already: its set was current, was replaced, and is current again.
    if revision(set) < next {
        if revision(set) > 0 {
            wanted.insert(HISTORY.to_owned(), longer_history(set));
        }
        wanted.insert(REVISION.to_owned(), next.to_string());
    }
    wanted.retain(|name, value| set.annotation(name) != Some(value));
    wanted
}

fn longer_history(set: &ReplicaSet) -> String {
    let (old, past) = (revision(set).to_string(), set.annotation(HISTORY).unwrap_or(""));
    if past.is_empty() {
        return old;
    }
    let mut history = format!("{past},{old}");
    while history.len() > HISTORY_BYTES_MAX
        && let Some((_, rest)) = history.split_once(',')
    {
        history = rest.to_owned();
    }
    history
}

/// The object of a new set.
pub(super) fn new_set(
    deployment: &Deployment,
    name: &str,
    hash: &str,
    replicas: i32,
    annotations: &BTreeMap<String, String>,
) -> Value {
    let mut template = deployment.spec.template.clone();
    if !template["metadata"].is_object() {
        template["metadata"] = json!({});
    }
    template["metadata"]["labels"][HASH_LABEL] = hash.into();
    let mut selector = deployment.spec.selector.clone();
    selector.match_labels.insert(HASH_LABEL.to_owned(), hash.to_owned());
    json!({
        "metadata": {
            "name": name,
            "namespace": deployment.metadata.namespace,
            "labels": template["metadata"]["labels"],
            "annotations": annotations,
            "ownerReferences": [owner(deployment)],
        },
        "spec": {
            "replicas": replicas,
            "minReadySeconds": deployment.spec.min_ready_seconds,
            "selector": selector,
            "template": template,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::deployment;

    fn set(name: &str, image: &str, revision: &str) -> Arc<ReplicaSet> {
        let owner = deployment(1, image);
        let annotations = [(REVISION.to_owned(), revision.to_owned())].into();
        let mut set: ReplicaSet = serde_json::from_value(new_set(&owner, name, "hash", 1, &annotations)).unwrap();
        set.metadata.uid = name.to_owned();
        Arc::new(set)
    }

    #[test]
    fn the_hash_label_does_not_make_a_template_another() {
        let sets = [set("a", "one", "1"), set("b", "two", "2")];
        assert_eq!(find_new(&deployment(1, "two"), &sets).unwrap().metadata.name, "b");
        assert!(find_new(&deployment(1, "three"), &sets).is_none());
    }

    #[test]
    fn going_back_gives_the_old_set_a_new_number_and_keeps_the_old_one() {
        let missing = missing_annotations(
            &deployment(1, "one"),
            Some(&set("a", "one", "1")),
            &[set("b", "two", "2")],
        );
        assert_eq!((missing[REVISION].as_str(), missing[HISTORY].as_str()), ("3", "1"));
    }

    #[test]
    fn a_current_set_lacks_nothing() {
        let mut deployment = deployment(1, "one");
        deployment
            .metadata
            .annotations
            .insert(REVISION.to_owned(), "9".to_owned());
        assert!(missing_annotations(&deployment, Some(&set("a", "one", "1")), &[]).is_empty());
        deployment
            .metadata
            .annotations
            .insert("note".to_owned(), "x".to_owned());
        assert_eq!(
            missing_annotations(&deployment, Some(&set("a", "one", "1")), &[])["note"],
            "x"
        );
    }
}
