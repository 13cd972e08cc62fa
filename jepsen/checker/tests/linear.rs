//! The linearizability search against histories whose verdict is known: by their facts, by how they were made, and by a
//! second, far simpler search.

mod generate;

use std::collections::VecDeque;

use checker::limits::Bounds;
use checker::linear::{self, Judgement, Model, queue, register, txn};
use checker::{History, Operation, Validity, What};
use generate::{random_run, rng};
use rand::RngExt;
use register::{Call, Register, Return};

type Registers = History<Call, Return>;

fn judge(history: &Registers) -> Validity {
    linear::check(
        "register",
        &Register::default(),
        &history.operations().unwrap(),
        Bounds::default(),
    )
    .validity
}

#[test]
fn a_read_that_overlaps_a_write_may_see_either_value() {
    for seen in [None, Some(1)] {
        let mut history = Registers::new();
        history.invoke(1, 0, Call::Write(1));
        history.invoke(2, 1, Call::Read);
        history.ok(2, 2, Return::value(seen));
        history.ok(1, 3, Return::default());
        assert_eq!(judge(&history), Validity::Valid, "{seen:?}");
    }
}

/// A client was told that its write is done; the next reader got the value from before it.
#[test]
fn a_stale_read_is_found() {
    let mut history = Registers::new();
    history.invoke(1, 0, Call::Write(1));
    history.ok(1, 1, Return::default());
    history.invoke(2, 2, Call::Read);
    history.ok(2, 3, Return::value(None));
    assert_eq!(judge(&history), Validity::Invalid);
}

/// Two readers one after the other, both within one write: new, then old.
#[test]
fn a_value_that_flickers_is_found() {
    let mut history = Registers::new();
    history.invoke(1, 0, Call::Write(1));
    for seen in [Some(1), None] {
        history.invoke(2, 1, Call::Read);
        history.ok(2, 2, Return::value(seen));
    }
    history.ok(1, 5, Return::default());
    assert_eq!(judge(&history), Validity::Invalid);
}

/// A write that timed out may come to light much later, once; it may not come and go.
#[test]
fn an_unknown_write_may_take_effect_late_or_never_but_not_twice() {
    let run = |seen: &[Option<i64>]| {
        let mut history = Registers::new();
        history.invoke(1, 0, Call::Write(9));
        history.info(1, 1, "timeout");
        for value in seen {
            history.invoke(2, 2, Call::Read);
            history.ok(2, 3, Return::value(*value));
        }
        judge(&history)
    };
    assert_eq!(run(&[None, None, Some(9), Some(9)]), Validity::Valid);
    assert_eq!(run(&[None, None]), Validity::Valid);
    assert_eq!(run(&[None, Some(9), None]), Validity::Invalid);
}

#[test]
fn a_failed_write_must_never_be_seen() {
    let mut history = Registers::new();
    history.invoke(1, 0, Call::Write(9));
    history.fail(1, 1, "refused");
    history.invoke(2, 2, Call::Read);
    history.ok(2, 3, Return::value(Some(9)));
    assert_eq!(judge(&history), Validity::Invalid);
}

/// Both clients were told that they swapped the same value away.
#[test]
fn two_winners_of_one_compare_and_set_are_found() {
    let mut history = Registers::new();
    history.invoke(0, 0, Call::Write(1));
    history.ok(0, 1, Return::default());
    history.invoke(1, 2, Call::Cas(1, 2));
    history.invoke(2, 3, Call::Cas(1, 3));
    history.ok(1, 4, Return::swapped(true));
    history.ok(2, 5, Return::swapped(true));
    assert_eq!(judge(&history), Validity::Invalid);
}

/// A write that was applied twice shows in the key's version, though every value is the one expected.
#[test]
fn a_double_apply_shows_in_the_version() {
    let run = |second: u64| {
        let mut history = Registers::new();
        history.invoke(1, 0, Call::Write(1));
        history.ok(1, 1, Return::default().at_version(1));
        history.invoke(1, 2, Call::Write(2));
        history.ok(1, 3, Return::default().at_version(second));
        judge(&history)
    };
    assert_eq!(run(2), Validity::Valid);
    assert_eq!(run(3), Validity::Invalid);
}

