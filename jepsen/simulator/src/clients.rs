//! Clients: what they ask, of whom, and what they are told.
//!
//! A call runs in the process of the member it is asked of, as at the member's own door; it is lost with it. A client
//! that loses patience does not know what becomes of its call.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mvcc::DeterministicError;
use raftstore::pb::compare::{CompareResult, CompareTarget, TargetUnion};
use raftstore::pb::request_op::Request;
use raftstore::pb::{
    CompactionRequest, Compare, DeleteRangeRequest, LeaseGrantRequest, LeaseRevokeRequest, LeaseTimeToLiveRequest,
    PutRequest, RangeRequest, RequestOp, TxnRequest,
};
use raftstore::{Error, Store};

use crate::call::{Answer, Begun, Call, Outcome, RANGE_END, RANGE_START};
use crate::cluster::{Cluster, Judged};
use crate::executor;
use crate::monitor::Observation;
use crate::random::Random;
use crate::runtime::timeout;

/// Answers that get lost on their way to the client, in a million.
const LOST_PPM: u32 = 10_000;

/// Asks a member, and reports what came of it.
pub async fn ask(cluster: &Cluster, member: u64, call: Call, patience: Duration) -> Option<Outcome> {
    let (store, process) = cluster.store(member)?;
    let monitor = &cluster.monitor;
    let begun = monitor.history(|history| Begun {
        call: call.clone(),
        member,
        told: history.told,
        readings: executor::clock_readings(),
        lease_lived: call.lease().is_some_and(|lease| history.lease_lives(lease)),
        no_room: history.no_room,
        alarm_changes: history.alarm_changes,
    });
    monitor.observe(&Observation::Begun { begun: &begun });
    let answered = timeout(patience, executor::spawn_in(process, perform(store, call))).await;
    let outcome = match answered {
        Ok(Ok(_)) if executor::random(|random| random.chance(LOST_PPM)) => {
            Outcome::Unknown("the answer was lost".into())
        }
        Ok(Ok(Ok(answer))) => Outcome::Answered(answer),
        Ok(Ok(Err(error))) => match Cluster::judge(&error) {
            Judged::Refused(refusal) => Outcome::Refused(refusal),
            Judged::Unchanged(refusal) => Outcome::Unchanged(refusal),
            Judged::Failed => Outcome::Failed(error.to_string()),
            Judged::Unknown => Outcome::Unknown(error.to_string()),
        },
        Ok(Err(_)) => Outcome::Unknown("the member ended".into()),
        Err(_) => Outcome::Unknown("the client gave up".into()),
    };
    monitor.done(&begun, &outcome);
    Some(outcome)
}

fn put(key: Bytes, value: Bytes, lease: i64) -> PutRequest {
    PutRequest {
        key,
        value,
        lease,
        prev_kv: true,
        ..PutRequest::default()
    }
}

/// A key, or the whole range.
fn span(key: Option<Bytes>) -> (Bytes, Bytes) {
    key.map_or_else(
        || (Bytes::from_static(RANGE_START), Bytes::from_static(RANGE_END)),
        |key| (key, Bytes::new()),
    )
}

fn get(key: Option<Bytes>) -> RangeRequest {
    let (key, range_end) = span(key);
    RangeRequest {
        key,
        range_end,
        ..RangeRequest::default()
    }
}

fn operation(request: Request) -> RequestOp {
    RequestOp { request: Some(request) }
}

