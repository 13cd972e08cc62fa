//! Random requests against a model that simply keeps every revision whole.
//!
//! Seeded: a failure names its seed, and the same seed fails again. The log of batches is kept, so that a crash is followed
//! by the replay a restart would do.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use proto::{
    etcd::{
        etcdserverpb::{
            CompactionRequest, Compare, DeleteRangeRequest, LeaseGrantRequest, PutRequest, RangeRequest, RequestOp,
            TxnRequest,
            compare::{CompareResult, CompareTarget, TargetUnion},
            request_op,
        },
        mvccpb::KeyValue,
    },
    raft::{Batch, LeaseRevoke, Request, request::Op},
};

use super::Lab;
use crate::{
    Applied, Backend, Block, DeterministicError, Direction, Event, Family, LogId, Machine, RangeEnd, ReadError,
    Response, Step, view::FIRST_REVISION,
};

const KEYS: u64 = 12;
const LEASES: u64 = 3;
const TERM: u64 = 1;

/// SplitMix64: tiny, seeded, good enough.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// Keys with zero bytes and prefixes of each other, to try the encoding of history.
    fn key(&mut self) -> Bytes {
        const SHAPES: [&[u8]; 4] = [b"k", b"k\0", b"k\0\x01", b"k\xff"];
        let n = self.below(KEYS);
        let mut key = SHAPES[(n % 4) as usize].to_vec();
        if n >= 4 {
            key.push(b'0' + (n / 4) as u8);
        }
        key.into()
    }

    fn range_end(&mut self) -> Bytes {
        match self.below(4) {
            0 => Bytes::from_static(b"\0"),
            1 => self.key(),
            _ => Bytes::new(),
        }
    }

    fn put(&mut self) -> PutRequest {
        let ignore_value = self.one_in(8);
        let ignore_lease = self.one_in(8);
        let value = Bytes::from(format!("v{}", self.below(1000)));
        PutRequest {
            key: self.key(),
            value: if ignore_value { Bytes::new() } else { value },
            lease: if ignore_lease || self.one_in(2) {
                0
            } else {
                self.below(LEASES + 1) as i64
            },
            prev_kv: true,
            ignore_value,
            ignore_lease,
        }
    }

    fn delete(&mut self) -> DeleteRangeRequest {
        DeleteRangeRequest {
            key: self.key(),
            range_end: self.range_end(),
            prev_kv: true,
        }
    }

    fn range(&mut self, revision: i64) -> RangeRequest {
        let revision = if self.one_in(2) {
            0
        } else {
            1 + self.below(revision as u64 + 1) as i64
        };
        RangeRequest {
            key: self.key(),
            range_end: self.range_end(),
            limit: self.below(4) as i64,
            revision,
            ..RangeRequest::default()
        }
    }

    fn txn(&mut self, revision: i64) -> TxnRequest {
        let target = TargetUnion::ModRevision(self.below(revision as u64 + 1) as i64);
        let compare = Compare {
            result: CompareResult::Less.into(),
            target: CompareTarget::Mod.into(),
            key: self.key(),
            range_end: self.range_end(),
            target_union: Some(target),
        };
        let mut branch = || {
            let operations = [
                request_op::Request::RequestRange(self.range(revision)),
                request_op::Request::RequestPut(self.put()),
                request_op::Request::RequestDeleteRange(self.delete()),
                request_op::Request::RequestPut(self.put()),
                request_op::Request::RequestRange(self.range(revision)),
            ];
            operations
                .map(|operation| RequestOp {
                    request: Some(operation),
                })
                .to_vec()
        };
        TxnRequest {
            compare: vec![compare],
            success: branch(),
            failure: branch(),
        }
    }

    fn request(&mut self, revision: i64) -> Op {
        match self.below(20) {
            0..8 => Op::Put(self.put()),
            8..11 => Op::DeleteRange(self.delete()),
            11..15 => Op::Txn(self.txn(revision)),
            15..17 => Op::LeaseGrant(LeaseGrantRequest {
                ttl: 10,
                id: 1 + self.below(LEASES) as i64,
            }),
            17 => Op::LeaseRevoke(LeaseRevoke {
                id: 1 + self.below(LEASES) as i64,
                expired_in_term: 0,
            }),
            _ => Op::Compaction(CompactionRequest {
                revision: self.below(revision as u64 + 2) as i64,
                physical: false,
            }),
        }
    }
}

