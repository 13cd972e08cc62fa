//! Transactions at their revisions: those that wrote made one, those that only read were told at which they did. What a read saw
//! tells the revision of its writer, whose end nobody may know.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

use super::{OuterRead, Txn, final_writers, final_writes, outer_reads};
use crate::Anomaly;
use crate::revisions::{Floors, Told};

pub(super) struct Placed {
    /// By the position of the transaction, the revision that it made.
    made: BTreeMap<usize, i64>,
    /// By key and value, the position of the transaction that left it.
    writers: HashMap<(u64, i64), usize>,
    /// What contradicted itself on the way.
    found: Vec<Anomaly>,
}

impl Placed {
    pub(super) fn new(live: &[&Txn], told: &[Told]) -> Placed {
        let mut placed = Placed {
            made: BTreeMap::new(),
            writers: final_writers(live),
            found: Vec::new(),
        };
        let mut makers: BTreeMap<i64, usize> = BTreeMap::new();
        for (at, txn) in live.iter().enumerate().filter(|(_, txn)| !final_writes(txn).is_empty()) {
            if let Some(revision) = told_to(txn) {
                placed.made.insert(at, revision);
                makers.insert(revision, at);
            }
        }
        let floors = Floors::new(told);
        for txn in live {
            for read in outer_reads(txn) {
                placed.take_in(&read, txn, live, &floors, &mut makers);
            }
        }
        placed
    }

    fn take_in(
        &mut self,
        read: &OuterRead,
        reader: &Txn,
        live: &[&Txn],
        floors: &Floors,
        makers: &mut BTreeMap<i64, usize>,
    ) {
        let (Some(value), Some(revision)) = (read.seen, read.modified) else {
            return;
        };
        let (key, Some(at)) = (read.key, self.writers.get(&(read.key, value)).copied()) else {
            return;
        };
        let writer = live[at];
        let mut anomaly = |kind: &str, message: String| {
            let message = format!("key {key}: {value} of revision {revision} was read, {message}");
            let events = [writer.invoked, reader.invoked];
            self.found.push(Anomaly::new(kind, message, events));
        };
        match self.made.get(&at) {
            Some(made) if *made == revision => return,
            Some(made) => return anomaly("two-revisions", format!("whose writer made revision {made}")),
            None => {}
        }
        if let Some((floor, _)) = floors.before(writer.invoked).filter(|(floor, _)| revision <= *floor) {
            anomaly(
                "revision-backwards",
                format!("and was asked for after {floor} had been told"),
            );
        }
        if let Some(other) = makers.insert(revision, at) {
            let other = &live[other].call;
            anomaly("revision-given-twice", format!("which {other:?} made"));
        }
        self.made.insert(at, revision);
    }

    /// The writes of each key whose revision is known.
    pub(super) fn orders(&self, live: &[&Txn]) -> BTreeMap<u64, BTreeMap<i64, i64>> {
        let mut orders: BTreeMap<u64, BTreeMap<i64, i64>> = BTreeMap::new();
        for (at, revision) in &self.made {
            for (key, value) in final_writes(live[*at]) {
                orders.entry(key).or_default().insert(*revision, value);
            }
        }
        orders
    }

    /// Contradictions, and reads that do not fit the revision that their transaction was told.
    pub(super) fn broken(&self, live: &[&Txn]) -> Vec<Anomaly> {
        let orders = self.orders(live);
        let mut found = self.found.clone();
        for txn in live {
            let Some(told) = told_to(txn) else { continue };
            // A transaction that writes reads what was there before.
            let at = if final_writes(txn).is_empty() { told } else { told - 1 };
            for OuterRead { key, seen, .. } in outer_reads(txn) {
                let written = match seen {
                    None => Some(0),
                    Some(value) => self
                        .writers
                        .get(&(key, value))
                        .and_then(|writer| self.made.get(writer))
                        .copied(),
                };
                let Some(written) = written else { continue };
                let mut anomaly = |kind: &str, message: String| {
                    let message = format!("key {key} was read as {seen:?} at revision {at}, {message}");
                    found.push(Anomaly::new(kind, message, [txn.invoked]));
                };
                if written > at {
                    anomaly("future-read", format!("which was written at {written}"));
                    continue;
                }
                let between = (Bound::Excluded(written), Bound::Included(at));
                let later = orders.get(&key).filter(|_| written < at);
                if let Some((revision, value)) = later.and_then(|order| order.range(between).next()) {
                    anomaly("stale-read", format!("though {value} was written at {revision}"));
                }
            }
        }
        found
    }
}

fn told_to(txn: &Txn) -> Option<i64> {
    txn.outcome.result()?.revision
}
