//! Sets and counters.

mod generate;

use std::collections::BTreeSet;

use checker::linear::Model;
use checker::{History, Validity, counter, set};
use generate::{random_run, rng};
use rand::RngExt;

type Sets = History<set::Call, set::Return>;

/// Adds 1 and 2, with the first acknowledged and the second as given; then reads one after the other.
fn judge(second: &str, reads: &[&[i64]]) -> checker::Verdict {
    let mut history = Sets::new();
    history.invoke(1, 0, set::Call::Add(1));
    history.ok(1, 0, None);
    history.invoke(1, 0, set::Call::Add(2));
    match second {
        "fail" => history.fail(1, 0, "refused"),
        _ => history.info(1, 0, "timeout"),
    };
    for read in reads {
        history.invoke(2, 0, set::Call::Read);
        history.ok(2, 0, Some(read.to_vec()));
    }
    set::check(&history.operations().unwrap())
}

#[test]
fn an_element_of_unknown_outcome_may_come_late_or_never_but_not_go() {
    assert!(judge("info", &[&[1], &[1]]).is_valid());
    assert!(judge("info", &[&[1], &[1, 2]]).is_valid());
    assert!(judge("info", &[&[1, 2], &[1]]).has("lost"));
}

#[test]
fn elements_that_are_lost_stale_unexpected_or_twice_there_are_found() {
    assert!(judge("info", &[&[]]).has("lost"));
    assert!(judge("info", &[&[], &[1]]).has("stale"));
    assert!(judge("fail", &[&[1, 2]]).has("unexpected"));
    assert!(judge("info", &[&[1, 9]]).has("unexpected"));
    assert!(judge("info", &[&[1, 1]]).has("duplicate"));
    assert_eq!(
        judge("info", &[]).validity,
        Validity::Unknown,
        "a set that nobody read proves nothing"
    );
}

#[test]
fn an_element_is_not_there_before_anybody_asked_to_add_it() {
    let run = |read_ends_first: bool| {
        let mut history = Sets::new();
        history.invoke(2, 0, set::Call::Read);
        if read_ends_first {
            history.ok(2, 0, Some(vec![1]));
        }
        history.invoke(1, 0, set::Call::Add(1));
        history.ok(1, 0, None);
        if !read_ends_first {
            history.ok(2, 0, Some(vec![1]));
        }
        history.invoke(2, 0, set::Call::Read);
        history.ok(2, 0, Some(vec![1]));
        set::check(&history.operations().unwrap())
    };
    assert!(run(false).is_valid());
    assert!(run(true).has("unexpected"));
}

#[test]
fn an_addition_that_nobody_read_after_is_not_judged() {
    let run = |reads_last: bool| {
        let mut history = Sets::new();
        let read = |history: &mut Sets, elements: &[i64]| {
            history.invoke(2, 0, set::Call::Read);
            history.ok(2, 0, Some(elements.to_vec()));
        };
        read(&mut history, &[]);
        history.invoke(1, 0, set::Call::Add(1));
        history.ok(1, 0, None);
        if reads_last {
            read(&mut history, &[1]);
        }
        set::check(&history.operations().unwrap()).validity
    };
    assert_eq!(run(true), Validity::Valid);
    assert_eq!(run(false), Validity::Unknown);
}

#[test]
fn a_set_in_which_nothing_is_known_to_be_proves_nothing() {
    let run = |end: fn(&mut Sets) -> u64, seen: &[i64]| {
        let mut history = Sets::new();
        history.invoke(1, 0, set::Call::Add(1));
        end(&mut history);
        history.invoke(2, 0, set::Call::Read);
        history.ok(2, 0, Some(seen.to_vec()));
        set::check(&history.operations().unwrap()).validity
    };
    assert_eq!(run(|history| history.info(1, 0, "timeout"), &[]), Validity::Unknown);
    assert_eq!(run(|history| history.fail(1, 0, "refused"), &[]), Validity::Unknown);
    assert_eq!(run(|history| history.info(1, 0, "timeout"), &[1]), Validity::Valid);
    assert_eq!(run(|history| history.ok(1, 0, None), &[1]), Validity::Valid);
}

struct Grows;

impl Model for Grows {
    type State = BTreeSet<i64>;
    type Call = set::Call;
    type Return = set::Return;

    fn initial(&self) -> BTreeSet<i64> {
        BTreeSet::new()
    }

    fn step(&self, state: &BTreeSet<i64>, call: &set::Call, _: Option<&set::Return>) -> Option<BTreeSet<i64>> {
        let mut next = state.clone();
        if let set::Call::Add(element) = call {
            next.insert(*element);
        }
        Some(next)
    }

