//! Watch promises: random streams that keep them all, and the same streams with one promise broken.

mod generate;

use std::collections::BTreeMap;

use checker::watch::{self, Event, Response, Watch, Write, Written};
use checker::{History, Operation, Verdict};
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
