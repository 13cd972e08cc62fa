//! A watcher: what its holder calls.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use mvcc::{Block, DeterministicError, RangeEnd};

use super::hub::{Hub, Inbox, InboxState, ReadBack};
use super::registry::WatcherId;
use crate::error::Error;
use crate::limits::WATCH_DELIVERY_BLOCKS;

/// What to watch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WatchSpec {
    /// The key, or the first key of the range.
    pub key: Bytes,
    /// End of the range in etcd's form: empty is the key alone, one zero byte everything from it on.
    pub range_end: Bytes,
    /// The first revision of interest; 0 is the next one. It may lie in the future.
    pub start_revision: i64,
}

impl WatchSpec {
    /// Whether a key is in the range.
    pub fn matches(&self, key: &[u8]) -> bool {
        RangeEnd::from_wire(&self.range_end).contains(&self.key, key)
    }

    fn touches(&self, block: &Block) -> bool {
        block.events.iter().any(|event| self.matches(&event.entry.key))
    }
}

/// What a watcher is told.
#[derive(Debug, Clone)]
pub enum Delivery {
    /// Whole blocks that touch the range, in order. They may hold events of other keys: filter with
    /// [`WatchSpec::matches`].
    Blocks {
        /// The blocks.
        blocks: Vec<Arc<Block>>,
        /// Everything of interest up to this revision has been delivered.
        revision: i64,
    },
    /// Nothing of interest is left up to this revision.
    Progress {
        /// That revision.
        revision: i64,
    },
    /// What the watcher still had to see is gone. Nothing follows.
    Compacted {
        /// The oldest revision that can still be watched from.
        compact_revision: i64,
    },
}

/// A running watch. Dropping it ends it.
pub struct Watcher {
    hub: Hub,
    id: WatcherId,
    spec: WatchSpec,
    inbox: Arc<Inbox>,
    progress_wanted: bool,
    ended: Option<i64>,
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watcher")
            .field("id", &self.id)
            .field("spec", &self.spec)
            .finish()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.hub.remove(self.id, &self.spec);
    }
}

/// What a look at the inbox found.
enum Look {
    Deliver(Delivery),
    ReadBack(i64),
    Wait,
    Stopped,
}

impl Watcher {
    pub(super) fn new(hub: Hub, id: WatcherId, spec: WatchSpec, inbox: Arc<Inbox>) -> Self {
        Self {
            hub,
            id,
            spec,
            inbox,
            progress_wanted: false,
            ended: None,
        }
    }

    /// What is watched.
    pub fn spec(&self) -> &WatchSpec {
        &self.spec
    }

    /// Asks for a [`Delivery::Progress`] once everything up to now is delivered.
    pub fn request_progress(&mut self) {
        self.progress_wanted = true;
    }

    /// Waits for the next delivery. Cancelling the wait loses nothing. After `Compacted` it only repeats that.
    pub async fn next(&mut self) -> Result<Delivery, Error> {
        if let Some(compact_revision) = self.ended {
            return Ok(Delivery::Compacted { compact_revision });
        }
        loop {
            match self.look() {
                Look::Deliver(delivery) => return Ok(delivery),
                Look::Stopped => return Err(Error::Stopped),
                // Cancel-safe: notify_one leaves a permit when nobody waits.
                Look::Wait => self.inbox.bell.notified().await,
                Look::ReadBack(from) => match self.read_back(from).await {
                    Ok(None) => {}
                    Ok(Some(delivery)) => return Ok(delivery),
                    Err(Error::Refused(DeterministicError::Compacted { compacted })) => {
                        self.ended = Some(compacted);
                        return Ok(Delivery::Compacted {
                            compact_revision: compacted,
                        });
                    }
                    Err(error) => return Err(error),
                },
            }
        }
    }

    /// Takes what memory has. Locks the hub and then the inbox, in apply's order.
    fn look(&mut self) -> Look {
        let hub = self.hub.shared.state.lock();
        if hub.stopped {
            return Look::Stopped;
        }
        let mut inbox = self.inbox.state.lock();
        match &mut *inbox {
            InboxState::Behind(from) => {
                let from = *from;
                let Some(blocks) = hub.blocks_from(from) else {
                    return Look::ReadBack(from);
                };
                let next = blocks.last().map_or(from, |block| block.revision + 1);
                *inbox = if next > hub.revision {
                    InboxState::Synced {
                        start: next,
                        revisions: VecDeque::new(),
                    }
                } else {
                    InboxState::Behind(next)
                };
                let found: Vec<_> = blocks.into_iter().filter(|block| self.spec.touches(block)).collect();
                if !found.is_empty() {
                    return Look::Deliver(Delivery::Blocks {
                        blocks: found,
                        revision: next - 1,
                    });
                }
            }
            InboxState::Synced { revisions, .. } if !revisions.is_empty() => {
                let blocks: Vec<_> = revisions
                    .iter()
                    .take(WATCH_DELIVERY_BLOCKS)
                    .map_while(|revision| hub.block(*revision).cloned())
                    .collect();
                if blocks.is_empty() {
                    // The ring lost them while this watcher was not looking.
                    *inbox = InboxState::Behind(revisions[0]);
                } else {
                    revisions.drain(..blocks.len());
                    let last = blocks[blocks.len() - 1].revision;
                    let revision = if revisions.is_empty() { hub.revision } else { last };
                    return Look::Deliver(Delivery::Blocks { blocks, revision });
                }
            }
            InboxState::Synced { start, .. } => {
                // A watch that starts in the future has no progress to report yet.
                if self.progress_wanted && hub.revision + 1 >= *start {
                    self.progress_wanted = false;
                    return Look::Deliver(Delivery::Progress { revision: hub.revision });
                }
                return Look::Wait;
            }
        }
        // The state moved on without anything to deliver: look again. The permit makes that immediate.
        self.inbox.bell.notify_one();
        Look::Wait
    }

    /// Reads blocks back from the tables.
    async fn read_back(&mut self, from: i64) -> Result<Option<Delivery>, Error> {
        let history = self.hub.shared.history.clone();
        let ReadBack { blocks, next_revision } = history.blocks(from).await?;
        let mut inbox = self.inbox.state.lock();
        // Only this watcher moves itself out of `Behind`, and it is here.
        if let InboxState::Behind(next) = &mut *inbox {
            *next = next_revision;
        }
        drop(inbox);
        let blocks: Vec<_> = blocks.into_iter().filter(|block| self.spec.touches(block)).collect();
        Ok((!blocks.is_empty()).then_some(Delivery::Blocks {
            blocks,
            revision: next_revision - 1,
        }))
    }
}
