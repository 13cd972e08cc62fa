//! Jobs played out: Pods do as they are told, and the controller is stopped between any two of its steps. However that
//! goes, every Pod counts exactly once.

use std::sync::Arc;

use client::objects::Pod;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::objects::Job;
use super::plan::{Plan, plan};
use super::pod;
use crate::limits;

struct World {
    job: Job,
    pods: Vec<Pod>,
    now: Timestamp,
    made: usize,
    /// How many of the controller's steps are carried out before it is stopped and started again.
    steps: Option<usize>,
    most_active: usize,
}

fn world(spec: Value) -> World {
    let mut object = json!({
        "metadata": { "name": "j", "namespace": "n", "uid": "job", "generation": 1 },
        "spec": {
            "completions": 1, "parallelism": 1, "backoffLimit": 6,
            "selector": { "matchLabels": { "app": "a" } },
            "template": { "metadata": { "labels": { "app": "a" } },
                "spec": { "restartPolicy": "Never", "containers": [{ "name": "c" }] } },
        },
    });
    for (field, value) in spec.as_object().unwrap() {
        object["spec"][field] = value.clone();
    }
    World {
        job: serde_json::from_value(object).unwrap(),
        pods: Vec::new(),
        now: "2026-01-01T00:00:00Z".parse().unwrap(),
        made: 0,
        steps: None,
        most_active: 0,
    }
}

impl World {
    fn plan(&self) -> Plan {
        let pods: Vec<Arc<Pod>> = self.pods.iter().cloned().map(Arc::new).collect();
        plan(&self.job, &pods, self.now)
    }

    /// One look, carried out as far as the controller gets.
    fn look(&mut self) {
        let plan = self.plan();
        let mut left = self.steps.unwrap_or(usize::MAX);
        let mut may = || {
            let may = left > 0;
            left = left.saturating_sub(1);
            may
        };
        if may() {
            // As the API keeps it.
            let written = serde_json::to_value(&plan.status).unwrap();
            self.job.status = serde_json::from_value(written).unwrap();
        } else {
            return;
        }
        for freed in plan.free.iter().chain(&plan.discard) {
            if !may() {
                return;
            }
            if let Some(pod) = self.find(freed) {
                pod.metadata.finalizers.clear();
            }
        }
        for stopped in plan.discard.iter().chain(&plan.delete) {
            let now = self.now;
            if !may() {
                return;
            }
            if let Some(pod) = self.find(stopped) {
                pod.metadata.deletion_timestamp = Some(now);
            }
        }
        for index in plan.create {
            if !may() {
                return;
            }
            let mut made: Pod = serde_json::from_value(pod::pod(&self.job, index)).unwrap();
            self.made += 1;
            made.metadata.name = format!("j-{}", self.made);
            made.metadata.uid = self.made.to_string();
            made.metadata.creation_timestamp = Some(self.now);
            made.status.phase = "Running".into();
            self.pods.push(made);
        }
    }

    fn find(&mut self, pod: &Pod) -> Option<&mut Pod> {
        self.pods.iter_mut().find(|p| p.metadata.uid == pod.metadata.uid)
    }

    fn active(&self) -> Vec<&Pod> {
        let active = |p: &&Pod| !p.is_terminal() && !p.metadata.is_deleting();
        self.pods.iter().filter(active).collect()
    }

    /// Time passes, one running Pod ends so, and what is deleted and free goes.
    fn pass(&mut self, phase: &str) {
        self.now += SignedDuration::from_secs(1);
        let now = self.now;
        self.most_active = self.most_active.max(self.active().len());
        let running = self
            .pods
            .iter_mut()
            .find(|p| !p.is_terminal() && !p.metadata.is_deleting());
        if let Some(pod) = running.filter(|_| !phase.is_empty()) {
            pod.status.phase = phase.to_owned();
            let ended = json!([{ "name": "c", "state": { "terminated": { "finishedAt": now } } }]);
            pod.status.container_statuses = serde_json::from_value(ended).unwrap();
        }
        for pod in self
            .pods
            .iter_mut()
            .filter(|p| p.metadata.is_deleting() && !p.is_terminal())
        {
            // Its kubelet stops it.
            pod.status.phase = "Failed".into();
        }
        self.pods.retain(|p| !p.metadata.is_deleting() || pod::is_tracked(p));
    }

