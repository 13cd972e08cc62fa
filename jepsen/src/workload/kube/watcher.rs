//! One watcher for each member, resuming where its stream broke. What it was told goes into the history:
//!
//! - an event that shows an object as a `Get` that was answered with that;
//! - one that tells of a deletion as a `Delete` of that uid that was answered (once it was a `Get` that found nothing);
//! - a bookmark as a `Get` of no name;
//! - the list that it begins with, or begins again with after a compaction, as any other `List`.
//!
//! An event tells of a moment that may be long over: to the judge of objects it is a read that began with the test. What
//! watches promise beyond that is judged here: each tells every version once, in order, leaves out no acknowledged write, and tells of no
//! deletion that nobody asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use checker::cluster::objects::{Call, Object, Return};
use checker::{Anomaly, Operation, Verdict};
use serde_json::Value;

use super::{Kube, LABEL, PATH, list, shown, version};
use crate::client::{Events, Failure};
use crate::limits::{CATCH_UP_TIMEOUT, OPERATION_TIMEOUT};
use crate::run::FINISHERS;
use crate::worker::Worker;

/// Processes of watchers, far from those of all others; the member that each watches at is added.
const WATCHERS: u64 = 1 << 40;

/// Between two streams.
const OPEN_AGAIN: Duration = Duration::from_millis(200);
/// How often one who hears nothing looks whether the test is over.
const LOOK_UP: Duration = Duration::from_millis(300);

type Op = Operation<Call, Return>;

pub(super) async fn run(kube: &Kube, mut worker: Worker<Call, Return>) {
    worker.process = WATCHERS + worker.member() as u64;
    // Where to go on; nothing before the first list.
    let mut from: Option<u64> = None;
    let mut until: Option<Instant> = None;
    loop {
        let broken = follow(kube, &mut worker, &mut from, &mut until).await;
        if broken.is_ok() || over(kube, &mut until) {
            return;
        }
        tokio::time::sleep(OPEN_AGAIN).await;
    }
}

/// Whether the time to catch up is over.
fn over(kube: &Kube, until: &mut Option<Instant>) -> bool {
    kube.target() > 0 && Instant::now() > *until.get_or_insert_with(|| Instant::now() + CATCH_UP_TIMEOUT)
}

/// One stream. Ends well once the last version is told.
async fn follow(
    kube: &Kube,
    worker: &mut Worker<Call, Return>,
    from: &mut Option<u64>,
    until: &mut Option<Instant>,
) -> Result<(), Failure> {
    let broken = |why: &str| Failure::Definite(why.into());
    let at = match *from {
        Some(at) => at,
        None => {
            let mut api = worker.api();
            let listed = worker.read(Call::List, async { list(&mut api).await }).await;
            let at = listed.and_then(|listed| listed.resource_version);
            at.ok_or_else(|| broken("no list"))?
        }
    };
    *from = Some(at);
    let path = format!("{PATH}?watch=true&allowWatchBookmarks=true&labelSelector={LABEL}&resourceVersion={at}");
    let opened = tokio::time::timeout(OPERATION_TIMEOUT, worker.api().watch(&path)).await;
    let (status, mut events): (u16, Events) = opened.map_err(|_| broken("no answer"))??;
    if status != 200 {
        if status == 410 {
            *from = None;
        }
        return Err(broken("refused"));
    }
    let mut heard = Instant::now();
    loop {
        if from.is_some_and(|from| kube.target() > 0 && from >= kube.target()) {
            return Ok(());
        }
        if over(kube, until) {
            return Err(broken("too late"));
        }
        let Ok(event) = tokio::time::timeout(LOOK_UP, events.next()).await else {
            // It may be dead: the next one goes on where it was.
            if heard.elapsed() > OPERATION_TIMEOUT {
                return Err(broken("silent"));
            }
            continue;
        };
        heard = Instant::now();
        match told(&event?) {
            Some((call, answer)) => {
                *from = answer.resource_version;
                worker.saw(call, answer);
            }
            None => {
                *from = None;
                return Err(broken("compacted"));
            }
        }
    }
}

