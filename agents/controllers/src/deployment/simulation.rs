//! Rollouts played out: a tiny world in which ReplicaSets obey at once and Pods become available one by one, looked at
//! again and again until nothing changes. The promises (never too many, never too few) are checked at every step.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::percent::bounds;
use super::plan::{Action, Observed, Plan, plan};
use super::revision::{self, REVISION};
use crate::objects::{Deployment, ReplicaSet};
use crate::testing;

struct World {
    deployment: Deployment,
    sets: BTreeMap<String, ReplicaSet>,
    /// Images whose Pods never become ready.
    broken: Vec<String>,
    now: Timestamp,
    /// Every action, as a line.
    log: Vec<String>,
}

impl World {
    fn new(deployment: Deployment) -> Self {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        World {
            deployment,
            sets: BTreeMap::new(),
            broken: Vec::new(),
            now,
            log: Vec::new(),
        }
    }

    fn list(&self) -> Vec<Arc<ReplicaSet>> {
        self.sets.values().cloned().map(Arc::new).collect()
    }

    /// One look of the controller, carried out.
    fn step(&mut self) -> bool {
        let sets = self.list();
        let running: Vec<String> = sets
            .iter()
            .filter(|s| s.status.replicas > 0)
            .map(|s| s.metadata.uid.clone())
            .collect();
        let observed = Observed {
            deployment: &self.deployment,
            sets: &sets,
            running: &running,
            now: self.now,
        };
        let Plan { actions, status, .. } = plan(&observed);
        let changed = !actions.is_empty() || status != self.deployment.status;
        self.deployment.status = status;
        for action in actions {
            self.act(action);
        }
        changed
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Create {
                name,
                hash,
                replicas,
                annotations,
            } => {
                let object = revision::new_set(&self.deployment, &name, &hash, replicas, &annotations);
                let mut set: ReplicaSet = serde_json::from_value(object).unwrap();
                set.metadata.uid = name.clone();
                set.metadata.generation = 1;
                set.metadata.creation_timestamp = Some(self.now);
                self.log.push(format!("create {} {replicas}", image(&set)));
                self.sets.insert(name, set);
            }
            Action::Scale {
                set,
                replicas,
                annotations,
            } => {
                self.log
                    .push(format!("scale {} {}->{replicas}", image(&set), set.replicas()));
                let set = self.sets.get_mut(&set.metadata.name).unwrap();
                set.spec.replicas = Some(replicas);
                set.metadata.generation += 1;
                set.metadata.annotations.extend(annotations);
            }
            Action::Annotate {
                set,
                annotations,
                min_ready_seconds,
            } => {
                let set = self.sets.get_mut(&set.metadata.name).unwrap();
                set.metadata.annotations.extend(annotations);
                set.spec.min_ready_seconds = min_ready_seconds;
            }
            Action::Revision(number) => {
                self.log.push(format!("revision {number}"));
                self.deployment.metadata.annotations.insert(REVISION.to_owned(), number);
            }
            Action::Delete(set) => {
                self.log.push(format!("delete {}", image(&set)));
                self.sets.remove(&set.metadata.name);
            }
        }
    }

    /// The ReplicaSets make and end Pods; one more Pod of the whole world becomes available.
    fn pods(&mut self) -> bool {
        let before: Vec<_> = self.sets.values().map(|s| s.status.clone()).collect();
        let mut one_more = true;
        for set in self.sets.values_mut() {
            let (size, broken) = (set.replicas(), self.broken.contains(&image(set)));
            set.status.observed_generation = set.metadata.generation;
            set.status.replicas = size;
            set.status.available_replicas = set.status.available_replicas.min(size);
            if one_more && !broken && set.status.available_replicas < size {
                set.status.available_replicas += 1;
                one_more = false;
            }
            set.status.ready_replicas = set.status.available_replicas;
        }
        self.now += SignedDuration::from_secs(1);
        before != self.sets.values().map(|s| s.status.clone()).collect::<Vec<_>>()
    }

    /// Runs until nothing changes, checking the promises after every step once the first Pods are there.
    fn settle(&mut self) {
        let started = self.available() >= self.deployment.replicas() - bounds(&self.deployment).1;
        for _ in 0..1000 {
            let acted = self.step();
            let (surge, unavailable) = bounds(&self.deployment);
            let total: i32 = self.sets.values().map(|s| s.replicas()).sum();
            assert!(total <= self.deployment.replicas() + surge, "too many: {:?}", self.log);
            let moved = self.pods();
            if started && self.deployment.spec.strategy.kind != "Recreate" {
                assert!(
                    self.available() >= self.deployment.replicas() - unavailable,
                    "too few: {:?}",
                    self.log
                );
            }
            if !acted && !moved {
                return;
            }
        }
        panic!("never settles: {:?}", self.log);
    }

    fn available(&self) -> i32 {
        self.sets.values().map(|s| s.status.available_replicas).sum()
    }

    fn set_image(&mut self, image: &str) {
        self.deployment.spec.template["spec"]["containers"][0]["image"] = image.into();
        self.deployment.metadata.generation += 1;
        self.log.clear();
    }

    fn resize(&mut self, replicas: i32) {
        self.deployment.spec.replicas = Some(replicas);
        self.deployment.metadata.generation += 1;
        self.log.clear();
    }

    fn sizes(&self) -> BTreeMap<String, i32> {
        self.sets.values().map(|s| (image(s), s.replicas())).collect()
    }

    fn condition(&self, kind: &str) -> (String, String) {
        let condition = self
            .deployment
            .status
            .conditions
            .iter()
            .find(|c| c.kind == kind)
            .unwrap();
        (condition.status.clone(), condition.reason.clone())
    }
}

