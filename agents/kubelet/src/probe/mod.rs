//! Probes: asking a container whether it has started, is alive, is ready.
//!
//! **Theory.** A probe is a counter: so many successes in a row say yes, so many failures in a row say no, anything
//! else leaves the last answer ([`Tally`], pure). A question that could not be asked is neither. A task per probe asks on time and puts the answer where the pod's
//! worker finds it. Liveness and readiness are not asked before the startup probe has succeeded.
//!
//! **Left out.** Following redirects (a redirect counts as success), probe metrics.

mod check;
pub(crate) mod grpc;
pub(crate) mod http;
mod tally;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Probe};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::cri::Runtime;
use crate::pod::memory::Verdict;

pub use check::{Answer, Target};
pub use tally::{Tally, Thresholds};

/// What a probe asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Has it started?
    Startup,
    /// May it get traffic?
    Readiness,
    /// Does it have to be restarted?
    Liveness,
}

impl Kind {
    /// As messages name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Startup => "Startup",
            Kind::Readiness => "Readiness",
            Kind::Liveness => "Liveness",
        }
    }

    fn of(self, container: &Container) -> Option<&Probe> {
        match self {
            Kind::Startup => container.startup_probe.as_ref(),
            Kind::Readiness => container.readiness_probe.as_ref(),
            Kind::Liveness => container.liveness_probe.as_ref(),
        }
    }
}

/// Tells of an answer that was not yes: container name, kind, answer.
pub type OnUnhealthy = Arc<dyn Fn(&str, Kind, &Answer) + Send + Sync>;

/// The probes of one pod's running containers.
pub struct Probes {
    runtime: Arc<dyn Runtime>,
    wake: Arc<Notify>,
    on_unhealthy: OnUnhealthy,
    verdicts: Arc<Mutex<HashMap<String, Verdict>>>,
    tasks: HashMap<(String, Kind), JoinHandle<()>>,
}

/// A running container that may have probes.
pub struct Probed<'a> {
    /// The runtime's id.
    pub id: &'a str,
    /// Its spec.
    pub container: &'a Container,
    /// When it was started.
    pub started_at: Timestamp,
    /// Where it can be reached.
    pub pod_ip: Option<IpAddr>,
}

impl Probes {
    /// No probes yet. `wake` is notified when a verdict changes.
    pub fn new(runtime: Arc<dyn Runtime>, wake: Arc<Notify>, on_unhealthy: OnUnhealthy) -> Self {
        Probes {
            runtime,
            wake,
            on_unhealthy,
            verdicts: Arc::default(),
            tasks: HashMap::new(),
        }
    }

    /// What the probes say now, by container id.
    pub fn verdicts(&self) -> HashMap<String, Verdict> {
        self.verdicts.lock().clone()
    }

    /// Makes exactly the probes of these containers run.
    pub fn follow(&mut self, running: &[Probed]) {
        self.tasks.retain(|(id, _), task| {
            let stays = running.iter().any(|p| p.id == id) && !task.is_finished();
            if !stays {
                task.abort();
            }
            stays
        });
        self.verdicts.lock().retain(|id, _| running.iter().any(|p| p.id == id));
        for probed in running {
            self.follow_one(probed);
        }
    }

    fn follow_one(&mut self, probed: &Probed) {
        let verdict = self.verdicts.lock().get(probed.id).cloned().unwrap_or_default();
        let kinds: &[Kind] = if probed.container.startup_probe.is_some() && !verdict.started {
            &[Kind::Startup]
        } else {
            &[Kind::Readiness, Kind::Liveness]
        };
        for kind in kinds {
            let Some(probe) = kind.of(probed.container) else {
                continue;
            };
            let gave_up = verdict.failed.is_some();
            let key = (probed.id.to_owned(), *kind);
            if gave_up || self.tasks.contains_key(&key) {
                continue;
            }
            let task = Task {
                id: probed.id.to_owned(),
                name: probed.container.name.clone(),
                kind: *kind,
                probe: probe.clone(),
                target: Target::of(probed.container, probed.pod_ip),
                runtime: self.runtime.clone(),
                verdicts: self.verdicts.clone(),
                wake: self.wake.clone(),
                on_unhealthy: self.on_unhealthy.clone(),
            };
            self.tasks.insert(key, tokio::spawn(task.run(probed.started_at)));
        }
    }

    /// Ends all probes.
    pub fn stop(&mut self) {
        for (_, task) in self.tasks.drain() {
            task.abort();
        }
    }
}

impl Drop for Probes {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Task {
    id: String,
    name: String,
    kind: Kind,
    probe: Probe,
    target: Target,
    runtime: Arc<dyn Runtime>,
    verdicts: Arc<Mutex<HashMap<String, Verdict>>>,
    wake: Arc<Notify>,
    on_unhealthy: OnUnhealthy,
}

impl Task {
    async fn run(self, started_at: Timestamp) {
        let seconds = |n: Option<i32>, default: u64| Duration::from_secs(n.map_or(default, |n| n.max(0) as u64));
        let age = Timestamp::now().duration_since(started_at).unsigned_abs();
        sleep(seconds(self.probe.initial_delay_seconds, 0).saturating_sub(age)).await;
        let mut tally = Tally::new(Thresholds::of(&self.probe));
        let mut ticks = interval(seconds(self.probe.period_seconds, 10).max(Duration::from_secs(1)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let answer = check::ask(&*self.runtime, &self.id, &self.probe, &self.target).await;
            if answer != Answer::Yes {
                (self.on_unhealthy)(&self.name, self.kind, &answer);
            }
            let (yes, message) = match answer {
                Answer::Yes => (true, String::new()),
                Answer::No(message) => (false, message),
                Answer::Unknown(_) => continue,
            };
            if let Some(verdict) = tally.note(yes)
                && self.publish(verdict, message)
            {
                return;
            }
        }
    }

    /// Writes down a verdict; true when there is nothing more to ask.
    fn publish(&self, yes: bool, message: String) -> bool {
        let mut verdicts = self.verdicts.lock();
        let verdict = verdicts.entry(self.id.clone()).or_default();
        let before = verdict.clone();
        let done = match (self.kind, yes) {
            (Kind::Startup, true) => {
                verdict.started = true;
                true
            }
            (Kind::Readiness, yes) => {
                verdict.ready = yes;
                false
            }
            (Kind::Liveness, true) => false,
            (kind, false) => {
                verdict.failed = Some((kind, message));
                true
            }
        };
        if *verdict != before {
            self.wake.notify_one();
        }
        done
    }
}
