//! Watchers: each follows the range for the whole run, from member to member.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mvcc::Block;
use parking_lot::Mutex;
use raftstore::{Delivery, Store, WatchSpec};

use crate::call::{RANGE_END, RANGE_START};
use crate::cluster::Cluster;
use crate::executor;
use crate::monitor::{Monitor, Observation};
use crate::random::Random;
use crate::runtime::timeout;

/// How far a watcher is, and in which of its sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The session that may move it.
    pub session: u64,
    /// The first revision it was not told of.
    pub next: i64,
}

/// A watcher that goes on wherever it was cut off.
pub struct Follower {
    /// The cluster it follows.
    pub cluster: Arc<Cluster>,
    /// Its number, from 1.
    pub number: u64,
    /// Its chance.
    pub random: Random,
    /// How far it is.
    pub position: Arc<Mutex<Position>>,
}

/// Without news for so long, it asks for progress.
const QUIET: Duration = Duration::from_millis(300);
/// Sessions of one watcher have numbers of their own.
const SESSIONS: u64 = 1_000_000;

impl Follower {
    /// Follows, for as long as it is polled.
    pub async fn run(mut self) {
        loop {
            executor::sleep(Duration::from_micros(self.random.magnitude(10..200_000))).await;
            let member = self.cluster.draw(&mut self.random);
            let Some((member, (store, process))) =
                member.and_then(|member| Some((member, self.cluster.store(member)?)))
            else {
                continue;
            };
            let mut begin = *self.position.lock();
            begin.session += 1;
            if self.random.chance(100_000) {
                // Once more from some earlier place.
                begin.next = self.random.within(1..begin.next as u64 + 1) as i64;
            }
            *self.position.lock() = begin;
            let session = Session {
                watcher: self.number * SESSIONS + begin.session,
                begin,
                monitor: self.cluster.monitor.clone(),
                position: self.position.clone(),
            };
            session.monitor.observe(&Observation::Watching {
                watcher: session.watcher,
                member,
                from: begin.next,
            });
            let following = executor::spawn_in(process, session.follow(store));
            // A session that was given up goes on, and is still held to what it is told; it no longer counts.
            let patience = Duration::from_millis(self.random.magnitude(10..8_000));
            let _ = timeout(patience, following).await;
        }
    }
}

/// One watch at one member.
struct Session {
    watcher: u64,
    begin: Position,
    monitor: Arc<Monitor>,
    position: Arc<Mutex<Position>>,
}

impl Session {
    fn move_to(&self, next: i64) {
        let mut position = self.position.lock();
        if position.session == self.begin.session {
            position.next = position.next.max(next);
        }
    }

    fn is_current(&self) -> bool {
        self.position.lock().session == self.begin.session
    }

    async fn follow(self, store: Store) {
        let spec = WatchSpec {
            key: Bytes::from_static(RANGE_START),
            range_end: Bytes::from_static(RANGE_END),
            start_revision: self.begin.next,
        };
        let Ok(mut watcher) = store.watch(spec).await else {
            return;
        };
        while self.is_current() {
            match timeout(QUIET, watcher.next()).await {
                Ok(Ok(Delivery::Blocks { blocks, revision })) => self.told(&blocks, revision),
                Ok(Ok(Delivery::Progress { revision })) => self.told(&[], revision),
                Ok(Ok(Delivery::Compacted { compact_revision })) => {
                    self.monitor.observe(&Observation::WatchCompacted {
                        watcher: self.watcher,
                        compact_revision,
                    });
                    return self.move_to(self.monitor.history(|history| history.compacted) + 1);
                }
                Ok(Err(_)) => return,
                Err(_) => watcher.request_progress(),
            }
        }
    }

    fn told(&self, blocks: &[Arc<Block>], revision: i64) {
        self.monitor.count(|counts| counts.watched += blocks.len() as u64);
        self.monitor.tell(|| {
            let revisions: Vec<i64> = blocks.iter().map(|block| block.revision).collect();
            format!("watcher {} sees {revisions:?} up to {revision}", self.watcher)
        });
        self.monitor.observe(&Observation::Watched {
            watcher: self.watcher,
            blocks,
            revision,
        });
        self.move_to(revision + 1);
    }
}