type Snapshot = BTreeMap<Bytes, KeyValue>;

/// Every revision, whole.
struct Model {
    revisions: BTreeMap<i64, Snapshot>,
    compacted: i64,
    leases: Vec<i64>,
}

impl Model {
    fn new() -> Self {
        Self {
            revisions: BTreeMap::from([(FIRST_REVISION, Snapshot::new())]),
            compacted: 0,
            leases: Vec::new(),
        }
    }

    fn revision(&self) -> i64 {
        *self.revisions.last_key_value().expect("never empty").0
    }

    fn latest(&self) -> &Snapshot {
        &self.revisions[&self.revision()]
    }

    fn commit(&mut self, work: Work) {
        if work.changed {
            self.revisions.insert(self.revision() + 1, work.keys);
        }
    }

    fn work(&self) -> Work {
        Work {
            keys: self.latest().clone(),
            next: self.revision() + 1,
            changed: false,
        }
    }

    fn apply(&mut self, op: &Op) -> Outcome {
        match op {
            Op::Put(request) => {
                self.check_put(request)?;
                let mut work = self.work();
                let prev = work.put(request);
                self.commit(work);
                Ok(vec![prev.into_iter().collect()])
            }
            Op::DeleteRange(request) => {
                let mut work = self.work();
                let prev = work.delete(request);
                self.commit(work);
                Ok(vec![prev])
            }
            Op::Txn(request) => self.txn(request),
            Op::LeaseGrant(request) if self.leases.contains(&request.id) => Err(DeterministicError::LeaseExists),
            Op::LeaseGrant(request) => {
                self.leases.push(request.id);
                Ok(Vec::new())
            }
            Op::LeaseRevoke(request) => {
                let at = self.leases.iter().position(|id| *id == request.id);
                self.leases.remove(at.ok_or(DeterministicError::LeaseNotFound)?);
                let mut work = self.work();
                let before = work.keys.len();
                work.keys.retain(|_, kv| kv.lease != request.id);
                work.changed = work.keys.len() != before;
                self.commit(work);
                Ok(Vec::new())
            }
            Op::Compaction(request) if request.revision <= self.compacted => Err(DeterministicError::Compacted {
                compacted: self.compacted,
            }),
            Op::Compaction(request) if request.revision > self.revision() => Err(DeterministicError::FutureRevision {
                current: self.revision(),
            }),
            Op::Compaction(request) => {
                self.compacted = request.revision;
                Ok(Vec::new())
            }
            Op::LeaseCheckpoint(_) | Op::Alarm(_) | Op::Auth(_) => Ok(Vec::new()),
        }
    }

    fn check_put(&self, request: &PutRequest) -> Result<(), DeterministicError> {
        if (request.ignore_value || request.ignore_lease) && !self.latest().contains_key(&request.key) {
            return Err(DeterministicError::KeyNotFound);
        }
        if request.lease != 0 && !self.leases.contains(&request.lease) {
            return Err(DeterministicError::LeaseNotFound);
        }
        Ok(())
    }

    fn check_range(&self, request: &RangeRequest) -> Result<(), DeterministicError> {
        if request.revision > self.revision() {
            Err(DeterministicError::FutureRevision {
                current: self.revision(),
            })
        } else if request.revision > 0 && request.revision < self.compacted {
            Err(DeterministicError::Compacted {
                compacted: self.compacted,
            })
        } else {
            Ok(())
        }
    }

