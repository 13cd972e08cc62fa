//! The machines and the members on them: what outlives a process, and the processes that come and go.

mod members;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use parking_lot::Mutex;
use raftstore::{
    Error, FaultHandler, FreeSpace, MembershipRefusal, Node, Options, Parts, Retention, Space, Store, Timing,
};

use crate::disk::{SOUND, SimulatedDisk, Survivors};
use crate::executor::{self, ProcessId, WORLD};
use crate::monitor::{Monitor, Observation};
use crate::network::{Door, Network, SimulatedPeers};
use crate::random::Random;
use crate::runtime::Simulated;
use crate::schedulers::Scheduler;
use crate::tables::SimulatedTables;

pub use members::url;

/// What a run's members are like.
#[derive(Debug, Clone)]
pub struct Build {
    /// How many.
    pub members: u64,
    /// Clocks of the protocol.
    pub timing: Timing,
    /// How much log is kept.
    pub retention: Retention,
    /// Bytes of a log segment.
    pub segment_bytes: u64,
    /// Bytes of entries kept in memory.
    pub cache_bytes: usize,
    /// Clocks for machines that join later.
    pub joiners: usize,
    /// Bytes of the tables from which on writes are refused, and of the disk that have to stay free; `None`: room is no
    /// concern.
    pub space: Option<(u64, u64)>,
    /// Whether members place pods.
    pub schedules: bool,
}

/// What a member is to its cluster, as far as those who change it know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// One of its members.
    Present,
    /// Somebody asked for its removal; nobody said that it is done.
    Leaving,
    /// Not a member any more.
    Removed,
}

/// How a process ends that did not want to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Death {
    /// The process is killed; what the system had taken from it stays.
    Killed,
    /// The power goes.
    PowerLoss(Survivors),
}

struct Machine {
    /// Which clock is its own.
    clock: usize,
    /// The member's name; one that takes another's place has the same.
    name: String,
    /// Whether the member was added to a cluster that existed.
    joined: bool,
    /// Whether it waits for somebody to promote it.
    learner: bool,
    standing: Standing,
    /// The members that it was last started with.
    roster: BTreeSet<u64>,
    disk: SimulatedDisk,
    tables: Arc<SimulatedTables>,
    process: Option<ProcessId>,
    store: Option<Store>,
    /// Its disk was tampered with: it may stop with a fault, or refuse to start.
    may_fault: bool,
    /// If it stops with a fault, it is given up: its disk is damaged for good.
    may_be_lost: bool,
    /// Given up.
    lost: bool,
    paused: bool,
}

/// The cluster of a run.
pub struct Cluster {
    /// What its members are like.
    pub build: Build,
    /// How they reach each other.
    pub network: Arc<Network>,
    /// Who is told.
    pub monitor: Arc<Monitor>,
    machines: Mutex<BTreeMap<u64, Machine>>,
    /// Whether somebody changes the membership.
    changing: AtomicBool,
}

/// What a member says that stops because it was removed.
const REMOVED: &str = "was removed from the cluster";
/// How long a process may take to begin before it is looked at again.
const OBSERVE: Duration = Duration::from_millis(20);

impl Machine {
    /// A machine with empty disks that nothing runs on.
    fn new(id: u64, clock: usize, name: String, monitor: &Arc<Monitor>) -> Self {
        monitor.follows(id, clock);
        Self {
            clock,
            name,
            joined: false,
            learner: false,
            standing: Standing::Present,
            roster: BTreeSet::new(),
            disk: SimulatedDisk::default(),
            tables: Arc::new(SimulatedTables::new(id, monitor.clone())),
            process: None,
            store: None,
            may_fault: false,
            may_be_lost: false,
            lost: false,
            paused: false,
        }
    }
}

impl Cluster {
    /// Machines that nothing runs on.
    pub fn new(build: Build, monitor: Arc<Monitor>) -> Arc<Self> {
        let machine = |id: u64| Machine::new(id, id as usize, format!("m{id}"), &monitor);
        let machines = (1..=build.members).map(|id| (id, machine(id))).collect();
        Arc::new(Self {
            network: Network::new(monitor.clone()),
            machines: Mutex::new(machines),
            changing: AtomicBool::new(false),
            build,
            monitor,
        })
    }

    /// All ids that there ever were, of members that were removed too.
    pub fn ids(&self) -> Vec<u64> {
        self.machines.lock().keys().copied().collect()
    }

