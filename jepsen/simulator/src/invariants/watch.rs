//! Watches: ordered, unique, reliable, atomic, resumable.

use std::collections::BTreeMap;
use std::sync::Arc;

use mvcc::Block;

use super::{Invariant, ensure};
use crate::call::in_range;
use crate::history::{Change, History};
use crate::monitor::Observation;

/// A watcher sees every revision that touches its range once, whole and in order, wherever it resumes; what it is told to
/// have seen it has seen; it is turned away only if what it needs is compacted.
#[derive(Default)]
pub struct WatchersSeeEverythingOnce {
    /// The first revision that each watcher has not been told of.
    next: BTreeMap<u64, i64>,
}

impl Invariant for WatchersSeeEverythingOnce {
    fn name(&self) -> &'static str {
        "watchers_see_everything_once"
    }

    fn observe(&mut self, history: &History, observation: &Observation<'_>) -> Result<(), String> {
        match observation {
            Observation::Watching { watcher, from, .. } => {
                self.next.insert(*watcher, *from);
                Ok(())
            }
            Observation::Watched {
                watcher,
                blocks,
                revision,
            } => self
                .watched(history, *watcher, blocks, *revision)
                .map_err(|what| format!("watcher {watcher} {what}")),
            Observation::WatchCompacted {
                watcher,
                compact_revision,
            } => {
                let next = self.next.get(watcher).copied().unwrap_or(0);
                ensure(
                    next <= history.compacted && *compact_revision <= history.compacted,
                    || {
                        format!(
                            "watcher {watcher} waits for revision {next} and is told that {compact_revision} is compacted, but {} is",
                            history.compacted
                        )
                    },
                )
            }
            _ => Ok(()),
        }
    }
}

impl WatchersSeeEverythingOnce {
    fn watched(&mut self, history: &History, watcher: u64, blocks: &[Arc<Block>], revision: i64) -> Result<(), String> {
        let next = self.next.entry(watcher).or_insert(1);
        for block in blocks {
            let due = history.next_touching(*next, in_range);
            ensure(due == Some(block.revision), || {
                format!("is given revision {} when {due:?} was due", block.revision)
            })?;
            whole(history, block)?;
            *next = block.revision + 1;
        }
        let missed = history
            .next_touching(*next, in_range)
            .filter(|missed| *missed <= revision);
        ensure(missed.is_none(), || {
            format!("is told that it saw all up to {revision}, but not {missed:?}")
        })?;
        ensure(revision <= history.revision, || {
            format!("is told of revision {revision}, which does not exist")
        })?;
        *next = (*next).max(revision + 1);
        Ok(())
    }
}

/// Whether a block is all of its revision, and true.
fn whole(history: &History, block: &Block) -> Result<(), String> {
    let known = history.blocks.get(&block.revision).map_or(&[][..], Vec::as_slice);
    let alike = |change: &Change, event: &mvcc::Event| {
        let (now, entry) = (&change.now, &event.entry);
        let same =
            now.key == entry.key && now.mod_revision == entry.mod_revision && change.deleted == (entry.version == 0);
        let fields = now.value == entry.value
            && now.version == entry.version
            && now.create_revision == entry.create_revision
            && now.lease == entry.lease;
        same && (change.deleted || fields)
    };
    let all = known.len() == block.events.len()
        && known
            .iter()
            .zip(&block.events)
            .all(|(change, event)| alike(change, event));
    ensure(all, || {
        format!(
            "is given {:?} as revision {}, which is {known:?}",
            block.events, block.revision
        )
    })?;
    for event in &block.events {
        let before = history.get(&event.entry.key, block.revision - 1);
        let told = event.prev.as_ref().map(|prev| (prev.mod_revision, &prev.value));
        let right = match (told, before) {
            (None, None) => true,
            // What is compacted need not be told.
            (None, Some(_)) => block.revision <= history.compacted,
            (Some((revision, value)), Some(before)) => before.mod_revision == revision && before.value == *value,
            (Some(_), None) => false,
        };
        ensure(right, || {
            format!(
                "is given {told:?} as what revision {} replaced: {before:?}",
                block.revision
            )
        })?;
    }
    Ok(())
}
