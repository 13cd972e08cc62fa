//! StatefulSets played out: Pods appear at once, become ready one look later, and take one look to go. The order and the
//! number of Pods that are missing are checked at every step.

use std::collections::BTreeMap;
use std::sync::Arc;

use client::objects::Pod;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::identity;
use super::objects::{STATEFUL_SETS, StatefulSet};
use super::plan::plan;
use crate::limits;
use crate::revisions::{ControllerRevision, Needed, from_object, needed};

struct World {
    set: StatefulSet,
    revisions: Vec<Arc<ControllerRevision>>,
    pods: BTreeMap<String, Pod>,
    /// Names of Pods that never become ready while they have this image.
    broken: Option<&'static str>,
    now: Timestamp,
    log: Vec<String>,
    uids: usize,
}

fn world(spec: Value) -> World {
    let mut set: StatefulSet = serde_json::from_value(json!({
        "metadata": { "name": "web", "namespace": "n", "uid": "set", "generation": 1 },
        "spec": {
            "replicas": 3, "serviceName": "web",
            "selector": { "matchLabels": { "app": "a" } },
            "template": { "metadata": { "labels": { "app": "a" } }, "spec": { "containers": [{ "image": "v1" }] } },
        },
    }))
    .unwrap();
    let mut all = json!({});
    all["spec"] = spec;
    let wanted: StatefulSet = serde_json::from_value(all).unwrap();
    set.spec.pod_management_policy = wanted.spec.pod_management_policy;
    set.spec.update_strategy = wanted.spec.update_strategy;
    set.spec.ordinals = wanted.spec.ordinals;
    set.spec.min_ready_seconds = wanted.spec.min_ready_seconds;
    World {
        set,
        revisions: Vec::new(),
        pods: BTreeMap::new(),
        broken: None,
        now: "2026-01-01T00:00:00Z".parse().unwrap(),
        log: Vec::new(),
        uids: 0,
    }
}

impl World {
    /// `None` if the set is being deleted.
    fn revision(&mut self) -> Option<Arc<ControllerRevision>> {
        let (meta, template) = (&self.set.metadata, &self.set.spec.template);
        match needed(&STATEFUL_SETS, meta, template, None, &self.revisions)? {
            Needed::Newest(revision) => Some(revision),
            Needed::Again(revision, number) => {
                let mut again = ControllerRevision::clone(&revision);
                again.revision = number;
                self.revisions.retain(|r| r.metadata.name != again.metadata.name);
                self.revisions.push(Arc::new(again));
                self.revision()
            }
            Needed::New { object, .. } => {
                self.revisions.push(from_object(object));
                self.revision()
            }
        }
    }

    /// One look, carried out; whether it did anything.
    fn look(&mut self) -> bool {
        let Some(update) = self.revision() else {
            return false;
        };
        let pods: Vec<Arc<Pod>> = self.pods.values().cloned().map(Arc::new).collect();
        let plan = plan(&self.set, &pods, &update.metadata.name, self.now);
        let mut changed = plan.status != self.set.status;
        let current = self
            .revisions
            .iter()
            .find(|r| r.metadata.name == plan.status.current_revision)
            .unwrap_or(&update)
            .clone();
        self.set.status = plan.status;
        for (ordinal, new) in plan.create {
            let made = identity::pod(&self.set, ordinal, if new { &update } else { &current });
            let mut pod: Pod = serde_json::from_value(made).unwrap();
            self.uids += 1;
            pod.metadata.uid = self.uids.to_string();
            pod.status.phase = "Pending".into();
            self.log.push(format!("+{ordinal} {}", image(&pod)));
            assert!(
                self.pods.insert(pod.metadata.name.clone(), pod).is_none(),
                "made twice: {:?}",
                self.log
            );
            changed = true;
        }
        for pod in plan.delete {
            let there = self.pods.get_mut(&pod.metadata.name).unwrap();
            assert!(!there.metadata.is_deleting(), "deleted twice: {:?}", self.log);
            there.metadata.deletion_timestamp = Some(self.now);
            self.log
                .push(format!("-{}", identity::ordinal(&self.set, &pod).unwrap()));
            changed = true;
        }
        changed
    }

