//! The network between members, above gRPC: what arrives, when, and what never does.
//!
//! A connection behaves as TCP does: what it carries stays in order and is not repeated, it stalls while its way is cut
//! and breaks when that lasts. Between connections everything may overtake everything, and what Raft has to tolerate
//! (votes, appends) is also delivered twice, late. Directions are cut one by one, so partitions may be lopsided.

mod link;
mod peers;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use parking_lot::Mutex;
use raftstore::transport::Inbound;
use tokio::sync::watch;

use crate::executor::{self, ProcessId};
use crate::monitor::Monitor;

pub use peers::SimulatedPeers;

/// A silent connection breaks after this, as the real transport's keep-alive does it.
const SILENCE_MAX: Duration = Duration::from_millis(3_000);

/// How messages fare.
#[derive(Debug, Clone)]
pub struct Weather {
    /// A message takes less than this, usually.
    pub latency: Duration,
    /// So many in a million take up to `slow`.
    pub slow_ppm: u32,
    /// The longest a slow one takes.
    pub slow: Duration,
    /// So many in a million break their connection.
    pub lost_ppm: u32,
    /// So many in a million are delivered again later.
    pub repeated_ppm: u32,
}

/// The weather on a good day.
pub const CALM: Weather = Weather {
    latency: Duration::from_micros(500),
    slow_ppm: 0,
    slow: Duration::ZERO,
    lost_ppm: 0,
    repeated_ppm: 0,
};

/// Where a running member is reached.
#[derive(Clone)]
pub struct Door {
    /// Its life.
    pub process: ProcessId,
    /// What takes the messages.
    pub inbound: Arc<dyn Inbound>,
}

struct State {
    doors: BTreeMap<u64, Door>,
    blocked: BTreeSet<(u64, u64)>,
    paused: BTreeSet<u64>,
    weather: Weather,
}

/// The network of a run.
pub struct Network {
    state: Mutex<State>,
    changes: watch::Sender<u64>,
    monitor: Arc<Monitor>,
}

/// Why a message did not get through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// It never arrived.
    NotSent,
    /// It may have arrived.
    Unanswered,
}

impl Network {
    /// A calm network of nobody.
    pub fn new(monitor: Arc<Monitor>) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                doors: BTreeMap::new(),
                blocked: BTreeSet::new(),
                paused: BTreeSet::new(),
                weather: CALM,
            }),
            changes: watch::Sender::new(0),
            monitor,
        })
    }

    fn change(&self, act: impl FnOnce(&mut State)) {
        act(&mut self.state.lock());
        self.changes.send_modify(|count| *count += 1);
    }

    /// A member can be reached.
    pub fn open_door(&self, member: u64, door: Door) {
        self.change(|state| drop(state.doors.insert(member, door)));
    }

    /// It cannot any more.
    pub fn close_door(&self, member: u64) {
        self.change(|state| drop(state.doors.remove(&member)));
    }

    /// Nobody can be reached any more. Ends a run: members and network hold each other, and none of it would ever be freed.
    pub fn close_doors(&self) {
        let doors = std::mem::take(&mut self.state.lock().doors);
        // Outside of the lock: a member that goes may look at the network.
        drop(doors);
    }

    /// A member's process stands still, or goes on.
    pub fn set_paused(&self, member: u64, paused: bool) {
        self.change(|state| {
            if paused {
                state.paused.insert(member);
            } else {
                state.paused.remove(&member);
            }
        });
    }

    /// Cuts exactly these directions.
    pub fn set_blocked(&self, blocked: BTreeSet<(u64, u64)>) {
        self.change(|state| state.blocked = blocked);
    }

    /// Changes the weather.
    pub fn set_weather(&self, weather: Weather) {
        self.change(|state| state.weather = weather);
    }

    fn door(&self, member: u64) -> Option<Door> {
        self.state.lock().doors.get(&member).cloned()
    }

    fn is_blocked(&self, from: u64, to: u64) -> bool {
        self.state.lock().blocked.contains(&(from, to))
    }

    /// Whether nothing comes back from `to`.
    fn is_silent(&self, from: u64, to: u64) -> bool {
        let state = self.state.lock();
        state.blocked.contains(&(from, to)) || state.blocked.contains(&(to, from)) || state.paused.contains(&to)
    }

    fn draw_latency(&self) -> Duration {
        let state = self.state.lock();
        let Weather {
            latency,
            slow_ppm,
            slow,
            ..
        } = &state.weather;
        executor::random(|random| {
            let limit = if random.chance(*slow_ppm) { slow } else { latency };
            Duration::from_nanos(random.below(limit.as_nanos() as u64))
        })
    }

    fn draw_lost(&self) -> bool {
        let lost = self.state.lock().weather.lost_ppm;
        executor::random(|random| random.chance(lost))
    }

    fn draw_repeated(&self) -> Option<Duration> {
        let repeated = self.state.lock().weather.repeated_ppm;
        executor::random(|random| {
            random
                .chance(repeated)
                .then(|| Duration::from_micros(random.magnitude(10..3_000_000)))
        })
    }

    /// Waits until the way is open; false if the connection broke first.
    async fn passable(&self, from: u64, to: u64) -> bool {
        if !self.is_blocked(from, to) {
            return true;
        }
        let mut changes = self.changes.subscribe();
        let open = async {
            while self.is_blocked(from, to) {
                if changes.changed().await.is_err() {
                    return;
                }
            }
        };
        crate::runtime::timeout(SILENCE_MAX, open).await.is_ok()
    }

    /// A message's way; false if it did not make it.
    async fn travel(&self, from: u64, to: u64) -> bool {
        executor::sleep(self.draw_latency()).await;
        !self.draw_lost() && self.passable(from, to).await
    }

    /// Whether a machine says that its member does not run.
    async fn refuses(&self, from: u64, to: u64) -> bool {
        self.travel(from, to).await && self.door(to).is_none() && self.travel(to, from).await
    }

    /// Has a peer do something and brings back what came of it.
    async fn call<T: Send + 'static>(
        &self,
        from: u64,
        to: u64,
        handle: impl FnOnce(Arc<dyn Inbound>) -> BoxFuture<'static, T>,
    ) -> Result<T, Broken> {
        if !self.travel(from, to).await {
            // Nobody can know, from here, that it did not arrive, unless there was no connection yet.
            let known = executor::random(|random| random.chance(300_000));
            return Err(if known { Broken::NotSent } else { Broken::Unanswered });
        }
        let door = self.door(to).ok_or(Broken::NotSent)?;
        let handling = executor::spawn_in(door.process, handle(door.inbound));
        let answer = handling.await.map_err(|_| Broken::Unanswered)?;
        if self.travel(to, from).await {
            Ok(answer)
        } else {
            Err(Broken::Unanswered)
        }
    }
}
