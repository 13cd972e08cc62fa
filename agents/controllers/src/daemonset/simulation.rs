//! DaemonSets played out over a few nodes: Pods appear at once, become ready one look later, and take one look to go.

use std::collections::BTreeMap;
use std::sync::Arc;

use client::objects::{Node, Pod};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::objects::{DAEMON_SETS, DaemonSet};
use super::plan::plan;
use super::pod;
use crate::limits;
use crate::revisions::{ControllerRevision, Needed, from_object, needed};

struct World {
    set: DaemonSet,
    nodes: BTreeMap<String, Node>,
    revision: Arc<ControllerRevision>,
    pods: Vec<Pod>,
    now: Timestamp,
    made: usize,
    log: Vec<String>,
}

fn node(name: &str) -> Node {
    serde_json::from_value(json!({ "metadata": { "name": name } })).unwrap()
}

fn world(names: &[&str], strategy: Value) -> World {
    let set: DaemonSet = serde_json::from_value(json!({
        "metadata": { "name": "d", "namespace": "n", "uid": "set", "generation": 1 },
        "spec": {
            "selector": { "matchLabels": { "app": "a" } },
            "template": { "metadata": { "labels": { "app": "a" } }, "spec": { "containers": [{ "image": "v1" }] } },
            "updateStrategy": strategy,
        },
    }))
    .unwrap();
    World {
        revision: revision(&set),
        set,
        nodes: names.iter().map(|n| (n.to_string(), node(n))).collect(),
        pods: Vec::new(),
        now: "2026-01-01T00:00:00Z".parse().unwrap(),
        made: 0,
        log: Vec::new(),
    }
}

fn revision(set: &DaemonSet) -> Arc<ControllerRevision> {
    match needed(&DAEMON_SETS, &set.metadata, &set.spec.template, None, &[]) {
        Some(Needed::New { object, .. }) => from_object(object),
        other => panic!("{other:?}"),
    }
}

impl World {
    fn look(&mut self) -> bool {
        let nodes: Vec<Arc<Node>> = self.nodes.values().cloned().map(Arc::new).collect();
        let pods: Vec<Arc<Pod>> = self.pods.iter().cloned().map(Arc::new).collect();
        let plan = plan(&self.set, &nodes, &pods, self.revision.hash(), self.now);
        let mut changed = plan.status != self.set.status;
        self.set.status = plan.status;
        for node in plan.create {
            let mut made: Pod = serde_json::from_value(pod::pod(&self.set, &node, &self.revision)).unwrap();
            self.made += 1;
            made.metadata.name = format!("d-{}", self.made);
            made.metadata.uid = self.made.to_string();
            made.metadata.creation_timestamp = Some(self.now);
            self.log.push(format!("+{node} {}", image(&made)));
            self.pods.push(made);
            changed = true;
        }
        for gone in plan.delete {
            let there = self
                .pods
                .iter_mut()
                .find(|p| p.metadata.uid == gone.metadata.uid)
                .unwrap();
            assert!(!there.metadata.is_deleting(), "deleted twice: {:?}", self.log);
            there.metadata.deletion_timestamp = Some(self.now);
            self.log
                .push(format!("-{} {}", pod::node_of(&gone).unwrap(), image(&gone)));
            changed = true;
        }
        changed
    }

    fn kubelets(&mut self) -> bool {
        let before = self.pods.len();
        self.pods.retain(|p| !p.metadata.is_deleting());
        let mut moved = before != self.pods.len();
        self.now += SignedDuration::from_secs(1);
        for pod in &mut self.pods {
            let name = pod::node_of(pod).unwrap().to_owned();
            if pod.spec.node_name.is_empty() && image(pod) != "bad" {
                let condition = json!([{ "type": "Ready", "status": "True", "lastTransitionTime": self.now }]);
                pod.status.conditions = serde_json::from_value(condition).unwrap();
                pod.spec.node_name = name;
                moved = true;
            }
        }
        moved
    }

    /// Looks until nothing changes. On no more than `away` nodes the Pod may be missing meanwhile, and on none may there
    /// be more than `most`.
    fn settle(&mut self, away: usize, most: usize) -> Vec<String> {
        self.log.clear();
        for _ in 0..100 {
            let changed = self.look();
            let up = |n: &&String| {
                self.pods
                    .iter()
                    .any(|p| on(p, n) && p.is_ready() && !p.metadata.is_deleting())
            };
            let missing = self.nodes.keys().filter(|n| !up(n)).count();
            assert!(missing <= away, "too few: {:?}", self.log);
            let crowd = self.nodes.keys().map(|n| self.pods.iter().filter(|p| on(p, n)).count());
            assert!(crowd.max().unwrap_or(0) <= most, "too many: {:?}", self.log);
            if !changed && !self.kubelets() {
                return std::mem::take(&mut self.log);
            }
            self.kubelets();
        }
        panic!("never settles: {:?}", self.log);
    }

