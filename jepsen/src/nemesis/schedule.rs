//! Which faults are made, in which order and for how long. Drawn from the seed, the faults asked for and the time limit alone,
//! whatever becomes of them.
//!
//! The faults go round: each is the first of a step once before any is the first of one again, in an order drawn anew for each
//! round. Each has a generator of its own, so that how much one draws, which depends on who leads and who runs, changes nothing
//! of what the next one does.

use std::collections::VecDeque;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

use super::Fault;
use crate::limits::{FAULT_MS, QUIET_MS, STEP};

/// How often a second fault is made beside the first, where the two mix.
const SECOND: f64 = 0.25;
/// A schedule is not pressed together further than this.
const HURRY_MIN: f64 = 0.2;

/// A quiet time, and what follows it.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) quiet: Duration,
    /// One or two, each with what it draws from.
    pub(super) faults: Vec<(Fault, StdRng)>,
    /// How long they last once they are made.
    pub(super) lasts: Duration,
}

pub(super) struct Schedule {
    random: StdRng,
    faults: Vec<Fault>,
    round: VecDeque<Fault>,
    /// 1, or less if the first round would not fit into the test's time otherwise.
    hurry: f64,
}

impl Schedule {
    pub(super) fn new(seed: u64, faults: &[Fault], time: Duration) -> Schedule {
        let mut asked: Vec<Fault> = Vec::new();
        for fault in faults {
            if !asked.contains(fault) {
                asked.push(*fault);
            }
        }
        let round = STEP.as_secs_f64() * asked.len().max(1) as f64;
        Schedule {
            random: StdRng::seed_from_u64(seed),
            faults: asked,
            round: VecDeque::new(),
            hurry: (time.as_secs_f64() / round).clamp(HURRY_MIN, 1.0),
        }
    }

    /// The shortest time that a fault lasts: with less time left, none is begun.
    pub(super) fn room(&self) -> Duration {
        Duration::from_millis(FAULT_MS.start).mul_f64(self.hurry)
    }

    fn milliseconds(&mut self, range: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(self.random.random_range(range)).mul_f64(self.hurry)
    }
}

impl Iterator for Schedule {
    type Item = Step;

    /// Ends only if no faults were asked for.
    fn next(&mut self) -> Option<Step> {
        if self.round.is_empty() {
            let mut round = self.faults.clone();
            round.shuffle(&mut self.random);
            self.round = round.into();
        }
        let first = self.round.pop_front()?;
        let second = self.faults[self.random.random_range(0..self.faults.len())];
        let beside = self.random.random_bool(SECOND) && first.mixes_with(second);
        let mut faults = vec![(first, StdRng::seed_from_u64(self.random.random()))];
        let other = StdRng::seed_from_u64(self.random.random());
        if beside {
            faults.push((second, other));
        }
        Some(Step {
            quiet: self.milliseconds(QUIET_MS),
            lasts: self.milliseconds(FAULT_MS),
            faults,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn named(schedule: Schedule, steps: usize) -> Vec<(Vec<String>, Duration, Duration)> {
        let name = |step: Step| {
            let names = step.faults.iter().map(|(fault, _)| fault.name()).collect();
            (names, step.quiet, step.lasts)
        };
        schedule.take(steps).map(name).collect()
    }

    #[test]
    fn in_each_round_every_fault_is_the_first_of_a_step_once() {
        for seed in 0..50 {
            let faults = [Fault::Kill, Fault::Partition, Fault::Members, Fault::Kill, Fault::Loss];
            let steps = named(Schedule::new(seed, &faults, Duration::from_secs(60)), 12);
            for round in steps.chunks(4) {
                let first: BTreeSet<&str> = round.iter().map(|(names, ..)| names[0].as_str()).collect();
                assert_eq!(first.len(), 4, "seed {seed}: {round:?}");
            }
            // What is made alone stays alone.
            assert!(
                steps
                    .iter()
                    .all(|(names, ..)| names.len() == 1 || !names.contains(&"members".into()))
            );
        }
    }

    #[test]
    fn a_seed_fixes_the_schedule_however_much_a_fault_draws() {
        let all = Fault::ALL;
        let schedule = || Schedule::new(7, &all, Duration::from_secs(60));
        let drawn = schedule().map(|mut step| {
            let draws = step.lasts.as_millis() % 5;
            for (_, random) in &mut step.faults {
                for _ in 0..draws {
                    let _drawn: u64 = random.random();
                }
            }
            (step.quiet, step.lasts, step.faults.len())
        });
        let undrawn = schedule().map(|step| (step.quiet, step.lasts, step.faults.len()));
        assert!(drawn.take(100).eq(undrawn.take(100)));
        let own = |number: usize| schedule().nth(number).map(|mut step| step.faults[0].1.random::<u64>());
        assert!(own(0) == own(0) && own(0) != own(18));
    }

    #[test]
    fn a_first_round_is_pressed_into_a_short_test_and_a_long_test_is_not_hurried() {
        let faults = [Fault::Members, Fault::Rotate, Fault::Pause];
        for seed in 0..50 {
            let short = named(Schedule::new(seed, &faults, Duration::from_secs(30)), 3);
            let takes: Duration = short.iter().map(|(_, quiet, lasts)| *quiet + *lasts).sum();
            assert!(takes < Duration::from_secs(35), "seed {seed}: {takes:?}");
        }
        let room = |seconds| Schedule::new(1, &faults, Duration::from_secs(seconds)).room();
        assert_eq!(room(60), Duration::from_millis(FAULT_MS.start));
        assert!(room(10) < room(60) && room(1) > Duration::ZERO);
        assert!(Schedule::new(1, &[], Duration::from_secs(60)).next().is_none());
    }
}
