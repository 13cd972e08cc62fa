//! The main job, on real input: kubectl against three masters and two nodes, real containers, and the leading master
//! killed in the middle of a rollout.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;

use serde_json::Value;

use crate::harness::cluster::{Cluster, LATER, SOON, missing_for_nodes, nothing_is_left};
use crate::harness::{eventually, images, output, skip, text};

const MANIFEST: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: web
        image: proreus.test/web:1
        ports: [{containerPort: 8080}]
        readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: NodePort
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080, nodePort: 30080}]
---
apiVersion: v1
kind: Pod
metadata: {name: probe}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: shell
    image: proreus.test/web:1
    command: [sleep, '86400']
---
apiVersion: v1
kind: Pod
metadata: {name: parrot}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  containers:
  - name: shell
    image: proreus.test/web:1
    command: [cat]
    stdin: true
    stdinOnce: true
";

const PODS: &str = "/api/v1/namespaces/default/pods";

#[test]
fn a_rollout_survives_the_leading_master() {
    if let Some(reason) = missing_for_nodes() {
        return skip(&reason);
    }
    let work = tempfile::tempdir().unwrap();
    let archives = [images::web(work.path(), 1), images::web(work.path(), 2)];
    let mut cluster = Cluster::start(3, 2, &archives);
    cluster.apply(MANIFEST);
    cluster.kubectl(&["rollout", "status", "deployment/web", "--timeout=120s"]);
    cluster.kubectl(&[
        "wait",
        "--for=condition=Ready",
        "pod/probe",
        "pod/parrot",
        "--timeout=60s",
    ]);

    the_service_answers(&cluster, "version 1");
    logs_and_exec_work(&cluster);
    attach_and_port_forward_work(&cluster);
    cluster.kubectl(&["scale", "deployment/web", "--replicas=5"]);
    cluster.kubectl(&["rollout", "status", "deployment/web", "--timeout=120s"]);

    let bindings = Bindings::since_now(&cluster);
    cluster.kubectl(&["set", "image", "deployment/web", "web=proreus.test/web:2"]);
    let killed = cluster.kill_leader();
    let killed_at = killed["revision"].as_i64().unwrap();
    cluster.kubectl(&["rollout", "status", "deployment/web", "--timeout=180s"]);
    bindings.no_pod_was_bound_twice(&cluster, killed_at);
    the_service_answers(&cluster, "version 2");
    cluster.start_again(&killed);

    delete_everything(&cluster);
    cluster.stop();
    nothing_is_left(&cluster);
}

fn the_service_answers(cluster: &Cluster, expected: &str) {
    let cluster_ip = cluster.kubectl(&["get", "service", "web", "-o", "jsonpath={.spec.clusterIP}"]);
    let nodes: Value = serde_json::from_str(&cluster.kubectl(&["get", "nodes", "-o", "json"])).unwrap();
    let node_ip = nodes["items"][0]["status"]["addresses"][0]["address"]
        .as_str()
        .unwrap()
        .to_string();
    let urls = [
        format!("http://{cluster_ip}/"),
        "http://web.default.svc.cluster.local/".into(),
        format!("http://{node_ip}:30080/"),
    ];
    for url in urls {
        let answer = || cluster.exec("probe", &["timeout", "3", "wget", "-q", "-O", "-", &url]);
        eventually(&format!("{url} answers {expected:?}"), SOON, || {
            answer().filter(|a| a.contains(expected))
        });
    }
}

fn logs_and_exec_work(cluster: &Cluster) {
    let logs = cluster.kubectl(&["logs", "deployment/web"]);
    assert!(logs.contains("serving version 1"), "{logs}");
    let hostname = cluster.exec("probe", &["hostname"]).expect("exec works");
    assert_eq!(hostname.trim(), "probe");
    let failing = output(
        cluster
            .command("kubectl")
            .args(["exec", "probe", "--", "sh", "-c", "exit 7"]),
    );
    assert_eq!(failing.status.code(), Some(7), "{}", text(&failing.stderr));
    let token = cluster
        .exec("probe", &["cat", "/var/run/secrets/kubernetes.io/serviceaccount/token"])
        .expect("a token");
    assert_eq!(token.trim().split('.').count(), 3, "a service-account token is mounted");
}