    fn options(self: &Arc<Self>, id: u64, process: ProcessId) -> Options {
        let roster = self.roster(id);
        let founds = {
            let mut machines = self.machines.lock();
            let machine = machines.get_mut(&id);
            machine.is_none_or(|machine| {
                machine.roster = roster.iter().map(|member| member.id).collect();
                !machine.joined
            })
        };
        let mut options = Options::new(id, "simulated", roster);
        options.founds = founds;
        if let Some((quota_bytes, reserve_bytes)) = self.build.space {
            let disk = self.disk(id);
            options.space = Space {
                quota_bytes,
                reserve_bytes,
                free: FreeSpace(Some(Arc::new(move || Ok(disk.free())))),
            };
        }
        options.timing = self.build.timing;
        options.retention = self.build.retention;
        options.log.segment_bytes = self.build.segment_bytes;
        options.log.cache_bytes = self.build.cache_bytes;
        let cluster = Arc::downgrade(self);
        options.on_fault = FaultHandler(Arc::new(move |reason| {
            let (cluster, reason) = (cluster.clone(), reason.to_owned());
            // The process ends, but not under the feet of the task that says so.
            drop(executor::spawn_in(WORLD, async move {
                if let Some(cluster) = cluster.upgrade() {
                    cluster.faulted(id, process, &reason);
                }
            }));
        }));
        options
    }

    /// Starts a member that does not run.
    pub fn start(self: &Arc<Self>, id: u64) {
        let Some(clock) = self.clock(id) else { return };
        let process = executor::new_process(clock);
        let parts = {
            let mut machines = self.machines.lock();
            let Some(machine) = machines
                .get_mut(&id)
                .filter(|machine| machine.process.is_none() && !machine.lost)
            else {
                return;
            };
            machine.process = Some(process);
            machine.paused = false;
            Parts {
                disk: machine.disk.clone(),
                backend: machine.tables.clone(),
                peers: SimulatedPeers::new(self.network.clone(), id),
            }
        };
        self.monitor.tell(|| format!("m{id} starts"));
        self.monitor.observe(&Observation::Started { member: id });
        let (cluster, options) = (self.clone(), self.options(id, process));
        drop(executor::spawn_in(process, async move {
            match Node::<Simulated, _, _, _>::start(options, parts).await {
                Ok(node) => cluster.started(id, process, node),
                Err(error) => {
                    let reason = error.to_string();
                    drop(executor::spawn_in(WORLD, async move {
                        cluster.faulted(id, process, &reason)
                    }));
                }
            }
        }));
    }

    fn started(
        self: &Arc<Self>,
        id: u64,
        process: ProcessId,
        node: Node<Simulated, SimulatedDisk, SimulatedTables, SimulatedPeers>,
    ) {
        let inbound = node.inbound();
        node.found_in_background();
        let store = Store::of(node);
        {
            let mut machines = self.machines.lock();
            let Some(machine) = machines.get_mut(&id).filter(|machine| machine.process == Some(process)) else {
                return;
            };
            machine.store = Some(store.clone());
        }
        self.network.open_door(id, Door { process, inbound });
        if self.build.schedules {
            let scheduler = Scheduler::new(self.monitor.clone(), id, store.clone());
            drop(executor::spawn_in(process, scheduler.run()));
        }
        let (monitor, mut leadership) = (self.monitor.clone(), store.leadership());
        drop(executor::spawn_in(process, async move {
            loop {
                let known = *leadership.borrow_and_update();
                if known.leading {
                    monitor.tell(|| format!("m{id} leads in term {}", known.term));
                }
                monitor.observe(&Observation::Leads { member: id, known });
                if leadership.changed().await.is_err() {
                    return;
                }
            }
        }));
    }

    /// A member stopped itself.
    fn faulted(&self, id: u64, process: ProcessId, reason: &str) {
        self.monitor.tell(|| format!("m{id} stops with a fault: {reason}"));
        let (current, excused, removed) = {
            let machines = self.machines.lock();
            let machine = &machines[&id];
            let removed = machine.standing != Standing::Present && reason.contains(REMOVED);
            (machine.process == Some(process), machine.may_fault, removed)
        };
        if !current {
            return;
        }
        if !excused && !removed {
            self.monitor.violate(
                "sound_members_run",
                format!("member {id} stops although nothing is wrong with it: {reason}"),
            );
        }
        self.end(id, Death::Killed);
        if let Some(machine) = self.machines.lock().get_mut(&id) {
            machine.lost = machine.may_be_lost || removed;
            if removed {
                machine.standing = Standing::Removed;
            }
        }
    }

    /// Ends a member's process, if it has one.
    pub fn end(&self, id: u64, death: Death) {
        let (process, disk, tables) = {
            let mut machines = self.machines.lock();
            let Some(machine) = machines.get_mut(&id) else { return };
            let Some(process) = machine.process.take() else { return };
            machine.store = None;
            machine.paused = false;
            (process, machine.disk.clone(), machine.tables.clone())
        };
        self.monitor.tell(|| format!("m{id} ends: {death:?}"));
        self.network.close_door(id);
        self.network.set_paused(id, false);
        executor::end_process(process);
        let (survivors, flushed) = match death {
            // A fuse that burnt down is a power loss, whoever killed the process.
            Death::Killed if disk.is_dead() => (Some(Survivors::Some), Survivors::None),
            Death::Killed => (None, Survivors::None),
            Death::PowerLoss(survivors) => {
                let flushed = executor::random(|random| random.chance(300_000));
                (Some(survivors), if flushed { Survivors::All } else { Survivors::None })
            }
        };
        if let Some(survivors) = survivors {
            executor::random(|random| disk.crash(survivors, random));
        }
        tables.crash(flushed);
        self.monitor.observe(&Observation::Ended { member: id });
    }

