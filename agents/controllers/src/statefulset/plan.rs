//! What a StatefulSet has to do next, from its Pods. Pure.
//!
//! With ordered management one Pod is changed at a time, and only while every Pod before it is well; so the plan is mostly
//! a single step, and the change it makes leads to the next look.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use client::objects::Pod;
use jiff::Timestamp;

use super::identity;
use super::objects::{StatefulSet, Status};
use crate::claim::{Claim, claim};
use crate::limits;
use crate::pods::until_available;

/// What to do.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub adopt: Vec<Arc<Pod>>,
    pub release: Vec<Arc<Pod>>,
    /// Ordinals to create, each from the current revision (`false`) or the new one (`true`); at most a burst of them.
    pub create: Vec<(i32, bool)>,
    pub delete: Vec<Arc<Pod>>,
    pub status: Status,
    /// When to look again because a Pod becomes available by the passing of time.
    pub look_again: Option<Duration>,
}

struct View<'a> {
    set: &'a StatefulSet,
    now: Timestamp,
    current: &'a str,
    update: &'a str,
    /// The Pods that are there with ordinals that the set should have. How many it should have is anybody's number: what is
    /// missing is in no list.
    slots: BTreeMap<i32, Arc<Pod>>,
    /// Pods with other ordinals.
    condemned: BTreeMap<i32, Arc<Pod>>,
}

/// `pods`: everything the set controls or may adopt. `update`: the name of the revision of its template; the one it had
/// before is in its status.
pub(super) fn plan(set: &StatefulSet, pods: &[Arc<Pod>], update: &str, now: Timestamp) -> Plan {
    let mut plan = Plan::default();
    let current = match set.status.current_revision.as_str() {
        "" => update,
        current => current,
    };
    let mut view = View {
        set,
        now,
        current,
        update,
        slots: BTreeMap::new(),
        condemned: BTreeMap::new(),
    };
    for pod in pods {
        let Some(ordinal) = identity::ordinal(set, pod) else {
            if identity::owns(set, pod) {
                plan.release.push(pod.clone());
            }
            continue;
        };
        match claim(&set.metadata, &set.spec.selector, &pod.metadata) {
            Claim::Mine => {
                let wanted = set.ordinals().contains(&ordinal);
                let place = if wanted { &mut view.slots } else { &mut view.condemned };
                place.insert(ordinal, pod.clone());
            }
            Claim::Adopt => plan.adopt.push(pod.clone()),
            Claim::Release => plan.release.push(pod.clone()),
            Claim::Foreign => {}
        }
    }
    plan.status = view.status();
    plan.look_again = view.look_again();
    if !set.metadata.is_deleting() && plan.adopt.is_empty() && plan.release.is_empty() {
        view.step(&mut plan);
    }
    plan
}

impl View<'_> {
    fn step(&self, plan: &mut Plan) {
        if self.fill(plan) && self.shrink(plan) && self.set.spec.update_strategy.rolls() {
            self.roll(plan);
        }
    }

    /// Running, ready for long enough, and staying.
    fn is_well(&self, pod: &Pod) -> bool {
        let available = until_available(pod, self.set.spec.min_ready_seconds, self.now).is_none();
        pod.status.phase == "Running" && pod.is_ready() && available && !pod.metadata.is_deleting()
    }

    /// Makes what is missing, lowest first. Whether the rest of the step may follow.
    fn fill(&self, plan: &mut Plan) -> bool {
        for ordinal in self.set.ordinals() {
            match self.slots.get(&ordinal) {
                // The rest follows once these are there.
                None if plan.create.len() == limits::REPLICAS_BURST => return false,
                None => plan.create.push((ordinal, self.is_new(ordinal))),
                // What has ended is made again once it is gone.
                Some(pod) if pod.is_terminal() => {
                    if !pod.metadata.is_deleting() {
                        plan.delete.push(pod.clone());
                    }
                }
                Some(pod) if self.is_well(pod) => continue,
                Some(_) => {}
            }
            if self.set.ordered() {
                return false;
            }
        }
        plan.create.is_empty() && plan.delete.is_empty()
    }

    /// Whether a Pod with this ordinal is made from the new revision.
    fn is_new(&self, ordinal: i32) -> bool {
        // With `OnDelete`, deleting a Pod is how it is brought up to date.
        !self.set.spec.update_strategy.rolls() || ordinal >= self.set.first_to_update()
    }

    /// Takes away Pods beyond the set's size, highest first.
    fn shrink(&self, plan: &mut Plan) -> bool {
        let all = self.slots.values().chain(self.condemned.values());
        let first_unwell = all.into_iter().find(|p| !self.is_well(p)).map(|p| &p.metadata.uid);
        for pod in self.condemned.values().rev() {
            // One that is not well waits for those before it to be mended, unless it is the first of them itself.
            let unwell = !self.is_well(pod) && first_unwell != Some(&pod.metadata.uid);
            let waits = unwell && self.set.ordered();
            if !waits && !pod.metadata.is_deleting() {
                plan.delete.push(pod.clone());
            }
            if self.set.ordered() {
                return false;
            }
        }
        self.condemned.is_empty()
    }

    /// Replaces Pods of an old revision, highest first, as many at a time as may be unavailable. An old Pod that is not
    /// well is replaced, too: waiting for it could last forever.
    fn roll(&self, plan: &mut Plan) {
        let mut may_miss = self.set.max_unavailable();
        for (_, pod) in self.slots.range(self.set.first_to_update()..).rev() {
            if may_miss == 0 {
                return;
            }
            let old = identity::revision(pod) != self.update;
            if old && !pod.metadata.is_deleting() {
                plan.delete.push(pod.clone());
                may_miss -= 1;
            } else if !self.is_well(pod) {
                may_miss -= 1;
            }
        }
    }

    fn status(&self) -> Status {
        let pods: Vec<&Arc<Pod>> = self.slots.values().chain(self.condemned.values()).collect();
        let count = |test: &dyn Fn(&Pod) -> bool| pods.iter().filter(|p| test(p)).count() as i32;
        let of = |revision: &str| count(&|p| identity::revision(p) == revision && !p.metadata.is_deleting());
        let ready = |p: &Pod| p.status.phase == "Running" && p.is_ready();
        let min = self.set.spec.min_ready_seconds;
        let mut status = Status {
            observed_generation: self.set.metadata.generation,
            replicas: pods.len() as i32,
            ready_replicas: count(&ready),
            available_replicas: count(&|p| ready(p) && until_available(p, min, self.now).is_none()),
            current_replicas: of(self.current),
            updated_replicas: of(self.update),
            current_revision: self.current.to_owned(),
            update_revision: self.update.to_owned(),
            collision_count: self.set.status.collision_count,
            conditions: self.set.status.conditions.clone(),
        };
        let complete = status.updated_replicas == status.replicas && status.ready_replicas == status.replicas;
        if self.set.spec.update_strategy.rolls() && complete {
            status.current_revision = self.update.to_owned();
            status.current_replicas = status.updated_replicas;
        }
        status
    }

    fn look_again(&self) -> Option<Duration> {
        let pods = self.slots.values().filter(|p| p.is_ready());
        pods.filter_map(|p| until_available(p, self.set.spec.min_ready_seconds, self.now))
            .min()
    }
}
