//! Every built-in resource can be made, is defaulted, checked, shown as a table, and taken away.

use crate::harness::{Client, Cluster};
use serde_json::{Value, json};

fn pod_template(restart: &str) -> Value {
    json!({"metadata": {"labels": {"a": "b"}}, "spec": {"restartPolicy": restart, "containers": [{"name": "c", "image": "i"}]}})
}

/// Path of the collection, and a spec-like object to put there.
fn examples() -> Vec<(&'static str, &'static str, &'static str, Value)> {
    let always = pod_template("Always");
    let never = pod_template("Never");
    let selector = json!({"matchLabels": {"a": "b"}});
    let claim = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
    let webhook = json!([{"name": "a.b.c", "sideEffects": "None", "admissionReviewVersions": ["v1"],
        "clientConfig": {"service": {"namespace": "n", "name": "s"}}}]);
    vec![
        (
            "v1",
            "limitranges",
            "LimitRange",
            json!({"spec": {"limits": [{"type": "Container", "max": {"cpu": "2"}}]}}),
        ),
        (
            "v1",
            "persistentvolumeclaims",
            "PersistentVolumeClaim",
            json!({"spec": claim}),
        ),
        (
            "v1",
            "persistentvolumes",
            "PersistentVolume",
            json!({"spec": {"accessModes": ["ReadWriteOnce"],
            "capacity": {"storage": "1Gi"}, "hostPath": {"path": "/x"}}}),
        ),
        ("v1", "podtemplates", "PodTemplate", json!({"template": always})),
        (
            "v1",
            "replicationcontrollers",
            "ReplicationController",
            json!({"spec": {"template": always}}),
        ),
        (
            "v1",
            "resourcequotas",
            "ResourceQuota",
            json!({"spec": {"hard": {"count/widgets": "5"}}}),
        ),
        (
            "apps/v1",
            "controllerrevisions",
            "ControllerRevision",
            json!({"revision": 1, "data": {"x": 1}}),
        ),
        (
            "apps/v1",
            "daemonsets",
            "DaemonSet",
            json!({"spec": {"selector": selector, "template": always}}),
        ),
        (
            "apps/v1",
            "statefulsets",
            "StatefulSet",
            json!({"spec": {"serviceName": "s", "selector": selector, "template": always}}),
        ),
        (
            "autoscaling/v2",
            "horizontalpodautoscalers",
            "HorizontalPodAutoscaler",
            json!({"spec": {"maxReplicas": 3,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}}}),
        ),
        ("batch/v1", "jobs", "Job", json!({"spec": {"template": never}})),
        (
            "batch/v1",
            "cronjobs",
            "CronJob",
            json!({"spec": {"schedule": "* * * * *", "jobTemplate": {"spec": {"template": never}}}}),
        ),
        (
            "certificates.k8s.io/v1",
            "certificatesigningrequests",
            "CertificateSigningRequest",
            json!({"spec": {
            "signerName": "kubernetes.io/kube-apiserver-client", "usages": ["client auth"],
            "request": crate::certificates::request("anna", &[])}}),
        ),
        (
            "networking.k8s.io/v1",
            "ingressclasses",
            "IngressClass",
            json!({"spec": {"controller": "a.b/c"}}),
        ),
        (
            "networking.k8s.io/v1",
            "ingresses",
            "Ingress",
            json!({"spec": {"defaultBackend":
            {"service": {"name": "s", "port": {"number": 80}}}}}),
        ),
        (
            "networking.k8s.io/v1",
            "networkpolicies",
            "NetworkPolicy",
            json!({"spec": {"podSelector": {}}}),
        ),
        (
            "networking.k8s.io/v1",
            "servicecidrs",
            "ServiceCIDR",
            json!({"spec": {"cidrs": ["10.97.0.0/24"]}}),
        ),
        (
            "policy/v1",
            "poddisruptionbudgets",
            "PodDisruptionBudget",
            json!({"spec": {"minAvailable": 1, "selector": selector}}),
        ),
        ("storage.k8s.io/v1", "csidrivers", "CSIDriver", json!({"spec": {}})),
        (
            "storage.k8s.io/v1",
            "csinodes",
            "CSINode",
            json!({"spec": {"drivers": []}}),
        ),
        (
            "storage.k8s.io/v1",
            "csistoragecapacities",
            "CSIStorageCapacity",
            json!({"storageClassName": "c"}),
        ),
        (
            "storage.k8s.io/v1",
            "storageclasses",
            "StorageClass",
            json!({"provisioner": "a.b/c"}),
        ),
        (
            "storage.k8s.io/v1",
            "volumeattachments",
            "VolumeAttachment",
            json!({"spec": {"attacher": "a", "nodeName": "n",
            "source": {"persistentVolumeName": "v"}}}),
        ),
        (
            "storage.k8s.io/v1",
            "volumeattributesclasses",
            "VolumeAttributesClass",
            json!({"driverName": "d", "parameters": {"a": "b"}}),
        ),
        (
            "admissionregistration.k8s.io/v1",
            "mutatingwebhookconfigurations",
            "MutatingWebhookConfiguration",
            json!({"webhooks": webhook}),
        ),
        (
            "admissionregistration.k8s.io/v1",
            "validatingwebhookconfigurations",
            "ValidatingWebhookConfiguration",
            json!({"webhooks": webhook}),
        ),
        (
            "admissionregistration.k8s.io/v1",
            "validatingadmissionpolicies",
            "ValidatingAdmissionPolicy",
            json!({"spec": {
            "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"],
                "resources": ["pods"]}]}, "validations": [{"expression": "true"}]}}),
        ),
        (
            "admissionregistration.k8s.io/v1",
            "validatingadmissionpolicybindings",
            "ValidatingAdmissionPolicyBinding",
            json!({"spec": {"policyName": "p", "validationActions": ["Deny"]}}),
        ),
        (
            "scheduling.k8s.io/v1",
            "priorityclasses",
            "PriorityClass",
            json!({"value": 7}),
        ),
        (
            "flowcontrol.apiserver.k8s.io/v1",
            "flowschemas",
            "FlowSchema",
            json!({"spec": {"priorityLevelConfiguration": {"name": "l"}}}),
        ),
        (
            "flowcontrol.apiserver.k8s.io/v1",
            "prioritylevelconfigurations",
            "PriorityLevelConfiguration",
            json!({"spec": {"type": "Limited", "limited": {"limitResponse": {"type": "Reject"}}}}),
        ),
        (
            "node.k8s.io/v1",
            "runtimeclasses",
            "RuntimeClass",
            json!({"handler": "runc"}),
        ),
    ]
}