    /// Cuts a member's power between two operations of its disk, soon.
    pub fn light_fuse(self: &Arc<Self>, id: u64, operations: u64) {
        let disk = self.disk(id);
        disk.light_fuse(operations);
        let cluster = self.clone();
        // However long that takes: a member whose power is gone and whose process goes on would never be started again.
        drop(executor::spawn_in(WORLD, async move {
            disk.wait_dead().await;
            cluster.end(id, Death::PowerLoss(Survivors::Some));
        }));
    }

    /// Stops all tasks of a member for a while.
    pub fn set_paused(&self, id: u64, paused: bool) {
        let mut machines = self.machines.lock();
        let Some(machine) = machines.get_mut(&id) else { return };
        let Some(process) = machine.process.filter(|_| machine.paused != paused) else {
            return;
        };
        machine.paused = paused;
        self.network.set_paused(id, paused);
        if paused {
            executor::pause(process);
        } else {
            executor::resume(process);
        }
    }

    /// A member's disk.
    pub fn disk(&self, id: u64) -> SimulatedDisk {
        self.machines.lock()[&id].disk.clone()
    }

    /// From here on a member may stop itself, because its disk was tampered with.
    pub fn excuse(&self, id: u64, may_fault: bool) {
        if let Some(machine) = self.machines.lock().get_mut(&id) {
            machine.may_fault = may_fault;
        }
    }

    /// From here on a member that stops itself is given up.
    pub fn may_lose(&self, id: u64) {
        if let Some(machine) = self.machines.lock().get_mut(&id) {
            machine.may_be_lost = true;
        }
    }

    /// Empties the disks of a member that does not run.
    pub fn wipe(&self, id: u64) {
        if let Some(machine) = self.machines.lock().get_mut(&id) {
            machine.disk.wipe();
            machine.tables = Arc::new(SimulatedTables::new(id, self.monitor.clone()));
        }
    }

    /// The store of a member and the process that its calls run in.
    pub fn store(&self, id: u64) -> Option<(Store, ProcessId)> {
        let machines = self.machines.lock();
        let machine = machines.get(&id)?;
        Some((machine.store.clone()?, machine.process?))
    }

    /// Members with a process, started or starting.
    pub fn alive(&self) -> Vec<u64> {
        let machines = self.machines.lock();
        machines
            .iter()
            .filter(|(_, machine)| machine.process.is_some())
            .map(|(id, _)| *id)
            .collect()
    }

    /// Members that do not run and may be started.
    pub fn down(&self) -> Vec<u64> {
        let machines = self.machines.lock();
        let down = machines
            .iter()
            .filter(|(_, machine)| machine.process.is_none() && !machine.lost);
        down.map(|(id, _)| *id).collect()
    }

    /// Members that are part of the run to its end.
    pub fn kept(&self) -> Vec<u64> {
        let machines = self.machines.lock();
        machines
            .iter()
            .filter(|(_, machine)| !machine.lost && machine.standing != Standing::Removed)
            .map(|(id, _)| *id)
            .collect()
    }

    /// The member that says it leads.
    pub fn leader(&self) -> Option<u64> {
        let machines = self.machines.lock();
        let leads = |machine: &&Machine| {
            machine
                .store
                .as_ref()
                .is_some_and(|store| store.leadership().borrow().leading)
        };
        machines.iter().find(|(_, machine)| leads(machine)).map(|(id, _)| *id)
    }

    /// Makes every machine sound, and every member run.
    pub fn mend(self: &Arc<Self>) {
        for id in self.ids() {
            let disk = self.disk(id);
            disk.set_temper(SOUND);
            disk.quench();
            self.set_paused(id, false);
        }
        for id in self.down() {
            self.start(id);
        }
    }

    /// Calls of a client to a member that answer an error, by what is known about their effect.
    pub fn judge(error: &Error) -> Judged {
        match error {
            Error::Refused(refusal) => Judged::Refused(*refusal),
            Error::RequestTooLarge { .. }
            | Error::NoLeader
            | Error::TooManyRequests
            | Error::NotLeader
            | Error::BadMember { .. } => Judged::Failed,
            Error::Membership(refusal) => Judged::Unchanged(*refusal),
            Error::LeaderChanged | Error::Timeout | Error::Stopped | Error::Fault(_) => Judged::Unknown,
        }
    }

    /// A pause between looks at the cluster.
    pub async fn look_again() {
        executor::sleep(OBSERVE).await;
    }

    /// Draws a member that runs.
    pub fn draw(&self, random: &mut Random) -> Option<u64> {
        random.pick(&self.alive()).copied()
    }
}

/// What an error says about a call's effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judged {
    /// Refused by everybody alike.
    Refused(mvcc::DeterministicError),
    /// The membership stays as it is.
    Unchanged(MembershipRefusal),
    /// Certainly none.
    Failed,
    /// Unknown.
    Unknown,
}
