//! Whether each event is of a write that was made.

use std::collections::{BTreeMap, HashMap};

use super::reference::{Place, Reference};
use super::{Event, Write, Written};
use crate::revisions::{self, Floors, Told};
use crate::{Anomaly, Operation, Outcome};

type Op = Operation<Write, Written>;

impl Write {
    pub(super) fn key(&self) -> &str {
        let (Write::Put { key, .. } | Write::Delete { key }) = self;
        key
    }

    fn makes(&self, event: &Event) -> bool {
        match self {
            Write::Put { key, value } => *key == event.key && event.value.as_ref() == Some(value),
            Write::Delete { key } => *key == event.key && event.value.is_none(),
        }
    }
}

impl Reference {
    pub(super) fn compare_writes(&self, writes: &[Op]) -> Vec<Anomaly> {
        let told = acknowledged(writes);
        let floors = Floors::new(&told);
        let mut found = revisions::broken(&told);
        found.extend(self.misplaced());
        found.extend(self.wrong_pasts(writes));
        found.extend(found_nothing(writes));
        found.extend(self.puts(writes, &floors));
        found.extend(self.deletions(writes, &floors));
        found
    }

    /// Events at a revision that was acknowledged to another write of the key.
    fn misplaced(&self) -> Vec<Anomaly> {
        let others = self.events.iter().filter_map(|(place, event)| {
            let write = self.acknowledged.get(place)?;
            (!write.makes(event)).then(|| format!("{event:?} is where {write:?} was acknowledged"))
        });
        others.map(|message| Anomaly::new("misplaced", message, [])).collect()
    }

    fn puts(&self, writes: &[Op], floors: &Floors) -> Vec<Anomaly> {
        let by_value = by_value(writes);
        let mut found = Vec::new();
        let mut told: HashMap<&str, i64> = HashMap::new();
        for event in self.events.values() {
            let Some(value) = event.value.as_deref() else { continue };
            found.extend(wrong_put(event, by_value.get(value).copied(), floors));
            if let Some(first) = told.insert(value, event.revision) {
                let message = format!("{value:?} was written once, and came at {first} and {}", event.revision);
                found.push(Anomaly::new("double", message, []));
            }
        }
        found
    }

    /// Previous values that nobody can have written, or that were written at another revision.
    fn wrong_pasts(&self, writes: &[Op]) -> Vec<Anomaly> {
        let by_value = by_value(writes);
        let mut found = Vec::new();
        for ((revision, key), past) in self.pasts() {
            let (value, at) = past;
            let possible = by_value.get(value.as_str()).is_some_and(|write| {
                let elsewhere = matches!(write.outcome, Outcome::Ok(Some(told)) if told != *at);
                write.call.key() == key && !write.outcome.is_fail() && !elsewhere
            });
            if !possible {
                let message =
                    format!("{key} at {revision} is told to have come after {past:?}, which nobody wrote there");
                found.push(Anomaly::new("wrong-previous", message, []));
            }
        }
        found
    }

    /// Deletions told of, against those that may have made them: each makes one event at most, the acknowledged ones at their
    /// revision, those of unknown outcome at any revision that was not yet given when they began.
    fn deletions(&self, writes: &[Op], floors: &Floors) -> Vec<Anomaly> {
        let mut unknown: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
        for write in writes.iter().filter(|write| write.outcome.is_info()) {
            if let Write::Delete { key } = &write.call {
                unknown.entry(key).or_default().push(floor(floors, write));
            }
        }
        let mut taken: BTreeMap<&str, usize> = BTreeMap::new();
        let mut found = Vec::new();
        for (place, event) in self
            .events
            .iter()
            .filter(|(place, event)| self.is_unexplained(place, event))
        {
            let floors = unknown.get(place.1.as_str()).into_iter().flatten();
            let begun = floors.filter(|floor| **floor < event.revision).count();
            let taken = taken.entry(&place.1).or_default();
            // Whoever may have made an earlier event may also have made this one, so that counting is enough.
            if begun > *taken {
                *taken += 1;
            } else {
                found.push(phantom(format!("nobody can have deleted {event:?}"), []));
            }
        }
        found
    }

