//! Watch promises: random streams that keep them all, and the same streams with one promise broken.

mod generate;

use std::collections::BTreeMap;

use checker::watch::{self, Event, Response, Watch, Write, Written};
use checker::{History, Operation, Validity, Verdict};
use generate::rng;
use rand::RngExt;

struct Case {
    watches: Vec<Watch>,
    writes: Vec<Operation<Write, Written>>,
}

impl Case {
    fn judge(&self) -> Verdict {
        watch::check(&self.watches, &self.writes)
    }
}

/// Some writes to a few keys, and watches that tell of them truly, cut into responses at random.
fn random_case(seed: u64) -> Case {
    let mut random = rng(seed);
    let mut history: History<Write, Written> = History::new();
    let mut latest: BTreeMap<String, Event> = BTreeMap::new();
    let mut log: Vec<Event> = Vec::new();
    for number in 0..60 {
        let key = format!("/{}/{}", random.random_range(0..2), random.random_range(0..3));
        let revision = number + 2;
        let before = latest.get(&key).filter(|event| event.value.is_some()).cloned();
        let delete = before.is_some() && random.random_bool(0.3);
        let event = Event {
            revision,
            key: key.clone(),
            value: (!delete).then(|| format!("v{number}")),
            create_revision: if delete {
                0
            } else {
                before.as_ref().map_or(revision, |event| event.create_revision)
            },
            version: if delete {
                0
            } else {
                before.as_ref().map_or(1, |event| event.version + 1)
            },
            previous: before.map(|event| (event.value.unwrap_or_default(), event.revision)),
        };
        history.invoke(
            1,
            0,
            match &event.value {
                Some(value) => Write::Put {
                    key: key.clone(),
                    value: value.clone(),
                },
                None => Write::Delete { key: key.clone() },
            },
        );
        match random.random_ratio(1, 10) {
            true => history.info(1, 0, "timeout"),
            false => history.ok(1, 0, Some(revision)),
        };
        latest.insert(key, event.clone());
        log.push(event);
    }
    history.invoke(
        1,
        0,
        Write::Put {
            key: "/0/0".into(),
            value: "refused".into(),
        },
    );
    history.fail(1, 0, "refused");
    let watches = (0..4).map(|process| random_watch(&mut random, process, &log)).collect();
    Case {
        watches,
        writes: history.operations().unwrap(),
    }
}

fn random_watch(random: &mut rand::rngs::StdRng, process: u64, log: &[Event]) -> Watch {
    // The first watch sees everything, so that there is always something to break.
    let (prefix, from_revision) = if process == 0 {
        ("/".into(), 1)
    } else {
        (format!("/{}/", random.random_range(0..2)), random.random_range(1..30))
    };
    let previous_values = process == 0 || random.random_bool(0.5);
    let mut responses = Vec::new();
    let mut events: Vec<Event> = log
        .iter()
        .filter(|event| event.revision >= from_revision && event.key.starts_with(&prefix))
        .map(|event| Event {
            previous: event.previous.clone().filter(|_| previous_values),
            ..event.clone()
        })
        .collect();
    while !events.is_empty() {
        let rest = events.split_off(random.random_range(1..=events.len().min(5)));
        let last = events.last().unwrap().revision;
        responses.push(Response::Events(std::mem::replace(&mut events, rest)));
        if random.random_bool(0.3) {
            responses.push(Response::Progress(last));
        }
    }
    Watch {
        process,
        from_revision,
        prefix,
        previous_values,
        responses,
        revision_after: Some(log.last().map_or(0, |event| event.revision)),
        compacted_after: Some(1),
    }
}

/// The events of the first watch, as responses of their own.
fn unpack(case: &mut Case) -> Vec<Event> {
    let responses = std::mem::take(&mut case.watches[0].responses);
    responses
        .into_iter()
        .flat_map(|response| match response {
            Response::Events(events) => events,
            _ => Vec::new(),
        })
        .collect()
}

