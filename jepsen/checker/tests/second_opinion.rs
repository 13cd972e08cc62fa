//! The linearizability search against one that others wrote: todc-utils, of the same family (Wing and Gong, with Lowe's memory),
//! and otherwise unlike this one. Both judge the same histories by the same sequential objects. It knows no operation of
//! unknown outcome; such a one ends there after everything else, which comes to the same: at the very end it can take effect
//! without anybody's notice.

mod generate;

use std::fmt::Debug;

use checker::limits::Bounds;
use checker::linear::register::{self, Register};
use checker::linear::{self, Judgement, Model, OperationOf, txn};
use checker::{History, What};
use generate::{random_run, rng};
use rand::RngExt;
use rand::rngs::StdRng;
use todc_utils::{Action, Specification, WGLChecker};

/// Histories of each object.
const HISTORIES: u64 = 400;
/// Operations of each, by so many processes.
const SIZE: (usize, u64) = (24, 4);

/// One of our objects, as the other search takes it: a call together with its answer, where there was one.
struct Theirs<M>(std::marker::PhantomData<M>);

impl<M: Model + Default> Specification for Theirs<M> {
    type State = M::State;
    type Operation = (M::Call, Option<M::Return>);

    fn init() -> M::State {
        M::default().initial()
    }

    fn apply((call, answer): &Self::Operation, state: &M::State) -> (bool, M::State) {
        match M::default().step(state, call, answer.as_ref()) {
            Some(next) => (true, next),
            None => (false, state.clone()),
        }
    }
}

/// Their verdict.
fn second<M: Model + Default>(operations: &[OperationOf<M>]) -> bool {
    let mut events = Vec::new();
    let took_effect = operations.iter().filter(|operation| !operation.outcome.is_fail());
    for (process, operation) in took_effect.enumerate() {
        let told = (operation.call.clone(), operation.outcome.result().cloned());
        events.push((operation.invoked, process, Action::Call(told.clone())));
        events.push((operation.completed.unwrap_or(u64::MAX), process, Action::Response(told)));
    }
    events.sort_by_key(|(at, ..)| *at);
    let actions = events.into_iter().map(|(_, process, action)| (process, action));
    WGLChecker::<Theirs<M>>::is_linearizable(todc_utils::History::from_actions(actions.collect()))
}

/// Our verdict, which has to be the same.
fn agreed<M: Model + Default>(history: &History<M::Call, M::Return>, what: &dyn Debug) -> bool {
    let operations = history.operations().unwrap();
    let first = match linear::search(&M::default(), &operations, Bounds::default()) {
        Judgement::Linearizable => true,
        Judgement::NotLinearizable(_) => false,
        Judgement::Unknown { why } => panic!("{what:?}: {why}"),
    };
    assert_eq!(first, second::<M>(&operations), "{what:?}: {operations:#?}");
    first
}

/// Both verdicts have to be common, or agreement says little.
fn agree<M: Model + Default>(
    call: impl Fn(&mut StdRng) -> M::Call,
    answer: impl Fn(&M::State, &M::Call, &M::State) -> M::Return,
    spoil: impl Fn(&mut StdRng, &mut History<M::Call, M::Return>),
) {
    let (mut valid, mut invalid) = (0, 0);
    for seed in 0..HISTORIES {
        let mut random = rng(seed);
        let mut history = random_run(&mut random, &M::default(), SIZE.0, SIZE.1, &call, &answer);
        if seed % 2 == 1 {
            spoil(&mut random, &mut history);
        }
        *if agreed::<M>(&history, &seed) {
            &mut valid
        } else {
            &mut invalid
        } += 1;
    }
    assert!(valid >= HISTORIES / 2, "what was not spoiled is valid: {valid}");
    assert!(invalid >= HISTORIES / 8, "only {invalid} were found to be spoiled");
}

#[test]
fn another_search_says_the_same_of_registers() {
    let call = |random: &mut StdRng| {
        let mut value = || random.random_range(0..4);
        match value() {
            0 => register::Call::Write(value()),
            1 => register::Call::Cas(value(), value()),
            2 if value() == 0 => register::Call::Delete,
            _ => register::Call::Read,
        }
    };
    let answer = |before: &register::State, call: &register::Call, after: &register::State| {
        let told = match call {
            register::Call::Read => register::Return::value(before.value),
            register::Call::Cas(from, _) => register::Return::swapped(before.value == Some(*from)),
            register::Call::Write(_) | register::Call::Delete => register::Return::default(),
        };
        told.at_version(after.version)
    };
    agree::<Register>(call, answer, generate::spoil);
}

#[test]
fn another_search_says_the_same_of_transactions_over_several_keys() {
    let call = |random: &mut StdRng| {
        let guard = random.random_bool(0.3);
        let guards = guard.then(|| (random.random_range(0..3), random.random_bool(0.5).then_some(1)));
        let steps = (0..random.random_range(1..4)).map(|_| {
            let key = random.random_range(0..3);
            match random.random_bool(0.5) {
                true => txn::Step::Read(key),
                false => txn::Step::Write(key, random.random_range(0..3)),
            }
        });
        txn::Call {
            steps: steps.collect(),
            guards: guards.into_iter().collect(),
        }
    };
    agree::<txn::Registers>(call, told, spoil);
}

/// What such registers answer.
fn told(
    before: &<txn::Registers as Model>::State,
    call: &txn::Call,
    _: &<txn::Registers as Model>::State,
) -> txn::Return {
    let committed = call.guards.iter().all(|(key, value)| before.get(key) == value.as_ref());
    let (mut now, mut reads) = (before.clone(), Vec::new());
    for step in call.steps.iter().filter(|_| committed) {
        match step {
            txn::Step::Read(key) => reads.push(now.get(key).copied()),
            txn::Step::Write(key, value) => drop(now.insert(*key, *value)),
        }
    }
    txn::Return { committed, reads }
}

/// Changes what one read saw, or whether one transaction committed.
fn spoil(random: &mut StdRng, history: &mut History<txn::Call, txn::Return>) {
    let answered = history.events.iter_mut().filter_map(|event| match &mut event.what {
        What::Ok { result } => Some(result),
        _ => None,
    });
    let mut answered: Vec<&mut txn::Return> = answered.collect();
    if answered.is_empty() {
        return;
    }
    let at = random.random_range(0..answered.len());
    let told = &mut answered[at];
    match told.reads.first_mut() {
        Some(seen) => *seen = Some(random.random_range(0..3)),
        None => told.committed = !told.committed,
    }
}
