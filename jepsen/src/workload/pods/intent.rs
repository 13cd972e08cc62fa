//! What the last lists show of each workload must be what somebody asked for, and nothing that was acknowledged later may have
//! undone it (`lost-scale`, `lost-roll`, `lost-deletion`, `lost-workload`). Numbers and templates are the users' alone: no
//! controller changes them.
//!
//! A write of unknown outcome may have taken effect at any time since it was asked for, or never.

use std::collections::{BTreeMap, BTreeSet};

use checker::{Anomaly, Operation, Verdict};
use serde::{Deserialize, Serialize};

use super::{Call, Return};

/// What there is of a workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Has {
    pub(super) replicas: u64,
    /// The last change of its template, if there was one.
    pub(super) roll: Option<u64>,
}

type Op = Operation<Call, Return>;

fn name(call: &Call) -> Option<&str> {
    match call {
        Call::Scale { name, .. } | Call::Roll { name, .. } | Call::Delete { name } => Some(name),
        _ => None,
    }
}

fn deletes(op: &Op) -> bool {
    matches!(op.call, Call::Delete { .. })
}

pub(super) fn check(operations: &[Op]) -> Verdict {
    let mut verdict = Verdict::valid("intents");
    let mut lists = 0;
    for list in operations.iter().filter(|op| op.call == Call::Final) {
        let Some(answer) = list.outcome.result() else { continue };
        let Ok(there) = serde_json::from_str::<BTreeMap<String, Has>>(answer) else {
            verdict.unknown(format!("a last list is not understood: {answer}"));
            continue;
        };
        lists += 1;
        let names: BTreeSet<&str> = operations.iter().filter_map(|op| name(&op.call)).collect();
        let names: BTreeSet<&str> = names.into_iter().chain(there.keys().map(String::as_str)).collect();
        for workload in names {
            let writes = operations
                .iter()
                .filter(|op| name(&op.call) == Some(workload) && !op.outcome.is_fail() && !list.precedes(op));
            let writes: Vec<&Op> = writes.collect();
            for anomaly in judge(workload, there.get(workload), &writes, list) {
                verdict.broken(anomaly);
            }
        }
    }
    verdict.note(format!("{lists} last lists"));
    if lists == 0 {
        verdict.unknown("no member said in the end what was asked for");
    }
    verdict
}

fn judge(name: &str, has: Option<&Has>, writes: &[&Op], list: &Op) -> Vec<Anomaly> {
    let broken = |kind: &str, why: String| Anomaly::new(kind, format!("{name}: {why}"), [list.invoked]);
    // Acknowledged before the list was asked for.
    let acknowledged = |op: &&&Op| op.outcome.is_ok() && op.precedes(list);
    // One that may still have been what took effect last, of those that `others` picks.
    let lasts = |op: &Op, others: fn(&Op) -> bool| {
        !writes
            .iter()
            .filter(acknowledged)
            .any(|later| others(later) && op.precedes(later))
    };
    let may_be_deleted_after = |op: &Op| {
        writes
            .iter()
            .any(|deletion| deletes(deletion) && !deletion.precedes(op))
    };
    let Some(has) = has else {
        let mut lost = writes.iter().filter(acknowledged).filter(|op| !deletes(op));
        let lost = lost.find(|op| !may_be_deleted_after(op));
        let why = lost.map(|op| format!("is gone, and nobody deleted it after {:?} -> {:?}", op.call, op.outcome));
        return why.map(|why| broken("lost-workload", why)).into_iter().collect();
    };
    let mut found = Vec::new();
    let scales = |op: &Op| matches!(op.call, Call::Scale { .. }) || deletes(op);
    let scaled = |op: &&&Op| matches!(op.call, Call::Scale { replicas, .. } if replicas == has.replicas);
    if !writes.iter().filter(scaled).any(|op| lasts(op, scales)) {
        let deleted = writes.iter().filter(acknowledged).any(|deletion| {
            let made = |op: &&&Op| matches!(op.call, Call::Scale { .. }) && !op.precedes(deletion);
            deletes(deletion) && !writes.iter().any(|op| made(&op))
        });
        let kind = if deleted { "lost-deletion" } else { "lost-scale" };
        let why = format!(
            "has {} replicas, which somebody else's acknowledged write undid or nobody asked for",
            has.replicas
        );
        found.push(broken(kind, why));
    }
    let rolls = |op: &Op| matches!(op.call, Call::Roll { .. }) || deletes(op);
    let why = match has.roll {
        Some(roll) => {
            let rolled = |op: &&&Op| matches!(op.call, Call::Roll { to, .. } if to == roll);
            let ok = writes.iter().filter(rolled).any(|op| lasts(op, rolls));
            (!ok).then(|| format!("has change {roll} of its template, which was undone or nobody asked for"))
        }
        None => {
            let mut lost = writes.iter().filter(acknowledged);
            let lost = lost.find(|op| matches!(op.call, Call::Roll { .. }) && !may_be_deleted_after(op));
            lost.map(|op| format!("has its first template, and nobody deleted it after {:?}", op.call))
        }
    };
    found.extend(why.map(|why| broken("lost-roll", why)));
    found
}

