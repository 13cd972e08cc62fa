//! Objects behind the API: each promise broken once beside a history that keeps it, and histories of a sequential server.

mod generate;

use std::cell::RefCell;
use std::collections::BTreeMap;

use checker::cluster::objects::{self, Call, Object, Return};
use checker::linear::Model;
use checker::{History, Verdict, What};
use generate::{map_answers, random_run, rng};
use rand::RngExt;
use rand::rngs::StdRng;

type Events = Vec<(Call, What<Call, Return>)>;

fn object(uid: &str, resource_version: u64, value: &str) -> Object {
    Object {
        key: "web".into(),
        uid: uid.into(),
        resource_version,
        value: value.into(),
    }
}

fn ok(objects: Vec<Object>) -> What<Call, Return> {
    let resource_version = objects.iter().map(|object| object.resource_version).max();
    What::Ok {
        result: Return {
            resource_version,
            objects,
        },
    }
}

fn failed() -> What<Call, Return> {
    What::Fail {
        error: "conflict".into(),
    }
}

fn unknown() -> What<Call, Return> {
    What::Info {
        error: "timeout".into(),
    }
}

fn create_call(value: &str) -> Call {
    Call::Create {
        key: "web".into(),
        value: value.into(),
    }
}

fn update_call(resource_version: u64, value: &str) -> Call {
    Call::Update {
        key: "web".into(),
        resource_version,
        value: value.into(),
    }
}

fn delete_call(uid: &str) -> Call {
    Call::Delete {
        key: "web".into(),
        uid: uid.into(),
    }
}

fn create(uid: &str, version: u64, value: &str) -> (Call, What<Call, Return>) {
    (create_call(value), ok(vec![object(uid, version, value)]))
}

fn update(uid: &str, from: u64, version: u64, value: &str) -> (Call, What<Call, Return>) {
    (update_call(from, value), ok(vec![object(uid, version, value)]))
}

fn delete(uid: &str) -> (Call, What<Call, Return>) {
    (delete_call(uid), ok(vec![]))
}

fn get(uid: &str, version: u64, value: &str) -> (Call, What<Call, Return>) {
    (Call::Get { key: "web".into() }, ok(vec![object(uid, version, value)]))
}

fn get_nothing() -> (Call, What<Call, Return>) {
    (Call::Get { key: "web".into() }, ok(vec![]))
}

fn list(version: u64, objects: Vec<Object>) -> (Call, What<Call, Return>) {
    let result = Return {
        resource_version: Some(version),
        objects,
    };
    (Call::List, What::Ok { result })
}

/// One operation after the other.
fn judge(events: Events) -> Verdict {
    let mut history = History::new();
    for (call, end) in events {
        history.invoke(1, 0, call);
        history.push(1, 0, end);
    }
    objects::check(&history.operations().unwrap())
}

/// Operations that all overlap.
fn judge_overlapping(events: Events) -> Verdict {
    let mut history = History::new();
    for (process, (call, _)) in events.iter().enumerate() {
        history.invoke(process as u64, 0, call.clone());
    }
    for (process, (_, end)) in events.into_iter().enumerate() {
        history.push(process as u64, 0, end);
    }
    objects::check(&history.operations().unwrap())
}

#[test]
fn a_life_from_creation_to_the_next_one_is_fine() {
    let fine = judge(vec![
        create("a", 5, "v"),
        update("a", 5, 6, "w"),
        get("a", 6, "w"),
        list(7, vec![object("a", 6, "w")]),
        delete("a"),
        get_nothing(),
        list(8, vec![]),
        create("b", 9, "x"),
        get("b", 9, "x"),
    ]);
    assert!(fine.is_valid(), "{fine:?}");
}

#[test]
fn versions_never_go_back_for_anyone() {
    assert!(judge(vec![list(7, vec![]), list(6, vec![])]).has("resource-version-backwards"));
    assert!(judge(vec![create("a", 5, "v"), list(4, vec![])]).has("stale-read"));
    let acknowledged = |version, value| {
        judge(vec![
            create("a", 5, "v"),
            update("a", 5, 6, "w"),
            get("a", version, value),
        ])
    };
    assert!(acknowledged(6, "w").is_valid());
    assert!(acknowledged(5, "v").has("stale-read"));
    let seen = |version, value| {
        let write = (update_call(5, "w"), unknown());
        judge(vec![
            create("a", 5, "v"),
            write,
            get("a", 9, "w"),
            get("a", version, value),
        ])
    };
    assert!(seen(9, "w").is_valid());
    assert!(seen(5, "v").has("resource-version-backwards"));
    let unseen = vec![create("a", 5, "v"), (update_call(5, "w"), unknown()), get("a", 5, "v")];
    assert!(judge(unseen).is_valid(), "it may take effect later");
    assert!(judge(vec![create("a", 5, "v"), update("a", 5, 5, "w")]).has("resource-version-backwards"));
}