/// What becomes of pods from a moment on, told afterwards from the history that the surviving masters keep.
struct Bindings {
    since: String,
}

impl Bindings {
    fn since_now(cluster: &Cluster) -> Bindings {
        let list = cluster.kubectl(&["get", "--raw", PODS]);
        let list: Value = serde_json::from_str(&list).unwrap();
        let since = list["metadata"]["resourceVersion"].as_str().unwrap().to_string();
        Bindings { since }
    }

    /// Each pod of the new version was bound to one node for good, at least one of them by another master than the one
    /// that led at first.
    fn no_pod_was_bound_twice(&self, cluster: &Cluster, killed_at: i64) {
        let path = format!("{PODS}?watch=true&resourceVersion={}&timeoutSeconds=5", self.since);
        let mut nodes: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut later = 0;
        for line in cluster.kubectl(&["get", "--raw", &path]).lines() {
            let event: Value = serde_json::from_str(line).unwrap();
            let (kind, pod) = (&event["type"], &event["object"]);
            assert_ne!(kind, "ERROR", "the history is still there: {line}");
            let new = pod["spec"]["containers"][0]["image"] == "proreus.test/web:2";
            if let Some(node) = pod["spec"]["nodeName"].as_str().filter(|_| new) {
                let uid = pod["metadata"]["uid"].as_str().unwrap().to_string();
                let revision: i64 = pod["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
                let known = nodes.entry(uid).or_default();
                later += usize::from(known.is_empty() && revision > killed_at);
                known.insert(node.to_string());
            }
        }
        assert!(nodes.len() >= 5, "the history has the new pods: {nodes:?}");
        assert!(later > 0, "pods were bound after the kill: {nodes:?}");
        assert!(nodes.values().all(|n| n.len() == 1), "a pod was bound twice: {nodes:?}");
    }
}

fn attach_and_port_forward_work(cluster: &Cluster) {
    let mut attach = cluster.command("kubectl");
    attach
        .args(["attach", "-i", "parrot"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut attach = attach.spawn().unwrap();
    attach.stdin.take().unwrap().write_all(b"hello parrot\n").unwrap();
    let said = text(&attach.wait_with_output().unwrap().stdout);
    assert!(said.contains("hello parrot"), "what was typed comes back: {said:?}");

    let mut forward = cluster.command("kubectl");
    forward
        .args(["port-forward", "deployment/web", ":8080"])
        .stdout(Stdio::piped());
    let mut forward = forward.spawn().unwrap();
    let mut told = String::new();
    BufReader::new(forward.stdout.as_mut().unwrap())
        .read_line(&mut told)
        .unwrap();
    let local = told.split_whitespace().find(|word| word.starts_with("127.0.0.1:"));
    let local = local.unwrap_or_else(|| panic!("kubectl says where it listens: {told:?}"));
    let mut page = String::new();
    let mut connection = std::net::TcpStream::connect(local).unwrap();
    connection.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    connection.read_to_string(&mut page).unwrap();
    assert!(page.contains("version 1"), "{page:?}");
    let _ = forward.kill();
    let _ = forward.wait();
}

fn delete_everything(cluster: &Cluster) {
    cluster.kubectl(&["delete", "deployment/web", "service/web", "pod/probe", "pod/parrot"]);
    eventually("all pods are gone", LATER, || {
        let pods: Value = serde_json::from_str(&cluster.kubectl(&["get", "pods,replicasets", "-o", "json"])).ok()?;
        pods["items"].as_array()?.is_empty().then_some(())
    });
}
