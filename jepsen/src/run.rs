//! One test from its start to its verdict.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Context;
use checker::{Anomaly, History, Validity, Verdict};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;

use crate::cli::TestArgs;
use crate::client::Target;
use crate::cluster::Cluster;
use crate::db::{Db, Kind, Member, program};
use crate::leftovers;
use crate::limits::HEALTHY_TIMEOUT;
use crate::nemesis::{Fault, Nemesis, Window, heal};
use crate::network::Network;
use crate::notes::Notes;
use crate::record::Recorder;
use crate::report::{self, Summary};
use crate::worker::{Pace, Worker};
use crate::workload::Workload;

/// Processes of the last reads, far from those of the workers.
pub(crate) const FINISHERS: usize = 1 << 32;
/// How long workers may take to finish their last operation.
const LAST_OPERATION: Duration = Duration::from_secs(20);
/// Of a test that did not come to its end.
const UNSEEN: &str = "nobody saw how it ended";
/// How often a judge of processes looks at them.
const WATCH: Duration = Duration::from_millis(100);

/// Runs a test. Returns the program's exit code.
///
/// # Errors
/// The test could not be made; a broken promise is not an error but a verdict.
pub(crate) async fn test<W: Workload>(args: TestArgs) -> anyhow::Result<i32> {
    let mut stops = Stops::listen()?;
    let tested = async {
        tokio::select! {
            result = run::<W>(&args) => result,
            signal = stops.asked() => anyhow::bail!("stopped by {signal}; all faults are undone"),
        }
    };
    let (directory, summary, history) = tested.await?;
    // Nothing is broken any more; judging takes no notice of anybody and leaves nothing to clean.
    tokio::spawn(async move {
        eprintln!(
            "stopped by {} while judging; `jepsen check` goes on",
            stops.asked().await
        );
        std::process::exit(2);
    });
    let verdicts = judge::<W>(&directory, &summary, &history)?;
    report::write(&directory, &summary, &history, &verdicts)?;
    Ok(tell(&directory, &summary, &verdicts))
}