#[test]
fn reads_that_overlap_may_differ() {
    let reads = vec![
        create("a", 5, "v"),
        update("a", 5, 6, "w"),
        get("a", 6, "w"),
        get("a", 5, "v"),
    ];
    assert!(judge_overlapping(reads).is_valid());
}

#[test]
fn one_version_is_one_state_and_has_one_successor() {
    let twice = |value| {
        let writes = vec![create("a", 5, "v"), (update_call(5, "w"), unknown())];
        judge([writes, vec![get("a", 6, "w"), get("a", 6, value)]].concat())
    };
    assert!(twice("w").is_valid());
    assert!(twice("v").has("two-states"));
    let both = vec![create("a", 5, "v"), update("a", 5, 6, "w"), update("a", 5, 7, "x")];
    assert!(judge(both).has("two-winners"));
}

#[test]
fn a_value_of_nobody_or_of_a_refused_write_is_found() {
    let run = |write: (Call, What<Call, Return>)| judge(vec![create("a", 5, "v"), write, get("a", 6, "w")]);
    assert!(run(update("a", 5, 6, "w")).is_valid());
    assert!(run((update_call(5, "w"), unknown())).is_valid());
    assert!(run((update_call(5, "w"), failed())).has("phantom"));
    assert!(run(get("a", 5, "v")).has("phantom"));
    let created = |end| judge(vec![(create_call("v"), end), get("a", 5, "v")]);
    assert!(created(unknown()).is_valid());
    assert!(created(failed()).has("phantom"));
    let too_soon = vec![create("a", 5, "v"), get("a", 6, "w"), (update_call(5, "w"), unknown())];
    assert!(judge(too_soon).has("phantom"));
}

#[test]
fn what_was_created_is_there_until_someone_may_have_deleted_it() {
    let reads = || [get_nothing(), list(6, vec![])];
    for read in reads() {
        let run = |between: Events| judge([vec![create("a", 5, "v")], between, vec![read.clone()]].concat());
        assert!(run(vec![]).has("vanished"));
        assert!(run(vec![(delete_call("a"), failed())]).has("vanished"));
        assert!(run(vec![delete("b")]).has("vanished"), "another one was deleted");
        assert!(run(vec![delete("a")]).is_valid());
        assert!(run(vec![(delete_call("a"), unknown())]).is_valid());
    }
    for read in reads() {
        let seen = vec![(create_call("v"), unknown()), get("a", 5, "v"), read.clone()];
        assert!(judge(seen).has("vanished"), "it had been seen");
        assert!(judge(vec![(create_call("v"), unknown()), read.clone()]).is_valid());
    }
    for read in [get_nothing(), list(4, vec![])] {
        assert!(judge_overlapping(vec![create("a", 5, "v"), read]).is_valid());
    }
    let late = vec![create("a", 5, "v"), get_nothing(), delete("a")];
    assert!(judge(late).has("vanished"), "the deletion began later");
}

#[test]
fn an_acknowledged_deletion_stays_though_another_is_acknowledged_later() {
    let back = |again: Events| judge([vec![create("a", 5, "v"), delete("a"), get("a", 5, "v")], again].concat());
    assert!(back(vec![]).has("deleted-came-back"));
    assert!(back(vec![delete("a")]).has("deleted-came-back"));
    let unknown_end = vec![
        create("a", 5, "v"),
        (delete_call("a"), unknown()),
        get("a", 5, "v"),
        delete("a"),
    ];
    assert!(judge(unknown_end).is_valid());
}

#[test]
fn a_name_is_given_again_only_after_a_deletion() {
    let run = |between: Events| judge([vec![create("a", 5, "v")], between, vec![create("b", 9, "w")]].concat());
    assert!(run(vec![delete("a")]).is_valid());
    assert!(run(vec![(delete_call("a"), unknown())]).is_valid());
    assert!(run(vec![]).has("created-twice"));
    assert!(run(vec![(delete_call("a"), failed())]).has("created-twice"));
    assert!(judge(vec![create("a", 5, "v"), create("a", 6, "w")]).has("created-twice"));
    let both = vec![create("a", 5, "v"), create("b", 9, "w"), delete("a")];
    assert!(
        judge_overlapping(both.clone()).is_valid(),
        "the deletion may lie between"
    );
    assert!(judge(both).has("created-twice"));
}

