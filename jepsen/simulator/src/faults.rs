//! Faults: which ones a run has, when they strike, and how they end.
//!
//! Each run draws the kinds of faults it has, so that some runs have one kind in plenty and others all at once. A fault
//! that lasts ends by itself or when all are healed. Of the members, fewer than half ever lose what they had synced:
//! nothing can be promised beyond that.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::cluster::{Cluster, Death};
use crate::disk::{SOUND, Survivors, Temper};
use crate::executor::{self, Clock, WORLD};
use crate::network::{CALM, Weather};
use crate::operator::{Change, Operator};
use crate::random::Random;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A process is killed; the system keeps what it wrote.
    Kill,
    /// The power of a machine goes.
    PowerLoss,
    /// The power of a machine goes between two operations of its disk.
    Fuse,
    /// The power of every machine goes at once.
    Blackout,
    /// A process stands still for a while.
    Pause,
    /// Ways between members are cut, in one direction or both.
    Partition,
    /// The leader is cut off.
    LeaderCut,
    /// Messages are late, lost and repeated.
    Storm,
    /// A clock runs fast or slow.
    ClockRate,
    /// A clock jumps forward.
    ClockJump,
    /// A disk is slow.
    SlowDisk,
    /// A disk has no room.
    FullDisk,
    /// Syncs of a disk fail.
    FailingSync,
    /// Bits of what was synced flip while the member is down.
    Rot,
    /// A machine comes back with an empty disk.
    Wipe,
    /// The membership changes.
    Members(Change),
}

/// All kinds but changes of the membership.
pub const ALL: [Kind; 15] = [
    Kind::Kill,
    Kind::PowerLoss,
    Kind::Fuse,
    Kind::Blackout,
    Kind::Pause,
    Kind::Partition,
    Kind::LeaderCut,
    Kind::Storm,
    Kind::ClockRate,
    Kind::ClockJump,
    Kind::SlowDisk,
    Kind::FullDisk,
    Kind::FailingSync,
    Kind::Rot,
    Kind::Wipe,
];

/// Draws the kinds of a run.
pub fn draw(random: &mut Random) -> Vec<Kind> {
    let chance = [100_000, 300_000, 600_000][random.index(3)];
    ALL.into_iter().filter(|_| random.chance(chance)).collect()
}

/// Draws the changes of the membership of a run that has some.
pub fn draw_changes(random: &mut Random) -> Vec<Kind> {
    let all = [Change::Grow, Change::Shrink, Change::Replace];
    let first = all[random.index(all.len())];
    let drawn = all
        .into_iter()
        .filter(|change| *change == first || random.chance(500_000));
    drawn.map(Kind::Members).collect()
}

/// Those of a view of the membership that have a vote.
fn voters(view: BTreeMap<u64, bool>) -> BTreeSet<u64> {
    view.into_iter().filter(|(_, votes)| *votes).map(|(id, _)| id).collect()
}

/// The most members that a cluster grows to.
const MEMBERS_MAX: usize = 7;

/// The one who does it.
pub struct Nemesis {
    cluster: Arc<Cluster>,
    random: Random,
    kinds: Vec<Kind>,
    /// Members that lost, or may have lost, what they had synced.
    harmed: BTreeSet<u64>,
    pause: Duration,
}

impl Nemesis {
    /// A nemesis that does these things, with pauses up to `pause`.
    pub fn new(cluster: Arc<Cluster>, random: Random, kinds: Vec<Kind>, pause: Duration) -> Self {
        Self {
            cluster,
            random,
            kinds,
            harmed: BTreeSet::new(),
            pause,
        }
    }

    /// Does one thing and waits a while; members that are down come back now and then.
    pub async fn step(&mut self) {
        if let Some(kind) = self.random.pick(&self.kinds).copied() {
            self.strike(kind);
        }
        let pause = self.random.magnitude(1_000_000..self.pause.as_nanos() as u64);
        executor::sleep(Duration::from_nanos(pause)).await;
        for id in self.cluster.down() {
            if self.random.chance(500_000) {
                self.cluster.start(id);
            }
        }
    }

    /// Ends everything that lasts.
    pub fn heal(&mut self) {
        self.cluster.monitor.tell(|| "all faults end".into());
        self.cluster.network.set_blocked(BTreeSet::new());
        self.cluster.network.set_weather(CALM);
        for id in self.cluster.ids() {
            self.set_clock(id, |clock, now| clock.set_rate(now, 1_000_000));
        }
        self.cluster.mend();
    }