/// An event as an operation; `None` of an error, after which one has to list anew.
fn told(event: &Value) -> Option<(Call, Return)> {
    let object = &event["object"];
    let resource_version = Some(version(object)?);
    let answer = |objects: Vec<Object>| Return {
        resource_version,
        objects,
    };
    let state = shown(object);
    let key = state.key.clone();
    match event["type"].as_str()? {
        "ADDED" | "MODIFIED" => Some((Call::Get { key }, answer(vec![state]))),
        "DELETED" => Some((Call::Delete { key, uid: state.uid }, answer(Vec::new()))),
        "BOOKMARK" => Some((Call::Get { key: String::new() }, answer(Vec::new()))),
        _ => None,
    }
}

fn is_watcher(op: &Op) -> bool {
    op.process >= WATCHERS
}

/// The operations as the judge of objects is to see them.
pub(super) fn as_observations(operations: &[Op]) -> Vec<Op> {
    let told = |op: &Op| is_watcher(op) && op.call != Call::List;
    let shows = |op: &&Op| !told(op) || op.outcome.result().is_some_and(|answer| !answer.objects.is_empty());
    let seen = operations.iter().filter(shows).cloned();
    seen.map(|mut op| {
        if told(&op) {
            op.invoked = 0;
        }
        op
    })
    .collect()
}

/// What one watcher was told from a list on.
#[derive(Default)]
struct Span {
    process: u64,
    from: u64,
    to: u64,
    told: BTreeSet<u64>,
}

/// Judges what watchers were told.
pub(super) fn check(operations: &[Op]) -> Verdict {
    let mut verdict = Verdict::valid("kube-watch");
    let mut spans: BTreeMap<u64, Vec<Span>> = BTreeMap::new();
    let mut events = 0;
    for op in operations.iter().filter(|op| is_watcher(op)) {
        let Some(told) = op.outcome.result().and_then(|answer| answer.resource_version) else {
            continue;
        };
        let spans = spans.entry(op.process).or_default();
        if op.call == Call::List {
            spans.push(Span {
                process: op.process,
                from: told,
                to: told,
                told: BTreeSet::new(),
            });
            continue;
        }
        let Some(span) = spans.last_mut() else { continue };
        let bookmark = matches!(&op.call, Call::Get { key } if key.is_empty());
        if told < span.to || (told == span.to && !bookmark) {
            let message = format!(
                "the watcher at member {} was told {told} after {}",
                op.process - WATCHERS,
                span.to
            );
            verdict.broken(Anomaly::new("watch-out-of-order", message, [op.invoked]));
        }
        span.to = span.to.max(told);
        if !bookmark {
            span.told.insert(told);
            events += 1;
        }
    }
    let watchers = spans.len();
    let spans: Vec<Span> = spans.into_values().flatten().collect();
    for op in operations.iter().filter(|op| op.outcome.is_ok()) {
        let (Call::Create { key, .. } | Call::Update { key, .. }) = &op.call else {
            continue;
        };
        let Some(made) = op.outcome.result().and_then(|answer| answer.resource_version) else {
            continue;
        };
        for span in &spans {
            if span.from < made && made <= span.to && !span.told.contains(&made) {
                let message = format!(
                    "the watcher at member {} was told up to {} and not of {key} at {made}",
                    span.process - WATCHERS,
                    span.to
                );
                verdict.broken(Anomaly::new("watch-gap", message, [op.invoked]));
            }
        }
    }
    deleted(operations, &mut verdict);
    behind(operations, &spans, &mut verdict);
    verdict.note(format!("{events} events told to {watchers} watchers"));
    if events == 0 {
        verdict.unknown("no watcher was told anything");
    }
    verdict
}

