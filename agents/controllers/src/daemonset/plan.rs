//! What a DaemonSet has to do, from the nodes and its Pods. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use client::objects::{Node, Pod};
use jiff::Timestamp;

use super::objects::{DaemonSet, Status};
use super::pod::{self, Place};
use crate::claim::{Claim, claim};
use crate::limits;
use crate::pods::until_available;
use crate::revisions::HASH_LABEL;

/// What to do.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub adopt: Vec<Arc<Pod>>,
    pub release: Vec<Arc<Pod>>,
    /// Names of nodes.
    pub create: Vec<String>,
    pub delete: Vec<Arc<Pod>>,
    pub status: Status,
    /// When to look again because something is due by the passing of time.
    pub look_again: Option<Duration>,
}

struct View<'a> {
    set: &'a DaemonSet,
    now: Timestamp,
    /// What tells Pods of the current template.
    hash: &'a str,
    /// Every node that exists, and every other that a Pod is meant for.
    nodes: BTreeMap<&'a str, OnNode>,
}

struct OnNode {
    exists: bool,
    place: Place,
    /// Those of the set's Pods that have not ended, the oldest first.
    pods: Vec<Arc<Pod>>,
    failed: Vec<Arc<Pod>>,
}

impl Default for OnNode {
    fn default() -> Self {
        OnNode {
            exists: false,
            place: Place {
                start: false,
                stay: false,
            },
            pods: Vec::new(),
            failed: Vec::new(),
        }
    }
}

/// `pods`: everything the set controls or may adopt. `hash`: that of the revision of its template.
pub(super) fn plan(set: &DaemonSet, nodes: &[Arc<Node>], pods: &[Arc<Pod>], hash: &str, now: Timestamp) -> Plan {
    let mut plan = Plan::default();
    let mut mine = Vec::new();
    for pod in pods {
        match claim(&set.metadata, &set.spec.selector, &pod.metadata) {
            Claim::Mine => mine.push(pod.clone()),
            Claim::Adopt => plan.adopt.push(pod.clone()),
            Claim::Release => plan.release.push(pod.clone()),
            Claim::Foreign => {}
        }
    }
    let view = View::new(set, nodes, &mine, hash, now);
    view.status(&mut plan);
    if !set.metadata.is_deleting() && plan.adopt.is_empty() && plan.release.is_empty() {
        view.manage(&mut plan);
        // A rollout starts from nodes that all have what they should.
        if set.spec.update_strategy.rolls() && plan.create.is_empty() && plan.delete.is_empty() {
            view.roll(&mut plan);
        }
        plan.create.truncate(limits::REPLICAS_BURST);
        plan.delete.truncate(limits::REPLICAS_BURST);
    }
    plan
}

impl<'a> View<'a> {
    fn new(set: &'a DaemonSet, all: &'a [Arc<Node>], mine: &'a [Arc<Pod>], hash: &'a str, now: Timestamp) -> Self {
        let template = pod::template(set);
        let mut nodes: BTreeMap<&str, OnNode> = BTreeMap::new();
        for node in all {
            let entry = nodes.entry(&node.metadata.name).or_default();
            entry.exists = true;
            if let Some(template) = &template {
                entry.place = pod::place(template, node);
            }
        }
        for pod in mine {
            // One that is meant for no node was not made here; it counts nowhere and goes.
            let entry = nodes.entry(pod::node_of(pod).unwrap_or_default()).or_default();
            match pod.is_terminal() {
                true => entry.failed.push(pod.clone()),
                false => entry.pods.push(pod.clone()),
            }
        }
        for entry in nodes.values_mut() {
            entry
                .pods
                .sort_by_key(|p| (p.metadata.creation_timestamp, p.metadata.name.clone()));
        }
        View { set, now, hash, nodes }
    }

    fn is_new(&self, pod: &Pod) -> bool {
        pod.metadata.labels.get(HASH_LABEL).is_some_and(|h| h == self.hash)
    }

    fn is_available(&self, pod: &Pod) -> bool {
        let waits = until_available(pod, self.set.spec.min_ready_seconds, self.now).is_some();
        pod.is_ready() && !waits && !pod.metadata.is_deleting()
    }

    fn surge(&self) -> usize {
        match self.set.spec.update_strategy.rolls() {
            true => self.set.bounds(self.wanted()).1,
            false => 0,
        }
    }

    /// On how many nodes a Pod should run.
    fn wanted(&self) -> i32 {
        self.nodes.values().filter(|n| n.place.start).count() as i32
    }

