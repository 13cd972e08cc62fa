//! What a Pod of a StatefulSet keeps for life: its ordinal, and the name, host name and claims that follow from it. Pure.

use client::OwnerReference;
use client::objects::Pod;
use serde_json::{Map, Value, json};

use super::objects::{STATEFUL_SETS, StatefulSet};
use crate::pods::from_template;
use crate::revisions::{ControllerRevision, HASH_LABEL};

const NAME_LABEL: &str = "statefulset.kubernetes.io/pod-name";
const INDEX_LABEL: &str = "apps.kubernetes.io/pod-index";

/// The name of the Pod with an ordinal.
pub(super) fn name(set: &StatefulSet, ordinal: i32) -> String {
    format!("{}-{ordinal}", set.metadata.name)
}

/// The ordinal of a Pod; `None` if its name is not one the set gives.
pub(super) fn ordinal(set: &StatefulSet, pod: &Pod) -> Option<i32> {
    let number = pod.metadata.name.strip_prefix(&set.metadata.name)?.strip_prefix('-')?;
    // `web-01` and `web-+1` are somebody else's.
    let ordinal: i32 = number.parse().ok()?;
    (ordinal >= 0 && ordinal.to_string() == number).then_some(ordinal)
}

/// The name of the revision that a Pod was made from.
pub(super) fn revision(pod: &Pod) -> &str {
    pod.metadata.labels.get(HASH_LABEL).map_or("", String::as_str)
}

/// The Pod with an ordinal, made from a revision.
pub(super) fn pod(set: &StatefulSet, ordinal: i32, revision: &ControllerRevision) -> Value {
    let name = name(set, ordinal);
    let mut pod = from_template(&STATEFUL_SETS, &set.metadata, &revision.template());
    if let Some(metadata) = pod["metadata"].as_object_mut() {
        metadata.remove("generateName");
        metadata.insert("name".into(), name.as_str().into());
        let labels = metadata.entry("labels").or_insert_with(|| Value::Object(Map::new()));
        labels[NAME_LABEL] = name.as_str().into();
        labels[INDEX_LABEL] = ordinal.to_string().into();
        labels[HASH_LABEL] = revision.metadata.name.as_str().into();
    }
    pod["spec"]["hostname"] = name.into();
    if !set.spec.service_name.is_empty() {
        pod["spec"]["subdomain"] = set.spec.service_name.as_str().into();
    }
    mount_claims(set, ordinal, &mut pod);
    pod
}

/// A volume of a claim's name stands for the claim, whatever the template says.
fn mount_claims(set: &StatefulSet, ordinal: i32, pod: &mut Value) {
    let claims: Vec<(String, String)> = claim_names(set, ordinal);
    if claims.is_empty() {
        return;
    }
    let mut volumes = pod["spec"]["volumes"].as_array().cloned().unwrap_or_default();
    volumes.retain(|v| !claims.iter().any(|(template, _)| v["name"] == template.as_str()));
    let volume = |(template, claim): (String, String)| json!({ "name": template, "persistentVolumeClaim": { "claimName": claim } });
    volumes.extend(claims.into_iter().map(volume));
    pod["spec"]["volumes"] = volumes.into();
}

/// The names of the claim templates and of the claims made from them for an ordinal.
fn claim_names(set: &StatefulSet, ordinal: i32) -> Vec<(String, String)> {
    let templates = set.spec.volume_claim_templates.iter();
    let names = templates.filter_map(|t| t.pointer("/metadata/name").and_then(Value::as_str));
    names
        .map(|t| (t.to_owned(), format!("{t}-{}", name(set, ordinal))))
        .collect()
}

/// The claims that the Pod with an ordinal needs. They outlive it: nobody owns them.
pub(super) fn claims(set: &StatefulSet, ordinal: i32) -> Vec<(String, Value)> {
    let named = |template: &Value| {
        let name = template.pointer("/metadata/name")?.as_str()?;
        let name = format!("{name}-{}", self::name(set, ordinal));
        let mut claim = template.clone();
        claim["metadata"]["name"] = name.as_str().into();
        claim["metadata"]["namespace"] = set.metadata.namespace.as_str().into();
        if claim["metadata"]["labels"].is_null() {
            claim["metadata"]["labels"] = json!({});
        }
        for (key, value) in &set.spec.selector.match_labels {
            claim["metadata"]["labels"][key] = value.as_str().into();
        }
        if let Some(claim) = claim.as_object_mut() {
            claim.remove("status");
        }
        Some((name, claim))
    };
    set.spec.volume_claim_templates.iter().filter_map(named).collect()
}

/// Whether a Pod is the set's own by its owner references.
pub(super) fn owns(set: &StatefulSet, pod: &Pod) -> bool {
    let owned = OwnerReference::controlled_by(&STATEFUL_SETS, &set.metadata);
    pod.metadata.controller().is_some_and(|c| c.uid == owned.uid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::revisions::from_object;

    fn set() -> StatefulSet {
        serde_json::from_value(json!({
            "metadata": { "name": "web", "namespace": "n", "uid": "u" },
            "spec": { "serviceName": "web", "selector": { "matchLabels": { "app": "a" } },
                "volumeClaimTemplates": [{ "metadata": { "name": "data" }, "spec": { "x": 1 } }] },
        }))
        .unwrap()
    }

    #[test]
    fn names_and_ordinals_match_both_ways() {
        let set = set();
        let pod = |name: &str| {
            let mut pod = Pod::default();
            pod.metadata.name = name.to_owned();
            pod
        };
        assert_eq!(ordinal(&set, &pod(&name(&set, 12))), Some(12));
        for stranger in ["web-01", "web-", "web", "web--1", "web-+1", "webx-1", "other-1"] {
            assert_eq!(ordinal(&set, &pod(stranger)), None, "{stranger}");
        }
    }

    #[test]
    fn a_pod_has_its_identity_and_its_claims() {
        let set = set();
        let data = json!({ "spec": { "template": { "metadata": { "labels": { "app": "a" } },
            "spec": { "volumes": [{ "name": "data", "emptyDir": {} }, { "name": "other" }] } } } });
        let revision = from_object(json!({ "metadata": { "name": "web-x" }, "revision": 1, "data": data }));
        let pod = pod(&set, 2, &revision);
        assert_eq!(
            (&pod["metadata"]["name"], &pod["spec"]["hostname"]),
            (&json!("web-2"), &json!("web-2"))
        );
        assert_eq!(pod["spec"]["subdomain"], "web");
        assert_eq!(pod["metadata"]["labels"][HASH_LABEL], "web-x");
        assert_eq!(pod["metadata"]["labels"]["app"], "a");
        let volumes = pod["spec"]["volumes"].as_array().unwrap();
        assert_eq!(volumes.len(), 2);
        assert_eq!(volumes[1]["persistentVolumeClaim"]["claimName"], "data-web-2");
        assert_eq!(claims(&set, 2)[0].0, "data-web-2");
    }
}