    fn set_image(&mut self, image: &str) {
        self.set.spec.template["spec"]["containers"][0]["image"] = image.into();
        self.revision = revision(&self.set);
    }

    fn images(&self) -> Vec<&str> {
        self.pods.iter().map(image).collect()
    }
}

fn on(pod: &Pod, node: &str) -> bool {
    pod::node_of(pod) == Some(node)
}

fn image(pod: &Pod) -> &str {
    &pod.spec.containers[0].image
}

#[test]
fn every_node_gets_one_and_a_node_that_leaves_takes_its_own_along() {
    let mut world = world(&["a", "b"], json!({}));
    assert_eq!(world.settle(2, 1), ["+a v1", "+b v1"]);
    world.nodes.insert("c".into(), node("c"));
    assert_eq!(world.settle(1, 1), ["+c v1"]);
    let status = &world.set.status;
    assert_eq!((status.desired_number_scheduled, status.number_available), (3, 3));
    world.nodes.remove("b");
    assert_eq!(world.settle(0, 1), ["-b v1"]);
}

#[test]
fn a_node_that_no_longer_fits_loses_its_pod() {
    let mut world = world(&["a", "b"], json!({}));
    for node in world.nodes.values_mut() {
        node.metadata.labels.insert("disk".into(), "ssd".into());
    }
    world.set.spec.template["spec"]["nodeSelector"] = json!({ "disk": "ssd" });
    world.revision = revision(&world.set);
    world.settle(2, 1);
    world.nodes.get_mut("a").unwrap().metadata.labels.clear();
    world.look();
    assert_eq!(world.set.status.number_misscheduled, 1);
    assert_eq!(world.log, ["-a v1"]);
}

#[test]
fn a_rolling_update_takes_one_node_at_a_time() {
    let mut world = world(&["a", "b", "c"], json!({}));
    world.settle(3, 1);
    world.set_image("v2");
    assert_eq!(
        world.settle(1, 1),
        ["-a v1", "+a v2", "-b v1", "+b v2", "-c v1", "+c v2"]
    );
    assert_eq!(world.set.status.updated_number_scheduled, 3);
}

#[test]
fn as_many_at_a_time_as_allowed() {
    let mut world = world(
        &["a", "b", "c", "d"],
        json!({ "rollingUpdate": { "maxUnavailable": "50%" } }),
    );
    world.settle(4, 1);
    world.set_image("v2");
    assert_eq!(world.settle(2, 1)[..2], ["-a v1", "-b v1"]);
}

#[test]
fn with_surge_nobody_is_ever_without() {
    let mut world = world(
        &["a", "b", "c"],
        json!({ "rollingUpdate": { "maxSurge": 1, "maxUnavailable": 0 } }),
    );
    world.settle(3, 1);
    world.set_image("v2");
    assert_eq!(
        world.settle(0, 2),
        ["+a v2", "+b v2", "-a v1", "+c v2", "-b v1", "-c v1"]
    );
    assert_eq!(world.images(), ["v2", "v2", "v2"]);
}

#[test]
fn a_broken_update_stops_at_its_bound_and_is_taken_back_at_once() {
    let mut world = world(&["a", "b", "c"], json!({}));
    world.settle(3, 1);
    world.set_image("bad");
    assert_eq!(world.settle(1, 1), ["-a v1", "+a bad"]);
    world.set_image("v1");
    assert_eq!(world.settle(1, 1), ["-a bad", "+a v1"]);
}

#[test]
fn on_delete_replaces_only_what_is_deleted() {
    let mut world = world(&["a", "b"], json!({ "type": "OnDelete" }));
    world.settle(2, 1);
    world.set_image("v2");
    assert!(world.settle(0, 1).is_empty());
    world.pods.remove(0);
    assert_eq!(world.settle(1, 1), ["+a v2"]);
}

#[test]
fn a_failed_pod_is_made_again_after_a_while() {
    let mut world = world(&["a"], json!({}));
    world.settle(1, 1);
    world.pods[0].status.phase = "Failed".into();
    world.pods[0].metadata.creation_timestamp = Some(world.now);
    assert!(world.settle(1, 1).is_empty());
    world.now += SignedDuration::try_from(limits::DAEMON_FAILED_WAIT).unwrap();
    assert_eq!(world.settle(1, 1), ["-a v1", "+a v1"]);
}

#[test]
fn of_two_on_a_node_the_elder_stays() {
    let mut world = world(&["a"], json!({}));
    world.settle(1, 1);
    let mut second = world.pods[0].clone();
    second.metadata.uid = "second".into();
    second.metadata.creation_timestamp = Some(world.now + SignedDuration::from_secs(5));
    world.pods.push(second);
    world.settle(1, 2);
    assert_eq!(world.pods[0].metadata.uid, "1");
    assert_eq!(world.pods.len(), 1);
}