    fn is_unexplained(&self, place: &Place, event: &Event) -> bool {
        event.value.is_none() && !self.acknowledged.contains_key(place)
    }
}

fn by_value(writes: &[Op]) -> HashMap<&str, &Op> {
    let puts = writes.iter().filter_map(|write| match &write.call {
        Write::Put { value, .. } => Some((value.as_str(), write)),
        Write::Delete { .. } => None,
    });
    puts.collect()
}

fn wrong_put(event: &Event, write: Option<&Op>, floors: &Floors) -> Option<Anomaly> {
    let Some(write) = write.filter(|write| write.call.makes(event)) else {
        return Some(phantom(format!("nobody wrote {event:?}"), []));
    };
    let misplaced = |message| Some(Anomaly::new("misplaced", message, [write.invoked]));
    match &write.outcome {
        Outcome::Fail(error) => {
            let message = format!("{event:?} is of a write that failed: {error}");
            Some(phantom(message, [write.invoked]))
        }
        Outcome::Ok(Some(revision)) if *revision != event.revision => {
            misplaced(format!("{event:?} was acknowledged at revision {revision}"))
        }
        Outcome::Info(_) if event.revision <= floor(floors, write) => {
            let message = format!(
                "{event:?} was asked for after revision {} had been given",
                floor(floors, write)
            );
            misplaced(message)
        }
        Outcome::Ok(_) | Outcome::Info(_) => None,
    }
}

fn phantom(message: String, events: impl IntoIterator<Item = u64>) -> Anomaly {
    Anomaly::new("phantom", message, events)
}

/// The revisions of acknowledged writes; a deletion that found nothing made none.
fn acknowledged(writes: &[Op]) -> Vec<Told> {
    let told = writes.iter().filter_map(|write| match write.outcome {
        Outcome::Ok(Some(revision)) => Told::new(write, revision, true),
        _ => None,
    });
    told.collect()
}

/// The greatest revision acknowledged before a write began, which gets a greater one.
fn floor(floors: &Floors, write: &Op) -> i64 {
    floors.before(write.invoked).map_or(i64::MIN, |(revision, _)| revision)
}

/// Deletions that found nothing, though a put of the key was over before they began, and every deletion that may have taken
/// effect was over before that put, has a smaller revision than it, or began later than the one that found nothing ended.
fn found_nothing(writes: &[Op]) -> Vec<Anomaly> {
    let mut keys: BTreeMap<&str, Vec<&Op>> = BTreeMap::new();
    for write in writes.iter().filter(|write| !write.outcome.is_fail()) {
        keys.entry(write.call.key()).or_default().push(write);
    }
    let mut found = Vec::new();
    for writes in keys.values() {
        let is_put = |write: &&&Op| matches!(write.call, Write::Put { .. });
        let (puts, deletions): (Vec<&Op>, Vec<&Op>) = writes.iter().partition(is_put);
        let (in_vain, deletions): (Vec<&Op>, Vec<&Op>) = deletions
            .into_iter()
            .partition(|write| write.outcome == Outcome::Ok(None));
        for vain in in_vain {
            let newest = puts.iter().filter(|put| put.precedes(vain));
            let newest = newest
                .filter_map(|put| Some((revision(put)?, put)))
                .max_by_key(|(at, _)| *at);
            let Some((at, put)) = newest else { continue };
            let excused = deletions.iter().any(|deletion| {
                let before = deletion.precedes(put) || revision(deletion).is_some_and(|deleted| deleted < at);
                !before && !vain.precedes(deletion)
            });
            if !excused {
                let message = format!(
                    "{:?} found nothing, after {:?} was acknowledged at {at}",
                    vain.call, put.call
                );
                found.push(Anomaly::new("found-nothing", message, [put.invoked, vain.invoked]));
            }
        }
    }
    found
}

fn revision(write: &Op) -> Option<i64> {
    *write.outcome.result()?
}
