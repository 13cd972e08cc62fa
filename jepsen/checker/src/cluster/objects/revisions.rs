//! Versions as what they are: revisions of one store, whichever names they are of. Each write makes one of its own, greater than
//! all that were known before it began, and a list shows the state at the one it tells.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::lives::{Life, lives};
use super::{Call, Object, Op, showings, shown};
use crate::Anomaly;
use crate::revisions::{self, Ceilings, Floors, Told};

fn made(op: &Op) -> bool {
    matches!(op.call, Call::Create { .. } | Call::Update { .. })
}

fn told(op: &Op, version: u64) -> Option<Told> {
    Told::new(op, i64::try_from(version).ok()?, made(op))
}

/// Versions that acknowledged writes made, and those that lists told.
fn judged(operations: &[Op]) -> Vec<Told> {
    let asked = operations.iter().filter(|op| made(op) || op.call == Call::List);
    asked
        .filter_map(|op| told(op, op.outcome.result()?.resource_version?))
        .collect()
}

/// What had been told by when. Objects bind those who ask later, too: their versions had been made.
fn floors(operations: &[Op]) -> Floors {
    let objects = showings(operations).filter_map(|(op, object)| told(op, object.resource_version));
    Floors::new(&objects.chain(judged(operations)).collect::<Vec<_>>())
}

/// Versions known before an operation began are smaller than the one it makes.
pub(super) fn writes_go_forward(operations: &[Op]) -> Vec<Anomaly> {
    let (judged, floors) = (judged(operations), floors(operations));
    // Lists are judged with names, which tells more.
    let writes: Vec<Told> = judged.into_iter().filter(|told| told.made).collect();
    let mut found = revisions::given_twice(&writes);
    found.extend(revisions::backwards(&writes, &floors));
    for anomaly in &mut found {
        anomaly.kind = match anomaly.kind.as_str() {
            "revision-given-twice" => "version-given-twice".into(),
            _ => "resource-version-backwards".into(),
        };
    }
    found.extend(unanswered(operations, &floors));
    found
}

/// Objects shown of writes whose end nobody knows, at versions that had been given before anyone asked for them.
fn unanswered(operations: &[Op], floors: &Floors) -> Vec<Anomaly> {
    let mut asked: BTreeMap<(&str, &str), Vec<&Op>> = BTreeMap::new();
    for op in operations.iter().filter(|op| !op.outcome.is_fail()) {
        if let Call::Create { key, value } | Call::Update { key, value, .. } = &op.call {
            asked.entry((key, value)).or_default().push(op);
        }
    }
    let mut found: BTreeMap<(&str, u64), Anomaly> = BTreeMap::new();
    for (op, object) in showings(operations) {
        let writers = asked.get(&(object.key.as_str(), object.value.as_str()));
        let Some([writer]) = writers.map(Vec::as_slice) else {
            continue;
        };
        let given = floors.before(writer.invoked).filter(|_| writer.outcome.is_info());
        if let Some((given, by)) = given.filter(|(given, _)| i128::from(*given) >= object.resource_version.into()) {
            let message = format!("{object:?} was asked for after version {given} had been told");
            let place = (object.key.as_str(), object.resource_version);
            found.entry(place).or_insert_with(|| {
                Anomaly::new("resource-version-backwards", message, [by, writer.invoked, op.invoked])
            });
        }
    }
    found.into_values().collect()
}

/// A write is of one name, and makes a version of its own.
pub(super) fn one_name_at_a_version(operations: &[Op]) -> Vec<Anomaly> {
    let mut names: BTreeMap<u64, (&Op, &str)> = BTreeMap::new();
    let mut found: BTreeMap<u64, Anomaly> = BTreeMap::new();
    for (op, object) in showings(operations) {
        let version = object.resource_version;
        let (first, name) = *names.entry(version).or_insert((op, &object.key));
        if name != object.key {
            let message = format!("version {version} is of {name} and of {}", object.key);
            found
                .entry(version)
                .or_insert_with(|| Anomaly::new("version-given-twice", message, [first.invoked, op.invoked]));
        }
    }
    found.into_values().collect()
}