fn image(set: &ReplicaSet) -> String {
    set.spec.template["spec"]["containers"][0]["image"]
        .as_str()
        .unwrap()
        .to_owned()
}

fn world(replicas: i32) -> World {
    let mut world = World::new(testing::deployment(replicas, "v1"));
    world.settle();
    world
}

fn sizes(pairs: &[(&str, i32)]) -> BTreeMap<String, i32> {
    pairs.iter().map(|(image, size)| (image.to_string(), *size)).collect()
}

#[test]
fn a_size_that_nobody_can_have_is_handed_on_as_it_is() {
    let mut world = World::new(testing::deployment(i32::MAX, "v1"));
    world.step();
    assert!(
        world.log.contains(&format!("create v1 {}", i32::MAX)),
        "{:?}",
        world.log
    );
}

#[test]
fn a_new_deployment_becomes_complete() {
    let world = world(3);
    assert_eq!(world.log, ["create v1 3", "revision 1"]);
    let status = &world.deployment.status;
    assert_eq!(
        (status.replicas, status.updated_replicas, status.available_replicas),
        (3, 3, 3)
    );
    assert_eq!(status.unavailable_replicas, 0);
    assert_eq!(
        world.condition("Available"),
        ("True".into(), "MinimumReplicasAvailable".into())
    );
    assert_eq!(
        world.condition("Progressing"),
        ("True".into(), "NewReplicaSetAvailable".into())
    );
}

#[test]
fn a_rolling_update_keeps_its_bounds_and_ends_with_the_new_template_alone() {
    for replicas in [1, 2, 3, 4, 10, 25] {
        let mut world = world(replicas);
        world.set_image("v2");
        world.settle();
        assert_eq!(world.sizes(), sizes(&[("v1", 0), ("v2", replicas)]), "{replicas}");
        assert_eq!(world.deployment.metadata.annotations[REVISION], "2");
    }
}

#[test]
fn the_steps_of_a_small_rollout() {
    let mut world = world(2);
    world.set_image("v2");
    world.settle();
    // 25 % of 2: surge 1, unavailable 0.
    let expected = [
        "create v2 1",
        "revision 2",
        "scale v1 2->1",
        "scale v2 1->2",
        "scale v1 1->0",
    ];
    assert_eq!(world.log, expected);
}

#[test]
fn a_broken_template_stops_the_rollout_and_runs_out_of_time() {
    let mut world = world(4);
    world.broken.push("bad".to_owned());
    world.set_image("bad");
    world.settle();
    assert_eq!(world.sizes(), sizes(&[("bad", 2), ("v1", 3)]));
    assert_eq!(world.condition("Available").0, "True");
    world.now += SignedDuration::from_secs(601);
    world.settle();
    assert_eq!(
        world.condition("Progressing"),
        ("False".into(), "ProgressDeadlineExceeded".into())
    );
    world.set_image("v1");
    world.settle();
    assert_eq!(world.sizes(), sizes(&[("bad", 0), ("v1", 4)]));
    assert_eq!(
        world.deployment.metadata.annotations[REVISION], "3",
        "going back is a revision too"
    );
    assert_eq!(
        world.condition("Progressing"),
        ("True".into(), "NewReplicaSetAvailable".into())
    );
}

#[test]
fn scaling_is_not_a_rollout() {
    let mut world = world(3);
    world.resize(5);
    world.settle();
    assert_eq!(world.log, ["scale v1 3->5"]);
    world.resize(0);
    world.settle();
    assert_eq!(world.sizes(), sizes(&[("v1", 0)]));
    world.resize(2);
    world.settle();
    assert_eq!(world.sizes(), sizes(&[("v1", 2)]));
    assert_eq!(world.deployment.metadata.annotations[REVISION], "1");
}

#[test]
fn scaling_during_a_rollout_is_shared() {
    let mut world = world(10);
    world.broken.push("bad".to_owned());
    world.set_image("bad");
    world.settle();
    let before = world.sizes();
    world.resize(20);
    world.step();
    let after = world.sizes();
    assert_eq!(
        after.values().sum::<i32>(),
        25,
        "size plus surge: {before:?} -> {after:?}"
    );
    assert!(
        after["bad"] > before["bad"] && after["v1"] > before["v1"],
        "{before:?} -> {after:?}"
    );
}

#[test]
fn recreate_never_runs_both() {
    let mut world = world(3);
    world.deployment.spec.strategy.kind = "Recreate".to_owned();
    world.set_image("v2");
    world.settle();
    assert_eq!(world.log, ["scale v1 3->0", "create v2 3", "revision 2"]);
}

#[test]
fn a_paused_deployment_scales_but_does_not_roll() {
    let mut world = world(2);
    world.deployment.spec.paused = true;
    world.set_image("v2");
    world.resize(3);
    world.settle();
    assert_eq!(world.sizes(), sizes(&[("v1", 3)]));
    assert_eq!(
        world.condition("Progressing"),
        ("Unknown".into(), "DeploymentPaused".into())
    );
    world.deployment.spec.paused = false;
    world.settle();
    assert_eq!(world.sizes(), sizes(&[("v1", 0), ("v2", 3)]));
}

#[test]
fn history_is_limited() {
    let mut world = world(1);
    world.deployment.spec.revision_history_limit = Some(1);
    for version in ["v2", "v3", "v4"] {
        world.set_image(version);
        world.settle();
    }
    assert_eq!(world.sizes(), sizes(&[("v3", 0), ("v4", 1)]));
}

#[test]
fn a_deployment_that_is_going_is_left_alone() {
    let mut world = world(2);
    world.deployment.metadata.deletion_timestamp = Some(world.now);
    world.set_image("v2");
    world.settle();
    assert!(world.log.is_empty());
}
