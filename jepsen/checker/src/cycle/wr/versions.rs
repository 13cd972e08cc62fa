//! The order of each key's versions, as far as it is known.

use std::collections::{BTreeMap, BTreeSet};

use super::{OuterRead, Placed, Txn, Version, final_writers, final_writes, outer_reads};
use crate::Anomaly;
use crate::cycle::{Graph, Kind, realtime};

/// For each key, which version is known to come before which.
pub(super) struct Versions {
    next: BTreeMap<u64, BTreeMap<Version, BTreeSet<Version>>>,
}

impl Versions {
    pub(super) fn new(live: &[&Txn], placed: &Placed) -> Versions {
        let mut versions = Versions { next: BTreeMap::new() };
        let observed = observed(live);
        for txn in live {
            let read: BTreeMap<u64, Version> = outer_reads(txn).iter().map(|read| (read.key, read.seen)).collect();
            for (key, value) in final_writes(txn) {
                if !was_made(txn, key, value, &observed) {
                    continue;
                }
                versions.order(key, read.get(&key).copied().unwrap_or(None), Some(value));
                versions.order(key, None, Some(value));
            }
        }
        for (key, order) in placed.orders(live) {
            let values: Vec<i64> = order.into_values().collect();
            values
                .windows(2)
                .for_each(|pair| versions.order(key, Some(pair[0]), Some(pair[1])));
        }
        versions
    }

    pub(super) fn keys(&self) -> usize {
        self.next.len()
    }

    fn order(&mut self, key: u64, earlier: Version, later: Version) {
        let next = self.next.entry(key).or_default();
        next.entry(earlier).or_default().insert(later);
    }

    /// Adds what real time tells: the version that a transaction left is not newer than the one that a later transaction
    /// found or made.
    pub(super) fn order_by_time(&mut self, live: &[&Txn]) {
        for (key, touches) in touches(live) {
            let spans = touches.iter().map(|touch| (touch.invoked, touch.completed));
            realtime::each(spans, |earlier, later| {
                let (left, found) = (touches[earlier].left, touches[later].found);
                if left != found {
                    self.order(key, left, found);
                }
            });
        }
    }

    pub(super) fn contradictions(&self) -> Vec<Anomaly> {
        let mut found = Vec::new();
        for (key, next) in &self.next {
            let values: Vec<Version> = next
                .iter()
                .flat_map(|(from, to)| to.iter().chain([from]))
                .copied()
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect();
            let at = |version: &Version| values.binary_search(version).expect("every version is listed");
            let mut graph = Graph::default();
            for (from, to) in next.iter().flat_map(|(from, to)| to.iter().map(move |to| (from, to))) {
                graph.add(at(from), at(to), Kind::Ww, String::new);
            }
            for cycle in graph.components(Kind::Ww as u8) {
                let cycle: Vec<Version> = cycle.into_iter().map(|at| values[at]).collect();
                let message = format!("key {key}: each of {cycle:?} came before each other");
                found.push(Anomaly::new("cyclic-versions", message, []));
            }
        }
        found
    }

    pub(super) fn add_edges(&self, live: &[&Txn], graph: &mut Graph) {
        let writers = final_writers(live);
        let writer = |key: u64, version: Version| writers.get(&(key, version?)).copied();
        for (key, earlier, later) in self.pairs() {
            if let (Some(a), Some(b)) = (writer(key, earlier), writer(key, later)) {
                graph.add(a, b, Kind::Ww, || {
                    format!("key {key}: {earlier:?} came before {later:?}")
                });
            }
        }
        for (reader, txn) in live.iter().enumerate() {
            for OuterRead { key, seen, .. } in outer_reads(txn) {
                if let Some(writer) = writer(key, seen) {
                    graph.add(writer, reader, Kind::Wr, || format!("key {key}: it read {seen:?}"));
                }
                for later in self
                    .next
                    .get(&key)
                    .and_then(|next| next.get(&seen))
                    .into_iter()
                    .flatten()
                {
                    if let Some(writer) = writer(key, *later) {
                        graph.add(reader, writer, Kind::Rw, || {
                            format!("key {key}: it read {seen:?}, not {later:?}")
                        });
                    }
                }
            }
        }
    }

    fn pairs(&self) -> impl Iterator<Item = (u64, Version, Version)> + '_ {
        self.next.iter().flat_map(|(key, next)| {
            next.iter()
                .flat_map(move |(from, to)| to.iter().map(move |to| (*key, *from, *to)))
        })
    }
}

/// What anybody read.
fn observed(live: &[&Txn]) -> BTreeSet<(u64, Version)> {
    let reads = live.iter().flat_map(|txn| outer_reads(txn));
    reads.map(|read| (read.key, read.seen)).collect()
}

/// A write that nobody knows of and nobody saw may never have been.
fn was_made(txn: &Txn, key: u64, value: i64, observed: &BTreeSet<(u64, Version)>) -> bool {
    txn.outcome.is_ok() || observed.contains(&(key, Some(value)))
}

/// A transaction as one of its keys sees it.
struct Touch {
    invoked: u64,
    completed: Option<u64>,
    /// The version it read, or else wrote.
    found: Version,
    /// The version it wrote, or else read.
    left: Version,
}

fn touches(live: &[&Txn]) -> BTreeMap<u64, Vec<Touch>> {
    let observed = observed(live);
    let mut touches: BTreeMap<u64, Vec<Touch>> = BTreeMap::new();
    for txn in live {
        let mut keys: BTreeMap<u64, (Version, Version)> = BTreeMap::new();
        for OuterRead { key, seen, .. } in outer_reads(txn) {
            keys.entry(key).or_insert((seen, seen));
        }
        for (key, value) in final_writes(txn) {
            if was_made(txn, key, value, &observed) {
                keys.entry(key).or_insert((Some(value), None)).1 = Some(value);
            }
        }
        for (key, (found, left)) in keys {
            touches.entry(key).or_default().push(Touch {
                invoked: txn.invoked,
                completed: txn.completed,
                found,
                left,
            });
        }
    }
    touches
}
