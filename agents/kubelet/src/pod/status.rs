//! The status of a pod: a pure function of its spec, what the runtime holds, and what the worker remembers.
//!
//! Promises: a phase never goes back from Succeeded or Failed; a condition's transition time changes only with its
//! status; what other components wrote into the conditions stays theirs (this reports only its own types).

use std::net::IpAddr;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Container, ContainerState as ApiState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
    ContainerStatus, HostIP, Pod, PodCondition, PodIP, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::decide::{Situation, is_over};
use super::spec::{self, QosClass, RestartPolicy};
use super::view::{ContainerState, ContainerView};

/// The status of the pod now; `before` is the one that was last written, or the API's.
pub fn compute(s: Situation, before: Option<&PodStatus>, node_ips: &[IpAddr], runtime_name: &str) -> PodStatus {
    let spec = spec::spec(s.pod);
    let before = before.cloned().unwrap_or_default();
    let init_list: Vec<&Container> = spec.init_containers.iter().flatten().collect();
    let statuses = |list: &[&Container], old: Option<&Vec<ContainerStatus>>| -> Vec<ContainerStatus> {
        let of =
            |c: &&Container| container_status(s, c, old.into_iter().flatten().find(|o| o.name == c.name), runtime_name);
        list.iter().map(of).collect()
    };
    let init = statuses(&init_list, before.init_container_statuses.as_ref());
    let app = statuses(
        &spec.containers.iter().collect::<Vec<_>>(),
        before.container_statuses.as_ref(),
    );

    let phase = phase(s, &init_list, &init, &app);
    let failure = s.memory.failed.as_ref();
    let was_over = spec::is_finished(s.pod);
    let ips = pod_ips(s, node_ips, &before);
    let conditions = conditions(
        s,
        &phase,
        &init_list,
        &init,
        &app,
        before.conditions.as_deref().unwrap_or_default(),
    );
    PodStatus {
        phase: Some(phase),
        reason: failure.map(|f| f.reason.clone()).or(before.reason.filter(|_| was_over)),
        message: failure
            .map(|f| f.message.clone())
            .or(before.message.filter(|_| was_over)),
        conditions: Some(conditions),
        container_statuses: Some(app),
        init_container_statuses: (!init.is_empty()).then_some(init),
        host_ip: node_ips.first().map(ToString::to_string),
        host_ips: Some(node_ips.iter().map(|ip| HostIP { ip: ip.to_string() }).collect()),
        pod_ip: ips.first().cloned(),
        pod_ips: (!ips.is_empty()).then(|| ips.into_iter().map(|ip| PodIP { ip }).collect()),
        start_time: before.start_time.or(s.memory.started_at.map(whole_seconds)),
        qos_class: Some(
            before
                .qos_class
                .unwrap_or_else(|| QosClass::of(spec).as_str().to_owned()),
        ),
        observed_generation: s.pod.metadata.generation,
        ..PodStatus::default()
    }
}

fn pod_ips(s: Situation, node_ips: &[IpAddr], before: &PodStatus) -> Vec<String> {
    if spec::host_network(s.pod) {
        return if s.view.sandboxes.is_empty() {
            vec![]
        } else {
            node_ips.iter().map(ToString::to_string).collect()
        };
    }
    match s.view.ready_sandbox() {
        Some(sandbox) => sandbox.ips.clone(),
        // A pod that ended keeps the addresses it had.
        None => before.pod_ips.iter().flatten().map(|p| p.ip.clone()).collect(),
    }
}

