//! Transactions that write registers blindly and read them. A register forgets, so the order of its versions must come from
//! elsewhere: from the store's revisions where it tells them to writers or readers, from a transaction that read a value before it
//! wrote the next one, from the absence that every key starts with, and from real time: a value is there in one stretch, so that
//! what was written or read by someone who was over comes before what another one then writes or reads.
//!
//! Besides cycles it finds `G1a`, `G1b`, `garbage-read`, `internal`, `cyclic-versions` (two such orders contradict each
//! other, as when a revision goes backwards), `revision-given-twice` (two transactions that wrote were told one revision,
//! where each makes one of its own), `revision-backwards` (a transaction was told an older revision than one that was over
//! before it began), `two-revisions` (a value has one), and, where a transaction's own revision is told, `stale-read` (the value it
//! read had been replaced by then) and `future-read` (it was written later).

mod placed;
mod versions;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use super::{Graph, anomalies, realtime};
use crate::revisions::{self, Told};
use crate::{Anomaly, Operation, Verdict};
use placed::Placed;
use versions::Versions;

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
    /// The revision at which what each read saw was written; empty where nobody recorded it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub modified: Vec<Option<i64>>,
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
    let told = told(&live);
    let placed = Placed::new(&live, &told);
    let mut versions = Versions::new(&live, &placed);
    let by_revision = revisions::broken(&told).into_iter().chain(placed.broken(&live));
    let found = versions.contradictions().into_iter().chain(by_revision);
    found.for_each(|anomaly| verdict.broken(anomaly));
    cycles(&versions, &live)
        .into_iter()
        .for_each(|anomaly| verdict.broken(anomaly));
    if verdict.is_valid() {
        // What is found from here on needs the order in real time.
        versions.order_by_time(&live);
        versions
            .contradictions()
            .into_iter()
            .for_each(|anomaly| verdict.broken(anomaly));
        for mut anomaly in cycles(&versions, &live) {
            if !anomaly.kind.ends_with("-realtime") {
                anomaly.kind.push_str("-realtime");
            }
            verdict.broken(anomaly);
        }
    }
    verdict.needs_answers(operations);
    verdict.note(format!("{} transactions, {} keys", live.len(), versions.keys()));
    verdict
}

fn cycles(versions: &Versions, live: &[&Txn]) -> Vec<Anomaly> {
    let mut graph = Graph::default();
    versions.add_edges(live, &mut graph);
    realtime::add(&mut graph, live);
    let show = |txn: &Txn| format!("p{} {:?} -> {:?}", txn.process, txn.call, txn.outcome);
    anomalies(&graph, live, show)
}

/// A read from outside: one that comes before any write of the same key in the same transaction.
struct OuterRead {
    key: u64,
    seen: Version,
    /// The revision of what it saw, where that is told.
    modified: Option<i64>,
}

fn outer_reads(txn: &Txn) -> Vec<OuterRead> {
    let Some(answer) = txn.outcome.result() else {
        return Vec::new();
    };
    let (mut written, mut reads, mut at) = (BTreeSet::new(), Vec::new(), 0);
    for step in &txn.call {
        match step {
            Step::Write(key, _) => {
                written.insert(*key);
            }
            Step::Read(key) => {
                if let Some(seen) = answer.reads.get(at).filter(|_| !written.contains(key)) {
                    reads.push(OuterRead {
                        key: *key,
                        seen: *seen,
                        modified: answer.modified.get(at).copied().flatten(),
                    });
                }
                at += 1;
            }
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

/// Who of these left a value behind.
fn final_writers(live: &[&Txn]) -> HashMap<(u64, i64), usize> {
    let mut writers = HashMap::new();
    for (at, txn) in live.iter().enumerate() {
        writers.extend(final_writes(txn).into_iter().map(|write| (write, at)));
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
    for OuterRead { key, seen, .. } in outer_reads(reader) {
        let Some(value) = seen else { continue };
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
