//! Whether each event is of a write that was made.

use std::collections::{BTreeMap, HashMap};

use super::reference::{Place, Reference};
use super::{Event, Write, Written};
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
        let floors = Floors::new(writes);
        let mut found = self.misplaced();
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
        let by_value: HashMap<&str, &Op> = writes
            .iter()
            .filter_map(|write| match &write.call {
                Write::Put { value, .. } => Some((value.as_str(), write)),
                Write::Delete { .. } => None,
            })
            .collect();
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

    /// Deletions told of, against those that may have made them: each makes one event at most, the acknowledged ones at their
    /// revision, those of unknown outcome at any revision that was not yet given when they began.
    fn deletions(&self, writes: &[Op], floors: &Floors) -> Vec<Anomaly> {
        let mut unknown: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
        for write in writes.iter().filter(|write| write.outcome.is_info()) {
            if let Write::Delete { key } = &write.call {
                unknown.entry(key).or_default().push(floors.of(write));
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
        Outcome::Info(_) if event.revision <= floors.of(write) => {
            let message = format!(
                "{event:?} was asked for after revision {} had been given",
                floors.of(write)
            );
            misplaced(message)
        }
        Outcome::Ok(_) | Outcome::Info(_) => None,
    }
}

fn phantom(message: String, events: impl IntoIterator<Item = u64>) -> Anomaly {
    Anomaly::new("phantom", message, events)
}

/// The greatest revision acknowledged by each event of the history: what begins later gets a greater one.
struct Floors(BTreeMap<u64, i64>);

impl Floors {
    fn new(writes: &[Op]) -> Floors {
        let acknowledged = writes.iter().filter_map(|write| match write.outcome {
            Outcome::Ok(Some(revision)) => Some((write.completed?, revision)),
            _ => None,
        });
        let mut floors: BTreeMap<u64, i64> = acknowledged.collect();
        let mut greatest = i64::MIN;
        for revision in floors.values_mut() {
            greatest = greatest.max(*revision);
            *revision = greatest;
        }
        Floors(floors)
    }

    fn of(&self, write: &Op) -> i64 {
        let before = self.0.range(..write.invoked).next_back();
        before.map_or(i64::MIN, |(_, revision)| *revision)
    }
}
