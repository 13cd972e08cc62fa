//! Pods that wait for a node. Pure: the caller tells the time.
//!
//! A Pod is in exactly one of three places: *active* (by priority, then age), *backing off* until a time, or
//! *unschedulable* until the cluster changes. A change that happens while a Pod's own cycle runs counts: the Pod then
//! backs off instead of waiting for a change that has already come.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use client::objects::Pod;

use crate::limits::{BACKOFF_MAX, BACKOFF_MIN, UNSCHEDULABLE_MAX};

/// Highest priority first, then the one that has waited longest, then by uid.
type Order = (Reverse<i32>, u64, String);

#[derive(Debug)]
enum Place {
    Active,
    BackingOff(Instant),
    Unschedulable(Instant),
    /// Handed out by [`Queue::pop`].
    InCycle,
}

#[derive(Debug)]
struct Waiting {
    pod: Arc<Pod>,
    /// Order of first arrival.
    arrival: u64,
    failures: u32,
    place: Place,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Queue {
    pods: HashMap<String, Waiting>,
    /// Exactly the Pods whose place is `Active`.
    active: BTreeSet<Order>,
    arrivals: u64,
    /// Counts changes of the cluster.
    changes: u64,
    /// The value of `changes` when the running cycle began.
    changes_at_pop: u64,
}

impl Queue {
    /// A Pod without a node was seen, new or changed. A changed spec may help it; its status does not.
    pub fn set(&mut self, pod: Arc<Pod>) {
        let uid = pod.metadata.uid.clone();
        self.active.retain(|order| order.2 != uid);
        let arrival = self.arrivals;
        let known = self.pods.contains_key(&uid);
        let waiting = self.pods.entry(uid).or_insert(Waiting {
            pod: pod.clone(),
            arrival,
            failures: 0,
            place: Place::Active,
        });
        self.arrivals += u64::from(!known);
        let helped = pod.metadata.generation != waiting.pod.metadata.generation
            || pod.metadata.labels != waiting.pod.metadata.labels
            || pod.spec.scheduling_gates.len() != waiting.pod.spec.scheduling_gates.len();
        waiting.pod = pod;
        if helped && matches!(waiting.place, Place::Unschedulable(_)) {
            waiting.place = Place::Active;
        }
        if matches!(waiting.place, Place::Active) {
            self.active.insert(order(waiting));
        }
    }

    /// A Pod is gone, or has a node.
    pub fn remove(&mut self, uid: &str) {
        if let Some(waiting) = self.pods.remove(uid) {
            self.active.remove(&order(&waiting));
        }
    }

    /// The next Pod to place. Gated Pods are never handed out.
    pub fn pop(&mut self, now: Instant) -> Option<Arc<Pod>> {
        self.release(now);
        let gated = |order: &&Order| {
            self.pods
                .get(&order.2)
                .is_some_and(|w| !w.pod.spec.scheduling_gates.is_empty())
        };
        let order = self.active.iter().find(|o| !gated(o)).cloned()?;
        self.active.remove(&order);
        let waiting = self.pods.get_mut(&order.2)?;
        waiting.place = Place::InCycle;
        self.changes_at_pop = self.changes;
        Some(waiting.pod.clone())
    }

    /// When [`Queue::pop`] may give something it does not give now.
    pub fn wake(&self) -> Option<Instant> {
        let until = |waiting: &Waiting| match waiting.place {
            Place::BackingOff(until) => Some(until),
            Place::Unschedulable(since) => Some(since + UNSCHEDULABLE_MAX),
            Place::Active | Place::InCycle => None,
        };
        self.pods.values().filter_map(until).min()
    }

    /// The Pod fits nowhere. It waits for a change, or backs off if one came while it was being looked at.
    pub fn unschedulable(&mut self, uid: &str, now: Instant) {
        let changed = self.changes != self.changes_at_pop;
        self.fail(uid, |wait| {
            if changed {
                Place::BackingOff(now + wait)
            } else {
                Place::Unschedulable(now)
            }
        });
    }

    /// The Pod's cycle or binding failed for a reason outside it.
    pub fn retry(&mut self, uid: &str, now: Instant) {
        self.fail(uid, |wait| Place::BackingOff(now + wait));
    }

    fn fail(&mut self, uid: &str, place: impl FnOnce(std::time::Duration) -> Place) {
        if let Some(waiting) = self.pods.get_mut(uid) {
            let wait = BACKOFF_MIN
                .saturating_mul(1 << waiting.failures.min(10))
                .min(BACKOFF_MAX);
            waiting.failures += 1;
            waiting.place = place(wait);
        }
    }

    /// The cluster changed in a way that may make room: unschedulable Pods are tried again once they have backed off.
    pub fn cluster_changed(&mut self) {
        self.release_if(|_| true);
    }

