//! Default roles and bindings that are there already: what they lack of their defaults is added at every start, what
//! administrators added stays. Who wants one left alone says so by the annotation
//! `rbac.authorization.kubernetes.io/autoupdate: "false"`. Pure.

use crate::authz::escalation::uncovered;
use crate::authz::rules::PolicyRule;
use crate::registry::fields::{at, list};
use serde_json::{Map, Value, json};

const AUTOUPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";

/// The object with what it lacks of `wanted`; `None` if that is nothing, or if it is to be left alone.
pub(super) fn completed(stored: &Value, wanted: &Value) -> Option<Value> {
    let annotation = at(stored, "metadata.annotations").and_then(|annotations| annotations.get(AUTOUPDATE));
    if annotation.is_some_and(|value| value == "false") {
        return None;
    }
    // A binding to another role grants something else: whoever made it has to remove it first.
    if at(stored, "roleRef") != at(wanted, "roleRef") {
        return None;
    }
    let mut whole = stored.clone();
    append(&mut whole, "rules", rules_lacking(stored, wanted));
    append(&mut whole, "subjects", subjects_lacking(stored, wanted));
    for kind in ["labels", "annotations"] {
        complete_map(&mut whole, wanted, kind);
    }
    (whole != *stored).then_some(whole)
}

fn append(object: &mut Value, field: &str, more: Vec<Value>) {
    if more.is_empty() {
        return;
    }
    let all = list(object, field).iter().cloned().chain(more).collect::<Vec<_>>();
    object[field] = json!(all);
}

/// Rules that are not covered by what is there, whole.
fn rules_lacking(stored: &Value, wanted: &Value) -> Vec<Value> {
    let held = PolicyRule::list(stored);
    let lacks = |rule: &&Value| !uncovered(&held, &PolicyRule::list(&json!({"rules": [rule]}))).is_empty();
    list(wanted, "rules").iter().filter(lacks).cloned().collect()
}

fn subjects_lacking(stored: &Value, wanted: &Value) -> Vec<Value> {
    let same = |a: &Value, b: &Value| {
        ["kind", "name", "namespace"]
            .iter()
            .all(|field| a.get(field) == b.get(field))
    };
    let there = list(stored, "subjects");
    let lacks = |subject: &&Value| !there.iter().any(|other| same(other, subject));
    list(wanted, "subjects").iter().filter(lacks).cloned().collect()
}

fn complete_map(object: &mut Value, wanted: &Value, kind: &str) {
    let Some(Value::Object(defaults)) = wanted["metadata"].get(kind) else {
        return;
    };
    let mut all: Map<String, Value> = object["metadata"][kind].as_object().cloned().unwrap_or_default();
    for (key, value) in defaults {
        all.entry(key.clone()).or_insert_with(|| value.clone());
    }
    object["metadata"][kind] = Value::Object(all);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(rules: Value) -> Value {
        json!({"metadata": {"name": "r", "labels": {"a": "b"}, "annotations": {AUTOUPDATE: "true"}}, "rules": rules})
    }

    #[test]
    fn what_is_lacking_is_added_and_the_rest_stays() {
        let pods = json!({"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]});
        let nodes = json!({"verbs": ["get"], "apiGroups": [""], "resources": ["nodes"]});
        let own = json!({"verbs": ["get"], "apiGroups": ["x.io"], "resources": ["things"]});
        let found = completed(&role(json!([own, nodes])), &role(json!([pods, nodes]))).unwrap();
        assert_eq!(found["rules"], json!([own, nodes, pods]));
        assert_eq!(completed(&found, &role(json!([pods, nodes]))), None);
        // Covered in other words is covered.
        let all = json!({"verbs": ["*"], "apiGroups": [""], "resources": ["*"]});
        assert_eq!(completed(&role(json!([all])), &role(json!([pods, nodes]))), None);
        let mut alone = role(json!([]));
        alone["metadata"]["annotations"][AUTOUPDATE] = json!("false");
        assert_eq!(completed(&alone, &role(json!([pods]))), None);
    }

    #[test]
    fn subjects_come_back_and_roles_do_not_change() {
        let binding = |role: &str, subjects: Value| json!({"metadata": {"name": "b"}, "roleRef": {"kind": "ClusterRole", "name": role}, "subjects": subjects});
        let subject = |name: &str| json!({"kind": "Group", "name": name, "apiGroup": "rbac.authorization.k8s.io"});
        let wanted = binding("r", json!([subject("a")]));
        let found = completed(&binding("r", json!([subject("own")])), &wanted).unwrap();
        assert_eq!(found["subjects"], json!([subject("own"), subject("a")]));
        assert_eq!(completed(&binding("other", json!([])), &wanted), None);
    }
}
