//! The main job, on real input: kubectl against three masters and two nodes, real containers, and the leading master
//! killed in the middle of a rollout.

use std::collections::{BTreeMap, BTreeSet};

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
";

#[test]
fn a_rollout_survives_the_leading_master() {
    if let Some(reason) = missing_for_nodes() {
        return skip("a_rollout_survives_the_leading_master", &reason);
    }
    let work = tempfile::tempdir().unwrap();
    let archives = [images::web(work.path(), 1), images::web(work.path(), 2)];
    let mut cluster = Cluster::start(3, 2, &archives);
    cluster.apply(MANIFEST);
    cluster.kubectl(&["rollout", "status", "deployment/web", "--timeout=120s"]);
    cluster.kubectl(&["wait", "--for=condition=Ready", "pod/probe", "--timeout=60s"]);

    the_service_answers(&cluster, "version 1");
    logs_and_exec_work(&cluster);
    cluster.kubectl(&["scale", "deployment/web", "--replicas=5"]);
    cluster.kubectl(&["rollout", "status", "deployment/web", "--timeout=120s"]);

    let bindings = WatchedBindings::start(&cluster);
    cluster.kubectl(&["set", "image", "deployment/web", "web=proreus.test/web:2"]);
    let killed = cluster.kill_leader();
    cluster.kubectl(&["rollout", "status", "deployment/web", "--timeout=180s"]);
    bindings.no_pod_was_bound_twice();
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

/// Follows the pods of a rollout and remembers to which node each was bound.
struct WatchedBindings {
    kubectl: std::process::Child,
    file: std::path::PathBuf,
}

impl WatchedBindings {
    fn start(cluster: &Cluster) -> WatchedBindings {
        let file = cluster.directory().join("bindings");
        let format = "jsonpath={.metadata.uid} {.spec.nodeName}{\"\\n\"}";
        let mut command = cluster.command("kubectl");
        command
            .args(["get", "pods", "--watch", "-o", format])
            .stdout(std::fs::File::create(&file).unwrap());
        WatchedBindings {
            kubectl: command.spawn().unwrap(),
            file,
        }
    }

    fn no_pod_was_bound_twice(mut self) {
        let _ = self.kubectl.kill();
        let _ = self.kubectl.wait();
        let seen = std::fs::read_to_string(&self.file).unwrap();
        let mut nodes: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (uid, node) in seen
            .lines()
            .filter_map(|line| line.split_once(' '))
            .filter(|(_, node)| !node.is_empty())
        {
            nodes.entry(uid).or_default().insert(node);
        }
        assert!(nodes.len() >= 5, "the watch saw the pods: {seen}");
        assert!(nodes.values().all(|n| n.len() == 1), "a pod was bound twice: {nodes:?}");
    }
}

fn delete_everything(cluster: &Cluster) {
    cluster.kubectl(&["delete", "deployment/web", "service/web", "pod/probe"]);
    eventually("all pods are gone", LATER, || {
        let pods: Value = serde_json::from_str(&cluster.kubectl(&["get", "pods,replicasets", "-o", "json"])).ok()?;
        pods["items"].as_array()?.is_empty().then_some(())
    });
}
