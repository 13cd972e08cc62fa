//! Answers are true: each says what the history says about its revision.
//!
//! For writes this is also what *acknowledged* means: the revision exists and holds this very write. The history never
//! loses an entry, and [`super::replicas`] holds every member to it.

use bytes::Bytes;
use mvcc::DeterministicError;
use proto::etcd::mvccpb::KeyValue;
use raftstore::pb::response_op::Response;
use raftstore::pb::{RangeResponse, TxnResponse};

use super::{Invariant, ensure};
use crate::call::{Answer, Begun, Call, Outcome, in_range};
use crate::history::{Change, History};
use crate::monitor::Observation;

/// Compares every answer with the history.
#[derive(Default)]
pub struct AnswersAreTrue;

impl Invariant for AnswersAreTrue {
    fn name(&self) -> &'static str {
        "answers_are_true"
    }

    fn observe(&mut self, history: &History, observation: &Observation<'_>) -> Result<(), String> {
        let Observation::Done { begun, outcome } = observation else {
            return Ok(());
        };
        let checked = match outcome {
            Outcome::Answered(answer) => answered(history, &begun.call, answer),
            Outcome::Refused(refusal) => refused(history, begun, refusal),
            Outcome::Unchanged(_) | Outcome::Failed(_) | Outcome::Unknown(_) => Ok(()),
        };
        checked.map_err(|what| format!("{:?} at member {}: {what}", begun.call, begun.member))
    }
}

fn answered(history: &History, call: &Call, answer: &Answer) -> Result<(), String> {
    let revision = answer.revision().unwrap_or(0);
    match (call, answer) {
        (Call::Put { key, value, lease }, Answer::Put(answer)) => {
            wrote(history, revision, &[(key, value, *lease)])?;
            same(answer.prev_kv.as_ref(), history.get(key, revision - 1))
        }
        (Call::Get { key, revision: at, .. }, Answer::Range(answer)) => {
            let at = if *at > 0 { *at } else { revision };
            read(history, key.as_ref(), at, answer)
        }
        (Call::Delete { key }, Answer::Delete(answer)) => {
            deleted(history, key.as_ref(), revision, answer.deleted, &answer.prev_kvs)
        }
        (Call::Swap { key, expected, value }, Answer::Txn(answer)) => {
            swapped(history, key, *expected, value, revision, answer)
        }
        (
            Call::Pair {
                keys: [first, second],
                value,
            },
            Answer::Txn(answer),
        ) => {
            ensure(answer.succeeded, || {
                "a transaction without conditions did not succeed".into()
            })?;
            wrote(history, revision, &[(first, value, 0), (second, value, 0)])
        }
        (Call::Look { keys }, Answer::Txn(answer)) => {
            for (key, response) in keys.iter().zip(&answer.responses) {
                let Some(Response::ResponseRange(range)) = &response.response else {
                    return Err("a read in a transaction was answered with something else".into());
                };
                read(history, Some(key), revision, range)?;
            }
            ensure(answer.responses.len() == keys.len(), || "answers are missing".into())
        }
        (Call::Compact { revision: at }, Answer::Compacted(_)) => ensure(history.compacted >= *at, || {
            format!(
                "it was acknowledged, but {} is the compacted revision",
                history.compacted
            )
        }),
        (Call::Grant { lease, ttl_s }, Answer::Granted(answer)) => {
            let granted = history.leases.get(lease);
            ensure(granted.is_some(), || {
                "it was acknowledged, but nothing was granted".into()
            })?;
            ensure(answer.id == *lease && answer.ttl == *ttl_s, || {
                format!("another lease was granted: {answer:?}")
            })
        }
        (Call::Revoke { lease }, Answer::Revoked(_)) => ensure(!history.lease_lives(*lease), || {
            "it was acknowledged, but the lease lives".into()
        }),
        // Lease times are another invariant's.
        (Call::KeepAlive { .. }, Answer::KeptAlive(_)) | (Call::TimeToLive { .. }, Answer::Time(_)) => Ok(()),
        (Call::Transfer { .. }, Answer::Transferred) => Ok(()),
        // Members are another invariant's.
        (Call::Add { .. }, Answer::Added(_))
        | (Call::Remove { .. }, Answer::Removed)
        | (Call::Promote { .. }, Answer::Promoted) => Ok(()),
        (_, answer) => Err(format!("the answer is of another kind: {answer:?}")),
    }
}

