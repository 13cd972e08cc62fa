//! The whole matrix of workloads and faults, for a given time: one test after the other, each in a process of its own, each
//! with a seed of its own. What came of each goes to a file, one line a test, and a table is made of it. Run again, it goes
//! on where it was: tests that the file has for the same program are not made again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use checker::{Validity, Verdict};
use serde::{Deserialize, Serialize};

use crate::cli::{SuiteArgs, Workload};
use crate::db;
use crate::limits::UNMADE_TESTS_MAX;
use crate::nemesis::Fault;
use crate::report::Summary;

/// Faults that are tried together, beside none at all.
const FAULTS: [&[Fault]; 18] = [
    &[Fault::Kill, Fault::Pause, Fault::Partition],
    &[Fault::Partition, Fault::MoveLeader, Fault::Compact],
    &[Fault::Members, Fault::Kill],
    &[Fault::Delay, Fault::Loss, Fault::Pause],
    &[Fault::Power, Fault::Kill, Fault::Partition],
    &[Fault::Restart, Fault::Rotate],
    &[Fault::Corrupt, Fault::Kill],
    &[Fault::Clock, Fault::Partition, Fault::Pause],
    &[Fault::Full, Fault::Slow],
    &[Fault::Members, Fault::Partition, Fault::Delay],
    &[Fault::Rotate, Fault::Partition, Fault::Kill],
    &[Fault::Lag, Fault::Members],
    // What is away while much is written leaves tables on disk, and is sent a snapshot: bits of those flip, too.
    &[Fault::Lag, Fault::Corrupt],
    &[Fault::CorruptSnapshot, Fault::Partition],
    // What is broken alone in the sets above, together with what it mixes with.
    &[Fault::Corrupt, Fault::Partition, Fault::Delay],
    &[Fault::Full, Fault::Kill, Fault::Partition],
    &[Fault::Resize, Fault::Kill, Fault::MoveLeader],
    &[Fault::Resize, Fault::Partition, Fault::Loss],
];

const WORKLOADS: [Workload; 11] = [
    Workload::Register,
    Workload::Append,
    Workload::Watch,
    Workload::Lease,
    Workload::Txn,
    Workload::Lock,
    Workload::Kube,
    Workload::Wr,
    Workload::Election,
    Workload::Set,
    Workload::Pods,
];

/// A test of the matrix.
#[derive(Clone, Debug, PartialEq)]
struct Case {
    workload: Workload,
    nemesis: Vec<Fault>,
    members: u8,
    seed: u64,
}

/// The `number`th test. Workloads, faults and sizes take turns at different paces, so that each comes up with each of the
/// others; one test of three has five members.
fn case(number: u64) -> Case {
    let workload = WORKLOADS[(number % WORKLOADS.len() as u64) as usize];
    // 11 workloads and 18 sets of faults have no common divisor: after 198 tests every pair was made.
    let (round, set) = (number / FAULTS.len() as u64, number % FAULTS.len() as u64);
    let nemesis = FAULTS[set as usize].to_vec();
    Case {
        workload,
        nemesis,
        members: if (round + set) % 3 == 2 { 5 } else { 3 },
        seed: 1_000 + number,
    }
}

/// A test that was made, as a line of the results' file.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Line {
    number: u64,
    /// Of the program under test.
    version: String,
    db: String,
    workload: String,
    nemesis: Vec<String>,
    members: usize,
    seed: u64,
    seconds: u64,
    /// How often each fault was made.
    faults: BTreeMap<String, usize>,
    snapshots: usize,
    operations: String,
    /// The promises that were broken, or not proven.
    broken: Vec<String>,
    unknown: Vec<String>,
    /// Where all of it is.
    directory: PathBuf,
}

