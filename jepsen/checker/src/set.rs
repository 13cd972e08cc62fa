//! A set that only grows: what was acknowledged is there for every reader that comes later.
//!
//! Finds `lost` (acknowledged or seen, and gone in the last read), `stale` (missed by a reader that came later, and back
//! afterwards), `unexpected` (nobody had asked to add it by then, or its addition failed) and `duplicate`. An acknowledged addition that nobody
//! read after is not judged, so that the verdict is `Unknown`; so it is where nothing was acknowledged or seen.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{Anomaly, Operation, Outcome, Verdict};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Call {
    /// An element is added once in a test.
    Add(i64),
    Read,
}

/// The elements that a read saw; of an addition, `None`.
pub type Return = Option<Vec<i64>>;

pub fn check(operations: &[Operation<Call, Return>]) -> Verdict {
    let mut verdict = Verdict::valid("set");
    let reads: Vec<_> = operations
        .iter()
        .filter_map(|op| Some((op, op.outcome.result()?.as_ref()?)))
        .collect();
    let adds: BTreeMap<i64, &Operation<Call, Return>> = operations
        .iter()
        .filter_map(|op| match op.call {
            Call::Add(element) => Some((element, op)),
            Call::Read => None,
        })
        .collect();
    // The event after which an element is known to be there.
    let mut known: BTreeMap<i64, u64> = BTreeMap::new();
    for (element, add) in &adds {
        if let (Outcome::Ok(_), Some(completed)) = (&add.outcome, add.completed) {
            known.insert(*element, completed);
        }
    }
    for (read, elements) in &reads {
        let mut distinct = BTreeSet::new();
        for element in elements.iter() {
            if !distinct.insert(*element) {
                verdict.broken(Anomaly::new(
                    "duplicate",
                    format!("{element} was read twice at once"),
                    [read.invoked],
                ));
            }
            let impossible = |add: &&Operation<Call, Return>| add.outcome.is_fail() || read.precedes(*add);
            if adds.get(element).is_none_or(impossible) {
                let message = format!("{element} was read, but not added by then");
                verdict.broken(Anomaly::new("unexpected", message, [read.invoked]));
            }
            let seen = read.completed.unwrap_or(u64::MAX);
            known
                .entry(*element)
                .and_modify(|at| *at = seen.min(*at))
                .or_insert(seen);
        }
    }
    missing(&reads, &known)
        .into_iter()
        .for_each(|anomaly| verdict.broken(anomaly));
    let acknowledged = adds.values().filter(|add| add.outcome.is_ok()).count();
    verdict.note(format!(
        "{} added, {acknowledged} acknowledged, {} reads",
        adds.len(),
        reads.len()
    ));
    let read_last = reads.iter().map(|(read, _)| read.invoked).max();
    let unread = adds
        .values()
        .filter(|add| add.outcome.is_ok() && add.completed > read_last);
    match (read_last, unread.count()) {
        (None, _) => verdict.unknown("nothing was ever read"),
        (_, 0) if known.is_empty() => verdict.unknown("no addition was acknowledged, and no element was seen"),
        (_, 0) => {}
        (_, unread) => verdict.unknown(format!("nothing was read after {unread} of them were acknowledged")),
    }
    verdict
}

type Read<'a> = (&'a Operation<Call, Return>, &'a Vec<i64>);

/// Reads that miss what was known before they began.
fn missing(reads: &[Read<'_>], known: &BTreeMap<i64, u64>) -> Vec<Anomaly> {
    let Some((last, in_the_end)) = reads.iter().max_by_key(|(read, _)| read.invoked) else {
        return Vec::new();
    };
    let in_the_end: BTreeSet<i64> = in_the_end.iter().copied().collect();
    let mut found: BTreeMap<i64, Anomaly> = BTreeMap::new();
    for (read, elements) in reads {
        let elements: BTreeSet<i64> = elements.iter().copied().collect();
        let missed = known
            .iter()
            .filter(|(element, at)| **at < read.invoked && !elements.contains(element));
        for (element, at) in missed {
            let lost = !in_the_end.contains(element) && *at < last.invoked;
            let kind = if lost { "lost" } else { "stale" };
            let message = format!(
                "{element} was there at event {at}, and a read that began at {} misses it",
                read.invoked
            );
            found
                .entry(*element)
                .or_insert_with(|| Anomaly::new(kind, message, [*at, read.invoked]));
        }
    }
    found.into_values().collect()
}