#[test]
fn the_counterexample_names_the_operation_that_fits_nowhere() {
    let mut history = Registers::new();
    for value in 0..100 {
        history.invoke(1, 0, Call::Write(value));
        history.ok(1, 0, Return::default());
    }
    let read = history.invoke(1, 0, Call::Read);
    history.ok(1, 0, Return::value(Some(50)));
    let operations = history.operations().unwrap();
    let Judgement::NotLinearizable(found) = linear::search(&Register::default(), &operations, Bounds::default()) else {
        panic!("a read of a value that was overwritten long ago passed");
    };
    assert_eq!((found.stuck.0, found.taken), (read, 100));
    assert!(found.order.len() < 10, "a counterexample is short");
}

#[test]
fn keys_are_judged_apart_and_the_bad_one_is_named() {
    let mut history: History<(&str, Call), Return> = History::new();
    for key in ["good", "bad"] {
        history.invoke(1, 0, (key, Call::Write(1)));
        history.ok(1, 0, Return::default());
        history.invoke(1, 0, (key, Call::Read));
        history.ok(1, 0, Return::value(Some(if key == "good" { 1 } else { 2 })));
    }
    let operations = history.operations().unwrap();
    let parts = operations
        .iter()
        .map(|o| (o.call.0, o.with(o.call.1.clone(), o.outcome.clone())));
    let verdict = linear::check_by_key("register", &Register::default(), parts, Bounds::default());
    assert_eq!((verdict.validity, verdict.anomaly_count), (Validity::Invalid, 1));
    assert!(verdict.anomalies[0].message.starts_with("key \"bad\""));
}

/// Many writes in flight and one impossible read: the search must give up and say so, not guess.
#[test]
fn a_search_that_is_cut_short_says_unknown() {
    let mut history = Registers::new();
    for process in 0..24 {
        history.invoke(process, 0, Call::Write(process as i64));
        history.info(process, 0, "timeout");
    }
    history.invoke(99, 0, Call::Read);
    history.ok(99, 0, Return::value(Some(-1)));
    let operations = history.operations().unwrap();
    let few = Bounds {
        steps_max: 1000,
        ..Bounds::default()
    };
    let verdict = linear::check("register", &Register::default(), &operations, few);
    assert_eq!(verdict.validity, Validity::Unknown);
    let small = Bounds {
        cache_bytes_max: 10_000,
        ..Bounds::default()
    };
    let verdict = linear::check("register", &Register::default(), &operations, small);
    assert_eq!(verdict.validity, Validity::Unknown);
}

#[test]
fn transactions_see_all_of_another_or_none_of_it() {
    let write = txn::Call {
        guards: vec![],
        steps: vec![txn::Step::Write(1, 1), txn::Step::Write(2, 1)],
    };
    let read = txn::Call {
        guards: vec![],
        steps: vec![txn::Step::Read(1), txn::Step::Read(2)],
    };
    let run = |seen: [Option<i64>; 2]| {
        let mut history = History::new();
        history.invoke(1, 0, write.clone());
        history.invoke(2, 0, read.clone());
        history.ok(
            2,
            0,
            txn::Return {
                committed: true,
                reads: seen.to_vec(),
            },
        );
        history.info(1, 0, "timeout");
        linear::check(
            "txn",
            &txn::Registers,
            &history.operations().unwrap(),
            Bounds::default(),
        )
        .validity
    };
    assert_eq!(run([None, None]), Validity::Valid);
    assert_eq!(run([Some(1), Some(1)]), Validity::Valid);
    assert_eq!(run([Some(1), None]), Validity::Invalid);
}

#[test]
fn a_queue_gives_each_element_once_and_in_order() {
    let run = |taken: [Option<i64>; 2]| {
        let mut history = History::new();
        for value in [1, 2] {
            history.invoke(1, 0, queue::Call::Enqueue(value));
            history.ok(1, 0, None);
        }
        for value in taken {
            history.invoke(2, 0, queue::Call::Dequeue);
            history.ok(2, 0, value);
        }
        linear::check(
            "queue",
            &queue::Queue,
            &history.operations().unwrap(),
            Bounds::default(),
        )
        .validity
    };
    assert_eq!(run([Some(1), Some(2)]), Validity::Valid);
    assert_eq!(run([Some(1), Some(1)]), Validity::Invalid);
    assert_eq!(run([Some(2), Some(1)]), Validity::Invalid);
}

