//! One task per pod: reads the situation, decides, acts, reports, and sleeps until something changes.
//!
//! A pod's steps are taken one after the other, so two of them never race. Different pods' workers are independent.
//! A worker ends when nothing of its pod is left on the node and the API knows.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use tokio::sync::{Notify, watch};
use tokio::time::sleep;
use tracing::{debug, info, warn};

use super::decide::{Action, Plan, Situation, decide, decide_end};
use super::execute::Executor;
use super::memory::{Memory, Waiting};
use super::node::Node;
use super::view::{ContainerState, PodView};
use super::{cgroup, spec, status};
use crate::probe::{Answer, Kind, Probed, Probes};
use crate::{Error, limits, volume};

/// What is wanted of a pod.
#[derive(Debug, Clone)]
pub struct Desired {
    /// The newest object.
    pub pod: Arc<Pod>,
    /// The object no longer exists: the pod has to go, and nobody is left to report to.
    pub gone: bool,
}

impl Desired {
    fn is_ending(&self) -> bool {
        self.gone || self.pod.metadata.deletion_timestamp.is_some()
    }

    fn grace_seconds(&self) -> i64 {
        let seconds = i64::try_from(spec::grace(&self.pod).as_secs()).unwrap_or(i64::MAX);
        // Even a forced deletion gives a process the moment it needs to flush.
        if self.gone { seconds.max(1) } else { seconds }
    }
}

/// The task of one pod.
pub struct Worker {
    node: Arc<Node>,
    desired: watch::Receiver<Desired>,
    wake: Arc<Notify>,
    memory: Memory,
    probes: Probes,
    view: Arc<PodView>,
    sent: Option<PodStatus>,
    /// The effect of the last steps could not be read: `view` must not be decided on.
    blind: bool,
    volumes_checked_at: Timestamp,
}

impl Worker {
    /// A worker for the pod in `desired`. `wake` makes it look again.
    pub fn new(node: Arc<Node>, desired: watch::Receiver<Desired>, wake: Arc<Notify>) -> Self {
        let pod = desired.borrow().pod.clone();
        let events = node.events.clone();
        let on_unhealthy = {
            let pod = pod.clone();
            Arc::new(move |container: &str, kind: Kind, answer: &Answer| {
                let message = match answer {
                    Answer::Yes => return,
                    Answer::No(message) => format!("{} probe failed: {message}", kind.as_str()),
                    Answer::Unknown(message) => format!("{} probe errored: {message}", kind.as_str()),
                };
                events.warning(&pod, Some(container), "Unhealthy", message);
            })
        };
        let probes = Probes::new(node.runtime.clone(), wake.clone(), on_unhealthy);
        let now = Timestamp::now();
        let memory = Memory::begin(&pod, now);
        let view = node.relist.view(spec::uid(&pod));
        Worker {
            node,
            desired,
            wake,
            memory,
            probes,
            view,
            sent: None,
            blind: false,
            volumes_checked_at: now,
        }
    }

    /// Works until the pod is gone. Dropping the future leaves everything as it is, for the next agent to adopt.
    pub async fn run(mut self) {
        loop {
            let desired = self.desired.borrow_and_update().clone();
            let pod = desired.pod.clone();
            self.view = self.node.relist.view(spec::uid(&pod));
            let pause = if desired.is_ending() {
                match self.end(&desired).await {
                    Ok(()) => return,
                    Err(pause) => pause,
                }
            } else {
                self.sync(&pod).await
            };
            tokio::select! {
                changed = self.desired.changed() => if changed.is_err() { return },
                () = self.wake.notified() => {}
                () = sleep(pause) => {}
            }
        }
    }