#[test]
fn a_uid_is_of_one_name() {
    let other = Object {
        key: "other".into(),
        ..object("a", 3, "v")
    };
    assert!(judge(vec![list(5, vec![other, object("a", 5, "v")])]).has("uid-reused"));
}

#[test]
fn a_value_that_was_replaced_does_not_come_back_as_a_newer_version() {
    let run = |last| judge(vec![create("a", 5, "v"), update("a", 5, 6, "w"), last]);
    assert!(run(get("a", 7, "v")).has("two-versions"));
    assert!(run(get("a", 6, "w")).is_valid());
    assert!(run(update("a", 6, 7, "x")).is_valid());
}

#[test]
fn a_write_is_answered_with_what_it_wrote() {
    let answered = |version, value| (update_call(5, "w"), ok(vec![object("a", version, value)]));
    let run = |write| judge(vec![create("a", 5, "v"), write]);
    assert!(run(answered(6, "w")).is_valid());
    assert!(run(answered(6, "v")).has("wrong-answer"));
    assert!(run((update_call(5, "w"), ok(vec![]))).has("wrong-answer"));
    assert!(judge(vec![(create_call("v"), ok(vec![object("a", 5, "w")]))]).has("wrong-answer"));
    let other = Call::Get { key: "other".into() };
    let read = (other, ok(vec![object("a", 5, "v")]));
    assert!(run(read).has("wrong-answer"));
}

#[test]
fn an_update_that_was_seen_has_won_though_nobody_answered_it() {
    let run = |between: Events, last| {
        let writes = vec![create("a", 5, "v"), (update_call(5, "w"), unknown())];
        judge([writes, between, vec![last]].concat())
    };
    assert!(run(vec![get("a", 6, "w")], update("a", 5, 7, "x")).has("two-winners"));
    assert!(run(vec![get("a", 6, "w")], update("a", 6, 7, "x")).is_valid());
    assert!(run(vec![], update("a", 5, 7, "x")).is_valid(), "it may never have been");
}

#[test]
fn an_update_replaces_the_version_it_names_and_no_later_one() {
    assert!(judge(vec![create("a", 5, "v"), update("a", 3, 6, "w")]).has("lost-update"));
    assert!(judge(vec![create("a", 5, "v"), update("a", 5, 9, "w")]).is_valid());
    let run = |from| {
        let writes = vec![create("a", 5, "v"), (update_call(5, "w"), unknown())];
        judge([writes, vec![get("a", 6, "w"), update("a", from, 8, "x")]].concat())
    };
    assert!(run(6).is_valid());
    assert!(run(4).has("lost-update"));
    let another_life = |uid, from| {
        judge(vec![
            create("a", 5, "v"),
            delete("a"),
            create("b", 7, "w"),
            update(uid, from, 8, "x"),
        ])
    };
    assert!(another_life("b", 7).is_valid());
    assert!(another_life("b", 5).has("lost-update"));
    let moved = judge(vec![
        create("a", 5, "v"),
        update("b", 5, 6, "w"),
        (delete_call("a"), unknown()),
    ]);
    assert!(moved.has("lost-update"), "an update begins no life");
}

#[test]
fn a_list_shows_a_name_once_and_a_uid_is_deleted_once() {
    let run = |times: usize| judge(vec![create("a", 5, "v"), list(5, vec![object("a", 5, "v"); times])]);
    assert!(run(1).is_valid());
    assert!(run(2).has("listed-twice"));
    let again = |last| judge(vec![create("a", 5, "v"), delete("a"), last]);
    assert!(again(delete("a")).has("deleted-twice"));
    assert!(again((delete_call("a"), unknown())).is_valid());
    assert!(again((delete_call("a"), failed())).is_valid());
}

/// The same of another name.
fn other((call, end): (Call, What<Call, Return>)) -> (Call, What<Call, Return>) {
    let call = match call {
        Call::Create { value, .. } => Call::Create {
            key: "other".into(),
            value,
        },
        Call::Get { .. } => Call::Get { key: "other".into() },
        call => call,
    };
    let end = match end {
        What::Ok { mut result } => {
            for object in &mut result.objects {
                object.key = "other".into();
            }
            What::Ok { result }
        }
        end => end,
    };
    (call, end)
}

