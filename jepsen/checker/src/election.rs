//! Elections: leaders follow one another, each with a greater token, and a deposed one can do nothing.
//!
//! | anomaly | the promise it breaks |
//! |---|---|
//! | `token-reused` | a token is given once |
//! | `leader-backwards` | after a leader was seen or elected no older one is |
//! | `two-leaders` | while a leader's session certainly lives and it has not resigned, nobody else leads |
//! | `lost-early` | while a leader's session certainly lives and it has not resigned, it is not told that the session is gone |
//! | `deposed-leader-acted` | after a successor was elected or seen, after it resigned, or after its session was said to be gone, a leader proclaims nothing and is not seen |
//! | `unknown-value` | a leader's value is one that it campaigned with or proclaimed |
//! | `value-backwards` | the value is a register: what is seen of it later is not older |
//!
//! A campaign is made under a session of its own, which lives for its time to live after the server handled its grant or a
//! renewal, and that is not before it was asked: see etcd's `concurrency.Session` and `concurrency.Election`
//! (<https://pkg.go.dev/go.etcd.io/etcd/client/v3/concurrency>), whose leader is the key with the smallest creation revision.
//!
//! # Left out
//! That nobody leads while a session lives: recorders know that answer by its text, which a store without a leader of its own
//! gives too.

use std::collections::BTreeMap;
use std::ops::Bound;

use serde::{Deserialize, Serialize};

use crate::limits::Bounds;
use crate::linear::{self, register};
use crate::{Anomaly, Operation, Outcome, Verdict};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Call {
    /// Under a session that begins within the call. Values are unique in a test.
    Campaign(String),
    /// Renews the session of the leader with that token.
    Renew {
        token: i64,
    },
    Proclaim {
        token: i64,
        value: String,
    },
    Resign {
        token: i64,
    },
    /// Who leads?
    Leader,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Return {
    Elected {
        token: i64,
    },
    /// Whether the session was still there.
    Renewed(bool),
    Proclaimed,
    Resigned,
    /// `None`: nobody leads.
    Leader(Option<(i64, String)>),
}

type Op = Operation<Call, Return>;

/// `ttl_ns`: how long every session lives unless it is renewed.
pub fn check(operations: &[Op], ttl_ns: u64) -> Verdict {
    let mut verdict = Verdict::valid("election");
    let elected: Vec<(i64, &Op)> = operations
        .iter()
        .filter_map(|op| match op.outcome.result() {
            Some(Return::Elected { token }) => Some((*token, op)),
            _ => None,
        })
        .collect();
    let terms: Vec<Term<'_>> = elected
        .iter()
        .map(|(token, campaign)| Term::new(*token, campaign, operations, ttl_ns))
        .collect();
    let found = [
        reused(&elected),
        backwards(operations),
        terms.iter().filter_map(|term| term.broken(operations)).collect(),
        terms.iter().filter_map(|term| term.lost_early(operations)).collect(),
        deposed(operations),
        ended(operations),
        unknown_values(operations, &elected),
    ];
    found.into_iter().flatten().for_each(|anomaly| verdict.broken(anomaly));
    verdict.absorb(values(operations));
    verdict.needs_answers(operations);
    verdict.note(format!("{} terms", elected.len()));
    verdict
}

/// A leader's time, as far as it is certain.
struct Term<'a> {
    token: i64,
    campaign: &'a Op,
    /// On the recorder's clock: until here the session certainly lived.
    certain_until_ns: u64,
    /// Event at which it may first have resigned; `u64::MAX` if it never did.
    resigned: u64,
}