/// Runs tests until the budget is used up. Returns the program's exit code: 1 if a promise was broken in any, 2 if one was not
/// proven or a test could not be made.
///
/// # Errors
/// Several tests after one another could not be made: the next ones would not be, either.
pub(crate) fn run(args: &SuiteArgs) -> anyhow::Result<i32> {
    let program = db::program(args.db, args.binary.as_deref())?;
    let version = format!("{} {}", db::version(&program), db::fingerprint(&program)?);
    let done: BTreeSet<u64> = read(&args.results)?
        .into_iter()
        .filter(|line| line.version == version && line.db == args.db.name())
        .map(|line| line.number)
        .collect();
    let (budget, mut used) = (Duration::from_secs(args.budget * 60), Duration::ZERO);
    let (mut broken, mut unproven, mut unmade) = (false, false, 0);
    let numbers = (args.from..).step_by(args.step.max(1) as usize);
    for number in numbers.filter(|number| !done.contains(number)) {
        if used >= budget {
            break;
        }
        let mut case = case(number);
        case.nemesis.retain(|fault| fault.can_be_made_on(args.db));
        if args.db == db::Kind::Etcd && matches!(case.workload, Workload::Kube | Workload::Pods) {
            continue;
        }
        let begun = Instant::now();
        match test(args, &program, number, &case) {
            Ok(directory) => {
                let line = line(number, &version, &case, directory)?;
                used += Duration::from_secs(line.seconds);
                broken |= !line.broken.is_empty();
                unproven |= !line.unknown.is_empty();
                unmade = 0;
                println!("{}", row(&line));
                append(&args.results, &line)?;
            }
            Err(error) => {
                eprintln!("test {number} could not be made: {error:#}");
                used += begun.elapsed();
                unproven = true;
                unmade += 1;
                anyhow::ensure!(
                    unmade < UNMADE_TESTS_MAX,
                    "{unmade} tests after one another could not be made"
                );
            }
        }
        table(&args.results)?;
    }
    Ok(exit_code(broken, unproven))
}

fn exit_code(broken: bool, unproven: bool) -> i32 {
    match (broken, unproven) {
        (true, _) => 1,
        (false, true) => 2,
        (false, false) => 0,
    }
}

/// Makes one test in a process of its own; its directory.
fn test(args: &SuiteArgs, program: &Path, number: u64, case: &Case) -> anyhow::Result<PathBuf> {
    let nemesis: Vec<String> = case.nemesis.iter().map(|fault| fault.name()).collect();
    let store = args.store.join(format!("suite-{}", std::process::id()));
    let before = directories(&store)?;
    // A test whose suite is gone ends in order.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM"]).arg(std::env::current_exe()?);
    command.args([
        "test",
        "--workload",
        &case.workload.name(),
        "--nemesis",
        &nemesis.join(","),
    ]);
    command.args(["--db", args.db.name(), "--time-limit", &args.time_limit.to_string()]);
    command.args(["--members", &case.members.to_string(), "--seed", &case.seed.to_string()]);
    command.args(["--rate", &args.rate.to_string()]);
    command.arg("--binary").arg(program).arg("--store").arg(&store);
    std::fs::create_dir_all(&store)?;
    let said = store.join(format!("test-{number}.log"));
    let log = std::fs::File::create(&said)?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("cannot start a test")?;
    let status = child.wait()?;
    let after = directories(&store)?;
    let new = after.difference(&before).next().cloned();
    let new = new.filter(|directory| directory.join("verdict.json").exists());
    let new = new.with_context(|| format!("{status}; see {}", said.display()))?;
    std::fs::rename(&said, new.join("said.log"))?;
    Ok(new)
}

fn directories(store: &Path) -> anyhow::Result<BTreeSet<PathBuf>> {
    if !store.exists() {
        return Ok(BTreeSet::new());
    }
    let entries = std::fs::read_dir(store)?.flatten().map(|entry| entry.path());
    Ok(entries.filter(|path| path.is_dir()).collect())
}

