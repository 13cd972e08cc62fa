//! Objects behind the API: `resourceVersion` never goes backwards (`resource-version-backwards`), an acknowledged delete
//! stays deleted (`deleted-came-back`), an uid never serves two objects (`uid-reused`), of two updates of one version one
//! wins (`two-winners`), and an acknowledged write is not missed by who reads later (`stale-read`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Anomaly, Operation, Outcome, Verdict};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Call {
    Create {
        key: String,
        value: String,
    },
    /// Replaces the object if it has that resource version.
    Update {
        key: String,
        resource_version: u64,
        value: String,
    },
    /// Deletes the object if it has that uid.
    Delete {
        key: String,
        uid: String,
    },
    Get {
        key: String,
    },
    List,
}

/// An object as an answer showed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    pub key: String,
    pub uid: String,
    pub resource_version: u64,
    pub value: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Return {
    /// Of a list: its own. Of anything else: that of the object, where there is one.
    pub resource_version: Option<u64>,
    pub objects: Vec<Object>,
}

type Op = Operation<Call, Return>;

pub fn check(operations: &[Op]) -> Verdict {
    let mut verdict = Verdict::valid("objects");
    let checks = [
        lists_go_forward,
        deletes_last,
        uids_are_unique,
        one_winner,
        reads_are_fresh,
    ];
    checks
        .iter()
        .flat_map(|check| check(operations))
        .for_each(|anomaly| verdict.broken(anomaly));
    verdict.note(format!("{} operations", operations.len()));
    verdict
}

fn shown(op: &Op) -> &[Object] {
    op.outcome.result().map_or(&[], |answer| &answer.objects)
}

/// A list that begins after another has ended has no smaller version, whoever asks and whichever master answers.
fn lists_go_forward(operations: &[Op]) -> Vec<Anomaly> {
    let lists: Vec<&Op> = operations
        .iter()
        .filter(|op| op.call == Call::List && op.outcome.is_ok())
        .collect();
    let version = |op: &Op| op.outcome.result().and_then(|answer| answer.resource_version);
    let mut ended: Vec<(u64, u64, u64)> = lists
        .iter()
        .filter_map(|op| Some((op.completed?, version(op)?, op.invoked)))
        .collect();
    ended.sort_unstable();
    let (mut found, mut next, mut newest) = (Vec::new(), 0, (0, 0));
    for op in &lists {
        while let Some((_, version, at)) = ended.get(next).filter(|(end, ..)| *end < op.invoked) {
            newest = newest.max((*version, *at));
            next += 1;
        }
        if let Some(version) = version(op).filter(|version| *version < newest.0) {
            let message = format!("a list has version {version}, after one of {} had ended", newest.0);
            found.push(Anomaly::new(
                "resource-version-backwards",
                message,
                [newest.1, op.invoked],
            ));
        }
    }
    found
}

fn deletes_last(operations: &[Op]) -> Vec<Anomaly> {
    let mut deleted: BTreeMap<&str, &Op> = BTreeMap::new();
    for op in operations.iter().filter(|op| op.outcome.is_ok()) {
        if let Call::Delete { uid, .. } = &op.call {
            deleted.insert(uid, op);
        }
    }
    let mut found = Vec::new();
    for op in operations {
        for object in shown(op) {
            if let Some(delete) = deleted.get(object.uid.as_str()).filter(|delete| delete.precedes(op)) {
                let message = format!("{object:?} was shown after its deletion was acknowledged");
                found.push(Anomaly::new("deleted-came-back", message, [delete.invoked, op.invoked]));
            }
        }
    }
    found
}

fn uids_are_unique(operations: &[Op]) -> Vec<Anomaly> {
    let mut owners: BTreeMap<&str, &str> = BTreeMap::new();
    let mut found = Vec::new();
    for (op, object) in operations
        .iter()
        .flat_map(|op| shown(op).iter().map(move |object| (op, object)))
    {
        let owner = owners.entry(&object.uid).or_insert(&object.key);
        if *owner != object.key {
            let message = format!("uid {} is of {owner} and of {}", object.uid, object.key);
            found.push(Anomaly::new("uid-reused", message, [op.invoked]));
        }
    }
    found
}

fn one_winner(operations: &[Op]) -> Vec<Anomaly> {
    let mut winners: BTreeMap<(&str, u64), u64> = BTreeMap::new();
    let mut found = Vec::new();
    for op in operations.iter().filter(|op| op.outcome.is_ok()) {
        let Call::Update {
            key, resource_version, ..
        } = &op.call
        else {
            continue;
        };
        if let Some(first) = winners.insert((key, *resource_version), op.invoked) {
            let message = format!("two updates of {key} at version {resource_version} were accepted");
            found.push(Anomaly::new("two-winners", message, [first, op.invoked]));
        }
    }
    found
}

/// Later reads of a key show at least the version that was acknowledged, or another object, or none.
fn reads_are_fresh(operations: &[Op]) -> Vec<Anomaly> {
    let mut acknowledged: BTreeMap<&str, Vec<(&Op, u64)>> = BTreeMap::new();
    for op in operations {
        let (Call::Create { key, .. } | Call::Update { key, .. }, Outcome::Ok(answer)) = (&op.call, &op.outcome) else {
            continue;
        };
        acknowledged
            .entry(key)
            .or_default()
            .extend(answer.resource_version.map(|version| (op, version)));
    }
    let mut found = Vec::new();
    for op in operations
        .iter()
        .filter(|op| matches!(op.call, Call::Get { .. } | Call::List))
    {
        for object in shown(op) {
            let writes = acknowledged.get(object.key.as_str()).into_iter().flatten();
            let missed = writes.filter(|(write, version)| *version > object.resource_version && write.precedes(op));
            if let Some((write, version)) = missed.max_by_key(|(_, version)| *version) {
                let message = format!("{object:?} was read after version {version} had been acknowledged");
                found.push(Anomaly::new("stale-read", message, [write.invoked, op.invoked]));
            }
        }
    }
    found
}