impl<'a> Term<'a> {
    fn new(token: i64, campaign: &'a Op, operations: &[Op], ttl_ns: u64) -> Term<'a> {
        let renewals = operations
            .iter()
            .filter(|op| op.call == Call::Renew { token } && op.outcome.result() == Some(&Return::Renewed(true)));
        let resignations = operations
            .iter()
            .filter(|op| op.call == Call::Resign { token } && !op.outcome.is_fail());
        let begun_ns = renewals.map(|op| op.invoked_ns).chain([campaign.invoked_ns]).max();
        Term {
            token,
            campaign,
            certain_until_ns: begun_ns.unwrap_or_default() + ttl_ns,
            resigned: resignations.map(|op| op.invoked).min().unwrap_or(u64::MAX),
        }
    }

    /// The first operation that was told of a newer leader while this one certainly led.
    fn broken(&self, operations: &[Op]) -> Option<Anomaly> {
        operations.iter().find_map(|op| {
            let newer = seen(op).filter(|newer| *newer > self.token)?;
            let ended_ns = op.ended_ns.filter(|ended| *ended < self.certain_until_ns)?;
            op.completed.filter(|completed| *completed < self.resigned)?;
            let message = format!(
                "token {newer} leads {} ms before the session of token {} could end",
                (self.certain_until_ns - ended_ns) / 1_000_000,
                self.token
            );
            Some(Anomaly::new(
                "two-leaders",
                message,
                [self.campaign.invoked, op.invoked],
            ))
        })
    }

    /// The first renewal that was told that the session is gone while it certainly lived. It had lived since it began: who
    /// was renewed had not been gone before.
    fn lost_early(&self, operations: &[Op]) -> Option<Anomaly> {
        operations.iter().find_map(|op| {
            let gone =
                op.call == Call::Renew { token: self.token } && op.outcome.result() == Some(&Return::Renewed(false));
            let ended_ns = op.ended_ns.filter(|ended| gone && *ended < self.certain_until_ns)?;
            op.completed.filter(|completed| *completed < self.resigned)?;
            let message = format!(
                "the session of token {} was said to be gone {} ms before it could end",
                self.token,
                (self.certain_until_ns - ended_ns) / 1_000_000
            );
            Some(Anomaly::new("lost-early", message, [self.campaign.invoked, op.invoked]))
        })
    }
}

fn reused(elected: &[(i64, &Op)]) -> Vec<Anomaly> {
    let mut first: BTreeMap<i64, u64> = BTreeMap::new();
    let twice = elected
        .iter()
        .filter_map(|(token, op)| Some((token, first.insert(*token, op.invoked)?, op.invoked)));
    twice
        .map(|(token, a, b)| Anomaly::new("token-reused", format!("token {token} was given twice"), [a, b]))
        .collect()
}

/// The leader that an answered operation speaks of.
fn seen(op: &Op) -> Option<i64> {
    match op.outcome.result()? {
        Return::Elected { token } => Some(*token),
        Return::Leader(leader) => leader.as_ref().map(|(token, _)| *token),
        Return::Renewed(_) | Return::Proclaimed | Return::Resigned => None,
    }
}

/// The greatest leader seen by then, against what is seen by those who ask later.
fn backwards(operations: &[Op]) -> Vec<Anomaly> {
    let mut completed: Vec<(u64, i64, u64)> = operations
        .iter()
        .filter_map(|op| Some((op.completed?, seen(op)?, op.invoked)))
        .collect();
    completed.sort_unstable();
    let mut found = Vec::new();
    let (mut next, mut newest) = (0, None::<(i64, u64)>);
    let mut asking: Vec<&Op> = operations.iter().filter(|op| seen(op).is_some()).collect();
    asking.sort_by_key(|op| op.invoked);
    for op in asking {
        while let Some((_, token, at)) = completed.get(next).filter(|(end, ..)| *end < op.invoked) {
            newest = newest.max(Some((*token, *at)));
            next += 1;
        }
        if let (Some(token), Some((newer, at))) = (seen(op), newest)
            && token < newer
        {
            let message = format!("token {token} leads, after {newer} had been seen to lead");
            found.push(Anomaly::new("leader-backwards", message, [at, op.invoked]));
        }
    }
    found
}

/// Proclamations of a leader after a newer one was elected, or seen by anybody: then the older ones are gone.
fn deposed(operations: &[Op]) -> Vec<Anomaly> {
    // Each leader as it was first known.
    let mut known: BTreeMap<i64, &Op> = BTreeMap::new();
    for op in operations {
        let Some(token) = seen(op) else { continue };
        let first = known.entry(token).or_insert(op);
        if op.completed < first.completed {
            *first = op;
        }
    }
    let mut found = Vec::new();
    for op in operations {
        let (Call::Proclaim { token, value }, Some(Return::Proclaimed)) = (&op.call, op.outcome.result()) else {
            continue;
        };
        let mut newer = known.range((Bound::Excluded(*token), Bound::Unbounded));
        if let Some((newer, by)) = newer.find(|(_, by)| by.precedes(op)) {
            let message = format!("token {token} proclaimed {value:?} after {newer} was known to lead");
            found.push(Anomaly::new("deposed-leader-acted", message, [by.invoked, op.invoked]));
        }
    }
    found
}

/// What a leader did, or was seen to be, after its resignation was acknowledged or its session said to be gone.
fn ended(operations: &[Op]) -> Vec<Anomaly> {
    let mut ended: BTreeMap<i64, &Op> = BTreeMap::new();
    for op in operations {
        if let (Call::Resign { token }, Some(Return::Resigned))
        | (Call::Renew { token }, Some(Return::Renewed(false))) = (&op.call, op.outcome.result())
        {
            let first = ended.entry(*token).or_insert(op);
            if op.completed < first.completed {
                *first = op;
            }
        }
    }
    let mut found = Vec::new();
    for op in operations {
        let token = match (&op.call, op.outcome.result()) {
            (Call::Proclaim { token, .. }, Some(Return::Proclaimed)) => Some(*token),
            _ => seen(op),
        };
        let first = token.and_then(|token| ended.get(&token));
        if let Some(first) = first.filter(|first| first.precedes(op)) {
            let message = format!(
                "{:?} -> {:?}, after {:?} -> {:?}",
                op.call, op.outcome, first.call, first.outcome
            );
            found.push(Anomaly::new(
                "deposed-leader-acted",
                message,
                [first.invoked, op.invoked],
            ));
        }
    }
    found
}

fn unknown_values(operations: &[Op], elected: &[(i64, &Op)]) -> Vec<Anomaly> {
    let mut found = Vec::new();
    for op in operations {
        let Some(Return::Leader(Some((token, value)))) = op.outcome.result() else {
            continue;
        };
        let known = elected
            .iter()
            .any(|(t, by)| t == token && by.call == Call::Campaign(value.clone()));
        // A campaign of unknown outcome may have been won; its token is then not known.
        let perhaps = operations.iter().any(|other| match &other.call {
            Call::Campaign(campaigned) => campaigned == value && !other.outcome.is_ok() && !other.outcome.is_fail(),
            Call::Proclaim {
                token: by,
                value: proclaimed,
            } => by == token && proclaimed == value && !other.outcome.is_fail(),
            Call::Renew { .. } | Call::Resign { .. } | Call::Leader => false,
        });
        if !known && !perhaps {
            let message = format!("token {token} leads with {value:?}, which it never proclaimed");
            found.push(Anomaly::new("unknown-value", message, [op.invoked]));
        }
    }
    found
}

/// Each leader's value as a register, which its campaign and its proclamations write.
fn values(operations: &[Op]) -> Verdict {
    let mut numbers: BTreeMap<&str, i64> = BTreeMap::new();
    let mut told: BTreeMap<&str, i64> = BTreeMap::new();
    for op in operations {
        if let Call::Campaign(value) | Call::Proclaim { value, .. } = &op.call
            && !op.outcome.is_fail()
        {
            let number = i64::try_from(numbers.len()).unwrap_or(i64::MAX);
            numbers.insert(value, number);
        }
        if let Some(Return::Leader(Some((token, value)))) = op.outcome.result() {
            told.insert(value, *token);
        }
    }
    let parts = operations.iter().filter_map(|op| on_register(op, &numbers, &told));
    let mut verdict = linear::check_by_key("election", &register::Register::default(), parts, Bounds::default());
    verdict.notes.retain(|note| !note.ends_with(" keys"));
    for anomaly in &mut verdict.anomalies {
        anomaly.kind = "value-backwards".into();
    }
    verdict
}

/// An operation on the register of a leader, which is known by its token. The token of a campaign of unknown outcome is known
/// if its value was seen.
fn on_register(
    op: &Op,
    numbers: &BTreeMap<&str, i64>,
    told: &BTreeMap<&str, i64>,
) -> Option<(i64, linear::OperationOf<register::Register>)> {
    let (token, value, reads) = match (&op.call, &op.outcome) {
        (_, Outcome::Fail(_)) => return None,
        (Call::Campaign(value), Outcome::Ok(Return::Elected { token })) => (*token, value, false),
        (Call::Campaign(value), _) => (*told.get(value.as_str())?, value, false),
        (Call::Proclaim { token, value }, _) => (*token, value, false),
        (Call::Leader, Outcome::Ok(Return::Leader(Some((token, value))))) => (*token, value, true),
        _ => return None,
    };
    // A value that nobody wrote has an anomaly of its own.
    let number = *numbers.get(value.as_str())?;
    let answer = if reads {
        register::Return::value(Some(number))
    } else {
        register::Return::default()
    };
    let outcome = match &op.outcome {
        Outcome::Ok(_) => Outcome::Ok(answer),
        Outcome::Fail(error) | Outcome::Info(error) => Outcome::Info(error.clone()),
    };
    let call = if reads {
        register::Call::Read
    } else {
        register::Call::Write(number)
    };
    Some((token, op.with(call, outcome)))
}
