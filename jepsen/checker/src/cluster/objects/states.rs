//! Versions and values.

use std::collections::{BTreeMap, BTreeSet};

use super::{Call, Object, Op, showings, shown};
use crate::Anomaly;

/// A version that an operation was told.
struct Seen<'a> {
    op: &'a Op,
    version: u64,
    /// Whether it may not be older than what was seen before; otherwise it only binds others.
    judged: bool,
}

/// A list that begins after another answer has come has no smaller version, whoever asks and whichever master answers.
pub(super) fn lists_go_forward(operations: &[Op]) -> Vec<Anomaly> {
    let seen = |op, version, judged| Seen { op, version, judged };
    let lists = operations.iter().filter(|op| op.call == Call::List);
    let lists = lists.filter_map(|op| Some(seen(op, op.outcome.result()?.resource_version?, true)));
    let objects = showings(operations).map(|(op, object)| seen(op, object.resource_version, false));
    go_forward("a list", lists.chain(objects).collect())
}

/// What is shown of a name is not older than what had been shown of it, to anyone.
pub(super) fn names_go_forward(operations: &[Op]) -> Vec<Anomaly> {
    let mut names: BTreeMap<&str, Vec<Seen<'_>>> = BTreeMap::new();
    for (op, object) in showings(operations) {
        names.entry(&object.key).or_default().push(Seen {
            op,
            version: object.resource_version,
            judged: true,
        });
    }
    names
        .into_iter()
        .flat_map(|(name, seen)| go_forward(name, seen))
        .collect()
}

fn go_forward(what: &str, mut seen: Vec<Seen<'_>>) -> Vec<Anomaly> {
    let mut ended: Vec<(u64, u64, &Op)> = seen
        .iter()
        .filter_map(|seen| Some((seen.op.completed?, seen.version, seen.op)))
        .collect();
    ended.sort_unstable_by_key(|(end, version, _)| (*end, *version));
    seen.sort_by_key(|seen| seen.op.invoked);
    let mut ended = ended.into_iter().peekable();
    let (mut found, mut newest) = (Vec::new(), None::<(u64, &Op)>);
    for Seen { op, version, judged } in seen {
        while let Some((_, version, by)) = ended.next_if(|(end, ..)| *end < op.invoked) {
            if newest.is_none_or(|(newest, _)| version >= newest) {
                newest = Some((version, by));
            }
        }
        if let Some((newer, by)) = newest.filter(|(newest, _)| judged && version < *newest) {
            let missed = is_read(op) && !is_read(by);
            let kind = if missed {
                "stale-read"
            } else {
                "resource-version-backwards"
            };
            let message = format!("{what} has version {version}, after {newer} had been told");
            found.push(Anomaly::new(kind, message, [by.invoked, op.invoked]));
        }
    }
    found
}

fn is_read(op: &Op) -> bool {
    matches!(op.call, Call::Get { .. } | Call::List)
}

/// An update makes a version greater than the one it replaces.
pub(super) fn updates_go_forward(operations: &[Op]) -> Vec<Anomaly> {
    let updates = operations.iter().filter_map(|op| match &op.call {
        Call::Update {
            key, resource_version, ..
        } => Some((op, key, *resource_version, op.outcome.result()?.resource_version?)),
        _ => None,
    });
    updates
        .filter(|(.., from, to)| to <= from)
        .map(|(op, key, from, to)| {
            let message = format!("an update of {key} at version {from} made version {to}");
            Anomaly::new("resource-version-backwards", message, [op.invoked])
        })
        .collect()
}

pub(super) fn one_at_a_version(operations: &[Op]) -> Vec<Anomaly> {
    let mut states: BTreeMap<(&str, u64), (&Op, &Object)> = BTreeMap::new();
    let mut found = Vec::new();
    for (op, object) in showings(operations) {
        let place = (object.key.as_str(), object.resource_version);
        let (first, state) = states.entry(place).or_insert((op, object));
        if *state != object {
            let message = format!("{state:?} and {object:?} were shown");
            found.push(Anomaly::new("two-states", message, [first.invoked, op.invoked]));
        }
    }
    found
}

/// An update that took effect: it was acknowledged, or its value was shown.
struct Replacement<'a> {
    op: &'a Op,
    key: &'a str,
    from: u64,
    /// The version that it made, as the first that showed its value told it.
    made: &'a Object,
}

fn replacements(operations: &[Op]) -> Vec<Replacement<'_>> {
    let mut by_value: BTreeMap<(&str, &str), &Object> = BTreeMap::new();
    for (_, object) in showings(operations) {
        by_value.entry((&object.key, &object.value)).or_insert(object);
    }
    let updates = operations.iter().filter(|op| !op.outcome.is_fail());
    let replacements = updates.filter_map(|op| match &op.call {
        Call::Update {
            key,
            resource_version,
            value,
        } => Some(Replacement {
            op,
            key,
            from: *resource_version,
            made: by_value.get(&(key.as_str(), value.as_str()))?,
        }),
        _ => None,
    });
    replacements.collect()
}

