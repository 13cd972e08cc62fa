//! Transactions that append to lists and read them. A list tells its whole past, so that the order of its versions is
//! known and not guessed: the most telling workload there is.
//!
//! Besides cycles it finds `G1a`, `G1b`, `duplicate-elements`, `incompatible-order` (two reads of a list, neither a prefix of
//! the other), `garbage-read` (an element that nobody appended) and `internal` (a transaction that does not see its own
//! doings). A lost append shows as a cycle with the reads that miss it. An acknowledged append that no read shows, and after which
//! nobody began to read the list, is not judged, so that the verdict is `Unknown`.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use super::{Graph, Kind, anomalies, realtime};
use crate::{Anomaly, Operation, Verdict};

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Key and element; an element is appended to its key once in a test.
    Append(u64, i64),
    Read(u64),
}

pub type Call = Vec<Step>;

/// What each read saw, in the order of the steps; an absent list is empty.
pub type Return = Vec<Vec<i64>>;

type Txn = Operation<Call, Return>;

pub fn check(operations: &[Txn]) -> Verdict {
    let mut verdict = Verdict::valid("append");
    let writers = Writers::new(operations);
    // Failed transactions took no effect; they matter only as writers that must not be read.
    let live: Vec<&Txn> = operations.iter().filter(|txn| !txn.outcome.is_fail()).collect();
    for txn in &live {
        internal(txn).into_iter().for_each(|anomaly| verdict.broken(anomaly));
        bad_reads(txn, operations, &writers)
            .into_iter()
            .for_each(|anomaly| verdict.broken(anomaly));
    }
    let orders = Orders::new(&live, &mut verdict);
    let mut graph = Graph::default();
    orders.add_edges(&live, &mut graph);
    realtime::add(&mut graph, &live);
    let show = |txn: &Txn| format!("p{} {:?} -> {:?}", txn.process, txn.call, txn.outcome);
    anomalies(&graph, &live, show)
        .into_iter()
        .for_each(|anomaly| verdict.broken(anomaly));
    let unread = unread(&live, &orders);
    if unread > 0 {
        verdict.unknown(format!("nothing was read after {unread} appends were acknowledged"));
    }
    verdict.needs_answers(operations);
    verdict.note(format!("{} transactions, {} lists", live.len(), orders.longest.len()));
    verdict
}

/// Reads of a transaction that was answered, with their keys.
fn reads(txn: &Txn) -> impl Iterator<Item = (u64, &Vec<i64>)> {
    let keys = txn.call.iter().filter_map(|step| match step {
        Step::Read(key) => Some(*key),
        Step::Append(..) => None,
    });
    keys.zip(txn.outcome.result().into_iter().flatten())
}

fn appends(txn: &Txn) -> impl Iterator<Item = (u64, i64)> + '_ {
    txn.call.iter().filter_map(|step| match step {
        Step::Append(key, element) => Some((*key, *element)),
        Step::Read(_) => None,
    })
}

/// Who appended an element, and whether the same transaction appended to that key again.
struct Writers {
    by_element: HashMap<(u64, i64), (usize, bool)>,
}

impl Writers {
    fn new(operations: &[Txn]) -> Writers {
        let mut by_element = HashMap::new();
        for (at, txn) in operations.iter().enumerate() {
            let last: BTreeMap<u64, i64> = appends(txn).collect();
            for (key, element) in appends(txn) {
                by_element.insert((key, element), (at, last[&key] != element));
            }
        }
        Writers { by_element }
    }
}

/// A transaction must see its own appends, and the same list twice.
fn internal(txn: &Txn) -> Option<Anomaly> {
    // What is known of each list: its whole content, or only how it must end.
    let mut known: BTreeMap<u64, (bool, Vec<i64>)> = BTreeMap::new();
    let mut seen = txn.outcome.result()?.iter();
    for step in &txn.call {
        match step {
            Step::Append(key, element) => known.entry(*key).or_default().1.push(*element),
            Step::Read(key) => {
                let list = seen.next()?;
                let fits = known
                    .get(key)
                    .is_none_or(|(whole, end)| if *whole { list == end } else { list.ends_with(end) });
                if !fits {
                    let message = format!(
                        "{:?} -> {:?}: list {key} is not what it left there",
                        txn.call, txn.outcome
                    );
                    return Some(Anomaly::new("internal", message, [txn.invoked]));
                }
                known.insert(*key, (true, list.clone()));
            }
        }
    }
    None
}

fn bad_reads(reader: &Txn, operations: &[Txn], writers: &Writers) -> Vec<Anomaly> {
    let mut found = Vec::new();
    for (key, list) in reads(reader) {
        let mut distinct = BTreeSet::new();
        if let Some(twice) = list.iter().find(|element| !distinct.insert(**element)) {
            let message = format!("list {key} has {twice} twice: {list:?}");
            found.push(Anomaly::new("duplicate-elements", message, [reader.invoked]));
        }
        for (at, element) in list.iter().enumerate() {
            let Some((writer, intermediate)) = writers.by_element.get(&(key, *element)) else {
                let message = format!("list {key} has {element}, which nobody appended: {list:?}");
                found.push(Anomaly::new("garbage-read", message, [reader.invoked]));
                continue;
            };
            let writer = &operations[*writer];
            let events = [reader.invoked, writer.invoked];
            if writer.outcome.is_fail() {
                let message = format!("list {key} has {element}, whose append failed: {list:?}");
                found.push(Anomaly::new("G1a", message, events));
            }
            if *intermediate && at + 1 == list.len() && writer.invoked != reader.invoked {
                let message = format!("list {key} was read amid its writer's appends: {list:?}");
                found.push(Anomaly::new("G1b", message, events));
            }
        }
    }
    found
}

