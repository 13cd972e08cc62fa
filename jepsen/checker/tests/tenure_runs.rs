//! Histories of sequential servers of leases, locks and elections, in which time passes: all of them must pass.

mod generate;

use std::cell::RefCell;
use std::collections::BTreeMap;

use checker::linear::Model;
use checker::{History, election, lease, lock};
use generate::{Clock, map_answers, rng, timed_run};
use rand::RngExt;
use rand::rngs::StdRng;

const SECOND: u64 = 1_000_000_000;
const TTL_NS: u64 = 3 * SECOND;

/// A server whose answers follow from the state and the time.
trait Server: Model<Return = Result<Self::Told, String>> {
    type Told: Clone + std::fmt::Debug;

    fn clock(&self) -> &Clock;

    fn answer(&self, before: &Self::State, call: &Self::Call, after: &Self::State) -> Self::Return;

    /// `number` is of this call only.
    fn call(&self, random: &mut StdRng, number: i64, seen: &Self::State) -> Self::Call;
}

fn run<S: Server>(seed: u64, server: &S) -> History<S::Call, S::Told> {
    let (seen, mut number) = (RefCell::new(server.initial()), 0);
    let call = |random: &mut StdRng| {
        number += 1;
        server.call(random, number, &seen.borrow())
    };
    let answer = |before: &S::State, call: &S::Call, after: &S::State| {
        *seen.borrow_mut() = after.clone();
        server.answer(before, call, after)
    };
    let history = timed_run(&mut rng(seed), server, (150, 5), server.clock(), call, answer);
    map_answers(history, |answer| answer)
}

fn clock() -> Clock {
    Clock {
        step_max_ns: SECOND,
        ..Clock::default()
    }
}

/// Until when each lease lives. Some are ended a little late.
struct Leases(Clock);

impl Leases {
    fn lives(&self, leases: &BTreeMap<i64, u64>, lease: i64) -> bool {
        let late = lease.unsigned_abs() % 4 * SECOND;
        leases
            .get(&lease)
            .is_some_and(|until| until + late > self.0.now_ns.get())
    }
}

impl Model for Leases {
    type State = BTreeMap<i64, u64>;
    type Call = lease::Call;
    type Return = Result<lease::Return, String>;

    fn initial(&self) -> Self::State {
        BTreeMap::new()
    }

    fn step(&self, state: &Self::State, call: &lease::Call, _: Option<&Self::Return>) -> Option<Self::State> {
        let (mut next, until) = (state.clone(), self.0.now_ns.get() + TTL_NS);
        match call {
            lease::Call::Grant(lease) => drop(next.insert(*lease, until)),
            lease::Call::KeepAlive(lease) if self.lives(state, *lease) => drop(next.insert(*lease, until)),
            lease::Call::Revoke(lease) => drop(next.remove(lease)),
            lease::Call::KeepAlive(_) | lease::Call::Probe(_) => {}
        }
        Some(next)
    }

    fn is_read(&self, _: &lease::Call) -> bool {
        false
    }
}

impl Server for Leases {
    type Told = lease::Return;

    fn clock(&self) -> &Clock {
        &self.0
    }

    fn answer(&self, before: &Self::State, call: &lease::Call, _: &Self::State) -> Self::Return {
        Ok(match call {
            lease::Call::Grant(_) => lease::Return::Ttl(3),
            lease::Call::KeepAlive(lease) => lease::Return::Ttl(if self.lives(before, *lease) { 3 } else { 0 }),
            lease::Call::Probe(lease) => lease::Return::Present(self.lives(before, *lease)),
            lease::Call::Revoke(lease) if self.lives(before, *lease) => lease::Return::Revoked,
            lease::Call::Revoke(_) => return Err("not found".into()),
        })
    }