fn spoiled(change: impl Fn(&mut Vec<Event>)) -> Verdict {
    let mut case = random_case(7);
    let mut events = unpack(&mut case);
    change(&mut events);
    case.watches[0].responses = events.into_iter().map(|event| Response::Events(vec![event])).collect();
    case.judge()
}

#[test]
fn true_streams_pass() {
    for seed in 0..100 {
        let verdict = random_case(seed).judge();
        assert!(verdict.is_valid(), "seed {seed}: {verdict:?}");
    }
    assert!(spoiled(|_| {}).is_valid());
}

#[test]
fn each_broken_promise_has_its_name() {
    assert!(spoiled(|events| events.swap(10, 11)).has("unordered"));
    assert!(spoiled(|events| events.insert(10, events[9].clone())).has("repeated"));
    assert!(spoiled(|events| drop(events.remove(10))).has("gap"));
    assert!(spoiled(|events| events[10].value = Some("nobody's".into())).has("phantom"));
    assert!(spoiled(|events| events[10].value = Some("refused".into())).has("phantom"));
    assert!(spoiled(|events| events[10].version += 5).has("wrong-previous"));
    let double = spoiled(|events| {
        let mut again = events.iter().rfind(|event| event.value.is_some()).unwrap().clone();
        (again.revision, again.version) = (100, again.version + 1);
        events.push(again);
    });
    assert!(double.has("double") && double.has("misplaced"), "{double:?}");
    let previous = spoiled(|events| {
        let event = events.iter_mut().find(|event| event.previous.is_some()).unwrap();
        event.previous = Some(("another".into(), 1));
    });
    assert!(previous.has("wrong-previous"), "{previous:?}");
}

#[test]
fn streams_that_disagree_promise_too_much_or_split_a_revision_are_found() {
    let mut case = random_case(8);
    let mut events = unpack(&mut case);
    events[3].create_revision += 1;
    case.watches[0].responses = vec![Response::Events(events.clone())];
    let mut other = case.watches[0].clone();
    events[3].create_revision -= 1;
    other.responses = vec![Response::Events(events.clone())];
    case.watches.push(other);
    assert!(case.judge().has("divergent"));

    let mut case = random_case(9);
    let last = unpack(&mut case).pop().unwrap();
    case.watches[0].from_revision = last.revision;
    case.watches[0].responses = vec![Response::Progress(last.revision), Response::Events(vec![last.clone()])];
    assert!(case.judge().has("late"));
    case.watches[0].responses = vec![Response::Progress(last.revision)];
    assert!(
        case.judge().has("gap"),
        "a progress notice vouches for what it did not tell"
    );

    let twin = Event {
        key: "/twin".into(),
        value: None,
        previous: None,
        ..last.clone()
    };
    case.watches[0].responses = vec![
        Response::Events(vec![last.clone()]),
        Response::Events(vec![twin.clone()]),
    ];
    assert!(case.judge().has("split"));
    case.watches[0].prefix = "/none".into();
    case.watches[0].responses = vec![Response::Events(vec![last])];
    assert!(case.judge().has("foreign"));
}

/// Small histories, written down event by event.
mod written_down {
    use super::*;

    /// `value`, or `-` for a deletion.
    fn event(
        revision: i64,
        value: &str,
        (create_revision, version): (i64, i64),
        previous: Option<(&str, i64)>,
    ) -> Event {
        Event {
            revision,
            key: "/a".into(),
            value: Some(value.to_string()).filter(|value| value != "-"),
            create_revision,
            version,
            previous: previous.map(|(value, revision)| (value.into(), revision)),
        }
    }

    fn told(events: Vec<Event>) -> Response {
        Response::Events(events)
    }

    fn stream(process: u64, from_revision: i64, responses: Vec<Response>) -> Watch {
        Watch {
            process,
            from_revision,
            prefix: "/".into(),
            previous_values: true,
            responses,
            revision_after: None,
            compacted_after: None,
        }
    }

    fn put(key: &str, value: &str) -> Write {
        let (key, value) = (key.into(), value.into());
        Write::Put { key, value }
    }

