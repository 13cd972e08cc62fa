//! Random histories that are valid by construction: processes overlap at random, and each operation that takes effect does
//! so at one moment between its invocation and its completion, on a real sequential object.
#![allow(dead_code)]

use std::cell::Cell;
use std::collections::BTreeMap;

use checker::linear::Model;
use checker::linear::register::{Call, Return};
use checker::{History, What};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Generators of one seed make one history.
pub fn rng(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}

enum Stage<C, R> {
    Invoked(C),
    Applied(R),
    /// It was given up before it took effect; it may still do so.
    Abandoned(C),
}

/// Runs `count` operations of `processes` processes against the model. One in ten ends unknown, before or after it took
/// effect; one in twenty fails without effect.
pub fn random_run<M: Model>(
    random: &mut StdRng,
    model: &M,
    count: usize,
    processes: u64,
    call: impl FnMut(&mut StdRng) -> M::Call,
    answer: impl Fn(&M::State, &M::Call, &M::State) -> M::Return,
) -> History<M::Call, M::Return> {
    let clock = Clock::default();
    timed_run(random, model, (count, processes), &clock, call, answer)
}

/// The time that a run and its model share, and how much of it may pass from one event to the next.
#[derive(Default)]
pub struct Clock {
    pub now_ns: Cell<u64>,
    pub step_max_ns: u64,
}

/// A [`random_run`] in which time passes.
pub fn timed_run<M: Model>(
    random: &mut StdRng,
    model: &M,
    (count, processes): (usize, u64),
    clock: &Clock,
    mut call: impl FnMut(&mut StdRng) -> M::Call,
    answer: impl Fn(&M::State, &M::Call, &M::State) -> M::Return,
) -> History<M::Call, M::Return> {
    let (mut history, mut state, mut started) = (History::new(), model.initial(), 0);
    let mut open: BTreeMap<u64, Stage<M::Call, M::Return>> = BTreeMap::new();
    let mut names: Vec<u64> = (0..processes).collect();
    while started < count || !open.is_empty() {
        if clock.step_max_ns > 0 {
            let step = random.random_range(0..clock.step_max_ns);
            clock.now_ns.set(clock.now_ns.get() + step);
        }
        let now = clock.now_ns.get();
        let at = random.random_range(0..names.len());
        let process = names[at];
        match open.remove(&process) {
            None if started < count => {
                started += 1;
                let call = call(random);
                history.invoke(process, now, call.clone());
                open.insert(process, Stage::Invoked(call));
            }
            None => {}
            Some(Stage::Invoked(_)) if random.random_ratio(1, 20) => {
                history.fail(process, now, "refused");
            }
            Some(Stage::Invoked(call)) if random.random_ratio(1, 20) => {
                history.info(process, now, "timeout");
                open.insert(process, Stage::Abandoned(call));
                names[at] = names.iter().max().unwrap() + 1;
                names.push(process);
            }
            Some(Stage::Invoked(call)) => {
                let next = model
                    .step(&state, &call, None)
                    .expect("any call may be made in any state");
                let told = answer(&state, &call, &next);
                state = next;
                open.insert(process, Stage::Applied(told));
            }
            Some(Stage::Applied(_)) if random.random_ratio(1, 20) => {
                history.info(process, now, "connection reset");
            }
            Some(Stage::Applied(told)) => {
                history.ok(process, now, told);
            }
            Some(Stage::Abandoned(call)) => {
                if random.random_bool(0.5) {
                    state = model
                        .step(&state, &call, None)
                        .expect("any call may be made in any state");
                }
                names.retain(|name| *name != process);
            }
        }
    }
    history
}

/// Changes one answer, so that most such histories are no longer what a register did.
pub fn spoil(random: &mut StdRng, history: &mut History<Call, Return>) {
    let answered: Vec<usize> = (0..history.events.len())
        .filter(|at| matches!(history.events[*at].what, What::Ok { .. }))
        .collect();
    if answered.is_empty() {
        return;
    }
    let at = answered[random.random_range(0..answered.len())];
    let What::Ok { result } = &mut history.events[at].what else {
        return;
    };
    match random.random_range(0..3) {
        0 => result.version = None,
        1 => result.version = Some(random.random_range(0..3)),
        _ => result.value = result.value.map(|_| Some(random.random_range(0..4))),
    }
}

/// The history with every answer changed: `Err` becomes a failure.
pub fn map_answers<C, R, S>(history: History<C, R>, change: impl Fn(R) -> Result<S, String>) -> History<C, S> {
    let mut changed = History::new();
    for event in history.events {
        let what = match event.what {
            What::Invoke { call } => What::Invoke { call },
            What::Ok { result } => match change(result) {
                Ok(result) => What::Ok { result },
                Err(error) => What::Fail { error },
            },
            What::Fail { error } => What::Fail { error },
            What::Info { error } => What::Info { error },
        };
        changed.push(event.process, event.time_ns, what);
    }
    changed
}