    /// A Pod was placed, or its labels changed: those may fit now that ask where other Pods are.
    pub fn neighbours_changed(&mut self) {
        self.release_if(|pod| {
            let near = |a: &client::objects::Affinity| a.pod_affinity.is_some() || a.pod_anti_affinity.is_some();
            pod.spec.affinity.as_ref().is_some_and(near) || !pod.spec.topology_spread_constraints.is_empty()
        });
    }

    fn release_if(&mut self, concerns: impl Fn(&Pod) -> bool) {
        self.changes += 1;
        for waiting in self.pods.values_mut().filter(|w| concerns(&w.pod)) {
            if let Place::Unschedulable(since) = waiting.place {
                let doublings = waiting.failures.saturating_sub(1).min(10);
                let wait = BACKOFF_MIN.saturating_mul(1 << doublings).min(BACKOFF_MAX);
                waiting.place = Place::BackingOff(since + wait);
            }
        }
    }

    fn release(&mut self, now: Instant) {
        for waiting in self.pods.values_mut() {
            let due = match waiting.place {
                Place::BackingOff(until) => until <= now,
                Place::Unschedulable(since) => since + UNSCHEDULABLE_MAX <= now,
                Place::Active | Place::InCycle => false,
            };
            if due {
                waiting.place = Place::Active;
                self.active.insert(order(waiting));
            }
        }
    }
}

fn order(waiting: &Waiting) -> Order {
    let priority = waiting.pod.spec.priority.unwrap_or(0);
    (Reverse(priority), waiting.arrival, waiting.pod.metadata.uid.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugins::fixtures::pod;
    use client::objects::SchedulingGate;
    use std::time::Duration;

    fn with_priority(name: &str, priority: i32) -> Arc<Pod> {
        let mut pod = Pod::clone(&pod(name, "1"));
        pod.spec.priority = Some(priority);
        Arc::new(pod)
    }

    fn popped(queue: &mut Queue, now: Instant) -> Option<String> {
        queue.pop(now).map(|p| p.metadata.name.clone())
    }

    #[test]
    fn higher_priority_goes_first_then_the_older() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        for (name, priority) in [("b", 0), ("a", 0), ("vip", 9)] {
            queue.set(with_priority(name, priority));
        }
        let all: Vec<_> = std::iter::from_fn(|| popped(&mut queue, now)).collect();
        assert_eq!(all, ["vip", "b", "a"]);
    }

    #[test]
    fn an_unschedulable_pod_waits_for_a_change_and_backs_off_ever_longer() {
        let (mut queue, start) = (Queue::default(), Instant::now());
        queue.set(pod("p", "1"));
        let mut now = start;
        for wait in [1, 2, 4, 8, 10, 10] {
            assert_eq!(popped(&mut queue, now).as_deref(), Some("p"));
            queue.unschedulable("p", now);
            assert_eq!(
                popped(&mut queue, now + Duration::from_secs(60)),
                None,
                "nothing changed"
            );
            queue.cluster_changed();
            assert_eq!(popped(&mut queue, now + Duration::from_millis(wait * 1000 - 1)), None);
            now += Duration::from_secs(wait);
        }
    }

    #[test]
    fn a_change_during_the_cycle_is_not_missed() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.set(pod("p", "1"));
        queue.pop(now);
        queue.cluster_changed();
        queue.unschedulable("p", now);
        assert_eq!(popped(&mut queue, now + BACKOFF_MIN).as_deref(), Some("p"));
    }

    #[test]
    fn five_minutes_are_enough_without_any_change() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.set(pod("p", "1"));
        queue.pop(now);
        queue.unschedulable("p", now);
        assert_eq!(queue.wake(), Some(now + UNSCHEDULABLE_MAX));
        assert!(popped(&mut queue, now + UNSCHEDULABLE_MAX).is_some());
    }

    #[test]
    fn a_neighbour_wakes_those_who_ask_for_neighbours() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        let mut social = Pod::clone(&pod("social", "1"));
        social.spec.topology_spread_constraints = vec![Default::default()];
        for waiting in [Arc::new(social), pod("solitary", "1")] {
            let uid = waiting.metadata.uid.clone();
            queue.set(waiting);
            queue.pop(now);
            queue.unschedulable(&uid, now);
        }
        queue.neighbours_changed();
        assert_eq!(popped(&mut queue, now + BACKOFF_MIN).as_deref(), Some("social"));
        assert_eq!(popped(&mut queue, now + BACKOFF_MIN), None);
    }

    #[test]
    fn gated_and_removed_pods_are_not_handed_out() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        let mut gated = Pod::clone(&pod("gated", "1"));
        gated.spec.scheduling_gates = vec![SchedulingGate { name: "x".into() }];
        queue.set(Arc::new(gated.clone()));
        queue.set(pod("gone", "1"));
        queue.remove("gone");
        assert_eq!(popped(&mut queue, now), None);
        gated.spec.scheduling_gates.clear();
        queue.set(Arc::new(gated));
        assert_eq!(popped(&mut queue, now).as_deref(), Some("gated"));
    }
}