/// Every deletion that a watcher is told of was asked for before, and may have been made: an object, which its uid names, goes
/// once. Old histories have no uid: of a key, no more deletions are told than were asked for.
fn deleted(operations: &[Op], verdict: &mut Verdict) {
    // What went at which version, and when that was first told.
    let mut told: BTreeMap<(&str, Option<&str>), BTreeMap<u64, u64>> = BTreeMap::new();
    for op in operations.iter().filter(|op| is_watcher(op)) {
        let Some(answer) = op.outcome.result() else { continue };
        let what = match &op.call {
            Call::Delete { key, uid } => (key.as_str(), Some(uid.as_str())),
            Call::Get { key } if !key.is_empty() && answer.objects.is_empty() => (key.as_str(), None),
            _ => continue,
        };
        let versions = told.entry(what).or_default();
        versions
            .entry(answer.resource_version.unwrap_or(0))
            .or_insert(op.invoked);
    }
    let asked = operations.iter().filter(|op| !is_watcher(op) && !op.outcome.is_fail());
    let asked: Vec<&Op> = asked.filter(|op| matches!(op.call, Call::Delete { .. })).collect();
    for ((key, uid), versions) in told {
        let mine = |op: &&&Op| matches!(&op.call, Call::Delete { key: of, uid: id } if of == key && uid.is_none_or(|uid| uid == id));
        for (at, (version, first)) in versions.iter().enumerate() {
            let asked = asked.iter().filter(mine).filter(|op| op.invoked < *first).count();
            let may_go = if uid.is_some() { asked.min(1) } else { asked };
            if at >= may_go {
                let message = format!(
                    "a watcher was told that {key} ({uid:?}) went at {version}, and nobody can have deleted it"
                );
                verdict.broken(Anomaly::new("invented-deletion", message, [*first]));
            }
        }
    }
}

/// In the end, the watcher of every member that runs has been told what all the last lists show. A member that ran and could not be
/// listed from leaves that unproven.
fn behind(operations: &[Op], spans: &[Span], verdict: &mut Verdict) {
    let finishers = FINISHERS as u64..WATCHERS;
    let mut asked: BTreeSet<u64> = BTreeSet::new();
    let mut last: BTreeMap<u64, u64> = BTreeMap::new();
    for op in operations.iter().filter(|op| finishers.contains(&op.process)) {
        let member = op.process - finishers.start;
        asked.insert(member);
        let Some(answer) = op.outcome.result() else { continue };
        let newest = answer.objects.iter().map(|object| object.resource_version).max();
        last.insert(member, newest.unwrap_or(0));
    }
    for member in asked.iter().filter(|member| !last.contains_key(member)) {
        verdict.unknown(format!("member {member} ran in the end and gave no last list"));
    }
    // They need not show the same: a write of unknown outcome may have come between.
    let Some(target) = last.values().min().copied() else {
        verdict.unknown("no member gave a last list");
        return;
    };
    // Also of those that were never told anything.
    let watchers = operations.iter().filter(|op| is_watcher(op));
    let mut reached: BTreeMap<u64, u64> = watchers.map(|op| (op.process - WATCHERS, 0)).collect();
    for span in spans {
        let to = reached.entry(span.process - WATCHERS).or_default();
        *to = span.to.max(*to);
    }
    for (member, to) in reached.into_iter().filter(|(member, _)| last.contains_key(member)) {
        if to < target {
            let message = format!(
                "the watcher at member {member} was told up to {to}, and not up to {target}, in {CATCH_UP_TIMEOUT:?}"
            );
            verdict.broken(Anomaly::new("not-delivered", message, []));
        }
    }
}

#[cfg(test)]
mod tests {
    use checker::{History, Validity};
    use serde_json::json;

    use super::*;

    fn get(key: &str) -> Call {
        Call::Get { key: key.into() }
    }