    /// Kubelets do their part.
    fn kubelets(&mut self) -> bool {
        let before = self.pods.len();
        self.pods.retain(|_, p| !p.metadata.is_deleting());
        let mut moved = before != self.pods.len();
        self.now += SignedDuration::from_secs(1);
        for pod in self.pods.values_mut().filter(|p| p.status.phase == "Pending") {
            if self.broken.is_none_or(|image| self::image(pod) != image) {
                let condition = json!([{ "type": "Ready", "status": "True", "lastTransitionTime": self.now }]);
                pod.status.conditions = serde_json::from_value(condition).unwrap();
                pod.status.phase = "Running".into();
                moved = true;
            }
        }
        moved
    }

    /// Looks until nothing changes, at most `missing` Pods being away at a time once all have been there.
    fn settle(&mut self, missing: usize) -> Vec<String> {
        self.log.clear();
        let full = |world: &World| world.set.ordinals().filter(|o| world.is_up(*o)).count();
        let mut quiet = 0;
        let wanted = self.set.ordinals().len();
        let was_full = full(self) == wanted;
        for _ in 0..200 {
            let changed = self.look();
            self.ordered();
            assert!(!was_full || full(self) + missing >= wanted, "too few: {:?}", self.log);
            let moved = self.kubelets();
            quiet = if changed || moved { 0 } else { quiet + 1 };
            // Availability comes with time alone.
            if quiet > self.set.spec.min_ready_seconds + 1 {
                return std::mem::take(&mut self.log);
            }
        }
        panic!("never settles: {:?}", self.log);
    }

    fn is_up(&self, ordinal: i32) -> bool {
        let pod = self.pods.get(&identity::name(&self.set, ordinal));
        pod.is_some_and(|p| p.is_ready() && !p.metadata.is_deleting())
    }

    /// With ordered management a Pod that is not up yet is followed by none that has just been made.
    fn ordered(&self) {
        if !self.set.ordered() {
            return;
        }
        let pending = self.pods.values().filter(|p| p.status.phase == "Pending").count();
        assert!(pending <= 1, "{:?}", self.log);
    }

    fn set_image(&mut self, image: &str) {
        self.set.spec.template["spec"]["containers"][0]["image"] = image.into();
        self.set.metadata.generation += 1;
    }

    fn images(&self) -> Vec<&str> {
        self.pods.values().map(image).collect()
    }
}

fn image(pod: &Pod) -> &str {
    &pod.spec.containers[0].image
}

#[test]
fn pods_come_in_order_and_go_in_reverse() {
    let mut world = world(json!({}));
    assert_eq!(world.settle(3), ["+0 v1", "+1 v1", "+2 v1"]);
    let status = &world.set.status;
    assert_eq!(
        (status.replicas, status.ready_replicas, status.updated_replicas),
        (3, 3, 3)
    );
    world.set.spec.replicas = Some(1);
    assert_eq!(world.settle(0), ["-2", "-1"]);
    world.set.spec.replicas = Some(2);
    world.set.spec.ordinals = Some(super::objects::Ordinals { start: 1 });
    assert_eq!(world.settle(2), ["+1 v1", "+2 v1", "-0"]);
}

#[test]
fn a_rolling_update_goes_from_the_highest_down_one_at_a_time() {
    let mut world = world(json!({}));
    world.settle(3);
    world.set_image("v2");
    assert_eq!(world.settle(1), ["-2", "+2 v2", "-1", "+1 v2", "-0", "+0 v2"]);
    assert_eq!(world.set.status.current_revision, world.set.status.update_revision);
    assert_eq!(world.set.status.current_replicas, 3);
}

#[test]
fn more_may_be_away_at_a_time_if_asked_for() {
    let rolling = json!({ "rollingUpdate": { "maxUnavailable": 2 } });
    let mut world = world(json!({ "podManagementPolicy": "Parallel", "updateStrategy": rolling }));
    world.settle(3);
    world.set_image("v2");
    let log = world.settle(2);
    assert_eq!(log[..2], ["-2", "-1"]);
    assert_eq!(world.images(), ["v2", "v2", "v2"]);
}