fn container_status(
    s: Situation,
    container: &Container,
    before: Option<&ContainerStatus>,
    runtime_name: &str,
) -> ContainerStatus {
    let id = |c: &ContainerView| format!("{runtime_name}://{}", c.id);
    let latest = s.view.latest(&container.name);
    let previous = s
        .view
        .previous(&container.name)
        .filter(|c| c.state == ContainerState::Exited);
    let waiting = s.memory.waiting.get(&container.name);
    let image = container.image.clone().unwrap_or_default();
    let mut status = ContainerStatus {
        name: container.name.clone(),
        image: image.clone(),
        restart_count: before.map_or(0, |b| b.restart_count),
        started: Some(false),
        ..ContainerStatus::default()
    };
    let Some(latest) = latest else {
        // The runtime forgot it: what the API knows of how it ended stays true.
        if spec::is_finished(s.pod)
            && let Some(before) = before
        {
            return before.clone();
        }
        status.last_state = before
            .and_then(lost)
            .or_else(|| before.and_then(|b| b.last_state.clone()));
        status.state = Some(waiting_state(waiting.map(|w| (w.reason.clone(), w.message.clone())), s));
        return status;
    };
    let last = previous.map(|p| terminated(p, id(p)));
    status.container_id = Some(id(latest));
    status.image = if latest.image.is_empty() {
        image
    } else {
        latest.image.clone()
    };
    status.image_id = latest.image_ref.clone();
    status.restart_count = i32::try_from(latest.restarts).unwrap_or(i32::MAX);
    match latest.state {
        ContainerState::Running => {
            let started_at = Some(whole_seconds(latest.started_at));
            status.state = Some(ApiState {
                running: Some(ContainerStateRunning { started_at }),
                ..Default::default()
            });
            status.last_state = last.or_else(|| before.and_then(|b| b.last_state.clone()));
            status.started = Some(is_started(s, container, latest));
            status.ready = is_ready(s, container, latest);
        }
        ContainerState::Exited | ContainerState::Unknown => match waiting {
            Some(waiting) => {
                status.last_state = Some(terminated(latest, id(latest)));
                status.state = Some(waiting_state(
                    Some((waiting.reason.clone(), waiting.message.clone())),
                    s,
                ));
            }
            None => {
                status.state = Some(terminated(latest, id(latest)));
                status.last_state = last;
                // A finished init container is what it should be.
                status.ready = latest.succeeded() && is_init(s.pod, &container.name);
            }
        },
        ContainerState::Created => {
            status.last_state = last;
            status.state = Some(waiting_state(waiting.map(|w| (w.reason.clone(), w.message.clone())), s));
        }
    }
    status
}

/// The end of a container that ran when it was last seen and that the runtime knows nothing of.
fn lost(before: &ContainerStatus) -> Option<ApiState> {
    before.state.as_ref()?.running.as_ref()?;
    let terminated = ContainerStateTerminated {
        exit_code: 137,
        reason: Some("ContainerStatusUnknown".into()),
        message: Some("The container could not be located when the node agent started".into()),
        container_id: before.container_id.clone(),
        ..Default::default()
    };
    Some(ApiState {
        terminated: Some(terminated),
        ..Default::default()
    })
}

fn is_init(pod: &Pod, name: &str) -> bool {
    spec::spec(pod).init_containers.iter().flatten().any(|c| c.name == name)
}

fn is_started(s: Situation, container: &Container, running: &ContainerView) -> bool {
    container.startup_probe.is_none() || s.memory.verdicts.get(&running.id).is_some_and(|v| v.started)
}

fn is_ready(s: Situation, container: &Container, running: &ContainerView) -> bool {
    let probed = container.readiness_probe.is_none() || s.memory.verdicts.get(&running.id).is_some_and(|v| v.ready);
    let counts = !is_init(s.pod, &container.name) || spec::is_sidecar(container);
    counts && probed && is_started(s, container, running)
}

fn waiting_state(known: Option<(String, String)>, s: Situation) -> ApiState {
    let creating = if spec::spec(s.pod).init_containers.is_none() {
        "ContainerCreating"
    } else {
        "PodInitializing"
    };
    let (reason, message) = known.unwrap_or_else(|| (creating.to_owned(), String::new()));
    let waiting = ContainerStateWaiting {
        reason: Some(reason),
        message: non_empty(message),
    };
    ApiState {
        waiting: Some(waiting),
        ..Default::default()
    }
}

