//! Random requests, the same for the same seed: few keys and leases, so that they meet.

use bytes::Bytes;
use proto::etcd::etcdserverpb::{
    CompactionRequest, Compare, DeleteRangeRequest, HashKvRequest, LeaseGrantRequest, LeaseRevokeRequest,
    LeaseTimeToLiveRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
    compare::{CompareResult, CompareTarget, TargetUnion},
    range_request::{SortOrder, SortTarget},
    request_op::Request,
};

#[derive(Debug, Clone)]
pub enum Op {
    Range(RangeRequest),
    Put(PutRequest),
    DeleteRange(DeleteRangeRequest),
    Txn(TxnRequest),
    Compact(CompactionRequest),
    Grant(LeaseGrantRequest),
    Revoke(LeaseRevokeRequest),
    TimeToLive(LeaseTimeToLiveRequest),
    Leases,
    HashKv(HashKvRequest),
}

pub struct Generator {
    state: u64,
    /// At most the store's revision.
    pub revision: i64,
    pub compacted: i64,
}

const KEYS: u64 = 12;
const LEASES: u64 = 4;
const DEPTH_MAX: u32 = 2;
/// Enough for a tree of several levels.
const WIDE_KEYS: u64 = 5_000;
/// Of one transaction: etcd takes 128.
const WIDE_PUTS: usize = 100;

/// Keys in groups, as objects are in namespaces.
fn wide_key(number: u64) -> Bytes {
    let (group, place) = (number / 20, number % 20);
    let (first, second) = (b'a' + (group / 16) as u8, b'a' + (group % 16) as u8);
    format!("/{}{}/kept-together-{place:02}", first as char, second as char).into()
}

impl Generator {
    pub fn new(seed: u64) -> Self {
        Self {
            state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            revision: 1,
            compacted: 0,
        }
    }

    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// Takes the revisions from an answer.
    pub fn learn(&mut self, op: &Op, answer: &str) {
        let revision = answer
            .split_once("revision: ")
            .and_then(|(_, rest)| rest.split_once(','));
        if let Some(revision) = revision.and_then(|(number, _)| number.parse().ok()) {
            self.revision = self.revision.max(revision);
            if let Op::Compact(request) = op {
                self.compacted = request.revision;
            }
        }
    }

    pub fn key(&mut self) -> Bytes {
        if self.one_in(60) {
            return Bytes::new();
        }
        let mut key = vec![b'a'];
        match self.below(KEYS) {
            n @ 0..4 => key.push(b'0' + n as u8),
            n @ 4..8 => key.extend([b'1', b'0' + n as u8]),
            8 => key.push(0),
            9 => key.push(0xff),
            n => key = vec![b'b', b'0' + n as u8],
        }
        key.into()
    }

    pub fn range_end(&mut self) -> Bytes {
        match self.below(5) {
            0 => Bytes::from_static(b"\0"),
            1 => self.key(),
            2 => Bytes::from_static(b"b"),
            _ => Bytes::new(),
        }
    }

    /// A revision around those that there are; never the compacted one.
    fn past(&mut self) -> i64 {
        let revision = 1 + self.below(self.revision as u64 + 2) as i64;
        if revision == self.compacted {
            self.revision
        } else {
            revision
        }
    }

    fn bound(&mut self) -> i64 {
        if self.one_in(6) { self.past() } else { 0 }
    }

    fn range(&mut self) -> RangeRequest {
        RangeRequest {
            key: self.key(),
            range_end: self.range_end(),
            limit: if self.one_in(2) { 0 } else { self.below(5) as i64 },
            revision: if self.one_in(3) { self.past() } else { 0 },
            sort_order: [SortOrder::None, SortOrder::Ascend, SortOrder::Descend][self.below(3) as usize].into(),
            sort_target: [
                SortTarget::Key,
                SortTarget::Version,
                SortTarget::Create,
                SortTarget::Mod,
                SortTarget::Value,
            ][self.below(5) as usize]
                .into(),
            serializable: self.one_in(4),
            keys_only: self.one_in(5),
            count_only: self.one_in(6),
            min_mod_revision: self.bound(),
            max_mod_revision: self.bound(),
            min_create_revision: self.bound(),
            max_create_revision: self.bound(),
        }
    }

    fn put(&mut self) -> PutRequest {
        let ignore_value = self.one_in(10);
        let ignore_lease = self.one_in(10);
        PutRequest {
            key: self.key(),
            value: if ignore_value && !self.one_in(4) {
                Bytes::new()
            } else {
                Bytes::from(format!("v{}", self.below(30)))
            },
            lease: if self.one_in(3) && !ignore_lease {
                self.lease()
            } else {
                0
            },
            prev_kv: self.one_in(2),
            ignore_value,
            ignore_lease,
        }
    }

    fn lease(&mut self) -> i64 {
        1 + self.below(LEASES) as i64
    }

    fn delete(&mut self) -> DeleteRangeRequest {
        DeleteRangeRequest {
            key: self.key(),
            range_end: self.range_end(),
            prev_kv: self.one_in(2),
        }
    }

