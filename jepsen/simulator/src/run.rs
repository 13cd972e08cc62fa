//! One run: a seed becomes a cluster, clients and faults; then all is healed, and everything has to be well.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mvcc::DeterministicError;
use parking_lot::Mutex;
use raftstore::{Retention, Timing};

use crate::call::{Call, Outcome};
use crate::clients::{Client, KINDS, Taste, ask};
use crate::cluster::{Build, Cluster};
use crate::executor::{self, Summary};
use crate::faults::{self, Nemesis};
use crate::monitor::{Counts, Monitor, Observation, Violation};
use crate::plant::{self, Plant};
use crate::random::Random;
use crate::schedulers::User;
use crate::watchers::{Follower, Position};

/// How runs are made.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Faults in a run, one after the other.
    pub steps: u64,
    /// Tell on stderr what happens.
    pub aloud: bool,
    /// The fault that is built in.
    pub plant: Option<Plant>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            steps: STEPS,
            aloud: false,
            plant: None,
        }
    }
}

/// Faults in a run, unless said otherwise.
pub const STEPS: u64 = 24;

/// What came of a seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// What was wrong, if anything.
    pub violation: Option<Violation>,
    /// The run in numbers, the trace hash among them.
    pub summary: Summary,
    /// What it consisted of.
    pub counts: Counts,
}

/// After the faults, a cluster has this long to be whole again.
const RECOVERY: Duration = Duration::from_secs(60);
/// Leases whose time is over end within this.
const LEASE_WAIT: Duration = Duration::from_secs(21);

/// Everything that a seed decides before the run begins.
#[derive(Debug, Clone)]
struct Plan {
    build: Build,
    kinds: Vec<faults::Kind>,
    pause: Duration,
    clients: u64,
    watchers: u64,
    taste: Taste,
    wait_for_leases: bool,
    /// Clients that ask for leases which run out.
    lingerers: u64,
}

fn plan(random: &mut Random) -> Plan {
    let milliseconds = Duration::from_millis;
    let [heartbeat, election_min, election_max] = [[50, 150, 350], [100, 300, 700], [150, 500, 1_000]][random.index(3)];
    let build = Build {
        members: [1, 3, 3, 3, 3, 3, 5, 5][random.index(8)],
        timing: Timing {
            heartbeat: milliseconds(heartbeat),
            election_min: milliseconds(election_min),
            election_max: milliseconds(election_max),
            request: milliseconds(random.within(1_000..5_000)),
        },
        retention: Retention {
            flush_bytes: random.magnitude(100..20_000),
            entries: random.magnitude(1..200),
            bytes: random.magnitude(500..50_000),
        },
        segment_bytes: [16, 32, 64][random.index(3)] << 10,
        cache_bytes: random.magnitude(1..100_000) as usize,
        joiners: 0,
        space: None,
        schedules: false,
    };
    let mut weights = [0; KINDS];
    weights.iter_mut().for_each(|weight| *weight = random.below(8));
    // Reads and writes are never missing; compactions and transfers are rare.
    weights[0] += 4;
    weights[1] += 4;
    weights[6] = weights[6].min(1);
    weights[10] = weights[10].min(1);
    Plan {
        build,
        kinds: faults::draw(random),
        pause: milliseconds(random.magnitude(100..2_000)),
        clients: random.within(1..6),
        watchers: random.within(1..3),
        taste: Taste {
            keys: random.within(1..6),
            padding: random.magnitude(1..400),
            weights,
            pause: milliseconds(random.magnitude(10..300)),
        },
        wait_for_leases: weights[7] > 0 && random.chance(250_000),
        lingerers: 0,
    }
}

/// Some runs change the membership, some are short of room, some place pods, and some ask for leases that run out. Drawn apart from the rest, so
/// that a seed without them is the run that it was before there were any.
fn add_extras(plan: &mut Plan, random: &mut Random) {
    if random.chance(300_000) {
        plan.kinds.extend(faults::draw_changes(random));
        plan.build.joiners = JOINERS;
    }
    if random.chance(150_000) {
        plan.build.space = Some((random.magnitude(16_000..120_000), 2 * plan.build.segment_bytes));
    }
    plan.build.schedules = random.chance(120_000) || plant::needs_schedulers();
    if random.chance(120_000) || plant::needs_leases() {
        // Leases that run out are asked for while disks are too slow to end them.
        plan.lingerers = 2;
        plan.kinds.extend([faults::Kind::SlowDisk; 3]);
    }
}