    /// Steps until nothing is left to do now; returns how long to sleep.
    async fn sync(&mut self, pod: &Arc<Pod>) -> Duration {
        if self.blind && self.refresh(pod).await.is_err() {
            return limits::POD_RETRY_INTERVAL;
        }
        self.refresh_volumes(pod).await;
        for _ in 0..limits::STEPS_PER_SYNC_MAX {
            self.follow_probes(pod);
            let now = Timestamp::now();
            self.memory.verdicts = self.probes.verdicts();
            let plan = decide(Situation {
                pod,
                view: &self.view,
                memory: &self.memory,
                now,
            });
            self.note_waiting(pod, &plan);
            if plan.actions.is_empty() {
                let reported = self.report(pod).await;
                let until = plan.wake_at.map(|at| at.duration_since(now).unsigned_abs());
                let longest = if reported {
                    limits::POD_RESYNC_INTERVAL
                } else {
                    limits::POD_RETRY_INTERVAL
                };
                return until.unwrap_or(longest).min(longest).max(Duration::from_millis(1));
            }
            // The first report says that the pod was taken on, before anything slow is done.
            if self.sent.is_none() {
                self.report(pod).await;
            }
            let done = self.take_steps(pod, plan.actions).await;
            if let Err(error) = self.refresh(pod).await {
                warn!(pod = spec::name(pod), %error, "cannot read the pod's containers");
                return limits::POD_RETRY_INTERVAL;
            }
            if self.desired.has_changed().unwrap_or(true) || !done {
                self.report(pod).await;
                return if done {
                    Duration::from_millis(1)
                } else {
                    limits::POD_RETRY_INTERVAL
                };
            }
        }
        limits::POD_RETRY_INTERVAL
    }

    /// Takes steps in order; containers that are stopped one after the other in the plan are stopped together. A pod
    /// whose end is asked for meanwhile is not kept waiting by a slow start.
    async fn take_steps(&mut self, pod: &Arc<Pod>, actions: Vec<Action>) -> bool {
        let mut desired = self.desired.clone();
        let (node, view) = (self.node.clone(), self.view.clone());
        let memory = &mut self.memory;
        let work = async {
            let mut executor = Executor {
                node: &node,
                pod,
                view: &view,
                memory,
            };
            let mut kills = Vec::new();
            for action in actions {
                if let Action::Kill(kill) = action {
                    kills.push(kill);
                    continue;
                }
                executor.kill_all(std::mem::take(&mut kills)).await;
                if executor.act(action).await.is_err() {
                    return false;
                }
            }
            executor.kill_all(kills).await;
            true
        };
        tokio::select! {
            done = work => done,
            _ = desired.wait_for(Desired::is_ending) => {
                debug!(pod = spec::name(pod), "the pod is to end; what was being done is given up");
                true
            }
        }
    }

    /// Removes the pod from the node, then from the API. The error is how long to wait before going on.
    async fn end(&mut self, desired: &Desired) -> Result<(), Duration> {
        let pod = &desired.pod;
        self.memory.waiting.clear();
        if let Err(error) = self.refresh(pod).await {
            warn!(pod = spec::name(pod), %error, "cannot read the pod's containers");
            return Err(limits::POD_RETRY_INTERVAL);
        }
        self.follow_probes(pod);
        self.memory.verdicts = self.probes.verdicts();
        if !desired.gone {
            self.report(pod).await;
        }
        if self.view.alive().next().is_some() {
            self.stop_containers(desired).await;
            self.refresh(pod).await.map_err(|_| limits::POD_RETRY_INTERVAL)?;
            if self.view.alive().next().is_some() {
                return Err(Duration::from_millis(1));
            }
        }
        self.probes.stop();
        self.memory.ended = true;
        if !desired.gone {
            self.report(pod).await;
        }
        let now = Timestamp::now();
        let plan = decide_end(
            Situation {
                pod,
                view: &self.view,
                memory: &self.memory,
                now,
            },
            0,
        );
        for action in plan.actions {
            let (node, view) = (self.node.clone(), self.view.clone());
            let mut executor = Executor {
                node: &node,
                pod,
                view: &view,
                memory: &mut self.memory,
            };
            executor.act(action).await.map_err(|_| limits::POD_RETRY_INTERVAL)?;
        }
        self.clean_up(pod).map_err(|error| {
            warn!(pod = spec::name(pod), %error, "cannot clean up yet");
            Duration::from_secs(1)
        })?;
        if !desired.gone {
            self.node.api.remove(pod).await.map_err(|error| {
                warn!(pod = spec::name(pod), %error, "cannot delete the pod's object");
                limits::POD_RETRY_INTERVAL
            })?;
        }
        let _ = self.node.relist.refresh(spec::uid(pod)).await;
        info!(pod = spec::name(pod), namespace = spec::namespace(pod), "pod removed");
        Ok(())
    }

