//! Faults on a seeded schedule: a quiet time, then one fault or two at once for a while, again and again.
//!
//! Clients work until the last fault is mended, so that no fault is made where nobody would notice.

mod certificates;
mod corrupt;
mod fault;
mod lag;
pub(crate) mod members;
mod schedule;
mod spoil;

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

pub(crate) use fault::Fault;

use crate::cluster::Cluster;
use crate::limits::BEGIN_TIMEOUT;
use crate::notes::Notes;
use crate::report::Summary;
use schedule::Schedule;

/// One fault while it lasted, on the test's clock.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Window {
    pub(crate) fault: String,
    /// Whether it could be made at all.
    pub(crate) made: bool,
    pub(crate) detail: String,
    pub(crate) from_ns: u64,
    pub(crate) to_ns: u64,
    /// It was not mended by the time this was written: it lasted longer.
    #[serde(default)]
    pub(crate) open: bool,
}

pub(crate) struct Nemesis {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) faults: Vec<Fault>,
    pub(crate) seed: u64,
    pub(crate) start: Instant,
    pub(crate) deadline: Instant,
    pub(crate) notes: Arc<Notes>,
}

impl Nemesis {
    /// Breaks and mends until the deadline. A fault that was begun by then is made, lasts its shortest time and is mended.
    pub(crate) async fn run(self) {
        let time = self.deadline.saturating_duration_since(Instant::now());
        let schedule = Schedule::new(self.seed, &self.faults, time);
        let room = schedule.room();
        for step in schedule {
            if !self.sleep(step.quiet, room).await {
                break;
            }
            let from_ns = self.now_ns();
            let mut begun = Vec::new();
            for (fault, mut random) in step.faults {
                let begin = tokio::time::timeout(BEGIN_TIMEOUT, fault.begin(&self.cluster, &mut random)).await;
                let detail = begin.unwrap_or_else(|_| Err(anyhow::anyhow!("not in {BEGIN_TIMEOUT:?}")));
                let made = detail.is_ok();
                let detail = detail.unwrap_or_else(|error| format!("could not be made: {error:#}"));
                eprintln!(
                    "{:7.1} s  {} {detail}",
                    self.start.elapsed().as_secs_f64(),
                    fault.name()
                );
                let window = Window {
                    fault: fault.name(),
                    made,
                    detail,
                    from_ns,
                    to_ns: self.now_ns(),
                    open: true,
                };
                let note = |summary: &mut Summary| {
                    summary.faults.push(window);
                    summary.faults.len() - 1
                };
                begun.push((fault, self.notes.change(note)));
            }
            let wake = (Instant::now() + step.lasts).min(self.deadline.max(Instant::now() + room));
            tokio::time::sleep_until(wake.into()).await;
            for (fault, at) in begun {
                if let Err(error) = fault.end(&self.cluster).await {
                    eprintln!("{}: could not be mended: {error:#}", fault.name());
                }
                let to_ns = self.now_ns();
                self.notes.change(|summary| {
                    summary.faults[at].to_ns = to_ns;
                    summary.faults[at].open = false;
                });
            }
        }
    }

    fn now_ns(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    /// Waits so long; false if less than `room` is left after it.
    async fn sleep(&self, time: Duration, room: Duration) -> bool {
        let wake = Instant::now() + time;
        tokio::time::sleep_until(wake.min(self.deadline).into()).await;
        wake + room < self.deadline
    }
}

/// Mends whatever may be broken and starts whoever is down.
pub(crate) async fn heal(cluster: &Cluster) {
    for fault in Fault::ALL {
        if let Err(error) = fault.end(cluster).await {
            eprintln!("{}: could not be mended: {error:#}", fault.name());
        }
    }
}
