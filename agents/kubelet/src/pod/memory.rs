//! What a pod's worker remembers between two decisions: everything that neither the API nor the runtime keeps. Losing
//! it (a restart of the agent) costs nothing but shorter waits.

use std::collections::HashMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use super::backoff::{Backoff, Shape};
use crate::limits;
use crate::probe::Kind;

/// The memory of one worker.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    /// When the agent first saw the pod.
    pub started_at: Option<Timestamp>,
    /// Whether the pod's volumes are in place.
    pub volumes_ready: bool,
    /// What the API knew of each container's starts when the worker began: the count to go on from if the runtime has
    /// forgotten the container.
    pub starts_known: HashMap<String, u32>,
    /// The wait before each container is started again.
    pub restarts: HashMap<String, Backoff>,
    /// The wait before each image is pulled again.
    pub pulls: HashMap<String, Backoff>,
    /// Why a container cannot be started now.
    pub waiting: HashMap<String, Waiting>,
    /// Before this, neither volumes nor sandbox are tried again.
    pub retry_at: Option<Timestamp>,
    /// What probes say, by container id.
    pub verdicts: HashMap<String, Verdict>,
    /// Why the agent itself has ended the pod (a deadline, a spec that cannot run).
    pub failed: Option<Failure>,
    /// Whether the resources of a finished pod are released.
    pub released: bool,
    /// The pod was to end, and no process of it is left.
    pub ended: bool,
}

/// A container's waiting state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// `ErrImagePull`, `CrashLoopBackOff`, ...
    pub reason: String,
    /// Details.
    pub message: String,
    /// Not before this is the container tried again.
    pub until: Option<Timestamp>,
}

/// Why a pod failed as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// `DeadlineExceeded`, ...
    pub reason: String,
    /// Details.
    pub message: String,
}

/// What the probes of one container say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// The startup probe has succeeded.
    pub started: bool,
    /// The readiness probe's last verdict.
    pub ready: bool,
    /// A liveness or startup probe has given up on the container.
    pub failed: Option<(Kind, String)>,
}

/// How long a container that ends waits to be started again.
pub const RESTART: Shape = Shape {
    min: limits::RESTART_BACKOFF_MIN,
    max: limits::RESTART_BACKOFF_MAX,
    reset: limits::RESTART_BACKOFF_RESET,
};

/// How long an image that cannot be pulled waits.
pub const PULL: Shape = Shape {
    min: limits::PULL_BACKOFF_MIN,
    max: limits::PULL_BACKOFF_MAX,
    reset: limits::RESTART_BACKOFF_RESET,
};

impl Memory {
    /// The memory of a worker that begins with this pod now.
    pub fn begin(pod: &Pod, now: Timestamp) -> Self {
        let status = pod.status.as_ref();
        let init = status.and_then(|s| s.init_container_statuses.as_ref());
        let all = status
            .and_then(|s| s.container_statuses.as_ref())
            .into_iter()
            .chain(init)
            .flatten();
        let started = all.filter(|c| c.container_id.is_some());
        let known = started.map(|c| (c.name.clone(), u32::try_from(c.restart_count).unwrap_or(0) + 1));
        Memory {
            started_at: Some(now),
            starts_known: known.collect(),
            ..Memory::default()
        }
    }

    /// Notes that a container was started after one that had ended at `finished_at`: the next end waits longer.
    pub fn note_restart(&mut self, name: &str, finished_at: Timestamp) {
        let next = Backoff::after(self.restarts.get(name).copied(), finished_at, RESTART);
        self.restarts.insert(name.to_owned(), next);
        self.waiting.remove(name);
    }

    /// When a container that ended at `finished_at` may be started again, and the wait that this is.
    pub fn restart_at(&self, name: &str, finished_at: Timestamp) -> Option<(Timestamp, std::time::Duration)> {
        let delay = self.restarts.get(name)?.delay();
        // A container that ran for long has earned a fresh start.
        let fresh = self.restarts[name]
            .until()
            .saturating_add(RESTART.reset)
            .unwrap_or(Timestamp::MAX);
        (finished_at < fresh).then(|| (finished_at.saturating_add(delay).unwrap_or(Timestamp::MAX), delay))
    }
}
