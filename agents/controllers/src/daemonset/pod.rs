//! The Pod of a DaemonSet on one node: how it is tied to the node, what it bears, and on which nodes it may be. Pure.

use client::objects::{Node, Pod};
use serde_json::{Map, Value, json};

use super::objects::{DAEMON_SETS, DaemonSet};
use crate::pods::from_template;
use crate::revisions::{ControllerRevision, HASH_LABEL};

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";

/// Taints that every daemon bears: a node's daemons are to mend it, or to say what it lacks.
const BORNE: [(&str, &str); 6] = [
    (NOT_READY, "NoExecute"),
    (UNREACHABLE, "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
];
/// Borne by daemons that use the node's network, among them those that set up the Pods'.
const NETWORK: (&str, &str) = ("node.kubernetes.io/network-unavailable", "NoSchedule");

/// The Pod for a node, made from a revision. The scheduler puts it there and nowhere else.
pub(super) fn pod(set: &DaemonSet, node: &str, revision: &ControllerRevision) -> Value {
    let mut pod = from_template(&DAEMON_SETS, &set.metadata, &set.spec.template);
    if let Some(metadata) = pod["metadata"].as_object_mut() {
        let labels = metadata.entry("labels").or_insert_with(|| Value::Object(Map::new()));
        labels[HASH_LABEL] = revision.hash().into();
    }
    if !pod["spec"].is_object() {
        pod["spec"] = json!({});
    }
    bear(&mut pod["spec"]);
    // The template's own requirements were met when the node was chosen.
    let here = json!({ "matchFields": [{ "key": "metadata.name", "operator": "In", "values": [node] }] });
    let required = json!({ "nodeSelectorTerms": [here] });
    pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] = required;
    pod
}

fn bear(spec: &mut Value) {
    let network = spec["hostNetwork"] == true;
    let mut tolerations = spec["tolerations"].as_array().cloned().unwrap_or_default();
    for (key, effect) in BORNE.into_iter().chain(network.then_some(NETWORK)) {
        let toleration = json!({ "key": key, "operator": "Exists", "effect": effect });
        if !tolerations.contains(&toleration) {
            tolerations.push(toleration);
        }
    }
    spec["tolerations"] = tolerations.into();
}

/// The node that a Pod is on, or is meant for.
pub(super) fn node_of(pod: &Pod) -> Option<&str> {
    if !pod.spec.node_name.is_empty() {
        return Some(&pod.spec.node_name);
    }
    let affinity = pod.spec.affinity.as_ref()?.node_affinity.as_ref()?;
    let terms = &affinity.required.as_ref()?.node_selector_terms;
    let mut fields = terms.iter().flat_map(|t| &t.match_fields);
    let name = fields.find(|f| f.key == "metadata.name" && f.operator == "In")?;
    name.values.first().map(String::as_str)
}

/// Whether a set's Pod should be started on a node, and whether one that is there may stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub start: bool,
    pub stay: bool,
}

/// What a set's Pod may do on a node. `template` is the set's template as a Pod, see [`template`].
pub(super) fn place(template: &Pod, node: &Node) -> Place {
    let named = &template.spec.node_name;
    if !(named.is_empty() || *named == node.metadata.name) || !template.may_run_on(node) {
        return Place {
            start: false,
            stay: false,
        };
    }
    let against = |effects: &[&str]| {
        let taints = node.spec.taints.iter().filter(|t| effects.contains(&t.effect.as_str()));
        taints.into_iter().any(|t| !template.tolerates(t))
    };
    Place {
        start: !against(&["NoSchedule", "NoExecute"]),
        stay: !against(&["NoExecute"]),
    }
}

/// The set's template as a Pod that bears what its Pods bear. What cannot be read as one matches no node.
pub(super) fn template(set: &DaemonSet) -> Option<Pod> {
    let mut spec = set.spec.template.get("spec")?.clone();
    bear(&mut spec);
    serde_json::from_value(json!({ "spec": spec })).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::revisions::from_object;

    fn set(spec: Value) -> DaemonSet {
        serde_json::from_value(json!({
            "metadata": { "name": "d", "namespace": "n", "uid": "u" },
            "spec": { "template": { "metadata": { "labels": { "app": "a" } }, "spec": spec } },
        }))
        .unwrap()
    }

    #[test]
    fn a_pod_is_tied_to_its_node_and_keeps_its_other_wishes() {
        let zone = json!({ "podAntiAffinity": { "x": 1 }, "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": [{ "matchExpressions": [] }] } } });
        let set = set(json!({ "affinity": zone, "hostNetwork": true }));
        let revision = from_object(json!({ "metadata": { "name": "d-h", "labels": { HASH_LABEL: "h" } } }));
        let made = pod(&set, "node-7", &revision);
        assert_eq!(made["spec"]["affinity"]["podAntiAffinity"]["x"], 1);
        assert_eq!(made["metadata"]["labels"][HASH_LABEL], "h");
        assert_eq!(made["spec"]["tolerations"].as_array().unwrap().len(), 7);
        let read: Pod = serde_json::from_value(made).unwrap();
        assert_eq!(node_of(&read), Some("node-7"));
    }

    #[test]
    fn taints_and_selectors_decide() {
        let node = |labels: Value, taints: Value| -> Node {
            serde_json::from_value(
                json!({ "metadata": { "name": "n", "labels": labels }, "spec": { "taints": taints } }),
            )
            .unwrap()
        };
        let taint = |key: &str, effect: &str| json!([{ "key": key, "effect": effect }]);
        let on = |spec: Value, node: &Node| {
            let place = place(&template(&set(spec)).unwrap(), node);
            (place.start, place.stay)
        };
        let plain = node(json!({}), json!([]));
        assert_eq!(on(json!({}), &plain), (true, true));
        assert_eq!(on(json!({ "nodeSelector": { "disk": "ssd" } }), &plain), (false, false));
        assert_eq!(
            on(
                json!({ "nodeSelector": { "disk": "ssd" } }),
                &node(json!({ "disk": "ssd" }), json!([]))
            ),
            (true, true)
        );
        assert_eq!(on(json!({ "nodeName": "other" }), &plain), (false, false));
        assert_eq!(
            on(json!({}), &node(json!({}), taint("mine", "NoSchedule"))),
            (false, true)
        );
        assert_eq!(
            on(json!({}), &node(json!({}), taint("mine", "NoExecute"))),
            (false, false)
        );
        assert_eq!(
            on(json!({}), &node(json!({}), taint(NOT_READY, "NoExecute"))),
            (true, true)
        );
        let unready = node(json!({}), taint(NETWORK.0, "NoSchedule"));
        assert_eq!(on(json!({}), &unready), (false, true));
        assert_eq!(on(json!({ "hostNetwork": true }), &unready), (true, true));
    }
}
