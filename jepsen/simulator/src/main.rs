//! Runs seeds, and prints of each that fails what was violated and the command that has it again.

use std::ops::Range;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Instant;

use clap::Parser;
use simulator::plant::{self, Plant};
use simulator::run::STEPS;
use simulator::{Report, Settings, run};

/// Runs the store under simulated faults, a whole cluster a seed.
#[derive(Debug, Parser)]
#[command(name = "simulator")]
struct Arguments {
    /// Seeds to run: one, or A..B without B.
    #[arg(long, value_parser = parse_seeds, default_value = "0..100")]
    seeds: Range<u64>,
    /// Faults in each run.
    #[arg(long, default_value_t = STEPS)]
    steps: u64,
    /// Runs at the same time, each on a thread of its own.
    #[arg(long, default_value_t = 1)]
    jobs: u64,
    /// Tells on stderr everything that happens.
    #[arg(long)]
    aloud: bool,
    /// Runs every seed twice and compares the traces.
    #[arg(long)]
    twice: bool,
    /// Goes on after a seed that failed.
    #[arg(long)]
    keep_going: bool,
    /// A fault to build in.
    #[arg(long, value_parser = parse_plant)]
    plant: Option<Plant>,
}

fn parse_seeds(text: &str) -> Result<Range<u64>, String> {
    let number = |text: &str| text.parse::<u64>().map_err(|error| format!("{text:?}: {error}"));
    match text.split_once("..") {
        Some((first, end)) => {
            let (first, end) = (number(first)?, number(end)?);
            if first >= end {
                return Err(format!("there is no seed from {first} on and before {end}"));
            }
            Ok(first..end)
        }
        None => {
            let seed = number(text)?;
            let end = seed.checked_add(1);
            Ok(seed..end.ok_or_else(|| format!("the last seed is {}", u64::MAX - 1))?)
        }
    }
}

fn parse_plant(text: &str) -> Result<Plant, String> {
    let known = plant::ALL.iter().find(|known| known.name == text);
    known.map(|known| known.plant).ok_or_else(|| {
        let names: Vec<_> = plant::ALL.iter().map(|known| known.name).collect();
        format!("there is no such fault; there are {}", names.join(", "))
    })
}

/// What became of a seed, and how long its run took.
struct Done {
    report: Report,
    repeats: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let settings = Settings {
        steps: arguments.steps,
        aloud: arguments.aloud,
        plant: arguments.plant,
    };
    let started = Instant::now();
    let next = AtomicU64::new(arguments.seeds.start);
    let (send, done) = mpsc::channel();
    let mut failed = Vec::new();
    let mut totals = Totals::default();
    std::thread::scope(|scope| {
        for _ in 0..arguments.jobs.max(1) {
            let (send, next, arguments) = (send.clone(), &next, &arguments);
            scope.spawn(move || {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= arguments.seeds.end {
                        return;
                    }
                    let report = run(seed, settings);
                    let repeats = !arguments.twice || run(seed, settings) == report;
                    if send.send(Done { report, repeats }).is_err() {
                        return;
                    }
                }
            });
        }
        drop(send);
        for Done { report, repeats } in done {
            totals.add(&report);
            if tell(&report, repeats, settings) {
                failed.push(report.seed);
                if !arguments.keep_going {
                    // The others end with the seed that they are at.
                    next.store(arguments.seeds.end, Ordering::Relaxed);
                }
            }
        }
    });
    totals.tell(started);
    if failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Prints what is to be said of a seed; whether it failed.
fn tell(report: &Report, repeats: bool, settings: Settings) -> bool {
    let seed = report.seed;
    if !repeats {
        println!("seed {seed}: two runs differ");
    }
    if let Some(violation) = &report.violation {
        println!("seed {seed}: {} is violated: {}", violation.invariant, violation.what);
    }
    let failed = !repeats || report.violation.is_some();
    if failed {
        let plant = plant::ALL.iter().find(|known| Some(known.plant) == settings.plant);
        println!("  trace hash {:016x}", report.summary.trace);
        println!("  again: {}", again(seed, repeats, settings.steps, plant));
    }
    failed
}

/// The command that has a seed's run again.
fn again(seed: u64, repeats: bool, steps: u64, plant: Option<&plant::Planted>) -> String {
    let feature = if plant.is_some_and(|known| known.plant.is_in_the_store()) {
        " --features simulator/planted"
    } else {
        ""
    };
    let plant = plant.map_or_else(String::new, |known| format!(" --plant {}", known.name));
    let twice = if repeats { "" } else { " --twice" };
    format!("cargo run --release -p simulator{feature} -- --seeds {seed} --steps {steps}{plant}{twice} --aloud")
}

#[derive(Default)]
struct Totals {
    seeds: u64,
    answered: u64,
    failed: u64,
    unknown: u64,
    applied: u64,
    installed: u64,
    watched: u64,
    faults: u64,
    elections: u64,
    added: u64,
    removed: u64,
    no_room: u64,
    polls: u64,
    virtual_s: f64,
    /// The sum of all seeds' trace hashes, which does not depend on the order in which they end.
    traces: u64,
}

impl Totals {
    fn add(&mut self, report: &Report) {
        let counts = report.counts;
        self.seeds += 1;
        self.answered += counts.answered;
        self.failed += counts.failed;
        self.unknown += counts.unknown;
        self.applied += counts.applied;
        self.installed += counts.installed;
        self.watched += counts.watched;
        self.faults += counts.faults;
        self.elections += counts.elections;
        self.added += counts.added;
        self.removed += counts.removed;
        self.no_room += counts.no_room;
        self.polls += report.summary.polls;
        self.virtual_s += report.summary.time.as_secs_f64();
        self.traces = self.traces.wrapping_add(report.summary.trace);
    }

    fn tell(&self, started: Instant) {
        let took = started.elapsed().as_secs_f64();
        println!(
            "{} seeds in {took:.1} s ({:.1} a second), {:.0} s of virtual time, {} polls, trace hash {:016x}",
            self.seeds,
            self.seeds as f64 / took,
            self.virtual_s,
            self.polls,
            self.traces
        );
        println!(
            "calls: {} answered, {} failed, {} unknown; {} entries applied, {} snapshots installed, {} blocks watched, \
             {} faults, {} elections, {} members added, {} removed, {} calls refused for want of room",
            self.answered,
            self.failed,
            self.unknown,
            self.applied,
            self.installed,
            self.watched,
            self.faults,
            self.elections,
            self.added,
            self.removed,
            self.no_room
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_that_are_none_are_refused() {
        assert_eq!(parse_seeds("7"), Ok(7..8));
        assert_eq!(parse_seeds("5..10"), Ok(5..10));
        for none in ["10..5", "5..5", "18446744073709551615", "", "x"] {
            assert!(parse_seeds(none).is_err(), "{none:?}");
        }
    }

    #[test]
    fn the_command_has_the_run_again_as_it_was() {
        assert_eq!(
            again(7, false, 24, None),
            "cargo run --release -p simulator -- --seeds 7 --steps 24 --twice --aloud"
        );
        for known in plant::ALL {
            let command = again(7, true, 24, Some(known));
            assert!(command.contains(&format!(" --plant {}", known.name)), "{command}");
            assert_eq!(
                command.contains("--features simulator/planted"),
                known.plant.is_in_the_store()
            );
        }
    }
}