pub(super) fn one_winner(operations: &[Op]) -> Vec<Anomaly> {
    let mut winners: BTreeMap<(&str, u64), u64> = BTreeMap::new();
    let mut found = Vec::new();
    for Replacement { op, key, from, .. } in replacements(operations) {
        if let Some(first) = winners.insert((key, from), op.invoked) {
            let message = format!("two updates of {key} at version {from} took effect");
            found.push(Anomaly::new("two-winners", message, [first, op.invoked]));
        }
    }
    found
}

/// Nothing is known of the name between the version that an update replaced and the one it made, and both are of one life.
pub(super) fn updates_replace_what_they_name(operations: &[Op]) -> Vec<Anomaly> {
    let mut names: BTreeMap<&str, BTreeMap<u64, (&Op, &Object)>> = BTreeMap::new();
    for (op, object) in showings(operations) {
        let versions = names.entry(&object.key).or_default();
        versions.entry(object.resource_version).or_insert((op, object));
    }
    let mut found = Vec::new();
    for Replacement { op, key, from, made } in replacements(operations) {
        let to = made.resource_version;
        let Some(versions) = names.get(key).filter(|_| from < to) else {
            continue;
        };
        let between = versions.range(from + 1..to).next();
        let another = versions.get(&from).filter(|(_, object)| object.uid != made.uid);
        if let Some((first, object)) = between.map(|(_, first)| first).or(another) {
            let message = format!("an update of version {from} made {made:?}, although there was {object:?}");
            found.push(Anomaly::new("lost-update", message, [first.invoked, op.invoked]));
        }
    }
    found
}

/// A value is written once, so that the name has it at one version.
pub(super) fn one_version_of_a_value(operations: &[Op]) -> Vec<Anomaly> {
    let mut versions: BTreeMap<(&str, &str), (&Op, u64)> = BTreeMap::new();
    let mut found = Vec::new();
    for (op, object) in showings(operations) {
        let place = (object.key.as_str(), object.value.as_str());
        let (first, version) = *versions.entry(place).or_insert((op, object.resource_version));
        if version != object.resource_version {
            let message = format!("{object:?} was shown, and the same value at version {version}");
            found.push(Anomaly::new("two-versions", message, [first.invoked, op.invoked]));
        }
    }
    found
}

/// A write is answered with what it wrote, a read of one name with that name, and a list shows a name once.
pub(super) fn answers_fit(operations: &[Op]) -> Vec<Anomaly> {
    let mut found = Vec::new();
    let mut listed = BTreeSet::new();
    let writes = |op: &&Op| matches!(op.call, Call::Create { .. } | Call::Update { .. });
    for op in operations.iter().filter(writes) {
        if op.outcome.is_ok() && shown(op).is_empty() {
            let message = format!("{:?} was answered with nothing", op.call);
            found.push(Anomaly::new("wrong-answer", message, [op.invoked]));
        }
    }
    for (op, object) in showings(operations) {
        let asked = match &op.call {
            Call::Create { key, value } | Call::Update { key, value, .. } => (key, Some(value)),
            Call::Get { key } => (key, None),
            Call::List => {
                if !listed.insert((op.invoked, &object.key)) {
                    let message = format!("one list shows {} twice", object.key);
                    found.push(Anomaly::new("listed-twice", message, [op.invoked]));
                }
                continue;
            }
            Call::Delete { .. } => continue,
        };
        if object.key != *asked.0 || asked.1.is_some_and(|value| object.value != *value) {
            let message = format!("{:?} was answered with {object:?}", op.call);
            found.push(Anomaly::new("wrong-answer", message, [op.invoked]));
        }
    }
    found
}

pub(super) fn values_were_written(operations: &[Op]) -> Vec<Anomaly> {
    let mut writers: BTreeMap<(&str, &str), Vec<&Op>> = BTreeMap::new();
    for op in operations.iter().filter(|op| !op.outcome.is_fail()) {
        if let Call::Create { key, value } | Call::Update { key, value, .. } = &op.call {
            writers.entry((key, value)).or_default().push(op);
        }
    }
    let mut found = Vec::new();
    for (op, object) in showings(operations) {
        let mut writers = writers
            .get(&(object.key.as_str(), object.value.as_str()))
            .into_iter()
            .flatten();
        if !writers.any(|writer| Some(writer.invoked) < op.completed) {
            let message = format!("{object:?} was shown, and nobody can have written that");
            found.push(Anomaly::new("phantom", message, [op.invoked]));
        }
    }
    found
}