#[cfg(test)]
mod tests {
    use checker::History;

    use super::*;

    fn scale(replicas: u64) -> Call {
        Call::Scale {
            name: "web".into(),
            replicas,
        }
    }

    fn roll(to: u64) -> Call {
        Call::Roll { name: "web".into(), to }
    }

    fn delete() -> Call {
        Call::Delete { name: "web".into() }
    }

    /// Writes one after the other, each acknowledged (`Some(true)`), refused or of unknown outcome, and what was there then.
    fn kinds(writes: &[(Call, Option<bool>)], has: Option<(u64, Option<u64>)>) -> Vec<String> {
        let mut history: History<Call, Return> = History::new();
        for (process, (call, ended)) in writes.iter().enumerate() {
            let process = process as u64;
            history.invoke(process, 0, call.clone());
            match ended {
                Some(true) => history.ok(process, 0, "200".into()),
                Some(false) => history.fail(process, 0, "404"),
                None => history.info(process, 0, "timeout"),
            };
        }
        let there: BTreeMap<&str, Has> = has
            .into_iter()
            .map(|(replicas, roll)| ("web", Has { replicas, roll }))
            .collect();
        history.invoke(99, 0, Call::Final);
        history.ok(99, 0, serde_json::to_string(&there).unwrap());
        let verdict = check(&history.operations().unwrap());
        verdict.anomalies.into_iter().map(|anomaly| anomaly.kind).collect()
    }

    const OK: Option<bool> = Some(true);

    #[test]
    fn an_acknowledged_write_that_is_lost_is_found() {
        assert_eq!(
            kinds(&[(scale(3), OK), (scale(5), OK)], Some((3, None))),
            ["lost-scale"]
        );
        assert_eq!(kinds(&[(scale(3), OK)], Some((4, None))), ["lost-scale"]);
        assert_eq!(
            kinds(&[(scale(3), OK), (scale(5), Some(false))], Some((5, None))),
            ["lost-scale"]
        );
        assert_eq!(kinds(&[(scale(3), OK), (roll(1), OK)], Some((3, None))), ["lost-roll"]);
        assert_eq!(
            kinds(&[(scale(3), OK), (roll(1), OK), (roll(2), OK)], Some((3, Some(1)))),
            ["lost-roll"]
        );
        assert_eq!(
            kinds(&[(scale(3), OK), (delete(), OK)], Some((3, None))),
            ["lost-deletion"]
        );
        assert_eq!(
            kinds(&[(scale(3), OK), (delete(), Some(false))], None),
            ["lost-workload"]
        );
        assert_eq!(kinds(&[(delete(), None), (scale(3), OK)], None), Vec::<String>::new());
    }

    #[test]
    fn what_may_have_been_last_is_not_lost() {
        let none = Vec::<String>::new();
        assert_eq!(kinds(&[(scale(3), OK), (roll(1), OK)], Some((3, Some(1)))), none);
        // Of unknown outcome: at any time, or never.
        for there in [3, 5] {
            assert_eq!(kinds(&[(scale(5), None), (scale(3), OK)], Some((there, None))), none);
        }
        assert_eq!(
            kinds(&[(scale(3), OK), (delete(), OK), (scale(2), OK)], Some((2, None))),
            none
        );
        assert_eq!(kinds(&[(scale(3), OK), (roll(1), OK), (delete(), OK)], None), none);
        // Deleted, and made again by a write whose outcome nobody knew.
        assert_eq!(
            kinds(&[(scale(4), None), (roll(1), OK), (delete(), OK)], Some((4, None))),
            none
        );
        assert_eq!(kinds(&[(scale(3), OK), (delete(), None)], Some((3, None))), none);
        assert_eq!(kinds(&[(scale(3), OK), (delete(), None)], None), none);
        assert_eq!(kinds(&[], None), none);
    }

    #[test]
    fn writes_that_overlap_may_come_in_any_order() {
        for (there, lost) in [(3, false), (5, false), (1, true)] {
            let mut history: History<Call, Return> = History::new();
            let mut both = |process, call| {
                history.invoke(process, 0, call);
            };
            both(0, scale(3));
            both(1, scale(5));
            history.ok(0, 0, "200".into());
            history.ok(1, 0, "200".into());
            let has = BTreeMap::from([(
                "web",
                Has {
                    replicas: there,
                    roll: None,
                },
            )]);
            history.invoke(2, 0, Call::Final);
            history.ok(2, 0, serde_json::to_string(&has).unwrap());
            assert_eq!(check(&history.operations().unwrap()).has("lost-scale"), lost);
        }
        assert!(!check(&[]).is_valid(), "nobody looked");
    }
}