async fn perform(store: Store, call: Call) -> Result<Answer, Error> {
    Ok(match call {
        Call::Put { key, value, lease } => Answer::Put(store.put(put(key, value, lease)).await?),
        Call::Get {
            key,
            serializable,
            revision,
        } => {
            let request = RangeRequest {
                serializable,
                revision,
                ..get(key)
            };
            Answer::Range(store.range(request).await?)
        }
        Call::Delete { key } => {
            let (key, range_end) = span(key);
            let request = DeleteRangeRequest {
                key,
                range_end,
                prev_kv: true,
            };
            Answer::Delete(store.delete_range(request).await?)
        }
        Call::Swap { key, expected, value } => Answer::Txn(store.txn(swap(key, expected, value)).await?),
        Call::Pair { keys, value } => {
            let puts = keys.map(|key| {
                let request = PutRequest {
                    prev_kv: false,
                    ..put(key, value.clone(), 0)
                };
                operation(Request::RequestPut(request))
            });
            Answer::Txn(store.txn(branch(puts.to_vec())).await?)
        }
        Call::Look { keys } => {
            let reads = keys.map(|key| operation(Request::RequestRange(get(Some(key)))));
            Answer::Txn(store.txn(branch(reads.to_vec())).await?)
        }
        Call::Compact { revision } => {
            let request = CompactionRequest {
                revision,
                physical: false,
            };
            Answer::Compacted(store.compact(request).await?)
        }
        Call::Grant { lease, ttl_s } => {
            Answer::Granted(store.lease_grant(LeaseGrantRequest { ttl: ttl_s, id: lease }).await?)
        }
        Call::Revoke { lease } => Answer::Revoked(store.lease_revoke(LeaseRevokeRequest { id: lease }).await?),
        Call::KeepAlive { lease } => Answer::KeptAlive(store.lease_keep_alive(lease).await?),
        Call::TimeToLive { lease } => {
            let request = LeaseTimeToLiveRequest { id: lease, keys: false };
            Answer::Time(store.lease_time_to_live(request).await?)
        }
        Call::Transfer { to } => {
            store.transfer_leadership(to).await?;
            Answer::Transferred
        }
        Call::Add { url, learner } => Answer::Added(store.add_member(vec![url], learner).await?),
        Call::Remove { id } => {
            store.remove_member(id).await?;
            Answer::Removed
        }
        Call::Promote { id } => {
            store.promote_member(id).await?;
            Answer::Promoted
        }
    })
}

fn branch(success: Vec<RequestOp>) -> TxnRequest {
    TxnRequest {
        success,
        ..TxnRequest::default()
    }
}

fn swap(key: Bytes, expected: i64, value: Bytes) -> TxnRequest {
    let compare = Compare {
        result: CompareResult::Equal.into(),
        target: CompareTarget::Mod.into(),
        key: key.clone(),
        target_union: Some(TargetUnion::ModRevision(expected)),
        ..Compare::default()
    };
    let write = PutRequest {
        prev_kv: false,
        ..put(key.clone(), value, 0)
    };
    TxnRequest {
        compare: vec![compare],
        success: vec![operation(Request::RequestPut(write))],
        failure: vec![operation(Request::RequestRange(get(Some(key))))],
    }
}

/// What a client likes to do: parts of a whole for each kind of call.
#[derive(Debug, Clone)]
pub struct Taste {
    /// Keys in use.
    pub keys: u64,
    /// Bytes added to each value, up to.
    pub padding: u64,
    /// Weights, in the order of [`KINDS`].
    pub weights: [u64; KINDS],
    /// The longest pause between two calls.
    pub pause: Duration,
}

/// Kinds of calls that clients choose among.
pub const KINDS: usize = 11;

/// One client.
pub struct Client {
    /// The cluster it talks to.
    pub cluster: Arc<Cluster>,
    /// Its number, from 1.
    pub number: u64,
    /// Its chance.
    pub random: Random,
    /// What it does.
    pub taste: Taste,
    written: u64,
    leases: Vec<i64>,
    member: u64,
}

/// How often a client that lingers asks for a lease.
const LINGERS: u64 = 20;
/// Time to live of a lease is less than this, in seconds.
const TTL_S_MAX: u64 = 5;

impl Client {
    /// A client that has done nothing.
    pub fn new(cluster: Arc<Cluster>, number: u64, mut random: Random, taste: Taste) -> Self {
        let member = *random.pick(&cluster.ids()).unwrap_or(&1);
        Self {
            cluster,
            number,
            random,
            taste,
            written: 0,
            leases: Vec::new(),
            member,
        }
    }

    /// Asks one thing after the other, for as long as it is polled.
    pub async fn run(mut self) {
        loop {
            let pause = self.random.magnitude(1_000..self.taste.pause.as_nanos() as u64 + 2_000);
            executor::sleep(Duration::from_nanos(pause)).await;
            if self.random.chance(100_000) {
                self.member = self.cluster.draw(&mut self.random).unwrap_or(self.member);
            }
            let call = self.choose();
            let patience = Duration::from_millis(self.random.magnitude(50..10_000));
            let outcome = ask(&self.cluster, self.member, call.clone(), patience).await;
            if outcome == Some(Outcome::Refused(DeterministicError::NoSpace)) && self.random.chance(200_000) {
                self.cluster.make_room(self.member).await;
            }
            match (&call, &outcome) {
                (Call::Grant { lease, .. }, Some(_)) => self.leases.push(*lease),
                (Call::Revoke { lease } | Call::KeepAlive { lease }, Some(Outcome::Refused(_))) => {
                    self.leases.retain(|known| known != lease);
                }
                _ => {}
            }
            if !matches!(outcome, Some(Outcome::Answered(_) | Outcome::Refused(_))) {
                // Another member may know better.
                self.member = self.cluster.draw(&mut self.random).unwrap_or(self.member);
                executor::sleep(Duration::from_millis(self.random.below(100))).await;
            }
        }
    }