/// What a list shows is what was there at the version that it tells, however long it took.
pub(super) fn lists_show_their_version(operations: &[Op]) -> Vec<Anomaly> {
    let mut names: BTreeMap<&str, BTreeMap<u64, (&Op, &Object)>> = BTreeMap::new();
    for (op, object) in showings(operations) {
        let versions = names.entry(&object.key).or_default();
        versions.entry(object.resource_version).or_insert((op, object));
    }
    let lives = lives(operations);
    let bounds = Bounds::new(operations);
    let mut found = Vec::new();
    for list in operations.iter().filter(|op| op.call == Call::List) {
        let Some(at) = list.outcome.result().and_then(|answer| answer.resource_version) else {
            continue;
        };
        let mut wrong = |message: String, by: &Op| {
            let message = format!("a list of version {at} {message}");
            found.push(Anomaly::new("wrong-list", message, [by.invoked, list.invoked]));
        };
        for object in shown(list) {
            if object.resource_version > at {
                wrong(format!("shows {object:?}"), list);
                continue;
            }
            let above = (Bound::Excluded(object.resource_version), Bound::Included(at));
            let later = names[object.key.as_str()].range(above).next();
            if let Some((_, (by, newer))) = later {
                wrong(format!("shows {object:?} and not {newer:?}"), by);
            } else if let Some(deletion) = bounds.deleted_by(&object.uid, at) {
                wrong(format!("shows {object:?}, which was deleted before"), deletion);
            }
        }
        let missed = lives.values().filter(|life| {
            life.versions.0 <= at
                && shown(list).iter().all(|object| object.uid != life.uid)
                && !bounds.may_be_gone(life, list, at)
        });
        for life in missed {
            let (least, most) = life.versions;
            let message = format!(
                "misses {} with uid {}, known from version {least} to {most}, which nobody can have deleted by then",
                life.key, life.uid
            );
            wrong(message, life.first.1);
        }
    }
    found
}

/// Between which versions deletions may have taken effect, who are told none of their own.
struct Bounds<'a> {
    floors: Floors,
    ceilings: Ceilings,
    /// By uid, the acknowledged deletion that ended first.
    deletions: BTreeMap<&'a str, (u64, &'a Op)>,
}

impl<'a> Bounds<'a> {
    fn new(operations: &'a [Op]) -> Bounds<'a> {
        let mut deletions: BTreeMap<&str, (u64, &Op)> = BTreeMap::new();
        for op in operations.iter().filter(|op| op.outcome.is_ok()) {
            if let (Call::Delete { uid, .. }, Some(end)) = (&op.call, op.completed) {
                let first = deletions.entry(uid).or_insert((end, op));
                if end < first.0 {
                    *first = (end, op);
                }
            }
        }
        Bounds {
            floors: floors(operations),
            ceilings: Ceilings::new(&judged(operations)),
            deletions,
        }
    }

    /// The deletion that took effect at this version at the latest: something that began after it was told no greater one.
    fn deleted_by(&self, uid: &str, at: u64) -> Option<&'a Op> {
        let (end, deletion) = self.deletions.get(uid)?;
        let (least, _) = self.ceilings.after(*end)?;
        (i128::from(least) <= at.into()).then_some(*deletion)
    }

    /// Whether a deletion may have taken effect at this version: one had begun, which makes a greater version than all that had been
    /// told by then, and nobody was shown the object at a later version.
    fn may_be_gone(&self, life: &Life<'_>, list: &Op, at: u64) -> bool {
        let begun = list.completed.is_some_and(|end| life.deletable < end);
        let floor = self.floors.before(life.deletable);
        let in_time = floor.is_none_or(|(floor, _)| i128::from(floor) < at.into());
        begun && in_time && life.versions.1 <= at
    }
}