    fn delete() -> Write {
        Write::Delete { key: "/a".into() }
    }

    /// Writes one after the other: acknowledged at a revision, failed (-1) or of unknown outcome (0).
    fn writes(list: &[(Write, i64)]) -> Vec<Operation<Write, Written>> {
        let mut history = History::new();
        for (write, revision) in list {
            history.invoke(1, 0, write.clone());
            match revision {
                -1 => history.fail(1, 0, "refused"),
                0 => history.info(1, 0, "timeout"),
                _ => history.ok(1, 0, Some(*revision)),
            };
        }
        history.operations().unwrap()
    }

    /// Two events of one key, with what the stream is told between them; the second is the fifth write of the key.
    fn around(between: Response, resumes_at: i64, previous: (&str, i64)) -> Verdict {
        let first = stream(1, 1, vec![told(vec![event(2, "a", (2, 1), None)]), between]);
        let second = stream(1, resumes_at, vec![told(vec![event(60, "b", (2, 5), Some(previous))])]);
        let writes = writes(&[(put("/a", "a"), 2), (put("/a", "x"), 40), (put("/a", "b"), 60)]);
        watch::check(&[first, second], &writes)
    }

    #[test]
    fn what_lies_behind_a_compaction_is_not_judged_by_what_lies_before_it() {
        let compacted = || Response::Compacted(50);
        let fine = around(compacted(), 50, ("x", 40));
        assert!(fine.is_valid(), "{fine:?}");
        assert!(
            around(compacted(), 50, ("a", 1)).has("wrong-previous"),
            "older than what is known"
        );
        assert!(
            around(compacted(), 50, ("x", 2)).has("wrong-previous"),
            "known to be another"
        );
        assert!(
            around(compacted(), 50, ("x", 60)).has("wrong-previous"),
            "not older at all"
        );
        assert!(
            around(Response::Progress(59), 60, ("x", 40)).has("wrong-previous"),
            "nothing was lost"
        );
    }

    #[test]
    fn a_compaction_excuses_nothing_that_another_stream_told() {
        let first = || told(vec![event(2, "a", (2, 1), None)]);
        let lost = stream(1, 1, vec![first(), Response::Compacted(50)]);
        let resumed = |version, past| stream(1, 50, vec![told(vec![event(60, "b", (2, version), Some(past))])]);
        let other = stream(2, 1, vec![first(), Response::Progress(59)]);
        let writes = writes(&[(put("/a", "a"), 2), (put("/a", "x"), 0), (put("/a", "b"), 60)]);
        let judge = |streams: &[Watch]| watch::check(streams, &writes);
        assert!(judge(&[lost.clone(), resumed(2, ("a", 2))]).is_valid());
        assert!(judge(&[lost.clone(), resumed(2, ("a", 2)), other.clone()]).is_valid());
        assert!(judge(&[lost.clone(), resumed(5, ("x", 40))]).is_valid());
        assert!(judge(&[lost.clone(), resumed(5, ("x", 40)), other]).has("wrong-previous"));
        assert!(
            judge(&[lost, resumed(5, ("a", 2))]).has("wrong-previous"),
            "nothing lies between"
        );
    }

    #[test]
    fn a_wrong_previous_value_stays_wrong_when_another_stream_is_right() {
        let run = |seen: [(&str, i64); 2]| {
            let streams = seen.map(|previous| {
                let events = vec![event(2, "a", (2, 1), None), event(3, "b", (2, 2), Some(previous))];
                stream(1, 1, vec![told(events)])
            });
            watch::check(&streams, &writes(&[(put("/a", "a"), 2), (put("/a", "b"), 3)]))
        };
        assert!(run([("a", 2), ("a", 2)]).is_valid());
        assert!(run([("x", 2), ("a", 2)]).has("wrong-previous"));
        assert!(run([("a", 2), ("x", 2)]).has("wrong-previous"));
    }