/// Keeps what extras draw apart from what the plan draws.
const EXTRAS: u64 = 0x6d65_6d62_6572_7321;
/// Numbers of clients that linger begin behind those of all others.
const LINGERERS: u64 = 100;
/// Machines that may join a run.
const JOINERS: usize = 6;

/// Runs a seed.
pub fn run(seed: u64, settings: Settings) -> Report {
    plant::set(settings.plant);
    CLIENTS_WANTED.set(true);
    let mut random = Random::new(seed);
    let mut plan = plan(&mut random);
    add_extras(&mut plan, &mut Random::new(seed ^ EXTRAS));
    let monitor = Monitor::new(settings.aloud);
    let (watched, clocks) = (monitor.clone(), plan.build.members as usize + plan.build.joiners);
    if settings.aloud {
        eprintln!("{plan:?}");
    }
    let steps = settings.steps;
    let (panics, summary) = executor::run(random.draw(), clocks, async move {
        let cluster = Cluster::new(plan.build.clone(), monitor);
        play(&cluster, plan, random, steps).await;
        cluster.network.close_doors();
        executor::take_panics()
    });
    for (_, panic) in panics {
        watched.violate("nothing_panics", panic);
    }
    Report {
        seed,
        violation: watched.violation(),
        summary,
        counts: watched.counts(),
    }
}

async fn play(cluster: &Arc<Cluster>, plan: Plan, mut random: Random, steps: u64) {
    for id in cluster.ids() {
        cluster.start(id);
    }
    let mut clients = Vec::new();
    for number in 1..=plan.clients {
        let client = Client::new(cluster.clone(), number, random.fork(), plan.taste.clone());
        clients.push(executor::spawn(while_wanted(client.run())));
    }
    for number in 1..=plan.lingerers {
        let client = Client::new(cluster.clone(), LINGERERS + number, random.fork(), plan.taste.clone());
        clients.push(executor::spawn(while_wanted(client.linger())));
    }
    if plan.build.schedules {
        let user = User {
            cluster: cluster.clone(),
            random: random.fork(),
        };
        clients.push(executor::spawn(while_wanted(user.run())));
    }
    let mut positions = Vec::new();
    for number in 1..=plan.watchers {
        let position = Arc::new(Mutex::new(Position { session: 0, next: 2 }));
        positions.push(position.clone());
        let follower = Follower {
            cluster: cluster.clone(),
            number,
            random: random.fork(),
            position,
        };
        drop(executor::spawn(follower.run()));
    }
    let mut nemesis = Nemesis::new(cluster.clone(), random.fork(), plan.kinds, plan.pause);
    for _ in 0..steps {
        nemesis.step().await;
        if stop_now(&cluster.monitor) {
            return;
        }
    }
    nemesis.heal();
    // Clients go on for a moment: the cluster has to recover under load.
    executor::sleep(Duration::from_millis(500)).await;
    CLIENTS_WANTED.set(false);
    for client in clients {
        let _ = client.await;
    }
    settle(cluster, &positions, plan.wait_for_leases).await;
}

std::thread_local! {
    /// Whether clients go on asking; a run begins with true.
    static CLIENTS_WANTED: std::cell::Cell<bool> = const { std::cell::Cell::new(true) };
}

/// Polls `work` until clients are not wanted any more.
async fn while_wanted(work: impl Future<Output = ()>) {
    let mut work = std::pin::pin!(work);
    std::future::poll_fn(|context| {
        if !CLIENTS_WANTED.get() {
            return std::task::Poll::Ready(());
        }
        work.as_mut().poll(context)
    })
    .await;
}

fn stop_now(monitor: &Monitor) -> bool {
    for (_, panic) in executor::take_panics() {
        monitor.violate("nothing_panics", panic);
    }
    monitor.violation().is_some()
}

