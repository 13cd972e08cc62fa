//! What to do next for one pod: a pure function of its spec, what the runtime holds, and what the worker remembers.
//!
//! **Theory.** Level, not edge: every decision starts from the whole situation, so a lost notification, a restart of
//! the agent or of the runtime, and a container killed by hand all look the same. A plan holds only steps that can be
//! taken now; after they are taken the situation is read again. Order within a pod: volumes, sandbox, init containers
//! one after the other (sidecars go on running), then all other containers.
//!
//! **Promises.** Never two running containers of one name in a pod. A pod that the API has as finished, or whose
//! containers ended for good, is never started again. A pod that is being deleted starts nothing.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod};

use super::memory::{Memory, Waiting};
use super::spec::{self, RestartPolicy};
use super::view::{ContainerState, ContainerView, PodView};
use crate::probe::Kind as ProbeKind;

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Give up on the pod.
    Fail {
        /// Machine-readable reason.
        reason: &'static str,
        /// For people.
        message: String,
    },
    /// Stop a running container.
    Kill(Kill),
    /// Remove a dead container.
    RemoveContainer {
        /// The runtime's id.
        id: String,
    },
    /// Stop a sandbox that is no longer wanted.
    StopSandbox {
        /// The runtime's id.
        id: String,
    },
    /// Remove a sandbox and its containers.
    RemoveSandbox {
        /// The runtime's id.
        id: String,
    },
    /// Put the pod's volumes in place.
    PrepareVolumes,
    /// Make a sandbox.
    RunSandbox {
        /// How many there were before.
        attempt: u32,
    },
    /// Make and start a container.
    Start {
        /// Its name.
        name: String,
        /// In this sandbox.
        sandbox_id: String,
        /// How often it was restarted before this.
        restarts: u32,
        /// When the one before it ended.
        previous_end: Option<Timestamp>,
    },
    /// Unmount volumes and remove cgroups: the pod is over, its logs stay.
    Release,
}

/// Which container to stop, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kill {
    /// The runtime's id.
    pub id: String,
    /// The container's name.
    pub name: String,
    /// How long it gets, in seconds.
    pub grace_seconds: i64,
    /// For the Event.
    pub message: String,
}

/// Steps to take now, and what is waited for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Steps, in order.
    pub actions: Vec<Action>,
    /// When to look again if nothing changes.
    pub wake_at: Option<Timestamp>,
    /// Containers that are held back, and why.
    pub waiting: Vec<(String, Waiting)>,
}

/// Everything a decision depends on.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    /// The pod as the API has it.
    pub pod: &'a Pod,
    /// The pod as the runtime has it.
    pub view: &'a PodView,
    /// What the worker remembers.
    pub memory: &'a Memory,
    /// The time.
    pub now: Timestamp,
}

impl Plan {
    fn act(mut self, action: Action) -> Self {
        self.actions.push(action);
        self
    }

    fn wake(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |w| w.min(at)));
    }

    fn hold(&mut self, name: &str, waiting: Waiting) {
        if let Some(until) = waiting.until {
            self.wake(until);
        }
        self.waiting.push((name.to_owned(), waiting));
    }
}

/// The next steps for a pod that is not being deleted.
pub fn decide(s: Situation) -> Plan {
    if s.memory.failed.is_some() || spec::is_finished(s.pod) {
        return wind_down(s, "The pod is finished");
    }
    let mut plan = Plan::default();
    if let Some(deadline) = deadline(s) {
        if deadline <= s.now {
            let message = "Pod was active on the node longer than the specified deadline".to_owned();
            return plan.act(Action::Fail {
                reason: "DeadlineExceeded",
                message,
            });
        }
        plan.wake(deadline);
    }
    if is_over(s) {
        return wind_down(s, "The pod's containers have ended");
    }
    prune(s, &mut plan);
    let Some(sandbox) = s.view.ready_sandbox() else {
        return start_sandbox(s, plan);
    };
    let sandbox_id = sandbox.id.clone();
    let extra = s.view.sandboxes.iter().filter(|x| x.ready && x.id != sandbox_id);
    plan.actions
        .extend(extra.map(|x| Action::StopSandbox { id: x.id.clone() }));
    if !s.memory.volumes_ready {
        return with_retry(s, plan, Action::PrepareVolumes);
    }
    if !init_done(s, &sandbox_id, &mut plan) {
        return plan;
    }
    for container in &spec::spec(s.pod).containers {
        step(s, container, &sandbox_id, restart_for(s.pod), &mut plan);
    }
    plan
}