    /// One Pod on each node that should have one, none elsewhere.
    fn manage(&self, plan: &mut Plan) {
        let surges = self.surge() > 0;
        for (name, node) in &self.nodes {
            let staying = |p: &&Arc<Pod>| !p.metadata.is_deleting();
            for pod in node.failed.iter().filter(staying) {
                match wait_of_failed(pod, self.now) {
                    // One that fails over and over, perhaps refused by its kubelet, must not be made again all the time.
                    Some(wait) => plan.look_again = Some(plan.look_again.map_or(wait, |w| w.min(wait))),
                    None => plan.delete.push(pod.clone()),
                }
            }
            if !node.place.stay {
                plan.delete.extend(node.pods.iter().filter(staying).cloned());
                continue;
            }
            if node.pods.is_empty() {
                if node.place.start && node.failed.is_empty() {
                    plan.create.push((*name).to_owned());
                }
                continue;
            }
            let mut kept: Vec<&Arc<Pod>> = node.pods.iter().filter(staying).collect();
            if surges {
                // An old one and a new one side by side are a rollout's business.
                let old = kept.iter().position(|p| !self.is_new(p));
                let new = kept.iter().position(|p| self.is_new(p));
                let spared: Vec<usize> = old.into_iter().chain(new).collect();
                let extra = |(i, p): (usize, &&Arc<Pod>)| (!spared.contains(&i)).then(|| Arc::clone(*p));
                plan.delete.extend(kept.iter().enumerate().filter_map(extra));
            } else {
                // The oldest stays, but one that has its node goes before one that has not.
                kept.sort_by_key(|p| p.spec.node_name.is_empty());
                plan.delete.extend(kept.iter().skip(1).map(|p| Arc::clone(p)));
            }
        }
    }

    /// Replaces Pods of old templates, within the bounds of the set.
    fn roll(&self, plan: &mut Plan) {
        match self.set.bounds(self.wanted()) {
            (unavailable, 0) => self.roll_in_place(unavailable, plan),
            (_, surge) => self.roll_with_surge(surge, plan),
        }
    }

    fn roll_in_place(&self, unavailable: usize, plan: &mut Plan) {
        let mut away = 0;
        let mut candidates = Vec::new();
        for node in self.nodes.values().filter(|n| n.place.start) {
            match node.pods.first().filter(|_| node.pods.len() == 1) {
                Some(pod) if pod.metadata.is_deleting() => away += 1,
                Some(pod) if self.is_new(pod) => away += usize::from(!self.is_available(pod)),
                // Replacing it takes nothing away from anybody.
                Some(pod) if !self.is_available(pod) => plan.delete.push(pod.clone()),
                Some(pod) => candidates.push(pod.clone()),
                None => away += 1,
            }
        }
        let away = away + plan.delete.len();
        plan.delete
            .extend(candidates.into_iter().take(unavailable.saturating_sub(away)));
    }

    fn roll_with_surge(&self, surge: usize, plan: &mut Plan) {
        let mut double = 0;
        let mut candidates = Vec::new();
        for (name, node) in self.nodes.iter().filter(|(_, n)| n.place.start) {
            let of = |new: bool| {
                node.pods
                    .iter()
                    .find(|p| self.is_new(p) == new && !p.metadata.is_deleting())
            };
            match (of(false), of(true)) {
                (Some(old), Some(new)) if self.is_available(new) => plan.delete.push(old.clone()),
                (Some(_), Some(_)) => double += 1,
                // It serves nobody, so its successor need not wait for its turn.
                (Some(old), None) if !self.is_available(old) => plan.create.push((*name).to_owned()),
                (Some(_), None) => candidates.push((*name).to_owned()),
                (None, _) => {}
            }
        }
        let may = surge.saturating_sub(double + plan.create.len());
        plan.create.extend(candidates.into_iter().take(may));
    }

    fn status(&self, plan: &mut Plan) {
        let known = &self.set.status;
        let mut status = Status {
            observed_generation: self.set.metadata.generation,
            collision_count: known.collision_count,
            conditions: known.conditions.clone(),
            ..Status::default()
        };
        for node in self.nodes.values().filter(|n| n.exists) {
            let staying = |p: &&Arc<Pod>| !p.metadata.is_deleting();
            let Some(_) = node.pods.first() else {
                status.desired_number_scheduled += i32::from(node.place.start);
                continue;
            };
            if !node.place.start {
                status.number_misscheduled += 1;
                continue;
            }
            status.desired_number_scheduled += 1;
            status.current_number_scheduled += 1;
            let any = |test: &dyn Fn(&Pod) -> bool| i32::from(node.pods.iter().filter(staying).any(|p| test(p)));
            status.number_ready += any(&|p| p.is_ready());
            status.number_available += any(&|p| self.is_available(p));
            status.updated_number_scheduled += any(&|p| self.is_new(p));
        }
        status.number_unavailable = status.desired_number_scheduled - status.number_available;
        plan.status = status;
        let min = self.set.spec.min_ready_seconds;
        let pods = self.nodes.values().flat_map(|n| &n.pods).filter(|p| p.is_ready());
        plan.look_again = pods.filter_map(|p| until_available(p, min, self.now)).min();
    }
}

/// How long a failed Pod stays before it is made again; `None` if no longer.
fn wait_of_failed(pod: &Pod, now: Timestamp) -> Option<Duration> {
    let age = now.duration_since(pod.metadata.creation_timestamp.unwrap_or(now));
    limits::DAEMON_FAILED_WAIT
        .checked_sub(age.unsigned_abs())
        .filter(|wait| !wait.is_zero())
}
