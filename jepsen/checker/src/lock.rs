//! Locks with leases and fencing tokens.
//!
//! A lock that can expire protects nothing by itself: its holder may be paused while another acquires it. So two promises
//! are judged apart. While a holder's lease certainly runs nobody else acquires (`two-holders`); and whatever the clocks
//! did, writes that carry the holder's token are accepted in the order of the tokens and not after that token's release was
//! acknowledged, its lease said to be gone, or a later token acquired (`fence-broken`), tokens are never given twice
//! (`token-reused`) and never go backwards (`token-backwards`).
//!
//! A holder whose lease certainly runs and who released nothing is told neither that its lease is gone nor that its token is
//! (`lost-early`). Tokens and accepted writes have revisions of one store: each makes one of its own (`revision-given-twice`), none
//! goes back in real time, and a write's is greater than its token (`revision-backwards`).
//!
//! A write that overlaps what ended its token is judged by its revision only: it may have come first.

use std::collections::BTreeMap;
use std::ops::Bound;

use serde::{Deserialize, Serialize};

use crate::revisions::{self, Told};
use crate::{Anomaly, Operation, Verdict};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Call {
    /// Under a lease that is granted within the call and lives this long unless renewed.
    Acquire {
        lock: u64,
        ttl_ns: u64,
    },
    /// Renews the lease of the holder with that token.
    Renew {
        lock: u64,
        token: i64,
        ttl_ns: u64,
    },
    Release {
        lock: u64,
        token: i64,
    },
    /// A write that the store accepts only while the token holds the lock.
    Write {
        lock: u64,
        token: i64,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Return {
    Acquired {
        token: i64,
    },
    /// Whether the lease was still there.
    Renewed(bool),
    Released,
    /// The revision of an accepted write; `None` when it was refused.
    Written(Option<i64>),
}

type Op = Operation<Call, Return>;

pub fn check(operations: &[Op]) -> Verdict {
    let mut verdict = Verdict::valid("lock");
    let mut locks: BTreeMap<u64, Vec<&Op>> = BTreeMap::new();
    for op in operations {
        let (Call::Acquire { lock, .. }
        | Call::Renew { lock, .. }
        | Call::Release { lock, .. }
        | Call::Write { lock, .. }) = op.call;
        locks.entry(lock).or_default().push(op);
    }
    let mut acquired = 0;
    for ops in locks.values() {
        let tenures = tenures(ops);
        acquired += tenures.len();
        overlaps(&tenures)
            .into_iter()
            .for_each(|anomaly| verdict.broken(anomaly));
        lost_early(ops, &tenures)
            .into_iter()
            .for_each(|anomaly| verdict.broken(anomaly));
        tokens(&tenures).into_iter().for_each(|anomaly| verdict.broken(anomaly));
        fence(ops).into_iter().for_each(|anomaly| verdict.broken(anomaly));
        after_the_end(ops)
            .into_iter()
            .for_each(|anomaly| verdict.broken(anomaly));
    }
    revisions(operations)
        .into_iter()
        .for_each(|anomaly| verdict.broken(anomaly));
    verdict.needs_answers(operations);
    verdict.note(format!("{} locks, acquired {acquired} times", locks.len()));
    verdict
}

/// One holder's time with a lock.
struct Tenure<'a> {
    token: i64,
    acquire: &'a Op,
    /// On the recorder's clock: until here the lease certainly ran.
    certain_until_ns: u64,
    /// Event at which it may first have been given up; `u64::MAX` if never. A release that was refused gave up nothing.
    released: u64,
}

fn tenures<'a>(ops: &[&'a Op]) -> Vec<Tenure<'a>> {
    let mut tenures = Vec::new();
    for acquire in ops {
        let (Call::Acquire { ttl_ns, .. }, Some(Return::Acquired { token })) =
            (&acquire.call, acquire.outcome.result())
        else {
            continue;
        };
        let renewals = ops.iter().filter_map(|op| match (&op.call, op.outcome.result()) {
            (
                Call::Renew {
                    token: renewed, ttl_ns, ..
                },
                Some(Return::Renewed(true)),
            ) if renewed == token => Some(op.invoked_ns + ttl_ns),
            _ => None,
        });
        let releases = ops
            .iter()
            .filter(|op| matches!(&op.call, Call::Release { token: t, .. } if t == token) && !op.outcome.is_fail());
        tenures.push(Tenure {
            token: *token,
            acquire,
            certain_until_ns: renewals.chain([acquire.invoked_ns + ttl_ns]).max().unwrap_or_default(),
            released: releases.map(|op| op.invoked).min().unwrap_or(u64::MAX),
        });
    }
    tenures.sort_by_key(|tenure| tenure.token);
    tenures
}