/// The next steps for a pod that is being deleted or no longer exists; nothing is left when they are taken.
pub fn decide_end(s: Situation, grace_seconds: i64) -> Plan {
    let plan = kill_all(s, grace_seconds, "Stopping container");
    if !plan.actions.is_empty() {
        return plan;
    }
    let stop = s
        .view
        .sandboxes
        .iter()
        .filter(|x| x.ready)
        .map(|x| Action::StopSandbox { id: x.id.clone() });
    let mut plan = Plan {
        actions: stop.collect(),
        ..plan
    };
    // Removing the sandbox takes its containers along; containers may outlive a sandbox that was removed by hand.
    let orphans = s
        .view
        .containers
        .iter()
        .filter(|c| !s.view.sandboxes.iter().any(|x| x.id == c.sandbox_id));
    plan.actions
        .extend(orphans.map(|c| Action::RemoveContainer { id: c.id.clone() }));
    plan.actions.extend(
        s.view
            .sandboxes
            .iter()
            .map(|x| Action::RemoveSandbox { id: x.id.clone() }),
    );
    plan
}

/// Ends a pod that will never run again but whose object and logs stay.
fn wind_down(s: Situation, why: &str) -> Plan {
    let grace = i64::try_from(spec::grace(s.pod).as_secs()).unwrap_or(i64::MAX);
    let mut plan = kill_all(s, grace, why);
    if !plan.actions.is_empty() {
        return plan;
    }
    let ready = s.view.sandboxes.iter().filter(|x| x.ready);
    plan.actions
        .extend(ready.map(|x| Action::StopSandbox { id: x.id.clone() }));
    if !s.memory.released {
        plan.actions.push(Action::Release);
    }
    plan
}

fn kill_all(s: Situation, grace_seconds: i64, why: &str) -> Plan {
    let kill = |c: &ContainerView| {
        let message = format!("{why}: {}", c.name);
        Action::Kill(Kill {
            id: c.id.clone(),
            name: c.name.clone(),
            grace_seconds,
            message,
        })
    };
    Plan {
        actions: s.view.alive().map(kill).collect(),
        ..Plan::default()
    }
}

fn deadline(s: Situation) -> Option<Timestamp> {
    let seconds = spec::spec(s.pod).active_deadline_seconds?;
    let started = s
        .pod
        .status
        .as_ref()
        .and_then(|p| p.start_time.as_ref())
        .map(|t| t.0)
        .or(s.memory.started_at)?;
    Some(
        started
            .saturating_add(jiff::SignedDuration::from_secs(seconds))
            .unwrap_or(Timestamp::MAX),
    )
}

/// How a pod restarts its ordinary containers.
fn restart_for(pod: &Pod) -> RestartPolicy {
    RestartPolicy::of(spec::spec(pod))
}

/// Whether every container has ended for good, or an init container has and the rest can never start.
pub fn is_over(s: Situation) -> bool {
    let spec = spec::spec(s.pod);
    let policy = RestartPolicy::of(spec);
    if policy == RestartPolicy::Always || spec.containers.is_empty() {
        return false;
    }
    let for_good =
        |c: &ContainerView| c.state == ContainerState::Exited && (policy == RestartPolicy::Never || c.exit_code == 0);
    let init_failed = |c: &Container| {
        policy == RestartPolicy::Never
            && !spec::is_sidecar(c)
            && s.view
                .latest(&c.name)
                .is_some_and(|v| v.state == ContainerState::Exited && v.exit_code != 0)
    };
    if spec.init_containers.iter().flatten().any(init_failed) {
        return true;
    }
    spec.containers
        .iter()
        .all(|c| s.view.latest(&c.name).is_some_and(for_good))
}