    fn run(&mut self, phases: &[&str]) {
        for phase in phases.iter().chain([""; 30].iter()) {
            self.look();
            self.pass(phase);
        }
    }

    fn wait(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
    }

    fn outcome(&self) -> Option<&str> {
        let done = ["Complete", "Failed"]
            .into_iter()
            .find(|kind| self.job.status.holds(kind).is_some());
        done.filter(|_| self.job.status.active == 0)
    }

    fn reason(&self) -> &str {
        &self.job.status.holds("Failed").unwrap().reason
    }
}

#[test]
fn it_runs_until_enough_have_succeeded_and_no_more_at_a_time_than_allowed() {
    let mut world = world(json!({ "completions": 5, "parallelism": 2 }));
    world.run(&["Succeeded"; 12]);
    assert_eq!(world.outcome(), Some("Complete"));
    let status = &world.job.status;
    assert_eq!((status.succeeded, status.failed, world.made), (5, 0, 5));
    assert!(status.completion_time.is_some() && world.most_active == 2);
    assert!(
        world.pods.iter().all(|p| !pod::is_tracked(p)),
        "everyone has been let go"
    );
}

#[test]
fn every_pod_counts_once_wherever_the_controller_is_stopped() {
    for steps in 1..6 {
        let mut world = world(json!({ "completions": 4, "parallelism": 3 }));
        world.steps = Some(steps);
        world.run(&["Succeeded"; 40]);
        world.steps = None;
        world.run(&["Succeeded"; 10]);
        assert_eq!(world.outcome(), Some("Complete"), "after {steps}");
        assert_eq!(world.job.status.succeeded, 4, "after {steps}");
        assert_eq!(world.job.status.failed, 0);
    }
}

#[test]
fn too_many_failures_fail_it_and_stop_the_rest() {
    let mut world = world(json!({ "completions": 5, "parallelism": 3, "backoffLimit": 1 }));
    world.run(&["Failed", "Failed"]);
    assert_eq!(
        (world.outcome(), world.reason()),
        (Some("Failed"), "BackoffLimitExceeded")
    );
    assert!(world.active().is_empty() && world.job.status.failed >= 2);
}

#[test]
fn restarts_in_a_pod_fail_it_once_they_reach_the_limit() {
    for (limit, restarts, fails) in [(0, 0, false), (0, 1, true), (1, 1, true), (3, 2, false), (3, 3, true)] {
        let mut world = world(json!({ "backoffLimit": limit }));
        world.job.spec.template["spec"]["restartPolicy"] = "OnFailure".into();
        world.look();
        let status = json!([{ "name": "c", "restartCount": restarts }]);
        world.pods[0].status.container_statuses = serde_json::from_value(status).unwrap();
        world.look();
        let failed = world.job.status.holds("FailureTarget");
        let case = format!("{restarts} restarts of {limit}");
        assert_eq!(failed.is_some(), fails, "{case}");
        assert!(failed.is_none_or(|c| c.reason == "BackoffLimitExceeded"), "{case}");
    }
}

#[test]
fn a_size_that_nobody_can_have_costs_no_more_than_a_burst() {
    for mode in ["NonIndexed", "Indexed"] {
        let most = i32::MAX;
        let mut world = world(json!({ "completions": most, "parallelism": most, "completionMode": mode }));
        world.look();
        assert_eq!(world.pods.len(), limits::REPLICAS_BURST, "{mode}");
        world.job.status.completed_indexes = format!("0-{}", most - 2);
        let plan = world.plan();
        assert!(plan.create.len() <= limits::REPLICAS_BURST);
        if mode == "Indexed" {
            assert_eq!(plan.create, [Some(most - 1)]);
            assert_eq!(plan.status.succeeded, most - 1);
        }
    }
}

