//! Revisions that a store told to those who asked, one history's as a whole: each write makes a revision of its own, and none
//! goes back in real time, whichever keys are concerned.

use std::collections::BTreeMap;

use crate::{Anomaly, Operation};

/// A revision that an acknowledged operation was told.
pub(crate) struct Told {
    pub(crate) revision: i64,
    /// Whether the operation made that revision; otherwise it read at it.
    pub(crate) made: bool,
    pub(crate) invoked: u64,
    pub(crate) completed: u64,
}

impl Told {
    /// `None` for an operation without an end.
    pub(crate) fn new<C, R>(op: &Operation<C, R>, revision: i64, made: bool) -> Option<Told> {
        Some(Told {
            revision,
            made,
            invoked: op.invoked,
            completed: op.completed?,
        })
    }
}

/// `revision-given-twice` and `revision-backwards`.
pub(crate) fn broken(told: &[Told]) -> Vec<Anomaly> {
    let mut found = given_twice(told);
    found.extend(backwards(told, &Floors::new(told)));
    found
}

/// `revision-given-twice`.
pub(crate) fn given_twice(told: &[Told]) -> Vec<Anomaly> {
    let mut makers: BTreeMap<i64, u64> = BTreeMap::new();
    let mut found = Vec::new();
    for Told { revision, invoked, .. } in told.iter().filter(|told| told.made) {
        if let Some(first) = makers.insert(*revision, *invoked) {
            let message = format!("revision {revision} was told to two writers");
            found.push(Anomaly::new("revision-given-twice", message, [first, *invoked]));
        }
    }
    found
}

/// `revision-backwards`: whoever begins after a revision was told is told no older one, and makes a greater one.
pub(crate) fn backwards(told: &[Told], floors: &Floors) -> Vec<Anomaly> {
    let mut found = Vec::new();
    for Told {
        revision,
        made,
        invoked,
        ..
    } in told
    {
        let Some((floor, by)) = floors.before(*invoked) else {
            continue;
        };
        if *revision < floor || (*made && *revision == floor) {
            let message = format!("revision {revision} was told after {floor} had been told");
            found.push(Anomaly::new("revision-backwards", message, [by, *invoked]));
        }
    }
    found
}

/// By the event at which it was told: the greatest revision told by then, and the invocation of the one who was told it.
pub(crate) struct Floors(BTreeMap<u64, (i64, u64)>);

impl Floors {
    pub(crate) fn new(told: &[Told]) -> Floors {
        let ends = told.iter().map(|told| (told.completed, (told.revision, told.invoked)));
        let mut floors: BTreeMap<u64, (i64, u64)> = ends.collect();
        let mut greatest = (i64::MIN, 0);
        for floor in floors.values_mut() {
            greatest = greatest.max(*floor);
            *floor = greatest;
        }
        Floors(floors)
    }

    /// What was told before this event.
    pub(crate) fn before(&self, event: u64) -> Option<(i64, u64)> {
        self.0.range(..event).next_back().map(|(_, floor)| *floor)
    }
}

/// By the event at which it was asked for: the smallest revision told to those who asked from then on, and the invocation of the one
/// who was told it.
pub(crate) struct Ceilings(BTreeMap<u64, (i64, u64)>);

impl Ceilings {
    pub(crate) fn new(told: &[Told]) -> Ceilings {
        let asked = told.iter().map(|told| (told.invoked, (told.revision, told.invoked)));
        let mut ceilings: BTreeMap<u64, (i64, u64)> = asked.collect();
        let mut least = (i64::MAX, 0);
        for ceiling in ceilings.values_mut().rev() {
            least = least.min(*ceiling);
            *ceiling = least;
        }
        Ceilings(ceilings)
    }

    /// What was told to those who asked after this event. What took effect before it has no greater revision.
    pub(crate) fn after(&self, event: u64) -> Option<(i64, u64)> {
        self.0.range(event + 1..).next().map(|(_, ceiling)| *ceiling)
    }
}