fn collection(version: &str, resource: &str) -> String {
    let (group, version_only) = version.split_once('/').unwrap_or(("", version));
    let row = api::resource(group, version_only, resource).unwrap_or_else(|| panic!("{resource} is not served"));
    let root = if group.is_empty() { "/api" } else { "/apis" };
    match row.namespaced {
        true => format!("{root}/{version}/namespaces/default/{resource}"),
        false => format!("{root}/{version}/{resource}"),
    }
}

async fn make(admin: &Client, version: &str, resource: &str, kind: &str, mut object: Value) -> Value {
    object["apiVersion"] = json!(version);
    object["kind"] = json!(kind);
    object["metadata"] = json!({"name": "x"});
    admin.post(&collection(version, resource), object).await.expect(201)
}

#[tokio::test]
async fn every_kind_lives_a_whole_life() {
    let (_cluster, admin) = Cluster::ready().await;
    for (version, resource, kind, object) in examples() {
        let path = collection(version, resource);
        let made = make(&admin, version, resource, kind, object).await;
        let rows = admin.table(&path).await;
        let row = rows
            .iter()
            .find(|row| row[0].as_str().is_some_and(|name| name.starts_with('x')));
        let row = row.unwrap_or_else(|| panic!("no row of {resource}: {rows:?}"));
        let table = admin.columns(&path).await;
        assert_eq!(row.len(), table.len(), "{resource}: {table:?} {row:?}");
        // Writing back what was read changes nothing: defaulting is complete and checks accept what they let in.
        let same = admin.put(&format!("{path}/x"), made.clone()).await.expect(200);
        assert_eq!(
            same["metadata"]["resourceVersion"], made["metadata"]["resourceVersion"],
            "{resource}: {made} {same}"
        );
        let gone = admin
            .delete(&format!("{path}/x"), json!({"propagationPolicy": "Background"}))
            .await;
        assert_eq!(gone.code, 200, "{}", gone.body);
    }
}

