//! The simulator on fixed seeds: it repeats itself, finds nothing wrong, and finds what was planted.

use simulator::plant::{self, Plant};
use simulator::{Report, Settings, run};

/// Faults in a run: fewer than usual, so that this stays short.
const STEPS: u64 = 12;

/// Seeds that once failed, and what was wrong. None may ever fail again. A change of the store that moves one of its timers or
/// tasks makes another run of each: then these are runs that may not fail, and no longer the ones that did.
const KEPT: [(u64, u64, &str); 15] = [
    (
        2,
        24,
        "a member whose log stopped before the cluster was founded lived on and kept it from being founded",
    ),
    (21, 24, "the same, at another moment"),
    (
        1435,
        24,
        "a member that had its removal in its log, and did not hear that it was committed, never stopped",
    ),
    (2177, 24, "the same, after a change of leaders"),
    (
        2949,
        24,
        "a leader that was about to hand over was left as the only member, and went quiet for good",
    ),
    (
        3922,
        24,
        "the simulator let a process go on whose disk had lost its power, if the fuse burnt for more than five seconds",
    ),
    (
        7469,
        24,
        "a leader that lapsed and led again in its term extended a lease whose revocation it had proposed before",
    ),
    (
        3219,
        24,
        "the simulator's own last writes took the room that was left, and nobody made any",
    ),
    (
        12161,
        24,
        "the simulator took a learner, added by a call of unknown outcome, for a member that gets its vote by itself",
    ),
    (
        28949,
        24,
        "a member that was not admitted yet waited for one that was removed meanwhile, and nobody was told to start it again",
    ),
    (
        81620,
        24,
        "a stream to a peer went on after the log was purged for a snapshot, and sent entries with a hole before them",
    ),
    (
        64866,
        24,
        "the same stream found nothing to send, and its empty requests kept the peer from electing for a minute",
    ),
    (
        63311,
        24,
        "the simulator took a sync of nothing for one that makes the batch before it known as synced, and flipped a bit there",
    ),
    (
        1294,
        24,
        "the simulator removed a member from a cluster that had lost another one moments before",
    ),
    (1690, 24, "a cluster did not become whole again; why is not known"),
];

fn settings(plant: Option<Plant>) -> Settings {
    Settings {
        steps: STEPS,
        plant,
        ..Settings::default()
    }
}

fn sound(report: &Report, steps: u64) {
    assert_eq!(
        report.violation, None,
        "again: cargo run --release -p simulator -- --seeds {} --steps {steps} --aloud",
        report.seed
    );
}

#[test]
fn two_runs_of_a_seed_have_one_trace() {
    let mut traces = std::collections::BTreeSet::new();
    for seed in 1_000..1_006 {
        let (first, second) = (run(seed, settings(None)), run(seed, settings(None)));
        assert_eq!(first, second, "seed {seed} is not one run");
        traces.insert(first.summary.trace);
    }
    assert_eq!(traces.len(), 6, "different seeds are different runs");
}

#[test]
fn fixed_seeds_find_nothing() {
    let (mut answered, mut elections) = (0, 0);
    for seed in 0..120 {
        let report = run(seed, settings(None));
        sound(&report, STEPS);
        answered += report.counts.answered;
        elections += report.counts.elections;
    }
    assert!(
        answered > 3_000 && elections > 120,
        "the runs did next to nothing: {answered} answers, {elections} elections"
    );
}

#[test]
fn kept_seeds_stay_sound() {
    for (seed, steps, _) in KEPT {
        let report = run(
            seed,
            Settings {
                steps,
                ..Settings::default()
            },
        );
        sound(&report, steps);
    }
}

/// Each by the invariant that it breaks: a fault that only ever shows elsewhere leaves that one untried.
#[test]
fn planted_faults_are_found_by_the_invariant_that_they_break() {
    for planted in plant::ALL {
        let settings = Settings {
            plant: Some(planted.plant),
            ..Settings::default()
        };
        let mut others = std::collections::BTreeSet::new();
        let found = (0..planted.within).any(|seed| match run(seed, settings).violation {
            Some(violation) if violation.invariant == planted.breaks => true,
            Some(violation) => {
                others.insert(violation.invariant);
                false
            }
            None => false,
        });
        let (name, within, breaks) = (planted.name, planted.within, planted.breaks);
        assert!(
            found,
            "{name}: {breaks} does not find it within {within} seeds, only {others:?}"
        );
    }
}
