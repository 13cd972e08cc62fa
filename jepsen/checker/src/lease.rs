//! Leases: a key lives at least as long as its lease was promised, not much longer, and never comes back.
//!
//! The only checker of safety that uses the recorder's clock: a lease's time runs from the moment the server handled the
//! grant or renewal, which is not before it was asked. Finds `expired-early`, `resurrected`, `outlived-revoke`, and, given from
//! when on nothing was broken, `overdue`.
//!
//! Faults leave no bound on the end of a lease: each new leader gives every lease its whole time once more (etcd's
//! `lessor.Promote`), and while nobody leads none ends. Once the last fault is healed and all members answer, each lease has at
//! most its whole time left, and what a change of leaders may add to it: that is what the slack is for.
//!
//! # Left out
//! A lease is not overdue once a grant or a renewal of unknown outcome has begun, which may take effect at any later time.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Anomaly, Operation, Verdict};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Call {
    /// Grants a lease and puts a key of its own under it.
    Grant(i64),
    KeepAlive(i64),
    Revoke(i64),
    /// Reads the lease's key.
    Probe(i64),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Return {
    /// Of a grant or a renewal: seconds until it expires. 0, also of a revocation: there is no such lease.
    Ttl(i64),
    Revoked,
    /// Whether the key was there.
    Present(bool),
}

type Op = Operation<Call, Return>;

const SECOND_NS: u64 = 1_000_000_000;

/// When a lease is overdue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overdue {
    /// From when on nothing was broken, and all members answered.
    pub calm_from_ns: u64,
    /// How long a lease may live on after its time, which began with its last renewal or the calm, whichever was later.
    pub slack_ns: u64,
}

/// `overdue` is `None` when nothing bounds the end of a lease, as the faults of the test were never healed.
pub fn check(operations: &[Op], overdue: Option<Overdue>) -> Verdict {
    let mut verdict = Verdict::valid("lease");
    let mut leases: BTreeMap<i64, Vec<&Op>> = BTreeMap::new();
    for op in operations {
        let (Call::Grant(lease) | Call::KeepAlive(lease) | Call::Revoke(lease) | Call::Probe(lease)) = op.call;
        leases.entry(lease).or_default().push(op);
    }
    for (lease, ops) in &leases {
        let late = overdue.and_then(|overdue| overdue.find(ops));
        for anomaly in [early(ops), back(ops), revoked(ops), late].into_iter().flatten() {
            verdict.broken(Anomaly {
                message: format!("lease {lease}: {}", anomaly.message),
                ..anomaly
            });
        }
    }
    verdict.needs_answers(operations);
    let gone = leases.values().filter(|ops| ops.iter().any(|op| is_gone(op))).count();
    verdict.note(format!("{} leases, {gone} seen gone", leases.len()));
    if let Some(overdue) = overdue {
        let judged = leases.values().filter(|ops| overdue.judges(ops)).count();
        verdict.note(format!("{judged} looked at when they had to be gone"));
    }
    verdict
}

/// The same of leases of which each was asked to live that many seconds, which is neither too short for the store nor too long:
/// `wrong-ttl` if another time is promised.
pub fn check_asked(operations: &[Op], overdue: Option<Overdue>, asked_seconds: u64) -> Verdict {
    let mut verdict = check(operations, overdue);
    let promises = operations.iter().filter_map(|op| Some((op, promised(op)?)));
    for (op, seconds) in promises.filter(|(_, seconds)| *seconds != asked_seconds) {
        let message = format!(
            "{:?} promised {seconds} s where {asked_seconds} s were asked for",
            op.call
        );
        verdict.broken(Anomaly::new("wrong-ttl", message, [op.invoked]));
    }
    verdict
}

/// Seconds promised by a grant or renewal that was answered.
fn promised(op: &Op) -> Option<u64> {
    match op.outcome.result()? {
        Return::Ttl(seconds) if *seconds > 0 => u64::try_from(*seconds).ok(),
        _ => None,
    }
}

/// Who found no lease revoked none.
fn may_revoke(op: &Op) -> bool {
    matches!(op.call, Call::Revoke(_)) && !op.outcome.is_fail() && !is_gone(op)
}

fn is_gone(op: &Op) -> bool {
    matches!(op.outcome.result(), Some(Return::Present(false) | Return::Ttl(0)))
}