fn line(number: u64, version: &str, case: &Case, directory: PathBuf) -> anyhow::Result<Line> {
    let read = |name: &str| std::fs::read(directory.join(name));
    let summary: Summary = serde_json::from_slice(&read("test.json")?)?;
    let verdicts: Vec<Verdict> = serde_json::from_slice(&read("verdict.json")?)?;
    let of = |validity: Validity| {
        let such = verdicts.iter().filter(|verdict| verdict.validity == validity);
        such.map(|verdict| {
            let kinds: BTreeSet<&str> = verdict.anomalies.iter().map(|anomaly| anomaly.kind.as_str()).collect();
            let kinds: Vec<&str> = kinds.into_iter().collect();
            format!("{} {}", verdict.checker, kinds.join(" ")).trim().to_string()
        })
        .collect::<Vec<_>>()
    };
    let mut faults = BTreeMap::new();
    for window in summary.faults.iter().filter(|window| window.made) {
        *faults.entry(window.fault.clone()).or_default() += 1;
    }
    let activity = verdicts.iter().find(|verdict| verdict.checker == "activity");
    let line = Line {
        number,
        version: version.into(),
        db: summary.db.clone(),
        workload: summary.workload.clone(),
        nemesis: summary.nemesis.clone(),
        members: summary.members,
        seed: case.seed,
        seconds: summary.seconds,
        faults,
        snapshots: summary.snapshots,
        operations: activity.map(|verdict| verdict.notes.join("; ")).unwrap_or_default(),
        broken: of(Validity::Invalid),
        unknown: of(Validity::Unknown),
        directory: directory.clone(),
    };
    // What went well is not looked at again, and members' data is large; what is unproven is.
    if line.broken.is_empty() && line.unknown.is_empty() {
        for member in 1..=summary.members {
            let _ = std::fs::remove_dir_all(directory.join(format!("n{member}")));
        }
    }
    Ok(line)
}

fn read(results: &Path) -> anyhow::Result<Vec<Line>> {
    if !results.exists() {
        return Ok(Vec::new());
    }
    let text = std::fs::read_to_string(results)?;
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let parse = |line| serde_json::from_str(line).with_context(|| format!("{}: {line}", results.display()));
    lines.map(parse).collect()
}

fn append(results: &Path, line: &Line) -> anyhow::Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).open(results)?;
    // In one write, so that two suites can share a file.
    Ok(file.write_all(format!("{}\n", serde_json::to_string(line)?).as_bytes())?)
}

fn row(line: &Line) -> String {
    let faults = line.faults.iter().map(|(fault, times)| format!("{fault} {times}"));
    let mut verdict = match (line.broken.is_empty(), line.unknown.is_empty()) {
        (false, _) => format!("broken: {}", line.broken.join(", ")),
        (true, false) => format!("unproven: {}", line.unknown.join(", ")),
        (true, true) => "kept".into(),
    };
    if line.snapshots > 0 {
        verdict.push_str(&format!(" ({} snapshots)", line.snapshots));
    }
    let faults: Vec<String> = faults.collect();
    format!(
        "| {} | {} | {} | {} | {} | {} | {verdict} |",
        line.workload,
        line.members,
        line.seed,
        line.seconds,
        faults.join(", "),
        line.operations
    )
}