    fn call(&self, random: &mut StdRng, number: i64, seen: &Self::State) -> lease::Call {
        let newest = seen.keys().last().copied().unwrap_or(0);
        let lease = random.random_range(newest - 2..=newest);
        match random.random_range(0..10) {
            0..=2 => lease::Call::Grant(number),
            3..=4 => lease::Call::KeepAlive(lease),
            5 => lease::Call::Revoke(lease),
            _ => lease::Call::Probe(lease),
        }
    }
}

#[test]
fn histories_of_real_leases_pass_and_late_ones_are_overdue_without_slack() {
    let mut late = 0;
    for seed in 0..300 {
        let operations = run(seed, &Leases(clock())).operations().unwrap();
        let overdue =
            |slack_ns, calm_from_ns| lease::check(&operations, Some(lease::Overdue { calm_from_ns, slack_ns }));
        let verdict = overdue(5 * SECOND, 0);
        assert!(verdict.is_valid(), "seed {seed}: {verdict:?}");
        late += u64::from(overdue(0, 0).has("overdue"));
        let end = operations.iter().filter_map(|op| op.ended_ns).max().unwrap_or(0);
        assert!(
            overdue(0, end).is_valid(),
            "seed {seed}: nothing is late before it is calm"
        );
    }
    assert!(late > 30, "only {late} of 300 had a late lease");
}

/// Who holds a lock, or leads, with which token and until when.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Held {
    revision: i64,
    holder: Option<(i64, u64)>,
    /// Of a leader.
    value: String,
}

impl Held {
    fn holder(&self, now_ns: u64) -> Option<i64> {
        let (token, until) = self.holder?;
        (until > now_ns).then_some(token)
    }

    fn take(&mut self, until: u64) {
        self.revision += 1;
        self.holder = Some((self.revision, until));
    }
}

/// The token of the holder, or now and then the one before.
fn token(random: &mut StdRng, seen: &Held) -> i64 {
    let token = seen.holder.map_or(seen.revision, |(token, _)| token);
    token - i64::from(random.random_ratio(1, 6))
}

struct Locks(Clock);

impl Model for Locks {
    type State = Held;
    type Call = lock::Call;
    type Return = Result<lock::Return, String>;

    fn initial(&self) -> Held {
        Held::default()
    }

    fn step(&self, state: &Held, call: &lock::Call, _: Option<&Self::Return>) -> Option<Held> {
        let (mut next, now) = (state.clone(), self.0.now_ns.get());
        let holder = state.holder(now);
        match call {
            lock::Call::Acquire { ttl_ns, .. } if holder.is_none() => next.take(now + ttl_ns),
            lock::Call::Renew { token, ttl_ns, .. } if holder == Some(*token) => {
                next.holder = Some((*token, now + ttl_ns));
            }
            lock::Call::Release { token, .. } if holder == Some(*token) => next.holder = None,
            lock::Call::Write { token, .. } if holder == Some(*token) => next.revision += 1,
            _ => {}
        }
        Some(next)
    }

    fn is_read(&self, _: &lock::Call) -> bool {
        false
    }
}

impl Server for Locks {
    type Told = lock::Return;

    fn clock(&self) -> &Clock {
        &self.0
    }

    fn answer(&self, before: &Held, call: &lock::Call, after: &Held) -> Self::Return {
        let holder = before.holder(self.0.now_ns.get());
        Ok(match call {
            lock::Call::Acquire { .. } if holder.is_some() => return Err("held".into()),
            lock::Call::Acquire { .. } => lock::Return::Acquired { token: after.revision },
            lock::Call::Renew { token, .. } => lock::Return::Renewed(holder == Some(*token)),
            lock::Call::Release { .. } => lock::Return::Released,
            lock::Call::Write { token, .. } => {
                lock::Return::Written((holder == Some(*token)).then_some(after.revision))
            }
        })
    }

