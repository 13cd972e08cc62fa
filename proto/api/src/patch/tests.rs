use super::*;
use crate::schema::registry;
use serde_json::json;

fn pod_patch(current: Value, patch: Value) -> Result<Value, PatchError> {
    let schema = registry().definition("io.k8s.api.core.v1.PodSpec").unwrap();
    strategic_merge(schema, current, patch)
}

fn check(current: Value, patch: Value, expected: Value) {
    assert_eq!(
        pod_patch(current.clone(), patch.clone()).unwrap(),
        expected,
        "{current} + {patch}"
    );
}

#[test]
fn merge_patch_follows_the_rfc() {
    for (current, patch, expected) in [
        (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
        (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
        (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
        (
            json!({"a": {"b": "c"}}),
            json!({"a": {"b": "d", "c": null}}),
            json!({"a": {"b": "d"}}),
        ),
        (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
        (json!(["a"]), json!({"a": 1}), json!({"a": 1})),
        (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
    ] {
        assert_eq!(merge_patch(current, patch), expected);
    }
}

#[test]
fn keyed_lists_merge_and_atomic_lists_are_replaced() {
    check(
        json!({"containers": [{"name": "a", "image": "x", "args": ["1", "2"]}, {"name": "b"}]}),
        json!({"containers": [{"name": "a", "image": "y", "args": ["3"]}, {"name": "c"}]}),
        json!({"containers": [{"name": "a", "image": "y", "args": ["3"]}, {"name": "b"}, {"name": "c"}]}),
    );
}

#[test]
fn nulls_delete() {
    check(
        json!({"nodeName": "n", "nodeSelector": {"a": "b", "c": "d"}}),
        json!({"nodeName": null, "nodeSelector": {"a": null}, "hostname": null}),
        json!({"nodeSelector": {"c": "d"}}),
    );
}

#[test]
fn elements_can_be_deleted_and_lists_replaced() {
    check(
        json!({"containers": [{"name": "a"}, {"name": "b"}]}),
        json!({"containers": [{"name": "a", "$patch": "delete"}]}),
        json!({"containers": [{"name": "b"}]}),
    );
    check(
        json!({"containers": [{"name": "a"}, {"name": "b"}]}),
        json!({"containers": [{"$patch": "replace"}, {"name": "z"}]}),
        json!({"containers": [{"name": "z"}]}),
    );
}

#[test]
fn objects_can_be_replaced() {
    check(
        json!({"securityContext": {"runAsUser": 1, "fsGroup": 2}}),
        json!({"securityContext": {"runAsUser": 3, "$patch": "replace"}}),
        json!({"securityContext": {"runAsUser": 3}}),
    );
    check(
        json!({"nodeSelector": {"a": "b"}}),
        json!({"nodeSelector": {"$patch": "delete"}}),
        json!({"nodeSelector": {}}),
    );
}

#[test]
fn retain_keys_drops_the_others() {
    let schema = registry().definition("io.k8s.api.apps.v1.DeploymentSpec").unwrap();
    let current = json!({"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}});
    let patch = json!({"strategy": {"$retainKeys": ["type"], "type": "Recreate"}});
    assert_eq!(
        strategic_merge(schema, current.clone(), patch).unwrap(),
        json!({"strategy": {"type": "Recreate"}})
    );
    let broken = json!({"strategy": {"$retainKeys": ["type"], "rollingUpdate": {}}});
    assert!(strategic_merge(schema, current, broken).is_err());
}

#[test]
fn volumes_change_their_source_with_retain_keys() {
    check(
        json!({"volumes": [{"name": "v", "emptyDir": {}}]}),
        json!({"volumes": [{"name": "v", "hostPath": {"path": "/x"}, "$retainKeys": ["name", "hostPath"]}]}),
        json!({"volumes": [{"name": "v", "hostPath": {"path": "/x"}}]}),
    );
}

#[test]
fn primitive_lists_are_sets() {
    let schema = registry()
        .definition("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta")
        .unwrap();
    let current = json!({"finalizers": ["a", "b", "c"]});
    let patch = json!({"finalizers": ["d", "a"], "$deleteFromPrimitiveList/finalizers": ["b"],
        "$setElementOrder/finalizers": ["d", "a", "c"]});
    assert_eq!(
        strategic_merge(schema, current, patch).unwrap(),
        json!({"finalizers": ["d", "a", "c"]})
    );
}

#[test]
fn set_element_order_keeps_foreign_elements_near() {
    check(
        json!({"containers": [{"name": "sidecar"}, {"name": "a"}, {"name": "b"}, {"name": "tail"}]}),
        json!({"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}, {"name": "n"}],
            "containers": [{"name": "a", "image": "x"}, {"name": "n"}]}),
        json!({"containers": [{"name": "sidecar"}, {"name": "b"}, {"name": "a", "image": "x"}, {"name": "n"},
            {"name": "tail"}]}),
    );
    let wrong = json!({"$setElementOrder/containers": [{"name": "b"}], "containers": [{"name": "a"}]});
    assert!(pod_patch(json!({}), wrong).is_err());
}

#[test]
fn new_parts_carry_no_directives() {
    check(
        json!({}),
        json!({"containers": [{"name": "a", "$setElementOrder/ports": [{"containerPort": 1}],
            "ports": [{"containerPort": 1, "name": null}, {"containerPort": 2, "$patch": "delete"}]}],
            "affinity": {"$patch": "merge", "nodeAffinity": {"$retainKeys": []}}}),
        json!({"containers": [{"name": "a", "ports": [{"containerPort": 1}]}], "affinity": {"nodeAffinity": {}}}),
    );
}

#[test]
fn broken_patches_are_refused() {
    assert!(pod_patch(json!({}), json!([])).is_err());
    assert!(pod_patch(json!({}), json!({"$patch": "explode"})).is_err());
    assert!(
        pod_patch(
            json!({"containers": [{"name": "a"}]}),
            json!({"containers": [{"image": "x"}]})
        )
        .is_err()
    );
    assert!(pod_patch(json!({"containers": [{"name": "a"}]}), json!({"containers": ["a"]})).is_err());
    assert!(pod_patch(json!({}), json!({"$setElementOrder/containers": 7})).is_err());
}

#[test]
fn fields_outside_the_schema_merge_as_json() {
    check(
        json!({"x": {"a": 1, "l": [1]}}),
        json!({"x": {"b": 2, "l": [2]}}),
        json!({"x": {"a": 1, "b": 2, "l": [2]}}),
    );
}

/// The patch that kubectl 1.33 sends when a container is added, one changed, one removed, and the order turned.
#[test]
fn what_kubectl_apply_sends() {
    let schema = registry()
        .schema(&crate::gvk::Gvk::of("apps", "v1", "Deployment"))
        .unwrap();
    let current = json!({"spec": {"replicas": 3, "template": {"spec": {"containers": [
        {"name": "a", "image": "a:1"}, {"name": "c", "image": "c:1"}, {"name": "injected"}]}}}});
    let patch = json!({"spec": {"template": {"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}],
        "containers": [{"image": "b:1", "name": "b"}, {"image": "a:2", "name": "a", "ports": [{"containerPort": 80}]},
            {"$patch": "delete", "name": "c"}]}}}});
    let expected = json!({"spec": {"replicas": 3, "template": {"spec": {"containers": [
        {"name": "b", "image": "b:1"}, {"name": "a", "image": "a:2", "ports": [{"containerPort": 80}]},
        {"name": "injected"}]}}}});
    assert_eq!(strategic_merge(schema, current, patch).unwrap(), expected);
}