fn is_there(op: &Op) -> bool {
    matches!(op.outcome.result(), Some(Return::Present(true))) || promised(op).is_some()
}

fn grant<'a>(ops: &[&'a Op]) -> Option<&'a Op> {
    ops.iter()
        .find(|op| matches!(op.call, Call::Grant(_)) && op.outcome.is_ok())
        .copied()
}

/// Gone while a grant or a renewal still ran.
fn early(ops: &[&Op]) -> Option<Anomaly> {
    let grant = grant(ops)?;
    let gone = ops.iter().filter(|op| is_gone(op) && grant.precedes(op));
    for seen in gone {
        let revoke = ops.iter().any(|op| may_revoke(op) && Some(op.invoked) < seen.completed);
        let running = ops.iter().find(|op| {
            let until = promised(op).map(|seconds| op.invoked_ns + seconds * SECOND_NS);
            until.is_some_and(|until| seen.ended_ns.is_some_and(|ended| ended < until))
        });
        if let (false, Some(running)) = (revoke, running) {
            let message = format!(
                "gone {} ms after {:?} -> {:?} was asked for",
                (seen.ended_ns? - running.invoked_ns.min(seen.ended_ns?)) / 1_000_000,
                running.call,
                running.outcome
            );
            return Some(Anomaly::new("expired-early", message, [running.invoked, seen.invoked]));
        }
    }
    None
}

/// There again after it was gone.
fn back(ops: &[&Op]) -> Option<Anomaly> {
    let grant = grant(ops)?;
    let gone = ops
        .iter()
        .filter(|op| is_gone(op) && grant.precedes(op))
        .min_by_key(|op| op.completed)?;
    let again = ops.iter().find(|op| is_there(op) && gone.precedes(op))?;
    let message = format!("it was gone, and then {:?} -> {:?}", again.call, again.outcome);
    Some(Anomaly::new("resurrected", message, [gone.invoked, again.invoked]))
}

/// There after its revocation was acknowledged.
fn revoked(ops: &[&Op]) -> Option<Anomaly> {
    let revoke = ops
        .iter()
        .filter(|op| matches!(op.outcome.result(), Some(Return::Revoked)))
        .min_by_key(|op| op.completed)?;
    let again = ops.iter().find(|op| is_there(op) && revoke.precedes(op))?;
    let message = format!("it was revoked, and then {:?} -> {:?}", again.call, again.outcome);
    Some(Anomaly::new(
        "outlived-revoke",
        message,
        [revoke.invoked, again.invoked],
    ))
}

impl Overdue {
    /// After this it has to be gone for `seen`, whom no renewal helps that began after it was over. A renewal of unknown outcome
    /// may take effect at any later time, so that nothing is overdue after one.
    fn limit(self, ops: &[&Op], seen: &Op) -> Option<u64> {
        let ttl = promised(grant(ops)?)?;
        let mut renewals = ops.iter().filter(|op| {
            matches!(op.call, Call::Grant(_) | Call::KeepAlive(_))
                && !op.outcome.is_fail()
                && op.invoked != seen.invoked
                && !seen.precedes(op)
        });
        let last = renewals.try_fold(self.calm_from_ns, |last: u64, op| {
            op.completed?;
            Some(last.max(op.ended_ns?))
        })?;
        Some(last + ttl * SECOND_NS + self.slack_ns)
    }

    /// Whether anybody looked when it had to be gone.
    fn judges(self, ops: &[&Op]) -> bool {
        let looked = |op: &&&Op| matches!(op.outcome.result(), Some(Return::Present(_)));
        let mut looks = ops.iter().filter(looked);
        looks.any(|op| self.limit(ops, op).is_some_and(|limit| op.invoked_ns > limit))
    }

    /// There, or renewed, when it had to be gone.
    fn find(self, ops: &[&Op]) -> Option<Anomaly> {
        ops.iter().find_map(|op| {
            // A grant is there because it grants.
            if !is_there(op) || matches!(op.call, Call::Grant(_)) {
                return None;
            }
            let limit = self.limit(ops, op).filter(|limit| op.invoked_ns > *limit)?;
            let message = format!(
                "{:?} -> {:?} {} ms after its time",
                op.call,
                op.outcome,
                (op.invoked_ns - limit) / 1_000_000
            );
            Some(Anomaly::new("overdue", message, [op.invoked]))
        })
    }
}