    fn call(&self, random: &mut StdRng, _: i64, seen: &Held) -> lock::Call {
        let (lock, ttl_ns) = (1, TTL_NS);
        let token = token(random, seen);
        match random.random_range(0..10) {
            0..=3 => lock::Call::Acquire { lock, ttl_ns },
            4..=5 => lock::Call::Renew { lock, token, ttl_ns },
            6 => lock::Call::Release { lock, token },
            _ => lock::Call::Write { lock, token },
        }
    }
}

#[test]
fn histories_of_a_real_lock_pass_and_leases_that_were_promised_longer_are_broken() {
    let mut broken = 0;
    for seed in 0..300 {
        let mut operations = run(seed, &Locks(clock())).operations().unwrap();
        let verdict = lock::check(&operations);
        assert!(verdict.is_valid(), "seed {seed}: {verdict:?}");
        for op in &mut operations {
            if let lock::Call::Acquire { ttl_ns, .. } | lock::Call::Renew { ttl_ns, .. } = &mut op.call {
                *ttl_ns += 5 * SECOND;
            }
        }
        broken += u64::from(lock::check(&operations).has("two-holders"));
    }
    assert!(broken > 200, "only {broken} of 300 had two holders");
}

struct Elections(Clock);

impl Model for Elections {
    type State = Held;
    type Call = election::Call;
    type Return = Result<election::Return, String>;

    fn initial(&self) -> Held {
        Held::default()
    }

    fn step(&self, state: &Held, call: &election::Call, _: Option<&Self::Return>) -> Option<Held> {
        let (mut next, now) = (state.clone(), self.0.now_ns.get());
        let leader = state.holder(now);
        match call {
            election::Call::Campaign(value) if leader.is_none() => {
                next.take(now + TTL_NS);
                next.value.clone_from(value);
            }
            election::Call::Renew { token } if leader == Some(*token) => next.holder = Some((*token, now + TTL_NS)),
            election::Call::Proclaim { token, value } if leader == Some(*token) => next.value.clone_from(value),
            election::Call::Resign { token } if leader == Some(*token) => next.holder = None,
            _ => {}
        }
        Some(next)
    }

    fn is_read(&self, call: &election::Call) -> bool {
        *call == election::Call::Leader
    }
}

impl Server for Elections {
    type Told = election::Return;

    fn clock(&self) -> &Clock {
        &self.0
    }

    fn answer(&self, before: &Held, call: &election::Call, after: &Held) -> Self::Return {
        let leader = before.holder(self.0.now_ns.get());
        Ok(match call {
            election::Call::Campaign(_) if leader.is_some() => return Err("another leads".into()),
            election::Call::Campaign(_) => election::Return::Elected { token: after.revision },
            election::Call::Renew { token } => election::Return::Renewed(leader == Some(*token)),
            election::Call::Proclaim { token, .. } if leader == Some(*token) => election::Return::Proclaimed,
            election::Call::Proclaim { .. } => return Err("not the leader".into()),
            election::Call::Resign { .. } => election::Return::Resigned,
            election::Call::Leader => election::Return::Leader(leader.map(|token| (token, before.value.clone()))),
        })
    }

    fn call(&self, random: &mut StdRng, number: i64, seen: &Held) -> election::Call {
        let (token, value) = (token(random, seen), format!("v{number}"));
        match random.random_range(0..10) {
            0..=2 => election::Call::Campaign(value),
            3 => election::Call::Renew { token },
            4..=5 => election::Call::Proclaim { token, value },
            6 => election::Call::Resign { token },
            _ => election::Call::Leader,
        }
    }
}

#[test]
fn histories_of_real_elections_pass_and_sessions_that_were_promised_longer_are_broken() {
    let mut broken = 0;
    for seed in 0..300 {
        let operations = run(seed, &Elections(clock())).operations().unwrap();
        let verdict = election::check(&operations, TTL_NS);
        assert!(verdict.is_valid(), "seed {seed}: {verdict:?}");
        broken += u64::from(election::check(&operations, TTL_NS + 5 * SECOND).has("two-leaders"));
    }
    assert!(broken > 200, "only {broken} of 300 had two leaders");
}