    #[test]
    fn every_deletion_told_of_was_made_by_someone() {
        let run = |list: &[(Write, i64)]| {
            let events = vec![event(2, "a", (2, 1), None), event(3, "-", (0, 0), Some(("a", 2)))];
            let mut all = vec![(put("/a", "a"), 2)];
            all.extend_from_slice(list);
            watch::check(&[stream(1, 1, vec![told(events)])], &writes(&all))
        };
        assert!(run(&[(delete(), 3)]).is_valid());
        assert!(run(&[(delete(), 0)]).is_valid(), "a deletion of unknown outcome");
        assert!(run(&[]).has("phantom"));
        assert!(run(&[(delete(), -1)]).has("phantom"));
        assert!(
            run(&[(put("/b", "b"), 9), (delete(), 0)]).has("phantom"),
            "it began too late"
        );
        assert!(run(&[(put("/a", "b"), 3), (delete(), 0)]).has("misplaced"));
    }

    #[test]
    fn a_deletion_of_unknown_outcome_excuses_one_event_only() {
        let run = |second: i64| {
            let events = vec![
                event(2, "a", (2, 1), None),
                event(3, "-", (0, 0), Some(("a", 2))),
                event(4, "b", (4, 1), None),
                event(5, "-", (0, 0), Some(("b", 4))),
            ];
            let list = [
                (put("/a", "a"), 2),
                (delete(), 0),
                (put("/a", "b"), 4),
                (delete(), second),
            ];
            watch::check(&[stream(1, 1, vec![told(events)])], &writes(&list))
        };
        assert!(run(0).is_valid() && run(5).is_valid());
        assert!(run(-1).has("phantom"));
    }

    #[test]
    fn a_value_belongs_to_the_key_and_to_the_time_it_was_written_at() {
        let run = |list: &[(Write, i64)]| {
            let events = vec![event(3, "a", (3, 1), None)];
            watch::check(&[stream(1, 1, vec![told(events)])], &writes(list))
        };
        assert!(run(&[(put("/a", "a"), 3)]).is_valid());
        assert!(run(&[(put("/a", "a"), 0)]).is_valid());
        assert!(run(&[(put("/b", "a"), 0)]).has("phantom"));
        assert!(run(&[(put("/b", "b"), 4), (put("/a", "a"), 0)]).has("misplaced"));
    }

    #[test]
    fn a_version_and_a_creation_that_contradict_each_other_are_found() {
        let run = |create, version| {
            let stream = stream(1, 3, vec![told(vec![event(3, "a", (create, version), None)])]);
            watch::check(&[stream], &writes(&[(put("/a", "a"), 3)]))
        };
        assert!(run(3, 1).is_valid() && run(2, 2).is_valid());
        assert!(run(2, 1).has("wrong-previous") && run(3, 2).has("wrong-previous"));
        assert!(run(4, 2).has("wrong-previous"));
    }

    #[test]
    fn nothing_is_spoken_of_before_it_is() {
        let run = |response: Response, after: [Option<i64>; 2]| {
            let mut first = stream(1, 1, vec![told(vec![event(2, "a", (2, 1), None)]), response]);
            let mut second = stream(1, 9, vec![Response::Progress(9)]);
            (first.revision_after, second.revision_after) = (after[0], after[1]);
            watch::check(&[first, second], &writes(&[(put("/a", "a"), 2)]))
        };
        for response in [Response::Progress(30), Response::Compacted(30)] {
            assert!(run(response.clone(), [None, Some(30)]).is_valid());
            assert!(
                run(response.clone(), [None, None]).is_valid(),
                "other clients write too"
            );
            assert!(run(response.clone(), [None, Some(29)]).has("from-the-future"));
            assert!(run(response, [Some(29), Some(40)]).has("from-the-future"));
        }
    }

    /// A creation, an update and a deletion; `past`: whether previous values are told.
    fn three(past: bool) -> Response {
        let past = |value, revision| Some((value, revision)).filter(|_| past);
        told(vec![
            event(2, "a", (2, 1), None),
            event(3, "b", (2, 2), past("a", 2)),
            event(4, "-", (0, 0), past("b", 3)),
        ])
    }