/// Writes the table beside the results.
fn table(results: &Path) -> anyhow::Result<()> {
    let lines = read(results)?;
    let mut versions: BTreeMap<(&str, &str), Vec<&Line>> = BTreeMap::new();
    for line in &lines {
        versions.entry((&line.db, &line.version)).or_default().push(line);
    }
    let mut text = String::new();
    for ((db, version), lines) in versions {
        let seconds: u64 = lines.iter().map(|line| line.seconds).sum();
        let faults: usize = lines.iter().flat_map(|line| line.faults.values()).sum();
        text.push_str(&format!(
            "## {db}: {version}\n\n{} tests, {} min {} s of operations, {faults} faults.\n\n| workload | members | seed | s | \
             faults made | operations | promises |\n|---|---|---|---|---|---|---|\n",
            lines.len(),
            seconds / 60,
            seconds % 60,
        ));
        for line in lines {
            text.push_str(&row(line));
            text.push('\n');
        }
        text.push('\n');
    }
    Ok(std::fs::write(results.with_extension("md"), text)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_workload_meets_every_set_of_faults_on_three_and_five_members() {
        let pairs = (WORKLOADS.len() * FAULTS.len()) as u64;
        let names = |case: &Case| case.nemesis.iter().map(|fault| fault.name()).collect::<Vec<_>>();
        let cases: Vec<Case> = (0..3 * pairs).map(case).collect();
        let met = cases
            .iter()
            .map(|case| (case.workload.name(), names(case), case.members));
        assert_eq!(met.collect::<BTreeSet<_>>().len() as u64, 2 * pairs);
        // Both sizes come early, as few suites come to the end.
        let soon = cases[..3 * FAULTS.len()].iter().map(|case| (names(case), case.members));
        assert_eq!(soon.collect::<BTreeSet<_>>().len(), 2 * FAULTS.len());
    }

    #[test]
    fn no_set_of_faults_is_empty_on_etcd() {
        let left = |set: &[Fault]| set.iter().any(|fault| fault.can_be_made_on(db::Kind::Etcd));
        assert!(FAULTS.into_iter().all(left));
        assert!(
            Fault::ALL
                .into_iter()
                .all(|fault| fault.can_be_made_on(db::Kind::Proreus))
        );
        assert!(Fault::ALL.into_iter().all(|fault| fault.members_min() <= 3));
    }

    #[test]
    fn a_suite_that_proved_nothing_does_not_say_that_all_is_well() {
        assert_eq!(exit_code(false, false), 0);
        assert_eq!(exit_code(false, true), 2);
        assert_eq!(exit_code(true, true), 1);
    }

    #[test]
    fn every_fault_is_in_the_matrix() {
        for fault in Fault::ALL {
            assert!(FAULTS.iter().any(|set| set.contains(&fault)), "{}", fault.name());
        }
    }

    #[test]
    fn members_data_goes_only_where_every_promise_was_kept() {
        let kept = |validity: Validity| {
            let directory = tempfile::tempdir().unwrap();
            let data = directory.path().join("n1");
            std::fs::create_dir(&data).unwrap();
            let summary = crate::report::tests::summary(&["kill"], Vec::new());
            crate::report::save(directory.path(), &summary).unwrap();
            let mut verdict = Verdict::valid("faults");
            verdict.validity = validity;
            let verdicts = serde_json::to_vec(&[verdict]).unwrap();
            std::fs::write(directory.path().join("verdict.json"), verdicts).unwrap();
            line(1, "v", &case(1), directory.path().into()).unwrap();
            data.exists()
        };
        assert!(!kept(Validity::Valid));
        assert!(kept(Validity::Unknown) && kept(Validity::Invalid));
    }

    #[test]
    fn a_line_is_read_as_it_was_written() {
        let directory = tempfile::tempdir().unwrap();
        let results = directory.path().join("results.jsonl");
        let line = Line {
            number: 7,
            version: "v".into(),
            db: "proreus".into(),
            workload: "register".into(),
            nemesis: vec!["kill".into()],
            members: 3,
            seed: 1_007,
            seconds: 60,
            faults: BTreeMap::from([("kill".to_string(), 2)]),
            snapshots: 1,
            operations: "10 operations".into(),
            broken: Vec::new(),
            unknown: Vec::new(),
            directory: "x".into(),
        };
        append(&results, &line).unwrap();
        append(&results, &line).unwrap();
        let lines = read(&results).unwrap();
        assert_eq!((lines.len(), lines[0].number), (2, 7));
        table(&results).unwrap();
        let text = std::fs::read_to_string(results.with_extension("md")).unwrap();
        assert!(text.contains("2 tests, 2 min 0 s of operations, 4 faults."), "{text}");
        assert!(
            text.contains("| register | 3 | 1007 | 60 | kill 2 | 10 operations | kept (1 snapshots) |"),
            "{text}"
        );
    }
}