    fn delete(key: &str, uid: &str) -> Call {
        Call::Delete {
            key: key.into(),
            uid: uid.into(),
        }
    }

    fn state(version: u64, value: &str) -> Return {
        let object = Object {
            key: "a".into(),
            uid: "u".into(),
            resource_version: version,
            value: value.into(),
        };
        Return {
            resource_version: Some(version),
            objects: vec![object],
        }
    }

    fn at(version: u64) -> Return {
        Return {
            resource_version: Some(version),
            objects: Vec::new(),
        }
    }

    /// A creation at 5, an update to 6 and one to 7, all acknowledged, then what the watcher at the first member was told.
    fn judged(told: &[(Call, Return)]) -> (Validity, Validity, Vec<String>) {
        let mut history: History<Call, Return> = History::new();
        let mut both = |process, call, answer| {
            history.invoke(process, 0, call);
            history.ok(process, 0, answer);
        };
        both(WATCHERS, Call::List, at(4));
        let create = Call::Create {
            key: "a".into(),
            value: "v5".into(),
        };
        both(1, create, state(5, "v5"));
        for version in [6, 7] {
            let update = Call::Update {
                key: "a".into(),
                resource_version: version - 1,
                value: format!("v{version}"),
            };
            both(1, update, state(version, &format!("v{version}")));
        }
        for (call, answer) in told {
            both(WATCHERS, call.clone(), answer.clone());
        }
        both(FINISHERS as u64, Call::List, state(7, "v7"));
        let operations = history.operations().unwrap();
        let objects = checker::cluster::objects::check(&as_observations(&operations));
        let watch = check(&operations);
        let kinds = watch.anomalies.iter().chain(&objects.anomalies);
        (
            objects.validity,
            watch.validity,
            kinds.map(|anomaly| anomaly.kind.clone()).collect(),
        )
    }

    /// The watcher at the first member was told all, and then each member was asked for its last list.
    fn listed_last(last: &[(u64, Option<Return>)], silent_watcher: bool) -> Verdict {
        let mut history: History<Call, Return> = History::new();
        for (call, answer) in [(Call::List, at(4)), event(5)] {
            history.invoke(WATCHERS, 0, call);
            history.ok(WATCHERS, 0, answer);
        }
        if silent_watcher {
            history.invoke(WATCHERS + 1, 0, Call::List);
            history.fail(WATCHERS + 1, 0, "no connection");
        }
        for (member, answer) in last {
            let process = FINISHERS as u64 + member;
            history.invoke(process, 0, Call::List);
            match answer {
                Some(answer) => history.ok(process, 0, answer.clone()),
                None => history.fail(process, 0, "no connection"),
            };
        }
        check(&history.operations().unwrap())
    }

    #[test]
    fn a_member_that_runs_and_cannot_be_listed_from_proves_nothing() {
        let five = || Some(state(5, "v5"));
        assert!(listed_last(&[(0, five()), (1, five())], false).is_valid());
        assert_eq!(
            listed_last(&[(0, five()), (1, None)], false).validity,
            Validity::Unknown
        );
        assert_eq!(listed_last(&[(0, None), (1, None)], false).validity, Validity::Unknown);
        assert_eq!(listed_last(&[], false).validity, Validity::Unknown);
        // Nobody was asked for the list of a member that did not run.
        assert!(listed_last(&[(0, five())], true).is_valid());
        assert!(listed_last(&[(0, five()), (1, five())], true).has("not-delivered"));
    }

    fn event(version: u64) -> (Call, Return) {
        (get("a"), state(version, &format!("v{version}")))
    }

    #[test]
    fn a_watcher_may_be_late_and_may_be_told_how_far_it_is() {
        let told = [event(5), event(6), (get(""), at(6)), event(7), (get(""), at(9))];
        assert_eq!(judged(&told), (Validity::Valid, Validity::Valid, Vec::new()));
    }