/// Waits until the cluster is whole; it is a violation if that never happens.
async fn settle(cluster: &Arc<Cluster>, positions: &[Arc<Mutex<Position>>], wait_for_leases: bool) {
    let monitor = cluster.monitor.clone();
    // Changes of the membership have to come to their end, too.
    let patience = if cluster.build.joiners > 0 { 3 } else { 1 } * RECOVERY.as_nanos() as u64;
    let deadline = executor::now() + patience;
    let mut missing = String::new();
    let mut number = 0;
    while executor::now() < deadline {
        if stop_now(&monitor) {
            return;
        }
        cluster.mend();
        number += 1;
        match whole(cluster, number).await {
            Ok(()) => break,
            Err(what) => missing = what,
        }
        Cluster::look_again().await;
    }
    if executor::now() >= deadline {
        return monitor.violate("the_cluster_recovers", missing);
    }
    if wait_for_leases {
        executor::sleep(LEASE_WAIT).await;
    }
    let deadline = executor::now() + RECOVERY.as_nanos() as u64;
    while let Some(what) = unsettled(cluster, positions) {
        if executor::now() >= deadline {
            return monitor.violate("the_cluster_recovers", what);
        }
        if stop_now(&monitor) {
            return;
        }
        // The last writes may have taken what room was left, which members notice a moment later.
        let full = cluster.monitor.history(|history| history.no_room);
        if let Some(id) = cluster.kept().into_iter().next().filter(|_| full) {
            cluster.make_room(id).await;
        }
        // A change that was asked for long ago may have been made only now.
        if cluster.build.joiners > 0 {
            let _ = reconcile(cluster).await;
        }
        executor::sleep(Duration::from_millis(100)).await;
    }
    let revisions: BTreeMap<u64, i64> = revisions(cluster);
    monitor.observe(&Observation::Settled {
        revisions: &revisions,
        members: &cluster.views(),
    });
    for id in cluster.kept() {
        let read = Call::Get {
            key: None,
            serializable: true,
            revision: 0,
        };
        ask(cluster, id, read, RECOVERY).await;
    }
    stop_now(&monitor);
}

/// Whether every member that is left takes a write and reads.
async fn whole(cluster: &Arc<Cluster>, number: u64) -> Result<(), String> {
    if cluster.build.joiners > 0 {
        reconcile(cluster).await?;
    }
    for id in cluster.kept() {
        let write = Call::Put {
            key: "k0".into(),
            value: format!("last.{number}.{id}").into(),
            lease: 0,
        };
        let read = Call::Get {
            key: None,
            serializable: false,
            revision: 0,
        };
        for call in [write, read] {
            match ask(cluster, id, call.clone(), Duration::from_secs(10)).await {
                Some(Outcome::Answered(_)) => {}
                Some(Outcome::Refused(DeterministicError::NoSpace)) => {
                    cluster.make_room(id).await;
                    return Err("there is no room".into());
                }
                outcome => return Err(format!("{call:?} at member {id} is not answered: {outcome:?}")),
            }
        }
    }
    Ok(())
}

/// Waits for whoever changes the membership, and takes what the leader knows for the truth.
async fn reconcile(cluster: &Arc<Cluster>) -> Result<(), String> {
    if cluster.is_changing() {
        return Err("the membership is still being changed".into());
    }
    let leader = cluster.leader().ok_or("nobody leads")?;
    let read = Call::Get {
        key: None,
        serializable: false,
        revision: 0,
    };
    let answered = ask(cluster, leader, read, Duration::from_secs(10)).await;
    let (Some(Outcome::Answered(_)), Some((store, _))) = (answered, cluster.store(leader)) else {
        return Err(format!("member {leader}, which leads, does not answer"));
    };
    cluster.reconcile(leader, store.members()).await;
    Ok(())
}

fn revisions(cluster: &Cluster) -> BTreeMap<u64, i64> {
    let kept = cluster.kept().into_iter();
    kept.map(|id| (id, cluster.store(id).map_or(0, |(store, _)| store.status().revision)))
        .collect()
}

/// What is still missing for the end.
fn unsettled(cluster: &Cluster, positions: &[Arc<Mutex<Position>>]) -> Option<String> {
    let last = cluster.monitor.history(|history| history.revision);
    for (id, revision) in revisions(cluster) {
        if revision < last {
            return Some(format!("member {id} is at revision {revision} of {last}"));
        }
    }
    if cluster.monitor.history(|history| history.no_room) {
        return Some("there is room, and an alarm stands".into());
    }
    if let Some(what) = unsettled_members(cluster) {
        return Some(what);
    }
    for (number, position) in positions.iter().enumerate() {
        let next = position.lock().next;
        if next <= last {
            return Some(format!(
                "watcher {} was not told of revision {next}, the last one is {last}",
                number + 1
            ));
        }
    }
    None
}

/// What is still missing of the membership.
fn unsettled_members(cluster: &Cluster) -> Option<String> {
    let due: BTreeMap<u64, bool> = cluster.kept().into_iter().map(|id| (id, true)).collect();
    let lost = cluster.lost();
    let views = cluster.views().into_iter().map(|(id, mut view)| {
        // Those that were given up stay as they are.
        view.retain(|member, _| !lost.contains(member));
        (id, view)
    });
    let differs = views.into_iter().find(|(_, view)| *view != due);
    if let Some((id, view)) = differs {
        return Some(format!("member {id} knows the members {view:?} instead of {due:?}"));
    }
    let undead = cluster.undead()?;
    Some(format!("member {undead} was removed, and goes on"))
}