    fn txn(&mut self, request: &TxnRequest) -> Outcome {
        let compare = &request.compare[0];
        let Some(TargetUnion::ModRevision(limit)) = compare.target_union else {
            panic!("the model makes these")
        };
        let selected = select(self.latest(), &compare.key, &compare.range_end);
        let succeeded = if selected.is_empty() {
            0 < limit
        } else {
            selected.iter().all(|kv| kv.mod_revision < limit)
        };
        let branch = if succeeded { &request.success } else { &request.failure };
        let operations = || branch.iter().filter_map(|operation| operation.request.as_ref());
        // Puts are checked before ranges, wherever they stand.
        for operation in operations() {
            if let request_op::Request::RequestPut(request) = operation {
                self.check_put(request)?;
            }
        }
        for operation in operations() {
            if let request_op::Request::RequestRange(request) = operation {
                self.check_range(request)?;
            }
        }
        let mut work = self.work();
        let mut answers = Vec::new();
        for operation in branch {
            answers.push(match operation.request.as_ref().expect("the model makes these") {
                request_op::Request::RequestPut(request) => work.put(request).into_iter().collect(),
                request_op::Request::RequestDeleteRange(request) => work.delete(request),
                request_op::Request::RequestRange(request) if request.revision > 0 => {
                    limited(&self.revisions[&request.revision], request)
                }
                request_op::Request::RequestRange(request) => limited(&work.keys, request),
                request_op::Request::RequestTxn(_) => panic!("the model makes none"),
            });
        }
        self.commit(work);
        Ok(answers)
    }
}

/// The keys an operation answered with, for each operation; or its refusal.
type Outcome = Result<Vec<Vec<KeyValue>>, DeterministicError>;

/// A revision in the making.
struct Work {
    keys: Snapshot,
    next: i64,
    changed: bool,
}

impl Work {
    fn put(&mut self, request: &PutRequest) -> Option<KeyValue> {
        let prev = self.keys.get(&request.key).cloned();
        let old = prev.clone().unwrap_or(KeyValue {
            create_revision: self.next,
            ..KeyValue::default()
        });
        let kv = KeyValue {
            key: request.key.clone(),
            create_revision: old.create_revision,
            mod_revision: self.next,
            version: old.version + 1,
            value: if request.ignore_value {
                old.value
            } else {
                request.value.clone()
            },
            lease: if request.ignore_lease { old.lease } else { request.lease },
        };
        self.keys.insert(request.key.clone(), kv);
        self.changed = true;
        prev
    }

    fn delete(&mut self, request: &DeleteRangeRequest) -> Vec<KeyValue> {
        let doomed = select(&self.keys, &request.key, &request.range_end);
        for kv in &doomed {
            self.keys.remove(&kv.key);
            self.changed = true;
        }
        doomed
    }
}

fn select(keys: &Snapshot, start: &[u8], range_end: &[u8]) -> Vec<KeyValue> {
    let end = RangeEnd::from_wire(range_end);
    keys.values()
        .filter(|kv| end.contains(start, &kv.key))
        .cloned()
        .collect()
}

fn limited(keys: &Snapshot, request: &RangeRequest) -> Vec<KeyValue> {
    let mut selected = select(keys, &request.key, &request.range_end);
    if request.limit > 0 {
        selected.truncate(request.limit as usize);
    }
    selected
}

/// What the machine answered, in the model's terms.
fn outcome(answer: &Result<Response, DeterministicError>) -> Outcome {
    use proto::etcd::etcdserverpb::response_op::Response as Inner;
    Ok(match answer.clone()? {
        Response::Put(response) => vec![response.prev_kv.into_iter().collect()],
        Response::DeleteRange(response) => vec![response.prev_kvs],
        Response::Txn(response) => {
            let inner = response.responses.into_iter().map(|inner| match inner.response {
                Some(Inner::ResponseRange(response)) => response.kvs,
                Some(Inner::ResponsePut(response)) => response.prev_kv.into_iter().collect(),
                Some(Inner::ResponseDeleteRange(response)) => response.prev_kvs,
                _ => panic!("an answer to nothing that was asked"),
            });
            inner.collect()
        }
        _ => Vec::new(),
    })
}

/// One run: the machine, its model, and the log that both have followed.
struct Run<'a, B: Backend> {
    lab: &'a Lab<'a, B>,
    seed: u64,
    random: Random,
    model: Model,
    machine: Option<Machine<B>>,
    log: Vec<Batch>,
    /// Every block ever made, as a watcher that was there saw it.
    blocks: BTreeMap<i64, Arc<Block>>,
}

