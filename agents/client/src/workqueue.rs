//! A queue of keys to work on.
//!
//! **Theory.** Level, not edge: the queue holds *that* something changed, not what. A key is in it at most once; while
//! it is being worked on it is not handed out again, and if it is added meanwhile it comes back once it is done.
//!
//! The state is pure and is told the time; the queue around it sleeps.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::limits;

/// What is queued, what is being worked on, and what is to come later.
struct State<K> {
    /// In the order of arrival. Holds exactly the keys of `dirty` that are not in `processing`.
    ready: VecDeque<K>,
    /// Keys that need work.
    dirty: HashSet<K>,
    /// Keys handed out and not yet done.
    processing: HashSet<K>,
    /// Keys to add at a time, soonest first; the number keeps the order among equals.
    delayed: BinaryHeap<Reverse<(Instant, u64, Ordered<K>)>>,
    /// The soonest time a delayed key is due; entries of `delayed` that say otherwise are stale.
    due: HashMap<K, Instant>,
    failures: HashMap<K, u32>,
    sequence: u64,
    stopped: bool,
}

/// Keeps keys out of the heap's order, so they need not be `Ord`.
struct Ordered<K>(K);

impl<K> PartialEq for Ordered<K> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
impl<K> Eq for Ordered<K> {}
impl<K> PartialOrd for Ordered<K> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<K> Ord for Ordered<K> {
    fn cmp(&self, _: &Self) -> std::cmp::Ordering {
        std::cmp::Ordering::Equal
    }
}

enum Next<K> {
    Key(K),
    /// Nothing until then; `None` until something is added.
    Wait(Option<Instant>),
    Stopped,
}

impl<K: Hash + Eq + Clone> State<K> {
    fn add(&mut self, key: K) {
        if self.stopped || !self.dirty.insert(key.clone()) {
            return;
        }
        if !self.processing.contains(&key) {
            self.ready.push_back(key);
        }
    }

    fn add_at(&mut self, key: K, at: Instant) {
        if self.stopped || self.due.get(&key).is_some_and(|due| *due <= at) {
            return;
        }
        self.due.insert(key.clone(), at);
        self.sequence += 1;
        self.delayed.push(Reverse((at, self.sequence, Ordered(key))));
    }

    fn next(&mut self, now: Instant) -> Next<K> {
        if self.stopped {
            return Next::Stopped;
        }
        while let Some(Reverse((at, _, _))) = self.delayed.peek() {
            if *at > now {
                break;
            }
            let Some(Reverse((at, _, Ordered(key)))) = self.delayed.pop() else {
                break;
            };
            if self.due.get(&key) == Some(&at) {
                self.due.remove(&key);
                self.add(key);
            }
        }
        match self.ready.pop_front() {
            Some(key) => {
                self.dirty.remove(&key);
                self.processing.insert(key.clone());
                Next::Key(key)
            }
            None => Next::Wait(self.delayed.peek().map(|Reverse((at, _, _))| *at)),
        }
    }

    fn done(&mut self, key: &K) {
        self.processing.remove(key);
        if self.dirty.contains(key) {
            self.ready.push_back(key.clone());
        }
    }

    fn fail(&mut self, key: &K) -> Duration {
        let failures = self.failures.entry(key.clone()).or_insert(0);
        let delay = limits::ITEM_BACKOFF_MIN.saturating_mul(1 << (*failures).min(20));
        *failures += 1;
        delay.min(limits::ITEM_BACKOFF_MAX)
    }
}

/// A queue of distinct keys. Share it by `Arc`.
pub struct WorkQueue<K> {
    state: Mutex<State<K>>,
    changed: Notify,
}

impl<K: Hash + Eq + Clone> Default for WorkQueue<K> {
    fn default() -> Self {
        WorkQueue {
            state: Mutex::new(State {
                ready: VecDeque::new(),
                dirty: HashSet::new(),
                processing: HashSet::new(),
                delayed: BinaryHeap::new(),
                due: HashMap::new(),
                failures: HashMap::new(),
                sequence: 0,
                stopped: false,
            }),
            changed: Notify::new(),
        }
    }
}

impl<K: Hash + Eq + Clone> WorkQueue<K> {
    /// An empty queue.
    pub fn new() -> Self {
        WorkQueue::default()
    }

