//! A node's agent killed without warning: its pods go on, and the agent that is started again adopts them.

use crate::harness::cluster::{Cluster, LATER, missing_for_nodes, nothing_is_left};
use crate::harness::{eventually, images, skip};

const NODES: u8 = 2;

fn manifest(name: &str) -> String {
    format!(
        "
apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  nodeName: node-1
  terminationGracePeriodSeconds: 1
  containers:
  - name: shell
    image: proreus.test/web:1
    command: [sleep, '86400']
"
    )
}

#[test]
fn a_killed_agent_comes_back_to_its_pods() {
    if let Some(reason) = missing_for_nodes() {
        return skip(&reason);
    }
    let work = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::start(1, NODES, &[images::web(work.path(), 1)]);
    cluster.apply(&manifest("before"));
    cluster.kubectl(&["wait", "--for=condition=Ready", "pod/before", "--timeout=60s"]);
    let container = || {
        let path = "jsonpath={.status.containerStatuses[0].containerID} {.status.containerStatuses[0].restartCount}";
        cluster.kubectl(&["get", "pod", "before", "-o", path])
    };
    let started = container();
    cluster
        .exec("before", &["sh", "-c", "echo kept >/tmp/word"])
        .expect("exec works");

    let killed = cluster.kill_node("node-1");
    cluster.start_again(&killed);
    let word = eventually("the new agent serves the old pod", LATER, || {
        cluster.exec("before", &["cat", "/tmp/word"])
    });
    assert_eq!(word.trim(), "kept", "it is the same container");
    cluster.apply(&manifest("after"));
    cluster.kubectl(&["wait", "--for=condition=Ready", "pod/after", "--timeout=60s"]);
    assert_eq!(container(), started);

    // With the agent dead, stopping the cluster still leaves nothing behind.
    cluster.kill_node("node-1");
    cluster.stop();
    nothing_is_left(&cluster);
}