/// Keeps, of each container, the newest and the one before it (for `logs --previous` and the last state), and
/// clears what an interrupted start left behind.
fn prune(s: Situation, plan: &mut Plan) {
    let mut seen: std::collections::HashMap<&str, usize> = std::collections::HashMap::new();
    for container in &s.view.containers {
        let count = seen.entry(&container.name).or_default();
        *count += 1;
        let leftover = container.state == ContainerState::Created;
        if leftover || (*count > 2 && !container.is_alive()) {
            plan.actions.push(Action::RemoveContainer {
                id: container.id.clone(),
            });
            *count -= usize::from(leftover);
        }
    }
}

fn start_sandbox(s: Situation, mut plan: Plan) -> Plan {
    if !s.memory.volumes_ready {
        return with_retry(s, plan, Action::PrepareVolumes);
    }
    if let Some(at) = s.memory.retry_at.filter(|at| *at > s.now) {
        plan.wake(at);
        return plan;
    }
    // What still runs belongs to a sandbox that died under it: its network is gone.
    let stale = kill_all(
        s,
        i64::try_from(spec::grace(s.pod).as_secs()).unwrap_or(i64::MAX),
        "The sandbox has changed",
    );
    plan.actions.extend(stale.actions);
    let attempt = s.view.sandboxes.iter().map(|x| x.attempt + 1).max().unwrap_or(0);
    plan.actions.extend(
        s.view
            .sandboxes
            .iter()
            .skip(1)
            .map(|x| Action::RemoveSandbox { id: x.id.clone() }),
    );
    if let Some(old) = s.view.sandboxes.first() {
        // Stopping once more gives its address back.
        plan.actions.push(Action::StopSandbox { id: old.id.clone() });
    }
    plan.act(Action::RunSandbox { attempt })
}

fn with_retry(s: Situation, mut plan: Plan, action: Action) -> Plan {
    match s.memory.retry_at {
        Some(at) if at > s.now => {
            plan.wake(at);
            plan
        }
        _ => plan.act(action),
    }
}

/// Steps through the init containers; true once the others may start.
fn init_done(s: Situation, sandbox_id: &str, plan: &mut Plan) -> bool {
    let policy = match restart_for(s.pod) {
        RestartPolicy::Never => RestartPolicy::Never,
        _ => RestartPolicy::OnFailure,
    };
    // Once an ordinary container has run in this sandbox, initialization is history, even if its containers are gone.
    let initialized = spec::spec(s.pod)
        .containers
        .iter()
        .any(|c| s.view.latest_in(&c.name, sandbox_id).is_some());
    for container in spec::spec(s.pod).init_containers.iter().flatten() {
        if spec::is_sidecar(container) {
            step(s, container, sandbox_id, RestartPolicy::Always, plan);
            if !initialized && !sidecar_started(s, container, sandbox_id) {
                return false;
            }
            continue;
        }
        let done = s
            .view
            .latest_in(&container.name, sandbox_id)
            .is_some_and(ContainerView::succeeded);
        if !initialized && !done {
            step(s, container, sandbox_id, policy, plan);
            return false;
        }
    }
    true
}

fn sidecar_started(s: Situation, container: &Container, sandbox_id: &str) -> bool {
    s.view.latest_in(&container.name, sandbox_id).is_some_and(|c| {
        let started = container.startup_probe.is_none() || s.memory.verdicts.get(&c.id).is_some_and(|v| v.started);
        c.state == ContainerState::Running && started
    })
}