    /// Grants leases of a second, and asks for each when that is over until it is gone or was extended once more.
    pub async fn linger(mut self) {
        loop {
            self.written += 1;
            self.member = self.cluster.draw(&mut self.random).unwrap_or(self.member);
            let lease = (self.number * 1_000_000 + self.written) as i64;
            let patience = Duration::from_secs(3);
            ask(&self.cluster, self.member, Call::Grant { lease, ttl_s: 1 }, patience).await;
            executor::sleep(Duration::from_millis(self.random.within(1_000..1_500))).await;
            for _ in 0..LINGERS {
                let call = match self.random.chance(500_000) {
                    true => Call::KeepAlive { lease },
                    false => Call::TimeToLive { lease },
                };
                let outcome = ask(&self.cluster, self.member, call, patience).await;
                if matches!(&outcome, Some(Outcome::Answered(Answer::KeptAlive(kept))) if kept.ttl > 0) {
                    break;
                }
                executor::sleep(Duration::from_micros(self.random.magnitude(100..50_000))).await;
            }
        }
    }

    fn choose(&mut self) -> Call {
        let total: u64 = self.taste.weights.iter().sum();
        let mut point = self.random.below(total.max(1));
        let mut kind = 0;
        while kind + 1 < KINDS && point >= self.taste.weights[kind] {
            point -= self.taste.weights[kind];
            kind += 1;
        }
        let told = self.cluster.monitor.history(|history| history.told);
        match kind {
            0 => Call::Put {
                key: self.key(),
                value: self.value(),
                lease: 0,
            },
            1 => self.read(),
            2 => Call::Delete {
                key: (!self.random.chance(100_000)).then(|| self.key()),
            },
            3 => self.swap(),
            4 => Call::Pair {
                keys: self.two_keys(),
                value: self.value(),
            },
            5 => Call::Look { keys: self.two_keys() },
            6 => Call::Compact {
                revision: self.random.within(1..told as u64 + 2) as i64,
            },
            7 => self.lease_call(),
            8 => Call::Get {
                key: None,
                serializable: true,
                revision: 0,
            },
            9 => Call::Get {
                key: None,
                serializable: false,
                revision: self.random.within(1..told as u64 + 2) as i64,
            },
            _ => Call::Transfer {
                to: *self.random.pick(&self.cluster.ids()).unwrap_or(&1),
            },
        }
    }

    fn read(&mut self) -> Call {
        Call::Get {
            key: (!self.random.chance(200_000)).then(|| self.key()),
            serializable: false,
            revision: 0,
        }
    }

    /// A swap that may succeed: it expects what the key is now, mostly.
    fn swap(&mut self) -> Call {
        let key = self.key();
        let now = self
            .cluster
            .monitor
            .history(|history| history.get(&key, history.told).map_or(0, |kv| kv.mod_revision));
        let expected = if self.random.chance(800_000) { now } else { now + 1 };
        let value = self.value();
        Call::Swap { key, expected, value }
    }

    fn lease_call(&mut self) -> Call {
        let known = self.random.pick(&self.leases).copied();
        let Some(lease) = known.filter(|_| !self.random.chance(150_000)) else {
            self.written += 1;
            return Call::Grant {
                lease: (self.number * 1_000_000 + self.written) as i64,
                ttl_s: self.random.within(1..TTL_S_MAX) as i64,
            };
        };
        match self.random.below(8) {
            0 => Call::Revoke { lease },
            1 => Call::TimeToLive { lease },
            2 | 3 => Call::Put {
                key: self.key(),
                value: self.value(),
                lease,
            },
            _ => Call::KeepAlive { lease },
        }
    }

    fn key(&mut self) -> Bytes {
        format!("k{}", self.random.below(self.taste.keys)).into()
    }

    fn two_keys(&mut self) -> [Bytes; 2] {
        let first = self.random.below(self.taste.keys);
        let second = (first + 1) % self.taste.keys.max(2);
        [first, second].map(|key| format!("k{key}").into())
    }

    fn value(&mut self) -> Bytes {
        self.written += 1;
        let padding = self.random.below(self.taste.padding + 1) as usize;
        format!("{}.{}{}", self.number, self.written, "~".repeat(padding)).into()
    }
}