#[tokio::test]
async fn a_status_changes_only_through_its_subresource() {
    let (_cluster, admin) = Cluster::ready().await;
    let claim = json!({"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        "status": {"phase": "Bound"}});
    let made = make(&admin, "v1", "persistentvolumeclaims", "PersistentVolumeClaim", claim).await;
    assert_eq!(made["status"]["phase"], "Pending");
    let path = format!("{}/x", collection("v1", "persistentvolumeclaims"));
    let status = json!({"status": {"phase": "Bound"}, "spec": {"volumeName": "v"}});
    let bound = admin.patch(&format!("{path}/status"), status).await.expect(200);
    assert_eq!(
        (&bound["status"]["phase"], bound["spec"].get("volumeName")),
        (&json!("Bound"), None)
    );
}

#[tokio::test]
async fn what_the_schema_requires_is_required() {
    let (_cluster, admin) = Cluster::ready().await;
    let class = json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "c"}});
    let refused = admin
        .post("/apis/storage.k8s.io/v1/storageclasses", class)
        .await
        .message(422);
    assert_eq!(
        refused,
        "StorageClass.storage.k8s.io \"c\" is invalid: provisioner: Required value"
    );
    let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"}, "spec": {"template": pod_template("Always")}});
    let refused = admin
        .post("/apis/batch/v1/namespaces/default/jobs", job)
        .await
        .message(422);
    assert!(
        refused.contains("spec.template.spec.restartPolicy: Unsupported value: \"Always\""),
        "{refused}"
    );
}

/// `kubectl autoscale` writes the first version; everything else reads the second.
#[tokio::test]
async fn autoscalers_are_one_object_in_two_versions() {
    let (_cluster, admin) = Cluster::ready().await;
    let v1 = "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers";
    let v2 = v1.replace("/v1/", "/v2/");
    let scaler = json!({"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "a"},
        "spec": {"maxReplicas": 3, "targetCPUUtilizationPercentage": 60,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}}});
    let made = admin.post(v1, scaler).await.expect(201);
    assert_eq!(
        (&made["apiVersion"], &made["spec"]["minReplicas"]),
        (&json!("autoscaling/v1"), &json!(1))
    );
    let shown = admin.get(&format!("{v2}/a")).await.expect(200);
    assert_eq!(
        shown["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"],
        60
    );
    let memory = json!({"type": "Resource", "resource": {"name": "memory", "target": {"type": "Utilization", "averageUtilization": 5}}});
    let mut metrics = shown["spec"]["metrics"].clone();
    metrics.as_array_mut().unwrap().push(memory);
    admin
        .merge(&format!("{v2}/a"), json!({"spec": {"metrics": metrics}}))
        .await
        .expect(200);
    let patch = json!({"spec": {"targetCPUUtilizationPercentage": 70}});
    admin.merge(&format!("{v1}/a"), patch).await.expect(200);
    let shown = admin.get(&format!("{v2}/a")).await.expect(200);
    assert_eq!(
        shown["spec"]["metrics"].as_array().unwrap().len(),
        2,
        "the other metric stays: {shown}"
    );
    assert_eq!(
        shown["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"],
        70
    );
    assert_eq!(
        admin.get("/apis/autoscaling").await.expect(200)["preferredVersion"]["version"],
        "v2"
    );
}