    fn compare(&mut self) -> Compare {
        let number = self.below(self.revision as u64 + 2) as i64;
        let small = self.below(4) as i64;
        let (target, union) = match self.below(5) {
            0 => (CompareTarget::Version, TargetUnion::Version(small)),
            1 => (CompareTarget::Create, TargetUnion::CreateRevision(number)),
            2 => (CompareTarget::Mod, TargetUnion::ModRevision(number)),
            3 => (
                CompareTarget::Value,
                TargetUnion::Value(format!("v{}", self.below(30)).into()),
            ),
            _ => (CompareTarget::Lease, TargetUnion::Lease(small)),
        };
        let results = [
            CompareResult::Equal,
            CompareResult::NotEqual,
            CompareResult::Greater,
            CompareResult::Less,
        ];
        Compare {
            result: results[self.below(4) as usize].into(),
            target: target.into(),
            key: self.key(),
            range_end: self.range_end(),
            target_union: Some(union),
        }
    }

    fn txn(&mut self, depth: u32) -> TxnRequest {
        TxnRequest {
            compare: (0..self.below(3)).map(|_| self.compare()).collect(),
            success: self.branch(depth),
            failure: self.branch(depth),
        }
    }

    fn branch(&mut self, depth: u32) -> Vec<RequestOp> {
        let operation = |this: &mut Self| {
            let request = match this.below(8) {
                0..3 => Request::RequestPut(this.put()),
                3 => Request::RequestDeleteRange(this.delete()),
                4 if depth < DEPTH_MAX => Request::RequestTxn(this.txn(depth + 1)),
                _ => Request::RequestRange(this.range()),
            };
            RequestOp { request: Some(request) }
        };
        (0..self.below(4)).map(|_| operation(self)).collect()
    }

    /// Like [`Generator::op`], over many keys: stretches of neighbours come and go.
    pub fn wide_op(&mut self) -> Op {
        let first = self.below(WIDE_KEYS);
        let length = [1, 8, 60, 900][self.below(4) as usize];
        let end = (first + 1 + self.below(length)).min(WIDE_KEYS);
        let range_end = if length == 1 { Bytes::new() } else { wide_key(end) };
        match self.below(10) {
            0..4 => {
                // A part of them, so that stretches have holes.
                let every = 1 + self.below(3);
                let numbers = (first..end).step_by(every as usize).take(WIDE_PUTS);
                let puts = numbers.map(|number| RequestOp {
                    request: Some(Request::RequestPut(PutRequest {
                        key: wide_key(number),
                        value: Bytes::from(format!("v{}", self.revision)),
                        ..Default::default()
                    })),
                });
                Op::Txn(TxnRequest {
                    success: puts.collect(),
                    ..Default::default()
                })
            }
            4..7 => Op::DeleteRange(DeleteRangeRequest {
                key: wide_key(first),
                range_end,
                prev_kv: self.one_in(2),
            }),
            _ => Op::Range(RangeRequest {
                key: wide_key(first),
                range_end,
                limit: self.below(30) as i64,
                revision: if self.one_in(4) { self.past() } else { 0 },
                count_only: self.one_in(4),
                ..Default::default()
            }),
        }
    }

    /// Questions whose answers hold all that there is.
    pub fn everything() -> Vec<Op> {
        let all = RangeRequest {
            key: Bytes::from_static(b"\0"),
            range_end: Bytes::from_static(b"\0"),
            ..Default::default()
        };
        let leases = (1..=LEASES as i64).map(|id| Op::TimeToLive(LeaseTimeToLiveRequest { id, keys: true }));
        let mut questions = vec![Op::Range(all), Op::Leases, Op::HashKv(HashKvRequest { revision: 0 })];
        questions.extend(leases);
        questions
    }

    /// What takes keys with a prefix away, their history included, from a store that is at a revision.
    pub fn without(prefix: &str, revision: i64) -> [Op; 2] {
        let delete = DeleteRangeRequest {
            key: Bytes::copy_from_slice(prefix.as_bytes()),
            range_end: mvcc::prefix_end(prefix.as_bytes()).into(),
            ..Default::default()
        };
        let compact = CompactionRequest {
            revision: revision + 1,
            physical: true,
        };
        [Op::DeleteRange(delete), Op::Compact(compact)]
    }

    pub fn op(&mut self) -> Op {
        match self.below(40) {
            0..10 => Op::Put(self.put()),
            10..13 => Op::DeleteRange(self.delete()),
            13..22 => Op::Range(self.range()),
            22..31 => Op::Txn(self.txn(0)),
            31 => Op::Compact(CompactionRequest {
                revision: 1 + self.below(self.revision as u64 + 1) as i64,
                // Otherwise what is left to remove would depend on the time.
                physical: true,
            }),
            32 | 33 => Op::Grant(LeaseGrantRequest {
                id: self.lease(),
                ttl: 1_000 + self.below(9) as i64,
            }),
            34 => Op::Revoke(LeaseRevokeRequest { id: self.lease() }),
            35 => Op::TimeToLive(LeaseTimeToLiveRequest {
                id: self.lease(),
                keys: true,
            }),
            36 => Op::Leases,
            _ => Op::HashKv(HashKvRequest {
                revision: if self.one_in(2) { 0 } else { self.past() },
            }),
        }
    }
}
