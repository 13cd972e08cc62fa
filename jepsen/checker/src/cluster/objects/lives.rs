//! Uids: who is there, from a creation to a deletion.

use std::collections::BTreeMap;

use super::{Call, Object, Op, showings, shown};
use crate::Anomaly;

/// All that is known of one object.
pub(super) struct Life<'a> {
    pub(super) uid: &'a str,
    pub(super) key: &'a str,
    /// The operation that was the first to end of those that showed it, and when it ended.
    pub(super) first: (u64, &'a Op),
    /// The smallest and the greatest version it was shown at.
    pub(super) versions: (u64, u64),
    /// Acknowledged creations that told this uid.
    created: u64,
    /// When the first deletion that may have taken effect began; `u64::MAX` if there was none.
    pub(super) deletable: u64,
}

pub(super) fn lives(operations: &[Op]) -> BTreeMap<&str, Life<'_>> {
    let mut lives: BTreeMap<&str, Life<'_>> = BTreeMap::new();
    for (op, object) in showings(operations) {
        let Some(end) = op.completed else { continue };
        let life = lives
            .entry(&object.uid)
            .or_insert_with(|| Life::first_shown(object, (end, op)));
        life.take_in(object, (end, op));
    }
    for op in operations.iter().filter(|op| !op.outcome.is_fail()) {
        if let Call::Delete { uid, .. } = &op.call
            && let Some(life) = lives.get_mut(uid.as_str())
        {
            life.deletable = life.deletable.min(op.invoked);
        }
    }
    lives
}

impl<'a> Life<'a> {
    fn first_shown(object: &'a Object, first: (u64, &'a Op)) -> Life<'a> {
        Life {
            uid: &object.uid,
            key: &object.key,
            first,
            versions: (object.resource_version, object.resource_version),
            created: 0,
            deletable: u64::MAX,
        }
    }

    fn take_in(&mut self, object: &Object, shown: (u64, &'a Op)) {
        if shown.0 < self.first.0 {
            self.first = shown;
        }
        let (least, most) = self.versions;
        self.versions = (least.min(object.resource_version), most.max(object.resource_version));
        self.created += u64::from(matches!(shown.1.call, Call::Create { .. }));
    }
}

/// Whoever was shown is shown to all who ask later, until a deletion of it may have begun to take effect.
pub(super) fn nobody_vanishes(operations: &[Op]) -> Vec<Anomaly> {
    let lives = lives(operations);
    let mut names: BTreeMap<&str, Vec<&Life<'_>>> = BTreeMap::new();
    for life in lives.values() {
        names.entry(life.key).or_default().push(life);
    }
    let mut found: BTreeMap<&str, Anomaly> = BTreeMap::new();
    for op in operations {
        let Some(end) = op.completed.filter(|_| op.outcome.is_ok()) else {
            continue;
        };
        let asked: Vec<&&Life<'_>> = match &op.call {
            Call::Get { key } => names.get(key.as_str()).into_iter().flatten().collect(),
            Call::List => names.values().flatten().collect(),
            _ => continue,
        };
        let missed = asked.into_iter().filter(|life| {
            life.first.0 < op.invoked && end < life.deletable && shown(op).iter().all(|object| object.uid != life.uid)
        });
        for life in missed {
            let message = format!(
                "{} with uid {} was there, and nobody can have deleted it",
                life.key, life.uid
            );
            let events = [life.first.1.invoked, op.invoked];
            found
                .entry(life.uid)
                .or_insert_with(|| Anomaly::new("vanished", message, events));
        }
    }
    found.into_values().collect()
}

/// A name's lives do not overlap in their versions, and between two of them the first one may have been deleted.
pub(super) fn one_after_the_other(operations: &[Op]) -> Vec<Anomaly> {
    let lives = lives(operations);
    let mut names: BTreeMap<&str, Vec<&Life<'_>>> = BTreeMap::new();
    let mut found = Vec::new();
    for life in lives.values() {
        names.entry(life.key).or_default().push(life);
        if life.created > 1 {
            let message = format!("{} creations of {} told uid {}", life.created, life.key, life.uid);
            found.push(Anomaly::new("created-twice", message, [life.first.1.invoked]));
        }
    }
    for lives in names.values_mut() {
        lives.sort_by_key(|life| life.versions);
        for pair in lives.windows(2) {
            let (before, after) = (pair[0], pair[1]);
            if before.versions.1 >= after.versions.0 || after.first.0 < before.deletable {
                let message = format!(
                    "{} had uid {} at versions {:?} and {} at {:?}; the first was not deleted between",
                    before.key, before.uid, before.versions, after.uid, after.versions
                );
                let events = [before.first.1.invoked, after.first.1.invoked];
                found.push(Anomaly::new("created-twice", message, events));
            }
        }
    }
    found
}

/// Whoever asks after the first acknowledged deletion is not shown the object.
pub(super) fn deletes_last(operations: &[Op]) -> Vec<Anomaly> {
    let mut deleted: BTreeMap<&str, &Op> = BTreeMap::new();
    for op in operations.iter().filter(|op| op.outcome.is_ok()) {
        if let Call::Delete { uid, .. } = &op.call {
            let first = deleted.entry(uid).or_insert(op);
            if op.completed < first.completed {
                *first = op;
            }
        }
    }
    let mut found = Vec::new();
    for (op, object) in showings(operations) {
        if let Some(delete) = deleted.get(object.uid.as_str()).filter(|delete| delete.precedes(op)) {
            let message = format!("{object:?} was shown after its deletion was acknowledged");
            found.push(Anomaly::new("deleted-came-back", message, [delete.invoked, op.invoked]));
        }
    }
    found
}

/// A deletion that is acknowledged removed the object, which another one then cannot have done.
pub(super) fn one_deletion(operations: &[Op]) -> Vec<Anomaly> {
    let mut deleted: BTreeMap<&str, u64> = BTreeMap::new();
    let mut found = Vec::new();
    for op in operations.iter().filter(|op| op.outcome.is_ok()) {
        let Call::Delete { key, uid } = &op.call else { continue };
        if let Some(first) = deleted.insert(uid, op.invoked) {
            let message = format!("two deletions of {key} with uid {uid} were acknowledged");
            found.push(Anomaly::new("deleted-twice", message, [first, op.invoked]));
        }
    }
    found
}

pub(super) fn uids_are_unique(operations: &[Op]) -> Vec<Anomaly> {
    let mut owners: BTreeMap<&str, &str> = BTreeMap::new();
    let mut found = Vec::new();
    for (op, object) in showings(operations) {
        let owner = owners.entry(&object.uid).or_insert(&object.key);
        if *owner != object.key {
            let message = format!("uid {} is of {owner} and of {}", object.uid, object.key);
            found.push(Anomaly::new("uid-reused", message, [op.invoked]));
        }
    }
    found
}