#[test]
fn failures_are_retried_after_longer_and_longer_waits() {
    let mut world = world(json!({ "backoffLimit": 3 }));
    for wait in [10, 20, 40] {
        world.look();
        world.pass("Failed");
        world.look();
        world.look();
        assert!(world.active().is_empty(), "waits {wait} s");
        assert!(world.plan().look_again.is_some());
        world.wait(wait - 1);
        world.look();
        assert!(world.active().is_empty());
        world.wait(1);
        world.look();
        assert_eq!(world.active().len(), 1);
    }
    world.run(&["Succeeded"]);
    assert_eq!(world.outcome(), Some("Complete"));
    assert_eq!((world.job.status.succeeded, world.job.status.failed), (1, 3));
}

#[test]
fn a_deadline_ends_it() {
    let mut world = world(json!({ "activeDeadlineSeconds": 60 }));
    world.look();
    assert!(world.plan().look_again.is_some());
    world.wait(60);
    world.run(&[]);
    assert_eq!((world.outcome(), world.reason()), (Some("Failed"), "DeadlineExceeded"));
}

#[test]
fn indexes_are_given_once_each_and_a_failed_one_again() {
    let mut world = world(json!({ "completions": 4, "parallelism": 2, "completionMode": "Indexed" }));
    world.look();
    let indexes = |world: &World| world.active().iter().filter_map(|p| pod::index(p)).collect::<Vec<_>>();
    assert_eq!(indexes(&world), [0, 1]);
    world.pass("Failed");
    world.look();
    world.wait(10);
    world.look();
    assert_eq!(indexes(&world), [1, 0]);
    world.run(&["Succeeded"; 12]);
    assert_eq!(world.outcome(), Some("Complete"));
    assert_eq!(world.job.status.completed_indexes, "0-3");
    assert_eq!((world.job.status.succeeded, world.job.status.failed), (4, 1));
}

#[test]
fn without_completions_one_success_is_enough_and_nobody_is_added() {
    let mut world = world(json!({ "completions": null, "parallelism": 3 }));
    world.look();
    world.pass("Succeeded");
    world.look();
    assert_eq!((world.active().len(), world.outcome()), (2, None));
    world.run(&["Succeeded", "Failed"]);
    assert_eq!((world.outcome(), world.made), (Some("Complete"), 3));
}

#[test]
fn suspending_stops_the_pods_and_counts_none_of_them() {
    let mut world = world(json!({ "completions": 2, "parallelism": 2 }));
    world.look();
    world.job.spec.suspend = true;
    world.run(&[]);
    assert!(world.pods.is_empty() && world.job.status.start_time.is_none());
    assert!(world.job.status.holds("Suspended").is_some());
    world.job.spec.suspend = false;
    world.run(&["", "Succeeded", "Succeeded", "Succeeded"]);
    assert_eq!(world.outcome(), Some("Complete"));
    assert_eq!((world.job.status.succeeded, world.job.status.failed), (2, 0));
}

#[test]
fn less_parallelism_stops_the_surplus() {
    let mut world = world(json!({ "completions": 9, "parallelism": 5 }));
    world.look();
    world.job.spec.parallelism = Some(2);
    world.look();
    assert_eq!(world.active().len(), 2);
    world.run(&["Succeeded"; 15]);
    assert_eq!((world.job.status.succeeded, world.job.status.failed), (9, 0));
}

#[test]
fn a_pod_that_is_deleted_by_others_counts_as_failed_and_is_replaced() {
    let mut world = world(json!({}));
    world.look();
    world.pods[0].metadata.deletion_timestamp = Some(world.now);
    world.look();
    world.wait(10);
    world.look();
    assert_eq!(world.active().len(), 1);
    world.run(&["Succeeded"]);
    assert_eq!((world.job.status.succeeded, world.job.status.failed), (1, 1));
}