/// Whether a revision consists of exactly these puts.
fn wrote(history: &History, revision: i64, puts: &[(&Bytes, &Bytes, i64)]) -> Result<(), String> {
    let Some(block) = history.blocks.get(&revision) else {
        return Err(format!(
            "it was acknowledged at revision {revision}, which changed nothing"
        ));
    };
    let matches = |change: &Change, put: &(&Bytes, &Bytes, i64)| {
        !change.deleted && change.now.key == *put.0 && change.now.value == *put.1 && change.now.lease == put.2
    };
    let all = block.len() == puts.len() && block.iter().zip(puts).all(|(change, put)| matches(change, put));
    ensure(all, || {
        format!("it was acknowledged at revision {revision}, which changed something else: {block:?}")
    })
}

fn same(told: Option<&KeyValue>, known: Option<&KeyValue>) -> Result<(), String> {
    ensure(told == known, || {
        format!("it was told {told:?} where the history has {known:?}")
    })
}

fn expected<'a>(history: &'a History, key: Option<&Bytes>, revision: i64) -> Vec<&'a KeyValue> {
    match key {
        Some(key) => history.get(key, revision).into_iter().collect(),
        None => history.range(in_range, revision),
    }
}

fn read(history: &History, key: Option<&Bytes>, revision: i64, answer: &RangeResponse) -> Result<(), String> {
    let known = expected(history, key, revision);
    let told: Vec<&KeyValue> = answer.kvs.iter().collect();
    ensure(told == known, || {
        format!("it read {told:?} at revision {revision}, where the history has {known:?}")
    })?;
    ensure(answer.count == known.len() as i64, || {
        format!("it counted {} keys of {}", answer.count, known.len())
    })
}

fn deleted(
    history: &History,
    key: Option<&Bytes>,
    revision: i64,
    count: i64,
    prev_kvs: &[KeyValue],
) -> Result<(), String> {
    if count == 0 {
        let left = expected(history, key, revision);
        return ensure(left.is_empty(), || {
            format!("it found nothing at revision {revision}, where the history has {left:?}")
        });
    }
    let before = expected(history, key, revision - 1);
    let told: Vec<&KeyValue> = prev_kvs.iter().collect();
    ensure(told == before && count == before.len() as i64, || {
        format!("it deleted {told:?} (counted {count}) at revision {revision}, where the history had {before:?}")
    })?;
    let gone: Option<Vec<&Bytes>> = history.blocks.get(&revision).map(|block| {
        block
            .iter()
            .filter(|change| change.deleted)
            .map(|change| &change.now.key)
            .collect()
    });
    let keys: Vec<&Bytes> = before.iter().map(|kv| &kv.key).collect();
    ensure(gone.as_ref() == Some(&keys), || {
        format!("revision {revision} deleted {gone:?} instead of {keys:?}")
    })
}

fn swapped(
    history: &History,
    key: &Bytes,
    expected: i64,
    value: &Bytes,
    revision: i64,
    answer: &TxnResponse,
) -> Result<(), String> {
    let before = if answer.succeeded { revision - 1 } else { revision };
    let found = history.get(key, before).map_or(0, |kv| kv.mod_revision);
    ensure((found == expected) == answer.succeeded, || {
        format!(
            "the key was last changed at {found} when it was answered {} at revision {revision}",
            answer.succeeded
        )
    })?;
    if answer.succeeded {
        return wrote(history, revision, &[(key, value, 0)]);
    }
    match answer.responses.first().and_then(|response| response.response.as_ref()) {
        Some(Response::ResponseRange(range)) => read(history, Some(key), revision, range),
        other => Err(format!("its else-branch was answered with {other:?}")),
    }
}

fn refused(history: &History, begun: &Begun, refusal: &DeterministicError) -> Result<(), String> {
    let lives = begun
        .call
        .lease()
        .is_some_and(|lease| begun.lease_lived && history.lease_lives(lease));
    let justified = match refusal {
        DeterministicError::LeaseNotFound => !lives,
        DeterministicError::LeaseExists => {
            matches!(begun.call, Call::Grant { lease, .. } if history.leases.contains_key(&lease))
        }
        DeterministicError::Compacted { compacted } => {
            let asked = match begun.call {
                Call::Get { revision, .. } | Call::Compact { revision } => revision,
                _ => i64::MAX,
            };
            *compacted <= history.compacted && asked <= *compacted
        }
        DeterministicError::FutureRevision { current } => {
            let asked = match begun.call {
                Call::Get { revision, .. } | Call::Compact { revision } => revision,
                _ => 0,
            };
            asked > *current
        }
        // Out of room when it was asked, or at some time since.
        DeterministicError::NoSpace => {
            let needs = matches!(
                begun.call,
                Call::Put { .. } | Call::Swap { .. } | Call::Pair { .. } | Call::Grant { .. }
            );
            needs && (begun.no_room || history.alarm_changes > begun.alarm_changes)
        }
        _ => false,
    };
    ensure(justified, || format!("it was refused without a reason: {refusal}"))
}
