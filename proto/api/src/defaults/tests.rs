use super::*;
use serde_json::json;

fn defaulted(gvk: &Gvk, object: Value) -> Value {
    let mut once = object;
    default_object(gvk, &mut once);
    let mut twice = once.clone();
    default_object(gvk, &mut twice);
    assert_eq!(once, twice, "defaulting is not idempotent");
    once
}

#[test]
fn pods() {
    let gvk = Gvk::of("", "v1", "Pod");
    let pod = defaulted(
        &gvk,
        json!({"metadata": {"name": "a"}, "spec": {
            "containers": [{"name": "c", "image": "nginx", "ports": [{"containerPort": 80}],
                "resources": {"limits": {"cpu": "1"}}, "livenessProbe": {"httpGet": {"port": 80}},
                "env": [{"name": "E", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}],
            "volumes": [{"name": "e"}, {"name": "s", "secret": {"secretName": "x"}},
                {"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}]}}),
    );
    assert_eq!(
        pod,
        json!({"metadata": {"name": "a"}, "status": {}, "spec": {
            "dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "securityContext": {},
            "terminationGracePeriodSeconds": 30, "schedulerName": "default-scheduler", "enableServiceLinks": true,
            "containers": [{"name": "c", "image": "nginx", "imagePullPolicy": "Always",
                "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
                "ports": [{"containerPort": 80, "protocol": "TCP"}],
                "resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "1"}},
                "livenessProbe": {"httpGet": {"port": 80, "path": "/", "scheme": "HTTP"}, "timeoutSeconds": 1,
                    "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3},
                "env": [{"name": "E", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}}]}],
            "volumes": [{"name": "e", "emptyDir": {}}, {"name": "s", "secret": {"secretName": "x", "defaultMode": 420}},
                {"name": "t", "projected": {"defaultMode": 420,
                    "sources": [{"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}}]}}]}})
    );
}

#[test]
fn images_are_pulled_by_tag() {
    let gvk = Gvk::of("", "v1", "Pod");
    for (image, policy) in [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("nginx:1.25", "IfNotPresent"),
        ("host:5000/nginx", "Always"),
        ("host:5000/nginx:1", "IfNotPresent"),
        ("nginx@sha256:abc", "IfNotPresent"),
    ] {
        let pod = defaulted(&gvk, json!({"spec": {"containers": [{"image": image}]}}));
        assert_eq!(pod["spec"]["containers"][0]["imagePullPolicy"], policy, "{image}");
    }
}

#[test]
fn deployments() {
    let gvk = Gvk::of("apps", "v1", "Deployment");
    let found = defaulted(
        &gvk,
        json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "i:1"}]}}}}),
    );
    let spec = &found["spec"];
    assert_eq!(spec["replicas"], 1);
    assert_eq!(
        spec["strategy"],
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}})
    );
    assert_eq!(spec["template"]["spec"]["containers"][0]["resources"], json!({}));
    assert!(spec["template"]["spec"].get("enableServiceLinks").is_none());
    let zero = defaulted(&gvk, json!({"spec": {"replicas": 0, "strategy": {"type": "Recreate"}}}));
    assert_eq!(zero["spec"]["replicas"], 0);
    assert_eq!(zero["spec"]["strategy"], json!({"type": "Recreate"}));
}

#[test]
fn services() {
    let gvk = Gvk::of("", "v1", "Service");
    let found = defaulted(&gvk, json!({"spec": {"type": "NodePort", "ports": [{"port": 80}]}}));
    assert_eq!(
        found["spec"],
        json!({"type": "NodePort", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster",
            "externalTrafficPolicy": "Cluster", "ports": [{"port": 80, "targetPort": 80, "protocol": "TCP"}]})
    );
}

#[test]
fn the_rest() {
    let namespace = defaulted(&Gvk::of("", "v1", "Namespace"), json!({"metadata": {"name": "n"}}));
    assert_eq!(namespace["metadata"]["labels"]["kubernetes.io/metadata.name"], "n");
    assert_eq!(namespace["status"]["phase"], "Active");
    let binding = defaulted(
        &Gvk::of("rbac.authorization.k8s.io", "v1", "RoleBinding"),
        json!({"roleRef": {"kind": "Role", "name": "r"}, "subjects": [{"kind": "User"}, {"kind": "ServiceAccount"}]}),
    );
    assert_eq!(binding["roleRef"]["apiGroup"], "rbac.authorization.k8s.io");
    assert_eq!(binding["subjects"][0]["apiGroup"], "rbac.authorization.k8s.io");
    assert!(binding["subjects"][1].get("apiGroup").is_none());
    let secret = defaulted(&Gvk::of("", "v1", "Secret"), json!({}));
    assert_eq!(secret["type"], "Opaque");
    let unknown = defaulted(&Gvk::of("x", "v1", "Y"), json!({"a": 1}));
    assert_eq!(unknown, json!({"a": 1}));
}
