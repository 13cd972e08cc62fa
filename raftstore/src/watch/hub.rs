//! The hub: the ring, the registry, and the watchers' inboxes.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;
use mvcc::Block;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::registry::{Registry, WatcherId};
use super::ring::Ring;
use super::watcher::{WatchSpec, Watcher};
use crate::error::Error;
use crate::limits::{WATCH_INBOX_REVISIONS, WATCH_RING_BLOCKS, WATCH_RING_BYTES, WATCH_SCAN_BLOCKS};

/// Where blocks come from that the ring no longer has.
pub trait History: Send + Sync + 'static {
    /// Whole blocks from revision `from` on, as many as are convenient but at least one if there is one.
    /// `Refused(Compacted)` if revision `from` is gone.
    fn blocks(&self, from: i64) -> BoxFuture<'_, Result<ReadBack, Error>>;
}

/// Blocks read back from the tables.
#[derive(Debug)]
pub struct ReadBack {
    /// Whole revisions, ascending.
    pub blocks: Vec<Arc<Block>>,
    /// Where to go on.
    pub next_revision: i64,
}

/// The hub of a store; clones share it.
#[derive(Clone)]
pub struct Hub {
    pub(super) shared: Arc<Shared>,
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("revision", &self.revision()).finish()
    }
}

pub(super) struct Shared {
    pub(super) state: Mutex<State>,
    pub(super) history: Arc<dyn History>,
}

pub(super) struct State {
    ring: Ring,
    registry: Registry,
    /// By id: watchers are woken in this order.
    inboxes: BTreeMap<WatcherId, Arc<Inbox>>,
    next_id: WatcherId,
    /// The last revision published.
    pub(super) revision: i64,
    pub(super) stopped: bool,
}

/// What the hub notes for one watcher.
pub(super) struct Inbox {
    pub(super) state: Mutex<InboxState>,
    pub(super) bell: Notify,
}

/// Where a watcher stands.
pub(super) enum InboxState {
    /// Nothing before this revision is owed; from it on the watcher reads for itself.
    Behind(i64),
    /// The hub notes revisions as they come. Those below `start` do not concern the watcher.
    Synced { start: i64, revisions: VecDeque<i64> },
}

impl Hub {
    /// A hub of a store that is at `revision`.
    pub fn new(history: Arc<dyn History>, revision: i64) -> Self {
        let state = State {
            ring: Ring::new(WATCH_RING_BYTES, WATCH_RING_BLOCKS),
            registry: Registry::default(),
            inboxes: BTreeMap::new(),
            next_id: 1,
            revision,
            stopped: false,
        };
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                history,
            }),
        }
    }

    /// The last revision published.
    pub fn revision(&self) -> i64 {
        self.shared.state.lock().revision
    }

    /// Publishes what an entry changed. Called by apply, in order; never waits for a watcher.
    pub fn publish(&self, blocks: &[Arc<Block>]) {
        if blocks.is_empty() {
            return;
        }
        let mut rung = Vec::new();
        {
            let mut state = self.shared.state.lock();
            for block in blocks {
                state.publish(block, &mut rung);
            }
        }
        rung.iter().for_each(|inbox| inbox.bell.notify_one());
    }

    /// The tables were replaced: nothing in memory holds any more. Watchers read on from the tables.
    pub fn reset(&self, revision: i64) {
        let mut state = self.shared.state.lock();
        let behind = state.revision + 1;
        for inbox in state.inboxes.values() {
            inbox.fall_behind(behind);
            inbox.bell.notify_one();
        }
        state.ring.clear();
        state.revision = revision;
    }

    /// Ends all watchers.
    pub fn stop(&self) {
        let mut state = self.shared.state.lock();
        state.stopped = true;
        state.inboxes.values().for_each(|inbox| inbox.bell.notify_one());
    }

    /// Starts a watcher.
    pub fn watch(&self, spec: WatchSpec) -> Watcher {
        let mut state = self.shared.state.lock();
        let (id, next) = (state.next_id, state.revision + 1);
        state.next_id += 1;
        let start = if spec.start_revision > 0 {
            spec.start_revision
        } else {
            next
        };
        let inbox_state = if start < next {
            InboxState::Behind(start)
        } else {
            InboxState::Synced {
                start,
                revisions: VecDeque::new(),
            }
        };
        let inbox = Arc::new(Inbox {
            state: Mutex::new(inbox_state),
            bell: Notify::new(),
        });
        state.registry.insert(id, spec.key.clone(), spec.range_end.clone());
        state.inboxes.insert(id, inbox.clone());
        drop(state);
        Watcher::new(self.clone(), id, spec, inbox)
    }

    pub(super) fn remove(&self, id: WatcherId, spec: &WatchSpec) {
        let mut state = self.shared.state.lock();
        state.registry.remove(id, &spec.key, &spec.range_end);
        state.inboxes.remove(&id);
    }
}

impl State {
    fn publish(&mut self, block: &Arc<Block>, rung: &mut Vec<Arc<Inbox>>) {
        assert!(
            block.revision > self.revision,
            "revision {} published after {}",
            block.revision,
            self.revision
        );
        self.revision = block.revision;
        self.ring.push(block.clone());
        for event in &block.events {
            self.registry.each(&event.entry.key, |id| {
                if let Some(inbox) = self.inboxes.get(&id)
                    && inbox.note(block.revision)
                {
                    rung.push(inbox.clone());
                }
            });
        }
    }

    /// The block of a revision, if the ring has it.
    pub(super) fn block(&self, revision: i64) -> Option<&Arc<Block>> {
        self.ring.get(revision)
    }

    /// Some blocks from `revision` on; `None` if the ring no longer has that revision. Empty: there are none yet.
    pub(super) fn blocks_from(&self, revision: i64) -> Option<Vec<Arc<Block>>> {
        if revision > self.revision {
            return Some(Vec::new());
        }
        self.ring.from(revision, WATCH_SCAN_BLOCKS)
    }
}

impl Inbox {
    /// Notes a revision; whether the watcher is to be woken.
    fn note(&self, revision: i64) -> bool {
        let mut state = self.state.lock();
        let InboxState::Synced { start, revisions } = &mut *state else {
            return false;
        };
        if revision < *start || revisions.back() == Some(&revision) {
            return false;
        }
        #[cfg(feature = "planted")]
        if revisions.len() >= 2 && crate::planted::is(crate::planted::Planted::WatchGap) {
            return false;
        }
        if revisions.len() >= WATCH_INBOX_REVISIONS {
            // Full: it reads for itself from the first one it has not seen.
            let first = revisions.front().copied().unwrap_or(revision);
            *state = InboxState::Behind(first);
            return true;
        }
        revisions.push_back(revision);
        true
    }

    /// `next` is the first revision the hub has not published.
    fn fall_behind(&self, next: i64) {
        let mut state = self.state.lock();
        if let InboxState::Synced { start, revisions } = &*state {
            let from = revisions.front().copied().unwrap_or(next).max(*start);
            *state = InboxState::Behind(from);
        }
    }
}