fn terminated(c: &ContainerView, container_id: String) -> ApiState {
    let known = |t: Timestamp| (t != Timestamp::UNIX_EPOCH).then(|| whole_seconds(t));
    let fallback = if c.exit_code == 0 { "Completed" } else { "Error" };
    let terminated = ContainerStateTerminated {
        exit_code: if c.state == ContainerState::Unknown {
            137
        } else {
            c.exit_code
        },
        reason: Some(non_empty(c.reason.clone()).unwrap_or_else(|| fallback.to_owned())),
        message: non_empty(c.message.clone()),
        started_at: known(c.started_at),
        finished_at: known(c.finished_at),
        container_id: Some(container_id),
        signal: None,
    };
    ApiState {
        terminated: Some(terminated),
        ..Default::default()
    }
}

fn non_empty(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

fn phase(s: Situation, init_list: &[&Container], init: &[ContainerStatus], app: &[ContainerStatus]) -> String {
    if spec::is_finished(s.pod) {
        return s.pod.status.as_ref().and_then(|p| p.phase.clone()).unwrap_or_default();
    }
    let alive = s.view.alive().next().is_some();
    if s.memory.failed.is_some() && !alive {
        return "Failed".into();
    }
    if s.memory.ended && app.iter().any(|c| c.container_id.is_some()) {
        let all_well = app.iter().all(|c| {
            c.state
                .as_ref()
                .and_then(|s| s.terminated.as_ref())
                .is_some_and(|t| t.exit_code == 0)
        });
        return if all_well { "Succeeded" } else { "Failed" }.into();
    }
    let policy = RestartPolicy::of(spec::spec(s.pod));
    let ended = |c: &ContainerStatus| {
        c.state
            .as_ref()
            .and_then(|s| s.terminated.as_ref())
            .map(|t| t.exit_code)
    };
    let pending_init = init_list
        .iter()
        .zip(init)
        .find(|(c, st)| !spec::is_sidecar(c) && ended(st) != Some(0));
    let app_ran = app.iter().any(|c| c.container_id.is_some());
    if let (Some((_, st)), false) = (pending_init, app_ran) {
        let failed = policy == RestartPolicy::Never && ended(st).is_some();
        return if failed { "Failed" } else { "Pending" }.into();
    }
    if is_over(s) {
        if alive {
            return "Running".into(); // sidecars are still being stopped
        }
        let all_well = app.iter().all(|c| ended(c) == Some(0));
        return if all_well { "Succeeded" } else { "Failed" }.into();
    }
    // A pod is running from the moment all its containers have been started once.
    let begun = |c: &ContainerStatus| {
        let has = |s: &Option<ApiState>| {
            s.as_ref()
                .is_some_and(|s| s.running.is_some() || s.terminated.is_some())
        };
        has(&c.state) || has(&c.last_state)
    };
    if !app.is_empty() && app.iter().all(begun) {
        "Running"
    } else {
        "Pending"
    }
    .into()
}

fn conditions(
    s: Situation,
    phase: &str,
    init_list: &[&Container],
    init: &[ContainerStatus],
    app: &[ContainerStatus],
    before: &[PodCondition],
) -> Vec<PodCondition> {
    let unready = |names: Vec<&str>, what: &str| format!("containers with {what} status: [{}]", names.join(" "));
    let is_init_done = |(c, st): &(&&Container, &ContainerStatus)| {
        if spec::is_sidecar(c) {
            st.started == Some(true) || st.ready
        } else {
            st.ready
        }
    };
    let finished = match phase {
        "Succeeded" => Some("PodCompleted"),
        "Failed" => Some("PodFailed"),
        _ => None,
    };
    let mut out = Vec::new();
    let ran = app.iter().any(|c| c.container_id.is_some());
    let uninitialized: Vec<&str> = init_list
        .iter()
        .zip(init)
        .filter(|x| !is_init_done(x))
        .map(|(c, _)| c.name.as_str())
        .collect();
    out.push(match (uninitialized.is_empty() || ran, phase) {
        (_, "Succeeded") => Draft::ok_because("Initialized", "PodCompleted"),
        (true, _) => Draft::ok("Initialized"),
        _ => Draft::no(
            "Initialized",
            "ContainersNotInitialized",
            unready(uninitialized, "incomplete"),
        ),
    });

    let waiting: Vec<&str> = app
        .iter()
        .chain(
            init_list
                .iter()
                .zip(init)
                .filter(|(c, _)| spec::is_sidecar(c))
                .map(|(_, st)| st),
        )
        .filter(|c| !c.ready)
        .map(|c| c.name.as_str())
        .collect();
    let containers_ready = match finished {
        Some(reason) => Draft::no("ContainersReady", reason, String::new()),
        None if waiting.is_empty() => Draft::ok("ContainersReady"),
        None => Draft::no("ContainersReady", "ContainersNotReady", unready(waiting, "unready")),
    };
    let gates = missing_gates(s.pod, before);
    out.push(if !containers_ready.status {
        Draft {
            kind: "Ready",
            ..containers_ready.clone()
        }
    } else if !gates.is_empty() {
        Draft::no("Ready", "ReadinessGatesNotReady", gates.join(", "))
    } else {
        Draft::ok("Ready")
    });
    out.push(containers_ready);
    out.push(match (s.view.ready_sandbox(), finished) {
        (Some(_), _) => Draft::ok("PodReadyToStartContainers"),
        (None, Some(_)) => Draft::no("PodReadyToStartContainers", "", String::new()),
        (None, None) => Draft::no("PodReadyToStartContainers", "", String::new()),
    });
    out.push(Draft::ok("PodScheduled"));
    out.into_iter()
        .map(|d| d.finish(before, s.now, s.pod.metadata.generation))
        .collect()
}

fn missing_gates(pod: &Pod, before: &[PodCondition]) -> Vec<String> {
    let gates = spec::spec(pod)
        .readiness_gates
        .iter()
        .flatten()
        .map(|g| &g.condition_type);
    let holds = |gate: &&String| !before.iter().any(|c| c.type_ == **gate && c.status == "True");
    let say = |gate: &String| format!("corresponding condition of pod readiness gate \"{gate}\" does not exist.");
    gates.filter(holds).map(say).collect()
}

/// Whether the API's status says everything that `status` does.
pub fn is_covered(status: &PodStatus, api: &PodStatus) -> bool {
    let (Ok(serde_json::Value::Object(mine)), Ok(theirs)) = (serde_json::to_value(status), serde_json::to_value(api))
    else {
        return false;
    };
    mine.iter()
        .filter(|(name, _)| *name != "conditions")
        .all(|(name, value)| theirs.get(name) == Some(value))
        && status
            .conditions
            .iter()
            .flatten()
            .all(|c| api.conditions.iter().flatten().any(|a| a == c))
}

/// A condition before its times are known.
#[derive(Clone)]
struct Draft {
    kind: &'static str,
    status: bool,
    reason: &'static str,
    message: String,
}

impl Draft {
    fn ok(kind: &'static str) -> Self {
        Self::ok_because(kind, "")
    }

    fn ok_because(kind: &'static str, reason: &'static str) -> Self {
        Draft {
            kind,
            status: true,
            reason,
            message: String::new(),
        }
    }

    fn no(kind: &'static str, reason: &'static str, message: String) -> Self {
        Draft {
            kind,
            status: false,
            reason,
            message,
        }
    }

    fn finish(self, before: &[PodCondition], now: Timestamp, generation: Option<i64>) -> PodCondition {
        let status = if self.status { "True" } else { "False" };
        let old = before.iter().find(|c| c.type_ == self.kind && c.status == status);
        PodCondition {
            type_: self.kind.to_owned(),
            status: status.to_owned(),
            reason: non_empty(self.reason.to_owned()),
            message: non_empty(self.message),
            last_transition_time: old
                .and_then(|c| c.last_transition_time.clone())
                .or(Some(whole_seconds(now))),
            last_probe_time: None,
            observed_generation: generation,
        }
    }
}

/// The API keeps whole seconds; a finer time would look like a change each time.
fn whole_seconds(now: Timestamp) -> Time {
    Time(Timestamp::from_second(now.as_second()).unwrap_or(now))
}

#[cfg(test)]
mod tests;