    /// Stops all containers; a shorter grace that arrives meanwhile counts from then.
    async fn stop_containers(&mut self, desired: &Desired) {
        let now = Timestamp::now();
        let grace = desired.grace_seconds();
        let situation = Situation {
            pod: &desired.pod,
            view: &self.view,
            memory: &self.memory,
            now,
        };
        let kills = decide_end(situation, grace)
            .actions
            .into_iter()
            .filter_map(|a| match a {
                Action::Kill(kill) => Some(kill),
                _ => None,
            });
        let kills = kills.collect();
        let mut newer = self.desired.clone();
        let executor = Executor {
            node: &self.node,
            pod: &desired.pod,
            view: &self.view,
            memory: &mut self.memory,
        };
        tokio::select! {
            () = executor.kill_all(kills) => {}
            _ = newer.wait_for(|d| d.grace_seconds() < grace) => {}
        }
    }

    fn clean_up(&self, pod: &Pod) -> Result<(), Error> {
        let config = &self.node.config;
        let uid = spec::uid(pod);
        volume::remove(&self.node.paths(pod))?;
        cgroup::remove(&config.cgroup_parent, uid)?;
        self.node.source.forget(uid);
        let logs = config.pod_log_dir(spec::namespace(pod), spec::name(pod), uid);
        match std::fs::remove_dir_all(&logs) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::file("remove", &logs)(e)),
            _ => Ok(()),
        }
    }

    async fn refresh(&mut self, pod: &Pod) -> Result<(), Error> {
        self.blind = true;
        self.view = self.node.relist.refresh(spec::uid(pod)).await?;
        self.blind = false;
        Ok(())
    }

    /// Configuration files follow the API while the pod runs.
    async fn refresh_volumes(&mut self, pod: &Pod) {
        let now = Timestamp::now();
        let age = now.duration_since(self.volumes_checked_at).unsigned_abs();
        let runs = self.memory.volumes_ready && self.view.ready_sandbox().is_some();
        if !runs || age < limits::POD_RESYNC_INTERVAL / 2 || self.memory.failed.is_some() {
            return;
        }
        self.volumes_checked_at = now;
        let facts = self.node.facts(pod, &self.view);
        let paths = self.node.paths(pod);
        if let Err(error) = volume::prepare(&*self.node.source, pod, &paths, &facts).await {
            self.node.events.warning(pod, None, "FailedMount", error.to_string());
        }
    }

    fn follow_probes(&mut self, pod: &Pod) {
        let ip = if spec::host_network(pod) {
            Some(self.node.config.node_ip)
        } else {
            self.view
                .ready_sandbox()
                .and_then(|s| s.ips.first())
                .and_then(|ip| ip.parse().ok())
        };
        let running = self
            .view
            .containers
            .iter()
            .filter(|c| c.state == ContainerState::Running);
        let probed = running.filter_map(|c| {
            let container = spec::container(pod, &c.name)?;
            Some(Probed {
                id: &c.id,
                container,
                started_at: c.started_at,
                pod_ip: ip,
            })
        });
        self.probes.follow(&probed.collect::<Vec<_>>());
    }

    /// Remembers what is waited for; a new wait is told once.
    fn note_waiting(&mut self, pod: &Pod, plan: &Plan) {
        for (name, waiting) in &plan.waiting {
            let known = self
                .memory
                .waiting
                .get(name)
                .is_some_and(|w: &Waiting| w.reason == waiting.reason);
            if waiting.reason == "CrashLoopBackOff" && !known {
                let message = format!(
                    "Back-off restarting failed container {name} in pod {}_{}({})",
                    spec::name(pod),
                    spec::namespace(pod),
                    spec::uid(pod)
                );
                self.node.events.warning(pod, Some(name), "BackOff", message);
            }
            self.memory.waiting.insert(name.clone(), waiting.clone());
        }
    }

    /// Writes the status if it changed; false if it could not be written.
    async fn report(&mut self, pod: &Arc<Pod>) -> bool {
        let now = Timestamp::now();
        let situation = Situation {
            pod,
            view: &self.view,
            memory: &self.memory,
            now,
        };
        let before = self.sent.as_ref().or(pod.status.as_ref());
        let status = status::compute(situation, before, &self.node.ips(), &self.node.runtime_name);
        if self.sent.as_ref() == Some(&status) {
            return true;
        }
        if self.sent.is_none() && pod.status.as_ref().is_some_and(|old| status::is_covered(&status, old)) {
            self.sent = Some(status);
            return true;
        }
        match self.node.api.write_status(pod, self.sent.as_ref(), &status).await {
            Ok(()) => {
                self.sent = Some(status);
                true
            }
            // The object is gone or another one: the watch will say so.
            Err(error) if error.is_not_found() || error.is_conflict() => true,
            Err(error) => {
                warn!(pod = spec::name(pod), %error, "cannot report the status; trying again");
                false
            }
        }
    }
}