    #[test]
    fn what_a_watcher_is_not_told_or_told_wrongly_is_found() {
        let kinds = |told: &[(Call, Return)]| judged(told).2;
        assert_eq!(kinds(&[event(5), event(7)]), ["watch-gap"]);
        assert_eq!(kinds(&[event(5), event(6), event(6), event(7)]), ["watch-out-of-order"]);
        assert_eq!(
            kinds(&[event(5), event(6), (get(""), at(8)), event(7)])[0],
            "watch-out-of-order"
        );
        assert_eq!(kinds(&[event(5), event(6)]), ["not-delivered"]);
        let other = (get("a"), state(6, "never written"));
        let found = kinds(&[event(5), other, event(7)]);
        assert!(
            found.contains(&"phantom".to_string()) && found.contains(&"two-states".to_string()),
            "{found:?}"
        );
    }

    /// What the watchers at two members were told, if a deletion of `u` ended so, or was never asked for.
    fn deleted_as(ended: Option<Option<bool>>, told: &[(u64, Call, u64)]) -> Verdict {
        let mut history: History<Call, Return> = History::new();
        if let Some(ended) = ended {
            history.invoke(1, 0, delete("a", "u"));
            match ended {
                Some(true) => history.ok(1, 0, Return::default()),
                Some(false) => history.fail(1, 0, "409: it is another one"),
                None => history.info(1, 0, "timeout"),
            };
        }
        for (member, call, version) in told {
            history.invoke(WATCHERS + member, 0, call.clone());
            history.ok(WATCHERS + member, 0, at(*version));
        }
        let operations = history.operations().unwrap();
        let observed = as_observations(&operations);
        assert!(
            observed.iter().all(|op| op.process < WATCHERS),
            "deletions told are no deletions made"
        );
        let mut verdict = Verdict::valid("kube-watch");
        deleted(&operations, &mut verdict);
        verdict
    }

    #[test]
    fn a_deletion_that_nobody_asked_for_is_found() {
        let both = |uid: &str| [(0, delete("a", uid), 8), (1, delete("a", uid), 8)];
        for ended in [Some(true), None] {
            assert!(deleted_as(Some(ended), &both("u")).is_valid());
            assert!(deleted_as(Some(ended), &both("other")).has("invented-deletion"));
        }
        assert!(deleted_as(None, &both("u")).has("invented-deletion"));
        assert!(deleted_as(Some(Some(false)), &both("u")).has("invented-deletion"));
        let twice = [(0, delete("a", "u"), 8), (1, delete("a", "u"), 9)];
        assert!(deleted_as(Some(Some(true)), &twice).has("invented-deletion"));
        // As histories of before have it.
        assert!(deleted_as(Some(Some(true)), &[(0, get("a"), 8), (1, get("a"), 8)]).is_valid());
        assert!(deleted_as(Some(Some(true)), &[(0, get("a"), 8), (1, get("a"), 9)]).has("invented-deletion"));
        assert!(deleted_as(None, &[(0, get("a"), 8)]).has("invented-deletion"));
        assert!(deleted_as(None, &[(0, get(""), 8)]).is_valid(), "a bookmark");
    }

    #[test]
    fn events_are_told_apart() {
        let object = json!({"metadata": {"name": "a", "uid": "u", "resourceVersion": "5"}, "data": {"value": "v5"}});
        let of = |kind: &str| told(&json!({"type": kind, "object": object}));
        assert_eq!(of("MODIFIED"), Some(event(5)));
        assert_eq!(of("DELETED"), Some((delete("a", "u"), at(5))));
        let bookmark = json!({"metadata": {"resourceVersion": "9"}});
        assert_eq!(
            told(&json!({"type": "BOOKMARK", "object": bookmark})),
            Some((get(""), at(9)))
        );
        let status = json!({"type": "ERROR", "object": {"kind": "Status", "code": 410, "metadata": {}}});
        assert_eq!(told(&status), None);
    }
}