/// One container: start it, leave it, or stop it because it has to be started again.
fn step(s: Situation, container: &Container, sandbox_id: &str, policy: RestartPolicy, plan: &mut Plan) {
    let latest = s
        .view
        .containers
        .iter()
        .find(|c| c.name == container.name && c.state != ContainerState::Created);
    let Some(latest) = latest else {
        return start(s, container, sandbox_id, None, plan);
    };
    let here = latest.sandbox_id == sandbox_id;
    if latest.is_alive() && here {
        if let Some((why, grace)) = must_restart(s, container, latest) {
            let message = format!("Container {} {why}, will be restarted", container.name);
            let (id, name) = (latest.id.clone(), container.name.clone());
            plan.actions.push(Action::Kill(Kill {
                id,
                name,
                grace_seconds: grace,
                message,
            }));
        }
        return;
    }
    let again = match policy {
        RestartPolicy::Always => true,
        RestartPolicy::OnFailure => !latest.succeeded(),
        RestartPolicy::Never => false,
    };
    // An init container runs once per sandbox, however it ended in an earlier one.
    let is_init = spec::spec(s.pod)
        .init_containers
        .iter()
        .flatten()
        .any(|c| c.name == container.name);
    if again || (is_init && !here) {
        start(s, container, sandbox_id, Some(latest), plan);
    }
}

/// Why a running container cannot stay, and the grace it gets.
fn must_restart(s: Situation, container: &Container, running: &ContainerView) -> Option<(String, i64)> {
    let grace = i64::try_from(spec::grace(s.pod).as_secs()).unwrap_or(i64::MAX);
    if !running.hash.is_empty() && running.hash != spec::hash(container) {
        return Some(("definition changed".into(), grace));
    }
    let (kind, message) = s.memory.verdicts.get(&running.id)?.failed.as_ref()?;
    let (probe, name) = match kind {
        ProbeKind::Startup => (container.startup_probe.as_ref(), "startup"),
        _ => (container.liveness_probe.as_ref(), "liveness"),
    };
    let grace = probe.and_then(|p| p.termination_grace_period_seconds).unwrap_or(grace);
    let detail = if message.is_empty() {
        String::new()
    } else {
        format!(" ({message})")
    };
    Some((format!("failed {name} probe{detail}"), grace))
}

fn start(s: Situation, container: &Container, sandbox_id: &str, previous: Option<&ContainerView>, plan: &mut Plan) {
    if let Some(waiting) = s.memory.waiting.get(&container.name)
        && waiting.until.is_some_and(|until| until > s.now)
    {
        return plan.hold(&container.name, waiting.clone());
    }
    let previous_end = previous.map(|p| p.finished_at);
    if let Some((until, delay)) = previous_end.and_then(|end| s.memory.restart_at(&container.name, end))
        && until > s.now
    {
        let name = &container.name;
        let pod = spec::name(s.pod);
        let message = format!(
            "back-off {} restarting failed container={name} pod={pod}_{}({})",
            show(delay),
            spec::namespace(s.pod),
            spec::uid(s.pod),
        );
        return plan.hold(
            name,
            Waiting {
                reason: "CrashLoopBackOff".into(),
                message,
                until: Some(until),
            },
        );
    }
    let forgotten = s.memory.starts_known.get(&container.name).copied().unwrap_or(0);
    plan.actions.push(Action::Start {
        name: container.name.clone(),
        sandbox_id: sandbox_id.to_owned(),
        restarts: previous.map_or(forgotten, |p| p.restarts + 1),
        previous_end,
    });
}

/// A wait as Kubernetes users know it: `10s`, `2m40s`.
fn show(delay: std::time::Duration) -> String {
    let seconds = delay.as_secs();
    match (seconds / 60, seconds % 60) {
        (0, s) => format!("{s}s"),
        (m, s) => format!("{m}m{s}s"),
    }
}

#[cfg(test)]
mod tests;
