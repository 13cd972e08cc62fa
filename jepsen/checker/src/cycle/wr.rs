//! Transactions that write registers blindly and read them. A register forgets, so the order of its versions must come from
//! elsewhere: from the store's revisions where it tells them, from a transaction that read a value before it wrote the
//! next one, and from the absence that every key starts with.
//!
//! Besides cycles it finds `G1a`, `G1b`, `garbage-read`, `internal`, `cyclic-versions` (two such orders contradict each
//! other, as when a revision goes backwards), `revision-given-twice` (two transactions that wrote were told one revision,
//! where each makes one of its own), and `revision-backwards` (a transaction was told an older revision than one that was over
//! before it began).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use super::{Graph, Kind, anomalies, realtime};
use crate::revisions::{self, Told};
use crate::{Anomaly, Operation, Verdict};

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Key and value; a value is written to its key once in a test.
    Write(u64, i64),
    Read(u64),
}

pub type Call = Vec<Step>;

/// What a transaction was answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Return {
    /// The store's revision after the transaction, where it is told; that of its writes, if it wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<i64>,
    /// What each read saw, in the order of the steps.
    pub reads: Vec<Option<i64>>,
}

type Txn = Operation<Call, Return>;

/// A version of a key: a value written, or the absence it started with.
type Version = Option<i64>;

pub fn check(operations: &[Txn]) -> Verdict {
    let mut verdict = Verdict::valid("wr");
    let live: Vec<&Txn> = operations.iter().filter(|txn| !txn.outcome.is_fail()).collect();
    let writers = all_writers(operations);
    for txn in &live {
        internal(txn).into_iter().for_each(|anomaly| verdict.broken(anomaly));
        bad_reads(txn, operations, &writers)
            .into_iter()
            .for_each(|anomaly| verdict.broken(anomaly));
    }
    let versions = Versions::new(&live);
    versions
        .contradictions()
        .into_iter()
        .chain(revisions::broken(&told(&live)))
        .for_each(|anomaly| verdict.broken(anomaly));
    let mut graph = Graph::default();
    versions.add_edges(&live, &mut graph);
    realtime::add(&mut graph, &live);
    let show = |txn: &Txn| format!("p{} {:?} -> {:?}", txn.process, txn.call, txn.outcome);
    anomalies(&graph, &live, show)
        .into_iter()
        .for_each(|anomaly| verdict.broken(anomaly));
    verdict.needs_answers(operations);
    verdict.note(format!("{} transactions, {} keys", live.len(), versions.next.len()));
    verdict
}

/// Reads from outside: those that come before any write of the same key in the same transaction.
fn outer_reads(txn: &Txn) -> Vec<(u64, Version)> {
    let mut written = BTreeSet::new();
    let mut seen = txn.outcome.result().into_iter().flat_map(|answer| &answer.reads);
    let mut reads = Vec::new();
    for step in &txn.call {
        match step {
            Step::Write(key, _) => {
                written.insert(*key);
            }
            Step::Read(key) => match seen.next() {
                Some(value) if !written.contains(key) => reads.push((*key, *value)),
                _ => {}
            },
        }
    }
    reads
}

/// What a transaction leaves behind: the last value it wrote to each key.
fn final_writes(txn: &Txn) -> BTreeMap<u64, i64> {
    let writes = txn.call.iter().filter_map(|step| match step {
        Step::Write(key, value) => Some((*key, *value)),
        Step::Read(_) => None,
    });
    writes.collect()
}

/// Who wrote a value, and whether the same transaction overwrote it.
fn all_writers(operations: &[Txn]) -> HashMap<(u64, i64), (usize, bool)> {
    let mut writers = HashMap::new();
    for (at, txn) in operations.iter().enumerate() {
        let last = final_writes(txn);
        for step in &txn.call {
            if let Step::Write(key, value) = step {
                writers.insert((*key, *value), (at, last[key] != *value));
            }
        }
    }
    writers
}