#[test]
fn writes_of_all_names_make_one_order_of_versions() {
    let run = |version| vec![create("a", 9, "v"), other(create("b", version, "w"))];
    assert!(judge(run(10)).is_valid());
    assert!(judge(run(5)).has("resource-version-backwards"));
    assert!(judge_overlapping(run(5)).is_valid());
    assert!(judge(run(9)).has("version-given-twice"));
    assert!(judge_overlapping(run(9)).has("version-given-twice"));
    let after = |read, version| judge(vec![read, other(create("b", version, "w"))]);
    assert!(after(list(9, vec![]), 10).is_valid());
    assert!(after(list(9, vec![]), 9).has("resource-version-backwards"));
}

#[test]
fn a_version_that_was_only_seen_counts_among_those_of_all_names() {
    let seen = |version| {
        let creation = (other(create("b", 0, "w")).0, unknown());
        vec![create("a", 9, "v"), creation, other(get("b", version, "w"))]
    };
    assert!(judge(seen(10)).is_valid());
    assert!(
        judge(seen(8)).has("resource-version-backwards"),
        "it was asked for later"
    );
    assert!(judge_overlapping(seen(8)).is_valid());
    assert!(judge_overlapping(seen(9)).has("version-given-twice"));
    let then = |version| {
        let creation = (create_call("v"), unknown());
        judge(vec![creation, get("a", 9, "v"), other(create("b", version, "w"))])
    };
    assert!(then(10).is_valid());
    assert!(then(8).has("resource-version-backwards"));
}

/// All overlap, so that nothing but versions can tell.
#[test]
fn a_list_shows_the_state_at_its_own_version() {
    let run = |version, objects: Vec<Object>| {
        let writes = vec![create("a", 5, "v"), update("a", 5, 8, "w"), list(version, objects)];
        judge_overlapping(writes)
    };
    let (v, w) = (|| object("a", 5, "v"), || object("a", 8, "w"));
    assert!(run(4, vec![]).is_valid());
    for version in [5, 7] {
        assert!(run(version, vec![v()]).is_valid());
        assert!(run(version, vec![]).has("wrong-list"), "one is missing");
        assert!(run(version, vec![w()]).has("wrong-list"), "not there yet");
    }
    assert!(run(8, vec![w()]).is_valid() && run(10, vec![w()]).is_valid());
    assert!(run(8, vec![v()]).has("wrong-list"), "replaced");
    assert!(run(3, vec![v()]).has("wrong-list"));
    assert!(run(10, vec![]).has("wrong-list"));
}

#[test]
fn a_list_may_miss_whom_someone_may_have_deleted_by_its_version() {
    let run = |end, more: Events| {
        let deletion = vec![create("a", 5, "v"), (delete_call("a"), end)];
        judge_overlapping([deletion, more].concat())
    };
    let gone = |version| list(version, vec![]);
    for end in [ok(vec![]), unknown()] {
        assert!(run(end.clone(), vec![gone(6)]).is_valid());
        let later = vec![update("a", 5, 8, "w"), gone(7)];
        assert!(run(end, later).has("wrong-list"), "it was there at version 8");
    }
    assert!(run(failed(), vec![gone(6)]).has("wrong-list"));

    // The deletion begins when version 7 is told already, while the list is under way.
    let late = |version, end: What<Call, Return>| {
        let mut history = History::new();
        history.invoke(9, 0, Call::List);
        for (call, end) in [create("a", 5, "v"), other(create("b", 7, "w")), (delete_call("a"), end)] {
            history.invoke(1, 0, call);
            history.push(1, 0, end);
        }
        let b = Object {
            key: "other".into(),
            ..object("b", 7, "w")
        };
        history.push(9, 0, list(version, vec![b]).1);
        objects::check(&history.operations().unwrap())
    };
    for end in [ok(vec![]), unknown()] {
        assert!(late(8, end.clone()).is_valid());
        assert!(late(7, end).has("wrong-list"), "no deletion is that old");
    }
}

#[test]
fn a_list_does_not_show_what_was_deleted_before_its_version() {
    let run = |version, end: What<Call, Return>| {
        let mut history = History::new();
        history.invoke(9, 0, Call::List);
        for (call, end) in [create("a", 5, "v"), (delete_call("a"), end), other(create("b", 7, "w"))] {
            history.invoke(1, 0, call);
            history.push(1, 0, end);
        }
        let mut objects = vec![object("a", 5, "v")];
        if version >= 7 {
            objects.push(Object {
                key: "other".into(),
                ..object("b", 7, "w")
            });
        }
        history.push(9, 0, list(version, objects).1);
        objects::check(&history.operations().unwrap())
    };
    assert!(run(6, ok(vec![])).is_valid());
    assert!(run(8, unknown()).is_valid(), "it may take effect later");
    assert!(run(7, ok(vec![])).has("wrong-list"));
    assert!(run(8, ok(vec![])).has("wrong-list"));
}

