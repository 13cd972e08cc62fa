//! Faults on a seeded schedule: a quiet time, then one fault or two at once for a while, again and again.

mod certificates;
mod corrupt;
mod fault;
mod lag;
pub(crate) mod members;
mod spoil;

use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};

pub(crate) use fault::Fault;

use crate::cluster::Cluster;
use crate::limits::{FAULT_MS, QUIET_MS};

/// One fault while it lasted, on the test's clock.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Window {
    pub(crate) fault: String,
    /// Whether it could be made at all.
    pub(crate) made: bool,
    pub(crate) detail: String,
    pub(crate) from_ns: u64,
    pub(crate) to_ns: u64,
}

pub(crate) struct Nemesis {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) faults: Vec<Fault>,
    pub(crate) seed: u64,
    pub(crate) start: Instant,
    pub(crate) deadline: Instant,
}

impl Nemesis {
    /// Breaks and mends until the deadline.
    pub(crate) async fn run(self) -> Vec<Window> {
        let mut random = StdRng::seed_from_u64(self.seed);
        let mut windows = Vec::new();
        while !self.faults.is_empty() {
            if !self.sleep(Duration::from_millis(random.random_range(QUIET_MS))).await {
                break;
            }
            let mut chosen = vec![self.faults[random.random_range(0..self.faults.len())]];
            let second = self.faults[random.random_range(0..self.faults.len())];
            if random.random_bool(0.25) && chosen[0].mixes_with(second) {
                chosen.push(second);
            }
            let from_ns = self.start.elapsed().as_nanos() as u64;
            let mut begun = Vec::new();
            for fault in chosen {
                let detail = fault.begin(&self.cluster, &mut random).await;
                let made = detail.is_ok();
                let detail = detail.unwrap_or_else(|error| format!("could not be made: {error:#}"));
                eprintln!(
                    "{:7.1} s  {} {detail}",
                    self.start.elapsed().as_secs_f64(),
                    fault.name()
                );
                begun.push((fault, made, detail));
            }
            let lasts = Duration::from_millis(random.random_range(FAULT_MS));
            let go_on = self.sleep(lasts).await;
            for (fault, made, detail) in begun {
                if let Err(error) = fault.end(&self.cluster).await {
                    eprintln!("{}: could not be mended: {error:#}", fault.name());
                }
                let to_ns = self.start.elapsed().as_nanos() as u64;
                windows.push(Window {
                    fault: fault.name(),
                    made,
                    detail,
                    from_ns,
                    to_ns,
                });
            }
            if !go_on {
                break;
            }
        }
        windows
    }

    async fn sleep(&self, time: Duration) -> bool {
        let wake = Instant::now() + time;
        tokio::time::sleep_until(wake.min(self.deadline).into()).await;
        wake < self.deadline
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