/// Whatever a register really answered to overlapping callers is linearizable; 200 runs of up to 8 processes.
#[test]
fn histories_of_a_real_register_pass() {
    for seed in 0..200 {
        let mut random = rng(seed);
        let history = random_run(&mut random, &Register::default(), 120, 8, register_call, answer);
        assert_eq!(judge(&history), Validity::Valid, "seed {seed}");
    }
}

/// On small histories, some of them broken by one changed answer, the search and plain trial of all orders agree.
#[test]
fn the_search_agrees_with_trying_every_order() {
    let (mut valid, mut invalid) = (0, 0);
    for seed in 0..2000 {
        let mut random = rng(seed);
        let mut history = random_run(&mut random, &Register::default(), 7, 3, register_call, answer);
        generate::spoil(&mut random, &mut history);
        let operations = history.operations().unwrap();
        let expected = brute(
            &Register::default(),
            &mut operations.clone(),
            &Register::default().initial(),
        );
        let found = judge(&history) == Validity::Valid;
        assert_eq!(found, expected, "seed {seed}: {operations:#?}");
        *if expected { &mut valid } else { &mut invalid } += 1;
    }
    assert!(
        valid > 100 && invalid > 100,
        "both verdicts must be common: {valid} valid, {invalid} invalid"
    );
}

fn register_call(random: &mut rand::rngs::StdRng) -> Call {
    let mut value = || random.random_range(0..4);
    match value() {
        0 => Call::Write(value()),
        1 => Call::Cas(value(), value()),
        2 if value() == 0 => Call::Delete,
        _ => Call::Read,
    }
}

/// What a real register answers in `before`.
fn answer(before: &register::State, call: &Call, after: &register::State) -> Return {
    let told = match call {
        Call::Read => Return::value(before.value),
        Call::Cas(from, _) => Return::swapped(before.value == Some(*from)),
        Call::Write(_) | Call::Delete => Return::default(),
    };
    told.at_version(after.version)
}

/// Tries every order that keeps the order of those that did not overlap.
fn brute<M: Model>(model: &M, rest: &mut Vec<Operation<M::Call, M::Return>>, state: &M::State) -> bool {
    if !rest.iter().any(|operation| operation.outcome.is_ok()) {
        return true;
    }
    for at in 0..rest.len() {
        if rest[at].outcome.is_fail()
            || rest
                .iter()
                .any(|other| other.outcome.is_ok() && other.precedes(&rest[at]))
        {
            continue;
        }
        let operation = rest.remove(at);
        let next = model.step(state, &operation.call, operation.outcome.result());
        let found = next.is_some_and(|next| brute(model, rest, &next));
        rest.insert(at, operation);
        if found {
            return true;
        }
    }
    false
}

fn queue_call(random: &mut rand::rngs::StdRng, number: i64) -> queue::Call {
    match random.random_bool(0.5) {
        true => queue::Call::Enqueue(number),
        false => queue::Call::Dequeue,
    }
}

#[test]
fn histories_of_a_real_queue_pass_and_an_element_taken_twice_is_found() {
    let mut found = 0;
    for seed in 0..100 {
        let mut number = 0;
        let call = |random: &mut rand::rngs::StdRng| {
            number += 1;
            queue_call(random, number)
        };
        let answer = |before: &VecDeque<i64>, call: &queue::Call, _: &VecDeque<i64>| match call {
            queue::Call::Enqueue(_) => None,
            queue::Call::Dequeue => before.front().copied(),
        };
        let mut history = random_run(&mut rng(seed), &queue::Queue, 20, 3, call, answer);
        let judge = |history: &History<queue::Call, queue::Return>| {
            let operations = history.operations().unwrap();
            linear::check("queue", &queue::Queue, &operations, Bounds::default()).validity
        };
        assert_eq!(judge(&history), Validity::Valid, "seed {seed}");
        found += u64::from(take_twice(&mut history) && judge(&history) == Validity::Invalid);
    }
    assert!(found >= 80, "only {found} of 100 double takes were found");
}

/// Lets a later taker have what an earlier one took.
fn take_twice(history: &mut History<queue::Call, queue::Return>) -> bool {
    let taken: Vec<usize> = (0..history.events.len())
        .filter(|at| matches!(history.events[*at].what, What::Ok { result: Some(_) }))
        .collect();
    let [first, .., last] = taken[..] else { return false };
    history.events[last].what = history.events[first].what.clone();
    true
}
