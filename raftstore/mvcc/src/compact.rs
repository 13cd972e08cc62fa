//! Removing rows that no reader can be promised any more.
//!
//! After a compaction at C a reader may ask for any revision from C on, and a watcher for the events from C on. So of each
//! key the newest version at or below C stays, unless it is a tombstone below C, and everything older goes. The walk goes
//! over `rev` in the order of revisions, from where the last one ended: whenever it meets a change of a key, the next
//! older version of that key is superseded. Each step costs what it removes, not what the store holds.

use bytes::Bytes;
use prost::Message;
use proto::{etcd::mvccpb::KeyValue, state::Sweep};

use crate::{
    Direction, Family, Fault, Rows, Step, WriteBatch,
    encoding::{self, Place, history_key, history_prefix, parse_history_key, parse_rev_key, rev_key},
};

/// What a step of physical compaction did.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Swept {
    /// Versions removed.
    pub removed: usize,
    /// Nothing is left to remove for the present compacted revision.
    pub done: bool,
}

/// A change met on the walk.
struct Met {
    place: Place,
    tombstone: bool,
    key: Bytes,
}

/// Plans the next step: after at least `rows_max` changes it ends at the next revision.
pub(crate) fn plan(rows: &impl Rows, compacted: i64, rows_max: usize) -> Result<(WriteBatch, Swept), Fault> {
    let mut writes = WriteBatch::new();
    let progress: Sweep = match rows.get(Family::Meta, encoding::SWEEP)? {
        Some(stored) => encoding::decode(Family::Meta, encoding::SWEEP, &stored)?,
        None => Sweep::default(),
    };
    if progress.done_for >= compacted {
        return Ok((writes, Swept { removed: 0, done: true }));
    }
    let (met, stopped_at) = walk(rows, progress.next_revision, compacted, rows_max)?;
    let mut removed = 0;
    for change in &met {
        removed += remove(rows, &mut writes, change, compacted)?;
    }
    let progress = match stopped_at {
        Some(next_revision) => Sweep {
            next_revision,
            ..progress
        },
        // The compacted revision itself is met again next time: a tombstone there stays until then.
        None => Sweep {
            next_revision: compacted,
            done_for: compacted,
        },
    };
    writes.put(Family::Meta, encoding::SWEEP, encoding::encode(&progress));
    Ok((
        writes,
        Swept {
            removed,
            done: stopped_at.is_none(),
        },
    ))
}

/// The changes from a revision on, and where they go on if there are more.
fn walk(rows: &impl Rows, from: i64, compacted: i64, rows_max: usize) -> Result<(Vec<Met>, Option<i64>), Fault> {
    let mut met: Vec<Met> = Vec::new();
    let mut next = None;
    let mut outcome = Ok(());
    let first = rev_key(Place { revision: from, sub: 0 }, false);
    rows.scan(Family::Rev, Direction::Forward, Some(&first), &mut |key, value| {
        let read = parse_rev_key(key).and_then(|(place, tombstone)| {
            let kv = KeyValue::decode(value).map_err(|error| Fault::corrupt(Family::Rev, key, error.to_string()))?;
            Ok(Met {
                place,
                tombstone,
                key: kv.key,
            })
        });
        let change = match read {
            Ok(change) => change,
            Err(fault) => {
                outcome = Err(fault);
                return Step::Stop;
            }
        };
        if change.place.revision > compacted {
            return Step::Stop;
        }
        let new_revision = met
            .last()
            .is_some_and(|last| last.place.revision != change.place.revision);
        if new_revision && met.len() >= rows_max {
            next = Some(change.place.revision);
            return Step::Stop;
        }
        met.push(change);
        Step::Next
    })?;
    outcome.map(|()| (met, next))
}

/// Removes what `change` supersedes, and itself if nothing needs it.
fn remove(rows: &impl Rows, writes: &mut WriteBatch, change: &Met, compacted: i64) -> Result<usize, Fault> {
    let versions = two_versions(rows, &change.key, change.place.revision)?;
    let own = versions.first().filter(|(place, _)| *place == change.place);
    if own.is_none() {
        // Overwritten within its own revision: history lists only the last change.
        writes.delete(Family::Rev, rev_key(change.place, change.tombstone));
        return Ok(1);
    }
    let mut removed = 0;
    if let Some((older, tombstone)) = versions.get(1) {
        remove_version(writes, &change.key, *older, *tombstone);
        removed += 1;
    }
    if change.tombstone && change.place.revision < compacted {
        remove_version(writes, &change.key, change.place, true);
        removed += 1;
    }
    Ok(removed)
}

fn remove_version(writes: &mut WriteBatch, key: &[u8], place: Place, tombstone: bool) {
    writes.delete(Family::Rev, rev_key(place, tombstone));
    writes.delete(Family::History, history_key(history_prefix(key), place.revision));
}

/// The newest version of a key at or below a revision, and the one before it, each with whether it is a tombstone.
fn two_versions(rows: &impl Rows, key: &[u8], revision: i64) -> Result<Vec<(Place, bool)>, Fault> {
    let prefix = history_prefix(key);
    let from = history_key(prefix.clone(), revision);
    let mut versions = Vec::with_capacity(2);
    let mut outcome = Ok(());
    rows.scan(Family::History, Direction::Forward, Some(&from), &mut |row, value| {
        let read = parse_history_key(row)
            .and_then(|(of, at)| Ok((of, at, encoding::decode_version(Family::History, row, value)?)));
        match read {
            Ok((of, _, _)) if of != prefix => Step::Stop,
            Ok((_, at, version)) => {
                versions.push((
                    Place {
                        revision: at,
                        sub: version.sub,
                    },
                    version.version == 0,
                ));
                if versions.len() == 2 { Step::Stop } else { Step::Next }
            }
            Err(fault) => {
                outcome = Err(fault);
                Step::Stop
            }
        }
    })?;
    outcome.map(|()| versions)
}