    fn strike(&mut self, kind: Kind) {
        let Some(id) = self.cluster.draw(&mut self.random) else {
            return;
        };
        self.cluster.monitor.count(|counts| counts.faults += 1);
        self.cluster.monitor.tell(|| format!("fault {kind:?} on m{id}"));
        match kind {
            Kind::Kill => self.cluster.end(id, Death::Killed),
            Kind::PowerLoss => self.power_loss(id),
            Kind::Fuse => {
                let operations = self.random.magnitude(1..60);
                self.cluster.light_fuse(id, operations);
            }
            Kind::Blackout => {
                for id in self.cluster.alive() {
                    self.power_loss(id);
                }
            }
            Kind::Pause => self.pause(id),
            Kind::Partition => self.partition(),
            Kind::LeaderCut => self.leader_cut(),
            Kind::Storm => self.storm(),
            Kind::ClockRate => {
                let rate = self.random.within(800_000..1_200_001);
                self.set_clock(id, |clock, now| clock.set_rate(now, rate));
            }
            Kind::ClockJump => {
                let by = self.random.magnitude(1_000_000..3_000_000_000);
                self.set_clock(id, |clock, _| clock.jump(by));
            }
            Kind::SlowDisk => {
                let latency = Duration::from_micros(self.random.magnitude(1_000..1_000_000));
                self.for_a_while(id, Temper { latency, ..SOUND });
            }
            Kind::FullDisk => {
                self.cluster.excuse(id, true);
                let capacity = self.cluster.disk(id).used();
                self.for_a_while(id, Temper { capacity, ..SOUND });
            }
            Kind::FailingSync => {
                self.cluster.excuse(id, true);
                self.for_a_while(
                    id,
                    Temper {
                        syncs_fail: true,
                        ..SOUND
                    },
                );
            }
            Kind::Rot => self.rot(id),
            Kind::Wipe => self.wipe(id),
            Kind::Members(change) => self.change_members(change),
        }
    }

    fn set_clock(&self, id: u64, change: impl FnOnce(&mut Clock, u64)) {
        if let Some(clock) = self.cluster.clock(id) {
            executor::set_clock(clock, change);
        }
    }

    /// Has the membership changed, if enough members that hold what they synced are left to decide afterwards.
    fn change_members(&mut self, change: Change) {
        if self.cluster.is_changing() || !self.founded() {
            return;
        }
        // Who votes for certain, and who may: a member that joins counts only once it has its vote.
        let views: Vec<BTreeSet<u64>> = self.cluster.views().into_values().map(voters).collect();
        let Some(first) = views.first() else { return };
        let certain = views.iter().fold(first.clone(), |certain, view| &certain & view);
        let possible = views.iter().fold(BTreeSet::new(), |possible, view| &possible | view);
        let present = self.cluster.present();
        let harmed: Vec<u64> = self.harmed.intersection(&present).copied().collect();
        let sound: Vec<u64> = certain.difference(&self.harmed).copied().collect();
        let (victim, voters, left) = match change {
            Change::Grow => (0, possible.len() + 1, sound.len() + 1),
            // Whoever lost its data is the one to replace.
            _ if !harmed.is_empty() && self.random.chance(700_000) => (
                harmed[self.random.index(harmed.len())],
                possible.len().saturating_sub(1),
                sound.len(),
            ),
            _ => match self.random.pick(&sound) {
                Some(victim) => (*victim, possible.len() - 1, sound.len() - 1),
                None => return,
            },
        };
        if left <= voters / 2 || voters > MEMBERS_MAX {
            return;
        }
        self.cluster
            .monitor
            .tell(|| format!("{change:?}, {victim} goes if somebody has to"));
        let operator = Operator {
            cluster: self.cluster.clone(),
            random: self.random.fork(),
        };
        drop(executor::spawn_in(WORLD, operator.change(change, victim)));
    }

    /// Whether all members of the beginning hold something. A cluster is founded by all its members, and one that holds
    /// nothing yet needs the others to be let in.
    fn founded(&self) -> bool {
        let mut ids = 1..=self.cluster.build.members;
        self.cluster
            .monitor
            .history(|history| ids.all(|id| history.took_part.contains(&id)))
    }

    fn survivors(&mut self) -> Survivors {
        [Survivors::None, Survivors::Some, Survivors::All][self.random.index(3)]
    }

    fn power_loss(&mut self, id: u64) {
        let survivors = self.survivors();
        self.cluster.end(id, Death::PowerLoss(survivors));
    }

