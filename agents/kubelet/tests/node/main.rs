//! A node with a real containerd in a directory of its own: a pod's whole life, and two crashes in the middle of it.
//! Needs root and containerd; without them it says so and passes.

mod api;
mod machine;

use serde_json::{Value, json};

use api::Api;
use machine::Machine;

const POD: &str = "/api/v1/namespaces/default/pods/web";

fn pod() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": "web", "namespace": "default", "uid": "11111111-2222-3333-4444-555555555555",
                      "labels": { "app": "web" } },
        "spec": {
            "nodeName": "test-node",
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 5,
            "serviceAccountName": "default",
            "initContainers": [{
                "name": "prepare", "image": machine::IMAGE, "imagePullPolicy": "Never",
                "command": ["sh", "-c", "echo \"$GREETING\" >/data/greeting"],
                "env": [{ "name": "GREETING", "valueFrom": { "configMapKeyRef": { "name": "words", "key": "hello" } } }],
                "volumeMounts": [{ "name": "data", "mountPath": "/data" }],
            }],
            "containers": [{
                "name": "main", "image": machine::IMAGE, "imagePullPolicy": "Never",
                "command": ["sh", "-c",
                    "trap 'echo stopping; exit 0' TERM; cat /data/greeting /secret/token; echo; echo up; \
                     while true; do sleep 0.1; done"],
                "readinessProbe": { "exec": { "command": ["test", "-f", "/data/greeting"] }, "periodSeconds": 1 },
                "resources": { "limits": { "memory": "64Mi", "cpu": "500m" } },
                "volumeMounts": [
                    { "name": "data", "mountPath": "/data" },
                    { "name": "fast", "mountPath": "/fast" },
                    { "name": "token", "mountPath": "/secret", "readOnly": true },
                    { "name": "config", "mountPath": "/etc/only", "subPath": "hello" },
                ],
            }],
            "volumes": [
                { "name": "data", "emptyDir": {} },
                { "name": "fast", "emptyDir": { "medium": "Memory", "sizeLimit": "1Mi" } },
                { "name": "config", "configMap": { "name": "words" } },
                { "name": "token", "projected": { "sources": [{ "serviceAccountToken": { "path": "token" } }] } },
            ],
        },
    })
}

fn is_ready(object: &Value) -> bool {
    let conditions = object["status"]["conditions"].as_array();
    conditions
        .into_iter()
        .flatten()
        .any(|c| c["type"] == "Ready" && c["status"] == "True")
}

fn main_container(pod: &Value) -> &Value {
    &pod["status"]["containerStatuses"][0]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pods_life_survives_the_deaths_of_containerd_and_the_agent() {
    let Some(machine) = Machine::new() else {
        return skip::skip("needs root, containerd, runc, the CNI plugins and a static busybox");
    };
    let api = Api::default();
    let words = json!({ "metadata": { "name": "words" }, "data": { "hello": "good morning" } });
    api.put("/api/v1/namespaces/default/configmaps/words", words);

    let agent = machine.start(&api, false);
    let node = api
        .wait("the node becomes ready", "/api/v1/nodes/test-node", is_ready)
        .await;
    assert_eq!(node["metadata"]["labels"]["kubernetes.io/os"], "linux");
    assert!(
        node["status"]["nodeInfo"]["containerRuntimeVersion"]
            .as_str()
            .unwrap()
            .starts_with("containerd://")
    );
    let lease = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/test-node";
    api.wait("the node has a lease", lease, |l| l["spec"]["renewTime"].is_string())
        .await;

    api.put(POD, pod());
    let running = api.wait("the pod becomes ready", POD, is_ready).await;
    assert_eq!(running["status"]["phase"], "Running");
    assert_eq!(
        running["status"]["initContainerStatuses"][0]["state"]["terminated"]["reason"],
        "Completed"
    );
    let ip: std::net::Ipv4Addr = running["status"]["podIP"].as_str().unwrap().parse().unwrap();
    assert_eq!(ip.octets()[..3], machine::SUBNET);
    let id = main_container(&running)["containerID"].as_str().unwrap().to_owned();

    let logs = machine.get("/containerLogs/default/web/main?tailLines=2").await;
    assert_eq!(logs, (200, "a-token\nup\n".into()));
    let logs = machine.get("/containerLogs/default/web/main").await.1;
    assert!(logs.starts_with("good morning\n"), "{logs}");
    assert_eq!(machine.get("/containerLogs/default/web/nope").await.0, 400);
    assert_eq!(machine.get("/containerLogs/default/nope/main").await.0, 404);
    let said = machine
        .exec("/exec/default/web/main?output=1&error=1&command=cat&command=/etc/only&command=/etc/hosts")
        .await;
    assert!(
        said.contains("good morning") && said.contains(&format!("{ip}\tweb")),
        "{said}"
    );
    let said = machine
        .exec("/exec/default/web/main?output=1&command=cat&command=/proc/mounts")
        .await;
    assert!(said.contains("tmpfs /secret tmpfs"), "tokens stay off the disk: {said}");
    assert_eq!(machine.get_anonymously("/pods").await.0, 401);
    assert_eq!(machine.get_anonymously("/healthz").await, (200, "ok".into()));

    // containerd dies: the pod does not notice, and the agent starts another.
    machine.kill_containerd().await;
    let said = machine
        .exec_when_possible("/exec/default/web/main?output=1&command=echo&command=alive")
        .await;
    assert!(said.contains("alive"));

    // The agent is replaced: the next one finds the same container.
    agent.stop().await;
    let agent = machine.start(&api, true);
    let said = machine
        .exec_when_possible("/exec/default/web/main?output=1&command=echo&command=adopted")
        .await;
    assert!(said.contains("adopted"));
    let adopted = api.get(POD).unwrap();
    assert_eq!(main_container(&adopted)["containerID"], id);
    assert_eq!(main_container(&adopted)["restartCount"], 0);

    // The process dies by itself: it is started again, and the one before is remembered.
    machine
        .exec_when_possible("/exec/default/web/main?output=1&command=kill&command=-TERM&command=1")
        .await;
    let again = api.wait("the container is restarted", POD, |p| {
        main_container(p)["restartCount"] == 1 && is_ready(p)
    });
    let again = again.await;
    assert_eq!(main_container(&again)["lastState"]["terminated"]["exitCode"], 0);
    let (code, previous) = machine
        .get("/containerLogs/default/web/main?previous=true&tailLines=1")
        .await;
    assert_eq!((code, previous.as_str()), (200, "stopping\n"));

    let mut deleted = api.get(POD).unwrap();
    deleted["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:05Z");
    deleted["metadata"]["deletionGracePeriodSeconds"] = json!(5);
    api.put(POD, deleted);
    api.wait("the pod is removed", POD, Value::is_null).await;
    machine.assert_no_pod_is_left();
    agent.stop().await;
    machine.assert_nothing_is_left();
}