fn overlaps(tenures: &[Tenure<'_>]) -> Vec<Anomaly> {
    let mut found = Vec::new();
    for (at, first) in tenures.iter().enumerate() {
        for second in &tenures[at + 1..] {
            let (Some(end), Some(ended_ns)) = (second.acquire.completed, second.acquire.ended_ns) else {
                continue;
            };
            // An earlier event releases too; a tenure without its own end is only as long as its lease.
            if first.token != second.token && end < first.released && ended_ns < first.certain_until_ns {
                let message = format!(
                    "token {} was acquired {} ms before the lease of token {} could end",
                    second.token,
                    (first.certain_until_ns - ended_ns) / 1_000_000,
                    first.token
                );
                found.push(Anomaly::new(
                    "two-holders",
                    message,
                    [first.acquire.invoked, second.acquire.invoked],
                ));
            }
        }
    }
    found
}

/// Who was refused, or told that the lease is gone, while it certainly ran. It had lived since the lock was acquired: whoever was
/// renewed had not been gone before.
fn lost_early(ops: &[&Op], tenures: &[Tenure<'_>]) -> Vec<Anomaly> {
    let mut found = Vec::new();
    for op in ops {
        let lost = match (&op.call, op.outcome.result()) {
            (Call::Write { token, .. }, Some(Return::Written(None)))
            | (Call::Renew { token, .. }, Some(Return::Renewed(false))) => *token,
            _ => continue,
        };
        let (Some(end), Some(ended_ns)) = (op.completed, op.ended_ns) else {
            continue;
        };
        let mut holders = tenures.iter().filter(|tenure| tenure.token == lost);
        let holder = holders
            .find(|tenure| tenure.acquire.precedes(op) && end < tenure.released && ended_ns < tenure.certain_until_ns);
        if let Some(holder) = holder {
            let message = format!(
                "{:?} -> {:?}, {} ms before its lease could end",
                op.call,
                op.outcome,
                (holder.certain_until_ns - ended_ns) / 1_000_000
            );
            found.push(Anomaly::new(
                "lost-early",
                message,
                [holder.acquire.invoked, op.invoked],
            ));
        }
    }
    found
}

/// Tokens and accepted writes of all locks.
fn revisions(operations: &[Op]) -> Vec<Anomaly> {
    let mut found = Vec::new();
    let mut told = Vec::new();
    for op in operations {
        match (&op.call, op.outcome.result()) {
            (Call::Write { token, .. }, Some(Return::Written(Some(revision)))) => {
                if revision <= token {
                    let message = format!("a write of token {token} was accepted at revision {revision}");
                    found.push(Anomaly::new("revision-backwards", message, [op.invoked]));
                }
                told.extend(Told::new(op, *revision, true));
            }
            (Call::Acquire { .. }, Some(Return::Acquired { token })) => told.extend(Told::new(op, *token, true)),
            _ => {}
        }
    }
    found.extend(revisions::broken(&told));
    found
}

fn tokens(tenures: &[Tenure<'_>]) -> Vec<Anomaly> {
    let mut found = Vec::new();
    for pair in tenures.windows(2) {
        let events = [pair[0].acquire.invoked, pair[1].acquire.invoked];
        if pair[0].token == pair[1].token {
            found.push(Anomaly::new(
                "token-reused",
                format!("token {} was given twice", pair[0].token),
                events,
            ));
        } else if pair[1].acquire.precedes(pair[0].acquire) {
            let message = format!(
                "token {} was given before token {} was asked for",
                pair[1].token, pair[0].token
            );
            found.push(Anomaly::new("token-backwards", message, events));
        }
    }
    found
}

/// Accepted writes, in the order in which the store took them, never go back to an older token.
fn fence(ops: &[&Op]) -> Vec<Anomaly> {
    let mut accepted: Vec<(i64, i64, u64)> = Vec::new();
    for op in ops {
        if let (Call::Write { token, .. }, Some(Return::Written(Some(revision)))) = (&op.call, op.outcome.result()) {
            accepted.push((*revision, *token, op.invoked));
        }
    }
    accepted.sort_unstable();
    let broken = accepted.windows(2).filter(|pair| pair[1].1 < pair[0].1);
    broken
        .map(|pair| {
            let message = format!(
                "a write of token {} was accepted at revision {}, after token {} had written at {}",
                pair[1].1, pair[1].0, pair[0].1, pair[0].0
            );
            Anomaly::new("fence-broken", message, [pair[0].2, pair[1].2])
        })
        .collect()
}

/// Accepted writes that began after it was known that their token no longer holds the lock: it was released, its lease was
/// said to be gone, or a later token had been acquired, for which all earlier ones have to be gone.
fn after_the_end(ops: &[&Op]) -> Vec<Anomaly> {
    let mut ended: BTreeMap<i64, &Op> = BTreeMap::new();
    let mut acquired: BTreeMap<i64, &Op> = BTreeMap::new();
    for op in ops {
        let (ends, token) = match (&op.call, op.outcome.result()) {
            (Call::Release { token, .. }, Some(Return::Released))
            | (Call::Renew { token, .. }, Some(Return::Renewed(false))) => (&mut ended, *token),
            (Call::Acquire { .. }, Some(Return::Acquired { token })) => (&mut acquired, *token),
            _ => continue,
        };
        let first = ends.entry(token).or_insert(op);
        if op.completed < first.completed {
            *first = op;
        }
    }
    let mut found = Vec::new();
    for op in ops {
        let (Call::Write { token, .. }, Some(Return::Written(Some(revision)))) = (&op.call, op.outcome.result()) else {
            continue;
        };
        let later = acquired
            .range((Bound::Excluded(*token), Bound::Unbounded))
            .map(|(_, by)| *by);
        let mut ends = ended.get(token).copied().into_iter().chain(later);
        if let Some(end) = ends.find(|end| end.precedes(op)) {
            let message = format!(
                "a write of token {token} was accepted at revision {revision} after {:?} -> {:?}",
                end.call, end.outcome
            );
            found.push(Anomaly::new("fence-broken", message, [end.invoked, op.invoked]));
        }
    }
    found
}