    /// Does something later, in the world.
    fn later(&mut self, range: std::ops::Range<u64>, act: impl FnOnce(&Arc<Cluster>) + Send + 'static) {
        let wait = Duration::from_millis(self.random.magnitude(range));
        let cluster = self.cluster.clone();
        drop(executor::spawn_in(WORLD, async move {
            executor::sleep(wait).await;
            act(&cluster);
        }));
    }

    fn pause(&mut self, id: u64) {
        self.cluster.set_paused(id, true);
        self.later(10..8_000, move |cluster| cluster.set_paused(id, false));
    }

    fn for_a_while(&mut self, id: u64, temper: Temper) {
        self.cluster.disk(id).set_temper(temper);
        self.later(20..4_000, move |cluster| cluster.disk(id).set_temper(SOUND));
    }

    fn cut(&mut self, blocked: BTreeSet<(u64, u64)>) {
        self.cluster.monitor.tell(|| format!("cut: {blocked:?}"));
        self.cluster.network.set_blocked(blocked);
        self.later(20..8_000, |cluster| cluster.network.set_blocked(BTreeSet::new()));
    }

    fn partition(&mut self) {
        let mut ids = self.cluster.ids();
        self.random.shuffle(&mut ids);
        let mut blocked = BTreeSet::new();
        match self.random.below(3) {
            // Two sides, of which one may still hear the other.
            0 => {
                let (left, right) = ids.split_at(self.random.index(ids.len()));
                let one_way = self.random.chance(300_000);
                for (from, to) in left.iter().flat_map(|from| right.iter().map(move |to| (*from, *to))) {
                    blocked.insert((from, to));
                    if !one_way {
                        blocked.insert((to, from));
                    }
                }
            }
            // A ring: each hears its neighbours only.
            1 => {
                for (at, from) in ids.iter().enumerate() {
                    let neighbour = |to: usize| (at + 1) % ids.len() == to || (to + 1) % ids.len() == at;
                    let far = ids.iter().enumerate().filter(|(to, _)| *to != at && !neighbour(*to));
                    blocked.extend(far.map(|(_, to)| (*from, *to)));
                }
            }
            // Any ways at all.
            _ => {
                let ways = ids.iter().flat_map(|from| ids.iter().map(move |to| (*from, *to)));
                let ways: Vec<_> = ways.filter(|(from, to)| from != to).collect();
                blocked.extend(ways.into_iter().filter(|_| self.random.chance(400_000)));
            }
        }
        self.cut(blocked);
    }

    fn leader_cut(&mut self) {
        let Some(leader) = self.cluster.leader() else { return };
        let sides = self.random.below(3);
        let others = self.cluster.ids().into_iter().filter(|id| *id != leader);
        let mut blocked = BTreeSet::new();
        for other in others {
            if sides != 1 {
                blocked.insert((leader, other));
            }
            if sides != 2 {
                blocked.insert((other, leader));
            }
        }
        self.cut(blocked);
    }

    fn storm(&mut self) {
        let random = &mut self.random;
        let weather = Weather {
            latency: Duration::from_micros(random.magnitude(100..20_000)),
            slow_ppm: random.below(100_000) as u32,
            slow: Duration::from_micros(random.magnitude(1_000..2_000_000)),
            lost_ppm: random.below(30_000) as u32,
            repeated_ppm: random.below(200_000) as u32,
        };
        self.cluster.network.set_weather(weather);
        self.later(50..8_000, |cluster| cluster.network.set_weather(CALM));
    }

    /// Whether this member may lose what it had synced: only fewer than half ever do.
    fn may_harm(&mut self, id: u64) -> bool {
        if !self.founded() {
            return false;
        }
        let limit = self.cluster.founders().saturating_sub(1) / 2;
        let present = self.cluster.present();
        if self.harmed.intersection(&present).count() >= limit && !self.harmed.contains(&id) {
            return false;
        }
        self.harmed.insert(id);
        true
    }

    fn rot(&mut self, id: u64) {
        if !self.may_harm(id) {
            return;
        }
        self.cluster.excuse(id, true);
        self.cluster.may_lose(id);
        self.power_loss(id);
        let place = self.cluster.disk(id).rot(&mut self.random);
        self.cluster.monitor.tell(|| format!("m{id} rots: {place:?}"));
    }

    fn wipe(&mut self, id: u64) {
        if !self.may_harm(id) {
            return;
        }
        self.cluster.excuse(id, true);
        self.cluster.may_lose(id);
        self.power_loss(id);
        self.cluster.wipe(id);
    }
}