/// Acknowledged appends that no read shows, and after which nobody began to read the list.
fn unread(live: &[&Txn], orders: &Orders) -> usize {
    let mut last: BTreeMap<u64, u64> = BTreeMap::new();
    for txn in live {
        for (key, _) in reads(txn) {
            let last = last.entry(key).or_default();
            *last = txn.invoked.max(*last);
        }
    }
    let shown: BTreeMap<u64, BTreeSet<i64>> = orders.shown();
    let acknowledged = live.iter().filter(|txn| txn.outcome.is_ok());
    let elements = acknowledged.flat_map(|txn| appends(txn).map(|(key, element)| (txn.completed, key, element)));
    let unread = elements.filter(|(completed, key, element)| {
        let shown = shown.get(key).is_some_and(|shown| shown.contains(element));
        !shown && *completed > last.get(key).copied()
    });
    unread.count()
}

/// The order of each list's elements: its longest read.
struct Orders {
    longest: BTreeMap<u64, Vec<i64>>,
}

impl Orders {
    fn new(live: &[&Txn], verdict: &mut Verdict) -> Orders {
        let mut longest: BTreeMap<u64, (Vec<i64>, u64)> = BTreeMap::new();
        for txn in live {
            for (key, list) in reads(txn) {
                let held = longest.entry(key).or_insert_with(|| (Vec::new(), txn.invoked));
                let (short, long) = if list.len() > held.0.len() {
                    (&held.0, list)
                } else {
                    (list, &held.0)
                };
                if !long.starts_with(short) {
                    let message = format!("list {key} was read as {:?} and as {list:?}", held.0);
                    verdict.broken(Anomaly::new("incompatible-order", message, [held.1, txn.invoked]));
                }
                if list.len() > held.0.len() {
                    *held = (list.clone(), txn.invoked);
                }
            }
        }
        Orders {
            longest: longest.into_iter().map(|(key, (list, _))| (key, list)).collect(),
        }
    }

    fn add_edges(&self, live: &[&Txn], graph: &mut Graph) {
        let mut writers: HashMap<(u64, i64), usize> = HashMap::new();
        for (at, txn) in live.iter().enumerate() {
            writers.extend(appends(txn).map(|element| (element, at)));
        }
        for (key, list) in &self.longest {
            for pair in list.windows(2) {
                if let (Some(a), Some(b)) = (writers.get(&(*key, pair[0])), writers.get(&(*key, pair[1]))) {
                    graph.add(*a, *b, Kind::Ww, || {
                        format!("list {key}: {} came before {}", pair[0], pair[1])
                    });
                }
            }
        }
        let unseen = self.unseen(live);
        for (at, txn) in live.iter().enumerate() {
            reads(txn).for_each(|(key, list)| self.add_read(graph, at, (key, list), &writers, &unseen));
        }
    }

    fn add_read(
        &self,
        graph: &mut Graph,
        reader: usize,
        (key, list): (u64, &Vec<i64>),
        writers: &HashMap<(u64, i64), usize>,
        unseen: &BTreeMap<u64, Vec<(i64, usize)>>,
    ) {
        if let Some((last, writer)) = list.last().and_then(|last| Some((last, writers.get(&(key, *last))?))) {
            graph.add(*writer, reader, Kind::Wr, || {
                format!("list {key}: it read up to {last}")
            });
        }
        let order = &self.longest[&key];
        if let Some((next, writer)) = order
            .get(list.len())
            .and_then(|next| Some((next, writers.get(&(key, *next))?)))
        {
            graph.add(reader, *writer, Kind::Rw, || {
                format!("list {key}: it did not see {next}")
            });
        }
        if list.len() == order.len() {
            for (element, writer) in unseen.get(&key).into_iter().flatten() {
                graph.add(reader, *writer, Kind::Rw, || {
                    format!("list {key}: it did not see {element}")
                });
            }
        }
    }

    fn shown(&self) -> BTreeMap<u64, BTreeSet<i64>> {
        let lists = self.longest.iter();
        lists
            .map(|(key, list)| (*key, list.iter().copied().collect()))
            .collect()
    }

    /// Acknowledged appends that no read shows: if they are there at all, then after everything that was read.
    fn unseen(&self, live: &[&Txn]) -> BTreeMap<u64, Vec<(i64, usize)>> {
        let seen = self.shown();
        let mut unseen: BTreeMap<u64, Vec<(i64, usize)>> = BTreeMap::new();
        for (at, txn) in live.iter().enumerate().filter(|(_, txn)| txn.outcome.is_ok()) {
            for (key, element) in appends(txn) {
                if seen.get(&key).is_some_and(|seen| !seen.contains(&element)) {
                    unseen.entry(key).or_default().push((element, at));
                }
            }
        }
        unseen
    }
}