    fn three_writes() -> Vec<Operation<Write, Written>> {
        writes(&[(put("/a", "a"), 2), (put("/a", "b"), 3), (delete(), 4)])
    }

    #[test]
    fn a_previous_value_is_told_unless_a_compaction_may_have_reached_it() {
        let run = |asked, past, compacted| {
            let mut stream = stream(1, 1, vec![three(past)]);
            (stream.previous_values, stream.compacted_after) = (asked, compacted);
            watch::check(&[stream], &three_writes())
        };
        for compacted in [None, Some(1), Some(9)] {
            assert!(run(true, true, compacted).is_valid());
            assert!(run(false, false, compacted).is_valid(), "nobody asked");
        }
        assert!(run(true, false, None).is_valid(), "nobody knows what was compacted");
        assert!(run(true, false, Some(4)).is_valid());
        assert_eq!(run(true, false, Some(3)).anomaly_count, 1, "that of the deletion");
        assert_eq!(run(true, false, Some(1)).anomaly_count, 2);
        assert!(run(true, false, Some(1)).has("no-previous"));
    }

    #[test]
    fn what_is_compacted_at_the_end_of_a_watcher_bounds_its_earlier_streams_and_no_others() {
        let run = |process| {
            let mut last = stream(process, 5, vec![Response::Progress(9)]);
            last.compacted_after = Some(1);
            watch::check(&[stream(1, 1, vec![three(false)]), last], &three_writes())
        };
        assert!(run(1).has("no-previous"));
        assert!(run(2).is_valid());
    }

    #[test]
    fn a_compaction_that_nobody_made_ends_no_stream() {
        let run = |revision, after| {
            let first = stream(1, 1, vec![three(true), Response::Compacted(revision)]);
            let mut second = stream(1, revision, vec![Response::Progress(90)]);
            second.compacted_after = after;
            watch::check(&[first, second], &three_writes())
        };
        assert!(run(50, Some(50)).is_valid() && run(50, Some(60)).is_valid());
        assert!(run(50, None).is_valid());
        assert!(run(50, Some(49)).has("not-compacted"));
        assert!(run(3, None).has("not-compacted"), "the stream had got further");
    }

    #[test]
    fn a_stream_of_an_older_recorder_is_read() {
        let old = r#"{"process":1,"from_revision":1,"prefix":"/","previous_values":true,"responses":[{"progress":3}]}"#;
        let read: Watch = serde_json::from_str(old).unwrap();
        assert_eq!(read, stream(1, 1, vec![Response::Progress(3)]));
    }

    #[test]
    fn each_acknowledged_write_has_a_revision_of_its_own() {
        let run = |second: Write, revision: i64| {
            let streams = [stream(1, 1, vec![told(vec![event(2, "a", (2, 1), None)])])];
            watch::check(&streams, &writes(&[(put("/a", "a"), 2), (second, revision)]))
        };
        for key in ["/a", "/b"] {
            assert!(run(put(key, "b"), 3).is_valid());
            assert!(run(put(key, "b"), 2).has("revision-given-twice"));
            assert!(run(put(key, "b"), 1).has("revision-backwards"));
            assert!(run(put(key, "b"), 0).is_valid());
        }
    }

    #[test]
    fn revisions_of_writes_that_overlap_may_be_told_in_any_order() {
        let mut history = History::new();
        history.invoke(1, 0, put("/a", "a"));
        history.invoke(2, 0, put("/b", "b"));
        history.ok(1, 0, Some(3));
        history.ok(2, 0, Some(2));
        let streams = [stream(1, 3, vec![told(vec![event(3, "a", (3, 1), None)])])];
        assert!(watch::check(&streams, &history.operations().unwrap()).is_valid());
    }

