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
        Some((first, end)) => Ok(number(first)?..number(end)?),
        None => number(text).map(|seed| seed..seed + 1),
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
        let plant = plant.map_or_else(String::new, |known| format!(" --plant {}", known.name));
        println!(
            "  again: cargo run --release -p simulator -- --seeds {seed} --steps {}{plant} --aloud",
            settings.steps
        );
    }
    failed
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
    }

    fn tell(&self, started: Instant) {
        let took = started.elapsed().as_secs_f64();
        println!(
            "{} seeds in {took:.1} s ({:.1} a second), {:.0} s of virtual time, {} polls",
            self.seeds,
            self.seeds as f64 / took,
            self.virtual_s,
            self.polls
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