/// A transaction must see its own writes, and the same value twice.
fn internal(txn: &Txn) -> Option<Anomaly> {
    let mut known: BTreeMap<u64, Version> = BTreeMap::new();
    let mut seen = txn.outcome.result()?.reads.iter();
    for step in &txn.call {
        match step {
            Step::Write(key, value) => {
                known.insert(*key, Some(*value));
            }
            Step::Read(key) => {
                let value = *seen.next()?;
                if *known.entry(*key).or_insert(value) != value {
                    let message = format!(
                        "{:?} -> {:?}: key {key} is not what it left there",
                        txn.call, txn.outcome
                    );
                    return Some(Anomaly::new("internal", message, [txn.invoked]));
                }
            }
        }
    }
    None
}

fn bad_reads(reader: &Txn, operations: &[Txn], writers: &HashMap<(u64, i64), (usize, bool)>) -> Vec<Anomaly> {
    let mut found = Vec::new();
    for (key, value) in outer_reads(reader) {
        let Some(value) = value else { continue };
        let Some((writer, intermediate)) = writers.get(&(key, value)) else {
            let message = format!("key {key} was read as {value}, which nobody wrote");
            found.push(Anomaly::new("garbage-read", message, [reader.invoked]));
            continue;
        };
        let writer = &operations[*writer];
        let events = [reader.invoked, writer.invoked];
        if writer.outcome.is_fail() {
            found.push(Anomaly::new(
                "G1a",
                format!("key {key} was read as {value}, whose write failed"),
                events,
            ));
        }
        if *intermediate {
            let message = format!("key {key} was read as {value}, which its own writer overwrote");
            found.push(Anomaly::new("G1b", message, events));
        }
    }
    found
}

/// The revisions that transactions were told; those that wrote made theirs.
fn told(live: &[&Txn]) -> Vec<Told> {
    let told = live.iter().filter_map(|txn| {
        let revision = txn.outcome.result()?.revision?;
        Told::new(txn, revision, !final_writes(txn).is_empty())
    });
    told.collect()
}

/// For each key, which version is known to come before which.
struct Versions {
    next: BTreeMap<u64, BTreeMap<Version, BTreeSet<Version>>>,
}

impl Versions {
    fn new(live: &[&Txn]) -> Versions {
        let mut versions = Versions { next: BTreeMap::new() };
        let observed: BTreeSet<(u64, Version)> = live.iter().flat_map(|txn| outer_reads(txn)).collect();
        let mut by_revision: BTreeMap<u64, BTreeMap<i64, i64>> = BTreeMap::new();
        for txn in live {
            let read: BTreeMap<u64, Version> = outer_reads(txn).into_iter().collect();
            for (key, value) in final_writes(txn) {
                // A write that nobody knows of and nobody saw may never have been.
                if !txn.outcome.is_ok() && !observed.contains(&(key, Some(value))) {
                    continue;
                }
                versions.order(key, read.get(&key).copied().unwrap_or(None), value);
                versions.order(key, None, value);
                if let Some(revision) = txn.outcome.result().and_then(|answer| answer.revision) {
                    by_revision.entry(key).or_default().insert(revision, value);
                }
            }
        }
        for (key, order) in by_revision {
            let values: Vec<i64> = order.into_values().collect();
            values
                .windows(2)
                .for_each(|pair| versions.order(key, Some(pair[0]), pair[1]));
        }
        versions
    }

    fn order(&mut self, key: u64, earlier: Version, later: i64) {
        self.next
            .entry(key)
            .or_default()
            .entry(earlier)
            .or_default()
            .insert(Some(later));
    }

    fn contradictions(&self) -> Vec<Anomaly> {
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

    fn add_edges(&self, live: &[&Txn], graph: &mut Graph) {
        let mut writers: HashMap<(u64, i64), usize> = HashMap::new();
        for (at, txn) in live.iter().enumerate() {
            writers.extend(final_writes(txn).into_iter().map(|write| (write, at)));
        }
        let writer = |key: u64, version: Version| writers.get(&(key, version?)).copied();
        for (key, earlier, later) in self.pairs() {
            if let (Some(a), Some(b)) = (writer(key, earlier), writer(key, later)) {
                graph.add(a, b, Kind::Ww, || {
                    format!("key {key}: {earlier:?} came before {later:?}")
                });
            }
        }
        for (reader, txn) in live.iter().enumerate() {
            for (key, seen) in outer_reads(txn) {
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