    #[test]
    fn a_previous_value_was_written_and_at_that_revision() {
        let run = |previous, list: &[(Write, i64)]| {
            let events = vec![event(9, "b", (2, 5), Some(previous))];
            let mut all = list.to_vec();
            all.push((put("/a", "b"), 9));
            watch::check(&[stream(1, 9, vec![told(events)])], &writes(&all))
        };
        assert!(run(("a", 3), &[(put("/a", "a"), 3)]).is_valid());
        assert!(run(("a", 3), &[(put("/a", "a"), 0)]).is_valid());
        assert!(
            run(("x", 3), &[(put("/a", "a"), 3)]).has("wrong-previous"),
            "nobody wrote it"
        );
        assert!(
            run(("a", 4), &[(put("/a", "a"), 3)]).has("wrong-previous"),
            "another revision"
        );
        assert!(
            run(("a", 3), &[(put("/c", "a"), 3)]).has("wrong-previous"),
            "another key"
        );
        assert!(
            run(("a", 3), &[(put("/a", "a"), -1)]).has("wrong-previous"),
            "it was refused"
        );
    }

    #[test]
    fn a_compaction_ends_its_stream() {
        let run = |responses| watch::check(&[stream(1, 1, responses)], &writes(&[(put("/a", "a"), 2)]));
        let told = || told(vec![event(2, "a", (2, 1), None)]);
        assert!(run(vec![told(), Response::Compacted(5)]).is_valid());
        assert!(run(vec![Response::Compacted(5), told()]).has("beyond-the-end"));
        assert!(run(vec![told(), Response::Compacted(5), Response::Progress(2)]).has("beyond-the-end"));
    }

    /// A deletion that finds nothing has no revision.
    #[test]
    fn a_deletion_finds_what_is_there() {
        let run = |list: &[(Write, Option<i64>)]| {
            let mut history = History::new();
            for (write, revision) in list {
                history.invoke(1, 0, write.clone());
                match revision {
                    Some(-1) => history.fail(1, 0, "refused"),
                    Some(0) => history.info(1, 0, "timeout"),
                    _ => history.ok(1, 0, *revision),
                };
            }
            watch::check(
                &[stream(1, 1, vec![Response::Progress(1)])],
                &history.operations().unwrap(),
            )
        };
        let put = || (put("/a", "a"), Some(2));
        assert!(run(&[put(), (delete(), None)]).has("found-nothing"));
        assert!(run(&[put(), (delete(), Some(-1)), (delete(), None)]).has("found-nothing"));
        assert!(run(&[put(), (delete(), Some(3)), (delete(), None)]).is_valid());
        assert!(run(&[put(), (delete(), Some(0)), (delete(), None)]).is_valid());
        assert!(
            run(&[(delete(), Some(0)), put(), (delete(), None)]).is_valid(),
            "it may come late"
        );
        assert!(run(&[(delete(), None), put(), (delete(), Some(3))]).is_valid());
        assert!(run(&[(put().0, Some(0)), (delete(), None)]).is_valid());
        let overlapping = |first: Write, revision| {
            let mut history = History::new();
            history.invoke(1, 0, put().0);
            history.ok(1, 0, Some(2));
            history.invoke(2, 0, first);
            history.invoke(1, 0, delete());
            history.ok(1, 0, None);
            history.ok(2, 0, Some(revision));
            watch::check(
                &[stream(1, 1, vec![Response::Progress(1)])],
                &history.operations().unwrap(),
            )
        };
        assert!(overlapping(delete(), 3).is_valid());
        let (key, value) = ("/a".into(), "b".into());
        assert!(overlapping(Write::Put { key, value }, 3).has("found-nothing"));
    }

    #[test]
    fn watches_that_told_nothing_prove_nothing() {
        let writes = writes(&[(put("/a", "a"), 2)]);
        for streams in [
            vec![],
            vec![stream(1, 1, vec![])],
            vec![stream(1, 1, vec![Response::Compacted(1)])],
        ] {
            assert_eq!(watch::check(&streams, &writes).validity, Validity::Unknown);
        }
    }
}