    fn is_read(&self, call: &set::Call) -> bool {
        *call == set::Call::Read
    }
}

#[test]
fn histories_of_a_real_set_pass() {
    for seed in 0..100 {
        let (mut random, mut element) = (rng(seed), 0);
        let call = |random: &mut rand::rngs::StdRng| {
            element += 1;
            if random.random_bool(0.3) {
                set::Call::Read
            } else {
                set::Call::Add(element)
            }
        };
        let answer = |before: &BTreeSet<i64>, call: &set::Call, _: &BTreeSet<i64>| {
            (*call == set::Call::Read).then(|| before.iter().copied().collect())
        };
        let mut history = random_run(&mut random, &Grows, 150, 6, call, answer);
        assert!(!set::check(&history.operations().unwrap()).is_invalid(), "seed {seed}");
        read_in_the_end(&mut history);
        let verdict = set::check(&history.operations().unwrap());
        assert!(verdict.is_valid(), "seed {seed}: {verdict:?}");
    }
}

/// All that was acknowledged or read, as a last read may show it.
fn read_in_the_end(history: &mut Sets) {
    let operations = history.operations().unwrap();
    let added = operations.iter().filter(|op| op.outcome.is_ok());
    let elements: BTreeSet<i64> = added
        .flat_map(|op| match (&op.call, op.outcome.result()) {
            (set::Call::Add(element), _) => vec![*element],
            (set::Call::Read, Some(Some(elements))) => elements.clone(),
            (set::Call::Read, _) => vec![],
        })
        .collect();
    history.invoke(1 << 32, 0, set::Call::Read);
    history.ok(1 << 32, 0, Some(elements.into_iter().collect()));
}

struct Sums;

impl Model for Sums {
    type State = i64;
    type Call = counter::Call;
    type Return = counter::Return;

    fn initial(&self) -> i64 {
        0
    }

    fn step(&self, state: &i64, call: &counter::Call, _: Option<&counter::Return>) -> Option<i64> {
        Some(match call {
            counter::Call::Add(amount) => state + amount,
            counter::Call::Read => *state,
        })
    }

    fn is_read(&self, call: &counter::Call) -> bool {
        *call == counter::Call::Read
    }
}

#[test]
fn histories_of_a_real_counter_pass_and_a_lost_addition_is_found() {
    for seed in 0..100 {
        let mut random = rng(seed);
        let call = |random: &mut rand::rngs::StdRng| match random.random_range(0..3) {
            0 => counter::Call::Read,
            _ => counter::Call::Add(random.random_range(-3..8)),
        };
        let answer = |before: &i64, call: &counter::Call, _: &i64| (*call == counter::Call::Read).then_some(*before);
        let history = random_run(&mut random, &Sums, 150, 6, call, answer);
        let verdict = counter::check(&history.operations().unwrap());
        assert!(verdict.is_valid(), "seed {seed}: {verdict:?}");
    }
    let run = |read: i64| {
        let mut history = History::new();
        history.invoke(1, 0, counter::Call::Add(5));
        history.ok(1, 0, None);
        history.invoke(1, 0, counter::Call::Add(2));
        history.info(1, 0, "timeout");
        history.invoke(1, 0, counter::Call::Read);
        history.ok(1, 0, Some(read));
        counter::check(&history.operations().unwrap())
    };
    assert!(run(5).is_valid() && run(7).is_valid());
    assert!(run(2).has("counter-out-of-bounds"), "an acknowledged addition was lost");
    assert!(run(12).has("counter-out-of-bounds"), "an addition was applied twice");
}

#[test]
fn a_counter_does_not_go_back_and_is_a_sum_of_what_was_added() {
    let run = |amount, reads: &[i64]| {
        let mut history = History::new();
        history.invoke(1, 0, counter::Call::Add(amount));
        history.info(1, 0, "timeout");
        for read in reads {
            history.invoke(2, 0, counter::Call::Read);
            history.ok(2, 0, Some(*read));
        }
        counter::check(&history.operations().unwrap())
    };
    for fine in [&[0, 0][..], &[0, 1], &[1, 1]] {
        assert!(run(1, fine).is_valid(), "{fine:?}");
    }
    assert!(run(1, &[1, 0]).has("counter-out-of-bounds"));
    assert!(run(3, &[0, 3]).is_valid());
    assert!(run(3, &[2]).has("counter-out-of-bounds"));
    assert!(run(-1, &[0, -1]).is_valid() && run(-1, &[-1, 0]).is_invalid());
}