/// Runs `steps` random steps and compares after each. Panics, naming the seed, where they differ.
pub fn agrees_with_the_model<B: Backend>(lab: &Lab<'_, B>, seed: u64, steps: usize) {
    let machine = Some(Machine::open(Arc::new((lab.fresh)())).expect("open"));
    let random = Random(seed);
    let mut run = Run {
        lab,
        seed,
        random,
        model: Model::new(),
        machine,
        log: Vec::new(),
        blocks: BTreeMap::new(),
    };
    for _ in 0..steps {
        run.step();
    }
    run.crash();
    run.compare_everything();
}

impl<B: Backend> Run<'_, B> {
    fn machine(&mut self) -> &mut Machine<B> {
        self.machine.as_mut().expect("taken only for a crash")
    }

    fn step(&mut self) {
        match self.random.below(24) {
            0 => self.crash(),
            1 => {
                self.machine().backend().flush().expect("flush");
            }
            2 => {
                self.machine().physical_compact(5).expect("physical_compact");
            }
            3 => self.compare_everything(),
            4..10 => self.compare_range(),
            _ => self.apply(),
        }
    }

    fn apply(&mut self) {
        let size = 1 + self.random.below(3);
        let ops: Vec<Op> = (0..size).map(|_| self.random.request(self.model.revision())).collect();
        let expected: Vec<Outcome> = ops.iter().map(|op| self.model.apply(op)).collect();
        let requests = ops
            .into_iter()
            .map(|op| Request {
                op: Some(op),
                identity: None,
            })
            .collect();
        self.log.push(Batch { requests });
        let applied = self.follow(self.log.len());
        let seed = self.seed;
        let actual: Vec<Outcome> = applied.responses.iter().map(outcome).collect();
        assert_eq!(actual, expected, "seed {seed}: answers to {:?}", self.log.last());
        for block in applied.blocks {
            assert!(
                self.blocks.insert(block.revision, block).is_none(),
                "seed {seed}: a revision came twice"
            );
        }
        assert_eq!(
            self.machine().view().revision(),
            self.model.revision(),
            "seed {seed}: revision"
        );
        assert_eq!(
            self.machine().view().compacted(),
            self.model.compacted,
            "seed {seed}: compacted revision"
        );
    }

    /// Applies the entry at a (1-based) index of the log.
    fn follow(&mut self, index: usize) -> Applied {
        let batch = self.log[index - 1].clone();
        self.machine()
            .apply(
                LogId {
                    term: TERM,
                    index: index as u64,
                },
                &batch,
            )
            .expect("apply")
    }

    fn crash(&mut self) {
        let machine = self.machine.take().expect("there");
        let backend = Arc::into_inner({
            let backend = machine.backend().clone();
            drop(machine);
            backend
        });
        let backend = (self.lab.crash)(backend.expect("no one else holds it"));
        self.machine = Some(Machine::open(Arc::new(backend)).expect("open"));
        let applied = self.machine().applied().map_or(0, |id| id.index as usize);
        for index in applied + 1..=self.log.len() {
            for block in self.follow(index).blocks {
                let before = format!("{:?}", self.blocks[&block.revision]);
                assert_eq!(
                    format!("{block:?}"),
                    before,
                    "seed {}: replay made another block",
                    self.seed
                );
            }
        }
    }

    fn compare_range(&mut self) {
        let request = self.random.range(self.model.revision());
        let expected = self.model.check_range(&request).map(|()| {
            let revision = if request.revision > 0 {
                request.revision
            } else {
                self.model.revision()
            };
            let keys = &self.model.revisions[&revision];
            let count = select(keys, &request.key, &request.range_end).len() as i64;
            (limited(keys, &request), count, self.model.revision())
        });
        let actual = match self.machine().reader().range(None, &request) {
            Ok(response) => {
                let revision = response.header.map_or(0, |header| header.revision);
                assert_eq!(
                    response.more,
                    response.count > response.kvs.len() as i64,
                    "seed {}",
                    self.seed
                );
                Ok((response.kvs, response.count, revision))
            }
            Err(ReadError::Refused(refusal)) => Err(refusal),
            Err(ReadError::Fault(fault)) => panic!("seed {}: {fault}", self.seed),
        };
        assert_eq!(actual, expected, "seed {}: {request:?}", self.seed);
    }

    /// Every revision that can be asked for, all events, all leases, and that nothing else takes space.
    fn compare_everything(&mut self) {
        while !self.machine().physical_compact(7).expect("physical_compact").done {}
        self.compare_rows();
        let seed = self.seed;
        let reader = self.machine().reader();
        for (revision, keys) in self.model.revisions.range(self.model.compacted.max(FIRST_REVISION)..) {
            let all = Bytes::from_static(b"\0");
            let request = RangeRequest {
                key: all.clone(),
                range_end: all,
                revision: *revision,
                ..Default::default()
            };
            let actual = reader.range(None, &request).expect("range").kvs;
            assert_eq!(
                actual,
                keys.values().cloned().collect::<Vec<_>>(),
                "seed {seed}: at revision {revision}"
            );
        }
        let from = self.model.compacted.max(FIRST_REVISION);
        let bytes_max = self.random.below(400) as usize;
        let mut next = from;
        let mut read = Vec::new();
        while next <= self.model.revision() {
            let some = reader.blocks(next, i64::MAX, bytes_max).expect("blocks");
            assert!(some.next_revision > next, "seed {seed}: reading back made no progress");
            next = some.next_revision;
            read.extend(some.blocks);
        }
        let compacted = self.model.compacted;
        let show = |blocks: &mut dyn Iterator<Item = &Arc<Block>>| -> Vec<String> {
            blocks
                .filter(|block| block.revision > compacted)
                .map(|block| format!("{block:?}"))
                .collect()
        };
        let expected = show(&mut self.blocks.range(from..).map(|(_, block)| block));
        assert_eq!(show(&mut read.iter()), expected, "seed {seed}: events read back");
        for lease in self.machine().view().leases() {
            let attached = self
                .model
                .latest()
                .values()
                .filter(|kv| kv.lease == lease.id)
                .map(|kv| kv.key.clone());
            assert_eq!(
                lease.keys.iter().cloned().collect::<Vec<_>>(),
                attached.collect::<Vec<_>>(),
                "seed {seed}"
            );
        }
    }
    /// After the last step of physical compaction each table holds what the compacted revision left, and no more.
    fn compare_rows(&mut self) {
        let (compacted, seed) = (self.model.compacted, self.seed);
        let floor = self.model.revisions.get(&compacted);
        let mut expected: usize = floor.map_or(0, BTreeMap::len);
        let mut in_history = expected;
        for (revision, block) in self.blocks.range(compacted..) {
            // At the compacted revision itself its puts are counted already; its tombstones stay for watchers.
            let counts =
                |event: &&Event| *revision > compacted || (event.is_delete() && !self.revived(event, compacted));
            let events: Vec<&Event> = block.events.iter().filter(counts).collect();
            let keys: BTreeSet<&Bytes> = events.iter().map(|event| &event.entry.key).collect();
            expected += if *revision > compacted {
                events.len()
            } else {
                keys.len()
            };
            in_history += keys.len();
        }
        let backend = self.machine.as_ref().expect("there").backend();
        for (family, expected) in [(Family::Rev, expected), (Family::History, in_history)] {
            let mut rows = 0;
            let mut count = |_: &[u8], _: &[u8]| {
                rows += 1;
                Step::Next
            };
            backend
                .scan(family, Direction::Forward, None, &mut count)
                .expect("scan");
            assert_eq!(
                rows, expected,
                "seed {seed}: rows in {family:?} after compaction at {compacted}"
            );
        }
    }

    /// Whether the key was there again at the end of the revision that deleted it.
    fn revived(&self, event: &Event, revision: i64) -> bool {
        self.model.revisions[&revision].contains_key(&event.entry.key)
    }
}