    /// Work on `key` as soon as possible.
    pub fn add(&self, key: K) {
        self.state.lock().add(key);
        self.changed.notify_one();
    }

    /// Work on `key` no later than after `delay`.
    pub fn add_after(&self, key: K, delay: Duration) {
        self.state.lock().add_at(key, Instant::now() + delay);
        self.changed.notify_one();
    }

    /// Work on `key` again after a delay that grows with its failures.
    pub fn retry(&self, key: K) {
        let mut state = self.state.lock();
        let delay = state.fail(&key);
        state.add_at(key, Instant::now() + delay);
        drop(state);
        self.changed.notify_one();
    }

    /// `key` succeeded: its next failure is its first.
    pub fn forget(&self, key: &K) {
        self.state.lock().failures.remove(key);
    }

    /// How often `key` has failed in a row.
    pub fn failures(&self, key: &K) -> u32 {
        self.state.lock().failures.get(key).copied().unwrap_or(0)
    }

    /// The next key, which is the caller's until [`Self::done`]; `None` once the queue is stopped.
    pub async fn next(&self) -> Option<K> {
        loop {
            let changed = self.changed.notified();
            let next = self.state.lock().next(Instant::now());
            match next {
                Next::Key(key) => {
                    // `notify_one` stores at most one permit: pass the wake-up on, another key may be ready.
                    self.changed.notify_one();
                    return Some(key);
                }
                Next::Stopped => {
                    self.changed.notify_one();
                    return None;
                }
                Next::Wait(None) => changed.await,
                Next::Wait(Some(at)) => {
                    tokio::select! {
                        () = changed => {}
                        () = tokio::time::sleep_until(at.into()) => {}
                    }
                }
            }
        }
    }

    /// The caller has finished with `key`.
    pub fn done(&self, key: &K) {
        self.state.lock().done(key);
        self.changed.notify_one();
    }

    /// Hands out nothing more.
    pub fn stop(&self) {
        self.state.lock().stopped = true;
        self.changed.notify_one();
    }

    /// How many keys wait for a worker.
    pub fn len(&self) -> usize {
        self.state.lock().ready.len()
    }

    /// Whether no key waits for a worker.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State<&'static str> {
        WorkQueue::default().state.into_inner()
    }

    fn take(state: &mut State<&'static str>, now: Instant) -> Option<&'static str> {
        match state.next(now) {
            Next::Key(key) => Some(key),
            _ => None,
        }
    }

    #[test]
    fn a_key_is_queued_once_and_worked_on_by_one() {
        let (mut state, now) = (state(), Instant::now());
        state.add("a");
        state.add("a");
        assert_eq!(take(&mut state, now), Some("a"));
        state.add("a");
        assert_eq!(take(&mut state, now), None, "a is being worked on");
        state.done(&"a");
        assert_eq!(take(&mut state, now), Some("a"), "the change in between is not lost");
        state.done(&"a");
        assert_eq!(take(&mut state, now), None);
    }

    #[test]
    fn the_soonest_delay_wins() {
        let (mut state, now) = (state(), Instant::now());
        let at = |s| now + Duration::from_secs(s);
        state.add_at("a", at(10));
        state.add_at("a", at(5));
        state.add_at("a", at(7));
        assert_eq!(take(&mut state, at(4)), None);
        assert_eq!(take(&mut state, at(5)), Some("a"));
        state.done(&"a");
        assert_eq!(take(&mut state, at(20)), None, "the later entries are stale");
    }

    #[test]
    fn failures_back_off_up_to_a_limit() {
        let mut state = state();
        let first = state.fail(&"a");
        let second = state.fail(&"a");
        assert_eq!(
            (first, second),
            (limits::ITEM_BACKOFF_MIN, limits::ITEM_BACKOFF_MIN * 2)
        );
        for _ in 0..40 {
            state.fail(&"a");
        }
        assert_eq!(state.fail(&"a"), limits::ITEM_BACKOFF_MAX);
    }

    #[tokio::test]
    async fn stopping_wakes_every_worker() {
        let queue = std::sync::Arc::new(WorkQueue::<u32>::new());
        let workers: Vec<_> = (0..3)
            .map(|_| {
                let queue = queue.clone();
                tokio::spawn(async move { queue.next().await })
            })
            .collect();
        tokio::task::yield_now().await;
        queue.stop();
        for worker in workers {
            assert_eq!(worker.await.unwrap(), None);
        }
    }
}