/// The signals that ask a test to end; it undoes all that it did first.
struct Stops {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Stops {
    /// From here on they do not end the process.
    fn listen() -> anyhow::Result<Stops> {
        Ok(Stops {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for one; which.
    async fn asked(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "Ctrl-C",
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.hang_up.recv() => "SIGHUP",
        }
    }
}

type Done<W> = (
    PathBuf,
    Summary,
    (Arc<W>, History<<W as Workload>::Call, <W as Workload>::Return>),
);

async fn run<W: Workload>(args: &TestArgs) -> anyhow::Result<Done<W>> {
    makes_sense::<W>(args)?;
    let start = Instant::now();
    match leftovers::clean() {
        Ok(removed) => removed
            .iter()
            .for_each(|what| eprintln!("removed what a dead test left: {what}")),
        Err(error) => eprintln!("what dead tests left cannot be removed: {error:#}"),
    }
    let directory = directory(args)?;
    let cluster = Arc::new(cluster(args, &directory, start)?);
    let notes = Arc::new(Notes::new(directory.clone(), begun(args, &cluster))?);
    (0..cluster.len()).try_for_each(|member| cluster.start(member))?;
    let up = cluster
        .healthy(W::needs_api())
        .await
        .context("the cluster did not start; its logs are in the test's directory")?;
    eprintln!("{}: {} members up after {up:.1?}", directory.display(), cluster.len());

    let recorder = Recorder::new(&directory.join("history.jsonl"), start)?;
    let deadline = Instant::now() + Duration::from_secs(args.time_limit);
    let workload = Arc::new(W::default());
    let (over, until_over) = tokio::sync::watch::channel(false);
    let pace = Pace {
        seed: args.seed,
        workers: args.concurrency,
        members: cluster.len(),
        rate: args.rate,
        over: until_over,
    };
    let targets: Arc<[Target]> = (0..cluster.len())
        .map(|member| Target {
            stale_reads: args.stale_reads,
            ..cluster.target(member)
        })
        .collect();
    let mut workers = JoinSet::new();
    for index in 0..args.concurrency {
        let worker = Worker::new(index, index, &pace, targets.clone(), recorder.clone())?;
        let workload = workload.clone();
        workers.spawn(async move { workload.work(worker).await });
    }
    let watching = tokio::spawn(watch(cluster.clone(), notes.clone()));
    let nemesis = Nemesis {
        cluster: cluster.clone(),
        faults: args.nemesis.clone(),
        seed: args.seed,
        start,
        deadline,
        notes: notes.clone(),
    };
    nemesis.run().await;
    tokio::time::sleep_until(deadline.into()).await;
    // Not before the last fault is mended, also if that was later.
    over.send_replace(true);
    heal(&cluster).await;
    let recovered = cluster.healthy(W::needs_api()).await;
    let calm_from_ns = recovered.is_ok().then(|| start.elapsed().as_nanos() as u64);
    let mut trouble = Vec::new();
    if !W::WORKS_TO_THE_END {
        trouble.extend(join("worker", &mut workers, LAST_OPERATION).await);
    }
    trouble.extend(finish(&workload, &cluster, &recorder, args.seed).await?);
    trouble.extend(join("worker", &mut workers, HEALTHY_TIMEOUT).await);
    watching.abort();
    // It holds the cluster, which is taken down with the last that does.
    let _ = watching.await;
    workload.save(&directory)?;
    trouble.extend(recorder.trouble());
    let history = recorder.history();
    // Written before it is judged, in case that goes wrong.
    notes.change(|summary| {
        summary.ends = cluster.ends();
        summary.complaints = cluster.complaints();
        summary.snapshots = cluster.snapshots_installed();
        summary.refused = cluster.snapshots_refused();
        summary.calm_from_ns = calm_from_ns;
        summary.recovered = recovered
            .map(|time| time.as_millis() as u64)
            .map_err(|error| format!("{error:#}"));
        summary.trouble.extend(trouble);
        summary.events = Some(history.events.len() as u64);
        summary.ended = true;
    });
    Ok((directory, notes.summary(), (workload, history)))
}

/// Whether a test could prove what it is asked for.
fn makes_sense<W: Workload>(args: &TestArgs) -> anyhow::Result<()> {
    anyhow::ensure!(
        !W::needs_api() || args.db == Kind::Proreus,
        "{} needs the Kubernetes API, which {} does not have",
        args.workload.name(),
        args.db.name()
    );
    anyhow::ensure!(
        args.concurrency >= W::CLIENTS_MIN,
        "{} needs at least {} clients: set --concurrency",
        args.workload.name(),
        W::CLIENTS_MIN
    );
    anyhow::ensure!(
        !args.stale_reads || W::READS_STALE,
        "--stale-reads changes nothing about {}: only register, set and lease have reads that can be stale",
        args.workload.name()
    );
    for fault in &args.nemesis {
        anyhow::ensure!(
            fault.can_be_made_on(args.db),
            "{} cannot be made on {}: leave it out of --nemesis",
            fault.name(),
            args.db.name()
        );
        anyhow::ensure!(
            args.members >= fault.members_min(),
            "{} needs at least {} members: set --members",
            fault.name(),
            fault.members_min()
        );
    }
    Ok(())
}

/// What is known of a test before anything is done.
fn begun(args: &TestArgs, cluster: &Cluster) -> Summary {
    Summary {
        workload: args.workload.name(),
        db: args.db.name().into(),
        version: cluster.db.version(),
        command: std::env::args().collect::<Vec<_>>().join(" "),
        members: cluster.len(),
        seconds: args.time_limit,
        nemesis: args.nemesis.iter().map(|fault| fault.name()).collect(),
        faults: Vec::new(),
        ends: Vec::new(),
        complaints: Vec::new(),
        snapshots: 0,
        refused: 0,
        calm_from_ns: None,
        recovered: Err("the test did not come to its end".into()),
        trouble: Vec::new(),
        events: None,
        ended: false,
    }
}

fn directory(args: &TestArgs) -> anyhow::Result<PathBuf> {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let name = format!(
        "{}-{}-{}-{}",
        args.workload.name(),
        args.db.name(),
        args.seed,
        since.as_secs()
    );
    let directory = args.store.join(name);
    create(&directory)
}

/// Makes a directory that nobody else has: two tests of one workload, database and seed may begin in one second.
fn create(directory: &Path) -> anyhow::Result<PathBuf> {
    let cannot = || {
        format!(
            "cannot create {}: if it is another test's, try again",
            directory.display()
        )
    };
    if let Some(store) = directory.parent() {
        std::fs::create_dir_all(store).with_context(cannot)?;
    }
    std::fs::create_dir(directory).with_context(cannot)?;
    Ok(std::fs::canonicalize(directory)?)
}

fn cluster(args: &TestArgs, directory: &Path, start: Instant) -> anyhow::Result<Cluster> {
    let network = Network::create(args.members.into()).context("the network needs root, iproute2 and nftables")?;
    let members = (0..usize::from(args.members)).map(|index| {
        let name = format!("n{}", index + 1);
        Member {
            root: directory.join(&name),
            address: network.address(index),
            name,
        }
    });
    let db = Db {
        kind: args.db,
        program: program(args.db, args.binary.as_deref())?,
        members: members.collect(),
        directory: directory.into(),
        ids: Mutex::default(),
        away: Mutex::default(),
    };
    let disks = args.nemesis.iter().any(|fault| fault.needs_disks());
    Cluster::new(db, network, disks, args.nemesis.contains(&Fault::Clock), start)
}

/// Notices ends of processes when they happen, not when someone next looks.
async fn watch(cluster: Arc<Cluster>, notes: Arc<Notes>) {
    let mut noted = (0, 0);
    loop {
        let (ends, complaints) = (cluster.ends(), cluster.complaints());
        if noted != (ends.len(), complaints.len()) {
            noted = (ends.len(), complaints.len());
            notes.change(|summary| (summary.ends, summary.complaints) = (ends, complaints));
        }
        tokio::time::sleep(WATCH).await;
    }
}

/// Waits until all have ended; what became of those that did not, or not in order.
async fn join(what: &str, workers: &mut JoinSet<()>, limit: Duration) -> Vec<String> {
    let mut trouble = Vec::new();
    let all = async {
        while let Some(ended) = workers.join_next().await {
            let panicked = ended.err().map(|error| format!("a {what} ended wrongly: {error}"));
            trouble.extend(panicked);
        }
    };
    if tokio::time::timeout(limit, all).await.is_err() {
        trouble.push(format!("{} {what}s did not end in {limit:?}", workers.len()));
        workers.shutdown().await;
    }
    trouble
}

async fn finish<W: Workload>(
    workload: &Arc<W>,
    cluster: &Cluster,
    recorder: &Recorder<W::Call, W::Return>,
    seed: u64,
) -> anyhow::Result<Vec<String>> {
    let (_over, until_over) = tokio::sync::watch::channel(false);
    let pace = Pace {
        seed,
        workers: cluster.len(),
        members: cluster.len(),
        rate: 1000.0,
        over: until_over,
    };
    let targets: Arc<[Target]> = (0..cluster.len()).map(|member| cluster.target(member)).collect();
    let mut finishers = JoinSet::new();
    for member in 0..cluster.len() {
        // A damaged member may have refused to run; if it runs, it has to answer rightly.
        if !cluster.is_running(member) {
            continue;
        }
        let worker = Worker::new(member, FINISHERS + member, &pace, targets.clone(), recorder.clone())?;
        let workload = workload.clone();
        finishers.spawn(async move { workload.finish(worker).await });
    }
    Ok(join("last reader", &mut finishers, HEALTHY_TIMEOUT).await)
}

type Judged<'a, W> = &'a (Arc<W>, History<<W as Workload>::Call, <W as Workload>::Return>);

fn judge<W: Workload>(
    directory: &Path,
    summary: &Summary,
    (workload, history): Judged<'_, W>,
) -> anyhow::Result<Vec<Verdict>> {
    let begun = Instant::now();
    // Without faults it was calm from the beginning.
    let calm_from_ns = if summary.nemesis.is_empty() && summary.ended {
        Some(0)
    } else {
        summary.calm_from_ns
    };
    let mut verdicts = workload.check(history, calm_from_ns)?;
    eprintln!("judged in {:.1?}", begun.elapsed());
    verdicts.push(activity(summary, history)?);
    let calls = history.operations()?.into_iter().map(|op| op.invoked_ns);
    verdicts.push(faults(summary, &calls.collect::<Vec<_>>()));
    verdicts.push(recovery(summary));
    verdicts.push(processes(summary));
    verdicts.push(beside(summary));
    let file = File::create(directory.join("verdict.json"))?;
    serde_json::to_writer_pretty(file, &verdicts)?;
    Ok(verdicts)
}

/// A test in which nothing was answered proves nothing, nor does a history that is not all that happened.
fn activity<C: Clone, R: Clone>(summary: &Summary, history: &History<C, R>) -> anyhow::Result<Verdict> {
    let operations = history.operations()?;
    let count = |wanted: fn(&checker::Outcome<R>) -> bool| operations.iter().filter(|op| wanted(&op.outcome)).count();
    let (ok, fail, info) = (count(|o| o.is_ok()), count(|o| o.is_fail()), count(|o| o.is_info()));
    let mut verdict = Verdict::valid("activity");
    verdict.note(format!(
        "{} operations: {ok} ok, {fail} failed, {info} unknown",
        operations.len()
    ));
    if ok == 0 {
        verdict.unknown("no operation was answered");
    }
    let there = history.events.len() as u64;
    if let Some(made) = summary.events.filter(|made| *made != there) {
        verdict.unknown(format!("the history has {there} events, and the test made {made}"));
    }
    for trouble in &summary.trouble {
        verdict.unknown(trouble.clone());
    }
    Ok(verdict)
}

/// A test that did not make each fault it was asked for, while clients were at work, proves nothing of it. `asked`: when each
/// operation was asked for, on the test's clock.
fn faults(summary: &Summary, asked: &[u64]) -> Verdict {
    let mut verdict = Verdict::valid("faults");
    let noticed = |window: &&Window| {
        asked
            .iter()
            .any(|at| window.from_ns <= *at && (*at <= window.to_ns || window.open))
    };
    let made = summary.faults.iter().filter(|window| window.made);
    let (made, unnoticed): (Vec<&Window>, Vec<&Window>) = made.partition(noticed);
    let names: Vec<&str> = made.iter().map(|window| window.fault.as_str()).collect();
    verdict.note(format!("{} made: {}", names.len(), names.join(", ")));
    for window in summary.faults.iter().filter(|window| !window.made) {
        verdict.note(format!("{} {}", window.fault, window.detail));
    }
    for window in unnoticed {
        verdict.note(format!("{} was made while no client worked", window.fault));
    }
    let never = summary.nemesis.iter().filter(|fault| !names.contains(&fault.as_str()));
    let never: BTreeSet<&str> = never.map(String::as_str).collect();
    if !never.is_empty() {
        let never: Vec<&str> = never.into_iter().collect();
        verdict.unknown(format!("never made: {}", never.join(", ")));
    }
    verdict
}

/// After the faults are healed, every member answers again without anyone's help.
fn recovery(summary: &Summary) -> Verdict {
    let mut verdict = Verdict::valid("recovery");
    if !summary.ended {
        verdict.unknown("the test did not come to its end: what it left was judged");
        return verdict;
    }
    match &summary.recovered {
        Ok(time) => verdict.note(format!(
            "all members answered {time} ms after the last fault was healed"
        )),
        Err(error) => verdict.broken(Anomaly::new("did-not-recover", error.clone(), [])),
    }
    verdict
}

/// No process ends by itself, unless its files were damaged or its disk fails it.
fn processes(summary: &Summary) -> Verdict {
    let mut verdict = Verdict::valid("processes");
    let mut damaged = 0;
    if !summary.ended {
        verdict.unknown(UNSEEN);
    }
    for end in &summary.ends {
        let message = format!(
            "{} ended at {:.1} s ({}): {}",
            end.member,
            end.at_ns as f64 / 1e9,
            end.status,
            end.said
        );
        if !end.damaged {
            verdict.broken(Anomaly::new("process-ended", message, []));
            continue;
        }
        // A damaged member is started again and again, and says the same each time.
        damaged += 1;
        if damaged == 1 {
            verdict.note(message);
        }
    }
    if damaged > 1 {
        verdict.note(format!("{damaged} such ends"));
    }
    verdict
}

/// What the one who made the faults saw: removed members that ran on, renewed certificates that nobody was shown.
fn beside(summary: &Summary) -> Verdict {
    let mut verdict = Verdict::valid("beside");
    if !summary.ended {
        verdict.unknown(UNSEEN);
    }
    verdict.note(format!("{} snapshots installed", summary.snapshots));
    if summary.refused > 0 {
        verdict.note(format!(
            "{} snapshots refused because they were damaged",
            summary.refused
        ));
    }
    for complaint in &summary.complaints {
        verdict.broken(Anomaly::new("seen-beside", complaint.clone(), []));
    }
    verdict
}

fn tell(directory: &Path, summary: &Summary, verdicts: &[Verdict]) -> i32 {
    for verdict in verdicts {
        println!(
            "{:?} {}: {}",
            verdict.validity,
            verdict.checker,
            verdict.notes.join("; ")
        );
        for anomaly in &verdict.anomalies {
            println!("  {}: {}", anomaly.kind, anomaly.message);
        }
    }
    let worst = verdicts
        .iter()
        .map(|verdict| verdict.validity)
        .max()
        .unwrap_or(Validity::Unknown);
    println!(
        "{worst:?}: {} ({}); {}",
        summary.db,
        summary.version,
        directory.display()
    );
    match worst {
        Validity::Valid => 0,
        Validity::Invalid => 1,
        Validity::Unknown => 2,
    }
}

/// The workload whose history a test's directory holds.
///
/// # Errors
/// It holds none.
pub(crate) fn workload_of(directory: &Path) -> anyhow::Result<String> {
    Ok(summary(directory)?.workload)
}

fn summary(directory: &Path) -> anyhow::Result<Summary> {
    let path = directory.join("test.json");
    let file = File::open(&path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_reader(BufReader::new(file)).with_context(|| format!("{} is not valid", path.display()))
}

/// Bytes up to the end of the last whole line: a test that was killed may have left half of one.
fn whole_lines(text: &[u8]) -> usize {
    text.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1)
}

/// Judges a stored history again.
///
/// # Errors
/// It cannot be read.
pub(crate) fn check<W: Workload>(directory: &Path) -> anyhow::Result<i32> {
    let summary = summary(directory)?;
    let path = directory.join("history.jsonl");
    let mut lines = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let workload = Arc::new(W::default());
    if summary.ended {
        workload.load(directory)?;
    } else {
        lines.truncate(whole_lines(&lines));
        if let Err(error) = workload.load(directory) {
            eprintln!("what is recorded beside the history was not written: {error:#}");
        }
    }
    let history = History::read(lines.as_slice())?;
    let done = (workload, history);
    let verdicts = judge::<W>(directory, &summary, &done)?;
    report::write(directory, &summary, &done, &verdicts)?;
    Ok(tell(directory, &summary, &verdicts))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Workload as Workloads;
    use crate::report::tests::{summary, window};
    use crate::workload::{Append, Kube, Register};

    #[test]
    fn a_fault_that_was_asked_for_and_never_made_proves_nothing() {
        let kill = || window("kill", true, 10, 20);
        let judged = |others: Vec<Window>, asked: &[u64]| {
            let faults_made = std::iter::once(kill()).chain(others).collect();
            faults(&summary(&["kill", "pause"], faults_made), asked).validity
        };
        assert_eq!(judged(vec![window("pause", true, 30, 40)], &[15, 35]), Validity::Valid);
        assert_eq!(judged(Vec::new(), &[15, 35]), Validity::Unknown);
        assert_eq!(
            judged(vec![window("pause", false, 30, 40)], &[15, 35]),
            Validity::Unknown
        );
        // It was made, and nobody was there to notice.
        assert_eq!(
            judged(vec![window("pause", true, 30, 40)], &[15, 45]),
            Validity::Unknown
        );
        assert_eq!(faults(&summary(&[], Vec::new()), &[15]).validity, Validity::Valid);
    }

    #[test]
    fn what_would_prove_nothing_is_refused_before_anything_is_started() {
        let sense = |arguments: &str| {
            let args = TestArgs::of(arguments).unwrap();
            match args.workload {
                Workloads::Register => makes_sense::<Register>(&args),
                Workloads::Append => makes_sense::<Append>(&args),
                _ => makes_sense::<Kube>(&args),
            }
            .is_ok()
        };
        assert!(sense("--workload register --stale-reads"));
        assert!(!sense("--workload append --stale-reads") && !sense("--workload kube --stale-reads"));
        assert!(sense("--workload kube --nemesis clock,corrupt-snapshot"));
        assert!(!sense("--workload kube --db etcd"));
        assert!(sense("--workload append --db etcd --nemesis kill,corrupt,lag"));
        assert!(!sense("--workload append --db etcd --nemesis kill,clock"));
        assert!(!sense("--workload append --db etcd --nemesis corrupt-snapshot"));
        assert!(sense("--workload append --members 1 --nemesis kill,power"));
        assert!(!sense("--workload append --members 2 --nemesis members"));
        assert!(!sense("--workload append --members 1 --nemesis partition"));
    }

    fn answered(events: u64) -> History<u8, u8> {
        let mut history = History::new();
        for _ in 0..events / 2 {
            history.invoke(1, 0, 1);
            history.ok(1, 0, 1);
        }
        history
    }

    #[test]
    fn a_history_that_is_not_all_that_happened_proves_nothing() {
        let judged = |events, trouble: &[&str]| {
            let summary = Summary {
                events,
                trouble: trouble.iter().map(|what| (*what).to_string()).collect(),
                ..summary(&[], Vec::new())
            };
            activity(&summary, &answered(4)).unwrap().validity
        };
        assert_eq!(judged(Some(4), &[]), Validity::Valid);
        assert_eq!(judged(None, &[]), Validity::Valid, "a test of before");
        assert_eq!(judged(Some(6), &[]), Validity::Unknown, "cut off at a line's end");
        assert_eq!(judged(Some(4), &["a worker ended wrongly"]), Validity::Unknown);
    }

    #[tokio::test]
    async fn workers_that_panic_or_hang_are_told() {
        let mut workers = JoinSet::new();
        workers.spawn(async {});
        assert!(join("worker", &mut workers, Duration::from_secs(60)).await.is_empty());
        workers.spawn(async { panic!("planted") });
        let told = join("worker", &mut workers, Duration::from_secs(60)).await;
        assert!(told.len() == 1 && told[0].contains("ended wrongly"), "{told:?}");
        workers.spawn(std::future::pending());
        let told = join("worker", &mut workers, Duration::from_millis(10)).await;
        assert!(told.len() == 1 && told[0].contains("did not end"), "{told:?}");
    }

    #[test]
    fn a_test_that_did_not_come_to_its_end_says_what_was_done_to_it_and_no_more() {
        let open = Window {
            open: true,
            ..window("kill", true, 10, 10)
        };
        let mut killed = Summary {
            ended: false,
            ..summary(&["kill"], vec![open])
        };
        assert_eq!(faults(&killed, &[5, 15]).validity, Validity::Valid);
        for verdict in [processes(&killed), beside(&killed), recovery(&killed)] {
            assert_eq!(verdict.validity, Validity::Unknown, "{}", verdict.checker);
        }
        killed.complaints.push("it ran on".into());
        assert!(beside(&killed).is_invalid());
        let whole = summary(&[], Vec::new());
        assert!(processes(&whole).is_valid() && beside(&whole).is_valid() && recovery(&whole).is_valid());
    }

    #[test]
    fn no_two_tests_share_a_directory() {
        let store = tempfile::tempdir().unwrap();
        let directory = store.path().join("new store").join("register-etcd-1-2");
        assert!(create(&directory).is_ok());
        let again = format!("{:#}", create(&directory).unwrap_err());
        assert!(again.contains("try again"), "{again}");
    }

    #[test]
    fn half_a_line_is_not_read() {
        assert_eq!(whole_lines(b"one\ntwo\nthr"), 8);
        assert_eq!(whole_lines(b"one\n"), 4);
        assert_eq!(whole_lines(b"on"), 0);
    }
}