#[test]
fn a_partition_keeps_the_lower_ones_and_their_revision() {
    let mut world = world(json!({ "updateStrategy": { "rollingUpdate": { "partition": 2 } } }));
    world.settle(3);
    world.set_image("v2");
    assert_eq!(world.settle(1), ["-2", "+2 v2"]);
    assert_ne!(world.set.status.current_revision, world.set.status.update_revision);
    assert_eq!(
        (world.set.status.current_replicas, world.set.status.updated_replicas),
        (2, 1)
    );
    // A Pod below the partition that is lost comes back as it was.
    world.pods.remove("web-0");
    assert_eq!(world.settle(3), ["+0 v1"]);
}

#[test]
fn a_partition_counts_from_the_first_ordinal() {
    let mut world = world(json!({
        "ordinals": { "start": 5 }, "updateStrategy": { "rollingUpdate": { "partition": 2 } } }));
    assert_eq!(world.settle(3), ["+5 v1", "+6 v1", "+7 v1"]);
    world.set_image("v2");
    assert_eq!(world.settle(1), ["-7", "+7 v2"]);
    world.pods.remove("web-6");
    assert_eq!(world.settle(3), ["+6 v1"]);
}

#[test]
fn a_size_that_nobody_can_have_costs_no_more_than_a_burst() {
    let mut world = world(json!({ "podManagementPolicy": "Parallel" }));
    world.set.spec.replicas = Some(i32::MAX);
    world.look();
    assert_eq!(world.log.len(), limits::REPLICAS_BURST);
    // The next look goes on where this one has ended.
    world.look();
    assert_eq!(world.pods.len(), 2 * limits::REPLICAS_BURST);
    assert!(
        world
            .pods
            .contains_key(&format!("web-{}", 2 * limits::REPLICAS_BURST - 1))
    );
    world.set.spec.pod_management_policy = "OrderedReady".into();
    world.log.clear();
    world.look();
    assert!(world.log.is_empty(), "the first is not ready yet");
}

#[test]
fn a_broken_update_stops_and_can_be_taken_back() {
    let mut world = world(json!({}));
    world.settle(3);
    world.broken = Some("bad");
    world.set_image("bad");
    assert_eq!(world.settle(1), ["-2", "+2 bad"]);
    world.set_image("v3");
    // The Pod that never comes up is in the way of ordered management, as it is upstream; deleting it helps.
    assert!(world.settle(3).is_empty());
    world.pods.remove("web-2");
    assert_eq!(world.settle(3), ["+2 v3", "-1", "+1 v3", "-0", "+0 v3"]);
}

#[test]
fn on_delete_replaces_only_what_is_deleted() {
    let mut world = world(json!({ "updateStrategy": { "type": "OnDelete" } }));
    world.settle(3);
    world.set_image("v2");
    assert!(world.settle(0).is_empty());
    world.pods.remove("web-1");
    assert_eq!(world.settle(3), ["+1 v2"]);
    assert_eq!(world.images(), ["v1", "v2", "v1"]);
}

#[test]
fn in_parallel_nobody_waits() {
    let mut world = world(json!({ "podManagementPolicy": "Parallel" }));
    world.look();
    assert_eq!(world.log, ["+0 v1", "+1 v1", "+2 v1"]);
    world.settle(3);
    world.set.spec.replicas = Some(0);
    world.log.clear();
    world.look();
    assert_eq!(world.log, ["-2", "-1", "-0"]);
}

#[test]
fn the_next_one_waits_until_its_predecessor_is_available() {
    let mut world = world(json!({ "minReadySeconds": 5 }));
    world.look();
    world.kubelets();
    world.look();
    assert_eq!(world.log, ["+0 v1"], "ready, but not for long enough");
    assert_eq!(
        (world.set.status.ready_replicas, world.set.status.available_replicas),
        (1, 0)
    );
    assert_eq!(world.settle(3).len(), 2);
}

#[test]
fn what_has_ended_is_made_again() {
    let mut world = world(json!({}));
    world.settle(3);
    let pod = world.pods.get_mut("web-1").unwrap();
    pod.status.phase = "Failed".into();
    pod.status.conditions.clear();
    assert_eq!(world.settle(1), ["-1", "+1 v1"]);
}

#[test]
fn a_set_that_is_going_is_left_alone() {
    let mut world = world(json!({}));
    world.set.metadata.deletion_timestamp = Some(world.now);
    assert!(world.settle(3).is_empty() && world.revisions.is_empty());
}
