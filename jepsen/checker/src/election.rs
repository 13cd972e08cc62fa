//! Elections: leaders follow one another, each with a greater token, and a deposed one can do nothing.
//!
//! Finds `token-reused`, `leader-backwards` (an older leader was seen or elected after a newer one), `deposed-leader-acted`
//! (a proclamation was accepted after a successor was elected) and `unknown-value` (the leader is said to have a value that
//! it never proclaimed).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Anomaly, Operation, Verdict};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Call {
    /// Values are unique in a test.
    Campaign(String),
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
    Proclaimed,
    Resigned,
    /// `None`: nobody leads.
    Leader(Option<(i64, String)>),
}

type Op = Operation<Call, Return>;

pub fn check(operations: &[Op]) -> Verdict {
    let mut verdict = Verdict::valid("election");
    let elected: Vec<(i64, &Op)> = operations
        .iter()
        .filter_map(|op| match op.outcome.result() {
            Some(Return::Elected { token }) => Some((*token, op)),
            _ => None,
        })
        .collect();
    reused(&elected).into_iter().for_each(|anomaly| verdict.broken(anomaly));
    backwards(operations)
        .into_iter()
        .for_each(|anomaly| verdict.broken(anomaly));
    deposed(operations, &elected)
        .into_iter()
        .for_each(|anomaly| verdict.broken(anomaly));
    values(operations, &elected)
        .into_iter()
        .for_each(|anomaly| verdict.broken(anomaly));
    verdict.note(format!("{} terms", elected.len()));
    verdict
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
        Return::Proclaimed | Return::Resigned => None,
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

fn deposed(operations: &[Op], elected: &[(i64, &Op)]) -> Vec<Anomaly> {
    let mut found = Vec::new();
    for op in operations {
        let (Call::Proclaim { token, value }, Some(Return::Proclaimed)) = (&op.call, op.outcome.result()) else {
            continue;
        };
        if let Some((newer, by)) = elected.iter().find(|(newer, by)| newer > token && by.precedes(op)) {
            let message = format!("token {token} proclaimed {value:?} after {newer} was elected");
            found.push(Anomaly::new("deposed-leader-acted", message, [by.invoked, op.invoked]));
        }
    }
    found
}

fn values(operations: &[Op], elected: &[(i64, &Op)]) -> Vec<Anomaly> {
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
            Call::Resign { .. } | Call::Leader => false,
        });
        if !known && !perhaps {
            let message = format!("token {token} leads with {value:?}, which it never proclaimed");
            found.push(Anomaly::new("unknown-value", message, [op.invoked]));
        }
    }
    found
}
