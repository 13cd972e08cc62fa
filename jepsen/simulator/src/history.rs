//! What the cluster's state was, at every revision: the oracle.
//!
//! It is told what each member applies. The first to apply an entry writes the history; that everybody else does the same
//! is for an invariant to say. It decodes rows, but knows nothing of how they came about.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use mvcc::{Family, LogId, WriteBatch, WriteOp};
use prost::Message;
use proto::etcd::mvccpb::KeyValue;
use proto::state;

use crate::trace::Trace;

/// The change of one key.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The key as it is now; of a deletion the key and the revision alone.
    pub now: KeyValue,
    /// Whether the key is gone.
    pub deleted: bool,
}

/// What one entry did to the tables.
#[derive(Debug, Clone, Default)]
pub struct Effects {
    /// Hash of all rows, in order.
    pub hash: u64,
    /// Its revisions.
    pub blocks: BTreeMap<i64, Vec<Change>>,
    /// The counters, if they moved.
    pub counters: Option<state::Counters>,
    /// Leases that were granted or noted (with TTL), or removed.
    pub leases: Vec<(i64, Option<i64>)>,
    /// Whether an alarm stands, if alarms changed.
    pub alarmed: Option<bool>,
}

impl Effects {
    /// Reads the rows of a write.
    pub fn read(batch: &WriteBatch) -> Result<Self, String> {
        let mut effects = Self::default();
        let mut trace = Trace::default();
        for op in batch.ops() {
            match op {
                WriteOp::Put { family, key, value } => {
                    trace.number(family as u64);
                    trace.bytes(key);
                    trace.bytes(value);
                    effects.put(family, key, value)?;
                }
                WriteOp::Delete { family, key } => {
                    trace.number(family as u64 + 100);
                    trace.bytes(key);
                    if family == Family::Lease {
                        effects.leases.push((number(key, 0)?, None));
                    }
                }
            }
        }
        effects.hash = trace.value();
        Ok(effects)
    }

    fn put(&mut self, family: Family, key: &[u8], value: &[u8]) -> Result<(), String> {
        let unreadable = |error| format!("a row cannot be read: {error}");
        match family {
            Family::Rev => {
                let deleted = key.ends_with(b"t") && key.len() == 18;
                let mut now = KeyValue::decode(value).map_err(unreadable)?;
                let revision = number(key, 0)?;
                if deleted {
                    now.mod_revision = revision;
                }
                self.blocks.entry(revision).or_default().push(Change { now, deleted });
            }
            Family::Lease => {
                let lease = state::Lease::decode(value).map_err(unreadable)?;
                self.leases.push((number(key, 0)?, Some(lease.ttl_s)));
            }
            Family::Meta if key == b"counters" => {
                self.counters = Some(state::Counters::decode(value).map_err(unreadable)?);
            }
            Family::Meta if key == b"alarms" => {
                let alarms = state::Alarms::decode(value).map_err(unreadable)?;
                self.alarmed = Some(!alarms.alarms.is_empty());
            }
            _ => {}
        }
        Ok(())
    }
}

fn number(key: &[u8], at: usize) -> Result<i64, String> {
    let bytes = key.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
    bytes
        .map(i64::from_be_bytes)
        .ok_or_else(|| format!("a row's key {key:?} is too short"))
}

/// A log entry as it was first applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppliedEntry {
    /// Where.
    pub id: LogId,
    /// Hash of what it did.
    pub hash: u64,
}

/// A lease's life.
#[derive(Debug, Clone)]
pub struct LeaseLife {
    /// Seconds granted.
    pub ttl_s: i64,
    /// Removed.
    pub gone: bool,
}

/// The history of the run.
#[derive(Debug, Default)]
pub struct History {
    /// Applied entries by index.
    pub entries: BTreeMap<u64, AppliedEntry>,
    /// Changes by revision.
    pub blocks: BTreeMap<i64, Vec<Change>>,
    /// Every version of every key, oldest first.
    keys: BTreeMap<Bytes, Vec<Change>>,
    /// All leases ever.
    pub leases: BTreeMap<i64, LeaseLife>,
    /// Values that were ever written, and where first.
    pub values: BTreeMap<Bytes, i64>,
    /// The last revision.
    pub revision: i64,
    /// The compacted revision.
    pub compacted: i64,
    /// Leaders by term.
    pub leaders: BTreeMap<u64, u64>,
    /// The highest revision that somebody was told of.
    pub told: i64,
    /// Members that applied something, so that their logs hold something.
    pub took_part: BTreeSet<u64>,
    /// Whether an alarm stands. The only ones here are about room.
    pub no_room: bool,
    /// How often alarms changed.
    pub alarm_changes: u64,
    /// The clock of each member, by its number.
    pub clocks: BTreeMap<u64, usize>,
}

impl History {
    /// A store that nothing was written to.
    pub fn new() -> Self {
        Self {
            revision: 1,
            told: 1,
            ..Self::default()
        }
    }

    /// Takes in what an entry did that nobody applied before.
    pub fn extend(&mut self, id: LogId, effects: &Effects) {
        let hash = effects.hash;
        self.entries.insert(id.index, AppliedEntry { id, hash });
        for (revision, changes) in &effects.blocks {
            for change in changes {
                self.keys
                    .entry(change.now.key.clone())
                    .or_default()
                    .push(change.clone());
                if !change.deleted {
                    self.values.entry(change.now.value.clone()).or_insert(*revision);
                }
            }
            self.blocks.insert(*revision, changes.clone());
        }
        if let Some(counters) = &effects.counters {
            (self.revision, self.compacted) = (counters.revision, counters.compacted);
        }
        if let Some(alarmed) = effects.alarmed {
            self.no_room = alarmed;
            self.alarm_changes += 1;
        }
        for (lease, ttl_s) in &effects.leases {
            match ttl_s {
                Some(ttl_s) => drop(self.leases.insert(
                    *lease,
                    LeaseLife {
                        ttl_s: *ttl_s,
                        gone: false,
                    },
                )),
                None => {
                    if let Some(life) = self.leases.get_mut(lease) {
                        life.gone = true;
                    }
                }
            }
        }
    }

    /// The last entry applied anywhere.
    pub fn last(&self) -> Option<LogId> {
        self.entries.last_key_value().map(|(_, entry)| entry.id)
    }

    /// A key at a revision.
    pub fn get(&self, key: &[u8], revision: i64) -> Option<&KeyValue> {
        let versions = self.keys.get(key)?;
        let newer = versions.partition_point(|version| version.now.mod_revision <= revision);
        let version = &versions[newer.checked_sub(1)?];
        (!version.deleted).then_some(&version.now)
    }

    /// All keys in a range at a revision, in order.
    pub fn range(&self, holds: impl Fn(&[u8]) -> bool, revision: i64) -> Vec<&KeyValue> {
        let keys = self.keys.keys().filter(|key| holds(key));
        keys.filter_map(|key| self.get(key, revision)).collect()
    }

    /// The first revision from `from` on that changed a key in a range.
    pub fn next_touching(&self, from: i64, holds: impl Fn(&[u8]) -> bool) -> Option<i64> {
        let mut blocks = self.blocks.range(from..);
        blocks
            .find(|(_, changes)| changes.iter().any(|change| holds(&change.now.key)))
            .map(|(revision, _)| *revision)
    }

    /// Whether a lease exists as far as was applied anywhere.
    pub fn lease_lives(&self, lease: i64) -> bool {
        self.leases.get(&lease).is_some_and(|life| !life.gone)
    }
}