/// A sequential server: its revision and the objects by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct State {
    revision: u64,
    objects: BTreeMap<String, (String, u64, String)>,
}

struct Server;

impl Model for Server {
    type State = State;
    type Call = Call;
    type Return = Result<Return, String>;

    fn initial(&self) -> State {
        State::default()
    }

    fn step(&self, state: &State, call: &Call, _: Option<&Self::Return>) -> Option<State> {
        let mut next = state.clone();
        let version = state.revision + 1;
        match call {
            Call::Create { key, value } if !state.objects.contains_key(key) => {
                let object = (format!("u{version}"), version, value.clone());
                next.objects.insert(key.clone(), object);
            }
            Call::Update {
                key,
                resource_version,
                value,
            } if state
                .objects
                .get(key)
                .is_some_and(|object| object.1 == *resource_version) =>
            {
                let object = next.objects.get_mut(key)?;
                (object.1, object.2) = (version, value.clone());
            }
            Call::Delete { key, uid } if state.objects.get(key).is_some_and(|object| object.0 == *uid) => {
                next.objects.remove(key);
            }
            _ => return Some(next),
        }
        next.revision = version;
        Some(next)
    }

    fn is_read(&self, call: &Call) -> bool {
        matches!(call, Call::Get { .. } | Call::List)
    }
}

impl State {
    fn show(&self, only: Option<&str>) -> Vec<Object> {
        let wanted = self
            .objects
            .iter()
            .filter(|(key, _)| only.is_none_or(|only| only == *key));
        wanted
            .map(|(key, (uid, resource_version, value))| Object {
                key: key.clone(),
                uid: uid.clone(),
                resource_version: *resource_version,
                value: value.clone(),
            })
            .collect()
    }
}

fn answer(before: &State, call: &Call, after: &State) -> Result<Return, String> {
    let of = |objects: Vec<Object>| Return {
        resource_version: objects.first().map(|object| object.resource_version),
        objects,
    };
    match call {
        Call::List => Ok(Return {
            resource_version: Some(before.revision),
            objects: before.show(None),
        }),
        Call::Get { key } => Ok(of(before.show(Some(key)))),
        _ if before == after => Err("conflict".into()),
        Call::Create { key, .. } | Call::Update { key, .. } => Ok(of(after.show(Some(key)))),
        Call::Delete { .. } => Ok(Return::default()),
    }
}

/// Mostly a call that fits the state last seen.
fn random_call(random: &mut StdRng, number: u64, seen: &State) -> Call {
    let key = format!("cm-{}", random.random_range(0..3));
    let value = format!("v{number}");
    match (random.random_range(0..10), seen.objects.get(&key).cloned()) {
        (0, _) => Call::List,
        (1..=3, _) => Call::Get { key },
        (4 | 5, Some((uid, ..))) => Call::Delete { key, uid },
        (_, Some((_, resource_version, _))) => Call::Update {
            key,
            resource_version,
            value,
        },
        (_, None) => Call::Create { key, value },
    }
}

fn random_history(seed: u64) -> History<Call, Return> {
    let (seen, mut number) = (RefCell::new(State::default()), 0);
    let call = |random: &mut StdRng| {
        number += 1;
        random_call(random, number, &seen.borrow())
    };
    let answer = |before: &State, call: &Call, after: &State| {
        *seen.borrow_mut() = after.clone();
        answer(before, call, after)
    };
    let history = random_run(&mut rng(seed), &Server, 200, 6, call, answer);
    map_answers(history, |answer| answer)
}

#[test]
fn histories_of_a_sequential_server_pass_and_a_forgotten_write_is_found() {
    let mut found = 0;
    for seed in 0..200 {
        let mut history = random_history(seed);
        let verdict = objects::check(&history.operations().unwrap());
        assert!(verdict.is_valid(), "seed {seed}: {verdict:?}");
        let spoiled = repeat_an_old_list(&mut history);
        found += u64::from(spoiled && objects::check(&history.operations().unwrap()).is_invalid());
    }
    assert!(found >= 190, "only {found} of 200 old lists were found");
}

/// Answers the last list as an early one was.
fn repeat_an_old_list(history: &mut History<Call, Return>) -> bool {
    let lists: Vec<usize> = (0..history.events.len())
        .filter(|at| {
            let What::Ok { result } = &history.events[*at].what else {
                return false;
            };
            result.objects.len() > 1
        })
        .collect();
    let (Some(first), Some(last)) = (lists.first(), lists.last()) else {
        return false;
    };
    history.events[*last].what = history.events[*first].what.clone();
    first < last
}
