//! What users see of a pod in each situation.

use serde_json::json;

use super::*;
use crate::pod::memory::{Failure, Memory, Verdict, Waiting};
use crate::pod::view::{PodView, SandboxView};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn pod(spec: serde_json::Value) -> Pod {
    let meta = json!({ "name": "p", "namespace": "n", "uid": "u", "generation": 3 });
    serde_json::from_value(json!({ "metadata": meta, "spec": spec })).unwrap()
}

fn one(policy: &str) -> Pod {
    pod(json!({ "restartPolicy": policy, "containers": [{ "name": "app", "image": "i" }] }))
}

fn container(name: &str, restarts: u32, state: ContainerState, exit_code: i32) -> ContainerView {
    ContainerView {
        id: format!("{name}{restarts}"),
        name: name.into(),
        sandbox_id: "s".into(),
        restarts,
        state,
        created_at: at(i64::from(restarts)),
        started_at: at(10),
        finished_at: at(20),
        exit_code,
        reason: String::new(),
        message: String::new(),
        image: "i:1".into(),
        image_ref: "sha256:1".into(),
        hash: String::new(),
        log_path: String::new(),
    }
}

fn view(containers: &[ContainerView]) -> PodView {
    let sandbox = SandboxView {
        id: "s".into(),
        ready: true,
        attempt: 0,
        created_at: 0,
        ips: vec!["10.244.0.7".into()],
    };
    let mut view = PodView {
        sandboxes: vec![sandbox],
        containers: containers.to_vec(),
    };
    view.sort();
    view
}

fn status(pod: &Pod, view: &PodView, memory: &Memory) -> PodStatus {
    let situation = Situation {
        pod,
        view,
        memory,
        now: at(100),
    };
    compute(
        situation,
        pod.status.as_ref(),
        &[IpAddr::from([10, 0, 0, 1])],
        "containerd",
    )
}

fn phase(pod: &Pod, containers: &[ContainerView]) -> String {
    status(pod, &view(containers), &Memory::default()).phase.unwrap()
}

fn condition<'a>(status: &'a PodStatus, kind: &str) -> &'a PodCondition {
    status
        .conditions
        .as_ref()
        .unwrap()
        .iter()
        .find(|c| c.type_ == kind)
        .unwrap()
}

use ContainerState::{Exited, Running};

#[test]
fn phases() {
    let running = container("app", 0, Running, 0);
    let (well, badly) = (container("app", 0, Exited, 0), container("app", 0, Exited, 1));
    assert_eq!(phase(&one("Always"), &[]), "Pending");
    assert_eq!(phase(&one("Always"), std::slice::from_ref(&running)), "Running");
    assert_eq!(phase(&one("Always"), std::slice::from_ref(&well)), "Running");
    assert_eq!(phase(&one("OnFailure"), std::slice::from_ref(&badly)), "Running");
    assert_eq!(phase(&one("OnFailure"), std::slice::from_ref(&well)), "Succeeded");
    assert_eq!(phase(&one("Never"), std::slice::from_ref(&well)), "Succeeded");
    assert_eq!(phase(&one("Never"), std::slice::from_ref(&badly)), "Failed");
    let init = pod(json!({ "restartPolicy": "Never", "initContainers": [{ "name": "i" }],
        "containers": [{ "name": "app" }] }));
    assert_eq!(phase(&init, &[container("i", 0, Running, 0)]), "Pending");
    assert_eq!(phase(&init, &[container("i", 0, Exited, 1)]), "Failed");
    let two = pod(json!({ "containers": [{ "name": "app" }, { "name": "b" }] }));
    assert_eq!(phase(&two, std::slice::from_ref(&running)), "Pending");
}

#[test]
fn a_running_pod_is_told_whole() {
    let status = status(
        &one("Always"),
        &view(&[container("app", 0, Running, 0)]),
        &Memory::default(),
    );
    assert_eq!(
        (status.pod_ip.as_deref(), status.host_ip.as_deref()),
        (Some("10.244.0.7"), Some("10.0.0.1"))
    );
    assert_eq!(
        (status.qos_class.as_deref(), status.observed_generation),
        (Some("BestEffort"), Some(3))
    );
    let c = &status.container_statuses.as_ref().unwrap()[0];
    assert_eq!(c.container_id.as_deref(), Some("containerd://app0"));
    assert_eq!(
        (c.ready, c.started, c.image_id.as_str()),
        (true, Some(true), "sha256:1")
    );
    for kind in [
        "Initialized",
        "Ready",
        "ContainersReady",
        "PodScheduled",
        "PodReadyToStartContainers",
    ] {
        assert_eq!(condition(&status, kind).status, "True", "{kind}");
    }
}

#[test]
fn probes_decide_what_is_ready() {
    let probe = json!({ "tcpSocket": { "port": 1 } });
    let pod = pod(json!({ "containers": [{ "name": "app", "readinessProbe": probe, "startupProbe": probe }] }));
    let view = view(&[container("app", 0, Running, 0)]);
    let with = |started: bool, ready: bool| {
        let mut memory = Memory::default();
        memory.verdicts.insert(
            "app0".into(),
            Verdict {
                started,
                ready,
                failed: None,
            },
        );
        let status = status(&pod, &view, &memory);
        let c = &status.container_statuses.as_ref().unwrap()[0];
        (
            c.started.unwrap(),
            c.ready,
            condition(&status, "Ready").status == "True",
        )
    };
    assert_eq!(with(false, false), (false, false, false));
    assert_eq!(with(true, false), (true, false, false));
    assert_eq!(with(true, true), (true, true, true));
}

#[test]
fn a_crash_loop_shows_the_wait_and_the_last_end() {
    let mut memory = Memory::default();
    let waiting = Waiting {
        reason: "CrashLoopBackOff".into(),
        message: "m".into(),
        until: None,
    };
    memory.waiting.insert("app".into(), waiting);
    let status = status(&one("Always"), &view(&[container("app", 4, Exited, 2)]), &memory);
    let c = &status.container_statuses.as_ref().unwrap()[0];
    assert_eq!(c.restart_count, 4);
    assert_eq!(
        c.state.as_ref().unwrap().waiting.as_ref().unwrap().reason.as_deref(),
        Some("CrashLoopBackOff")
    );
    assert_eq!(c.last_state.as_ref().unwrap().terminated.as_ref().unwrap().exit_code, 2);
    assert_eq!(status.phase.as_deref(), Some("Running"));
    assert_eq!(
        condition(&status, "Ready").message.as_deref(),
        Some("containers with unready status: [app]")
    );
}

#[test]
fn a_condition_keeps_its_time_until_it_changes() {
    let mut pod = one("Always");
    let first = status(&pod, &view(&[]), &Memory::default());
    assert_eq!(condition(&first, "Ready").last_transition_time, Some(Time(at(100))));
    pod.status = Some(first);
    let later = |containers: &[ContainerView]| {
        let (view, memory) = (view(containers), Memory::default());
        let situation = Situation {
            pod: &pod,
            view: &view,
            memory: &memory,
            now: at(200),
        };
        compute(
            situation,
            pod.status.as_ref(),
            &[IpAddr::from([10, 0, 0, 1])],
            "containerd",
        )
    };
    assert_eq!(
        condition(&later(&[]), "Ready").last_transition_time,
        Some(Time(at(100)))
    );
    let running = later(&[container("app", 0, Running, 0)]);
    assert_eq!(condition(&running, "Ready").last_transition_time, Some(Time(at(200))));
    assert!(!is_covered(&running, pod.status.as_ref().unwrap()));
    assert!(is_covered(&running, &running.clone()));
}

#[test]
fn a_readiness_gate_holds_a_pod_back() {
    let mut pod = one("Always");
    pod.spec.as_mut().unwrap().readiness_gates = serde_json::from_value(json!([{ "conditionType": "lb" }])).unwrap();
    let running = view(&[container("app", 0, Running, 0)]);
    let ready = |pod: &Pod| condition(&status(pod, &running, &Memory::default()), "Ready").clone();
    assert_eq!(ready(&pod).reason.as_deref(), Some("ReadinessGatesNotReady"));
    pod.status = serde_json::from_value(json!({ "conditions": [{ "type": "lb", "status": "True" }] })).unwrap();
    assert_eq!(ready(&pod).status, "True");
}

#[test]
fn a_failed_pod_says_why_and_an_ended_one_how() {
    let failure = Failure {
        reason: "DeadlineExceeded".into(),
        message: "m".into(),
    };
    let memory = Memory {
        failed: Some(failure),
        ..Memory::default()
    };
    let alive = status(&one("Always"), &view(&[container("app", 0, Running, 0)]), &memory);
    assert_eq!(alive.phase.as_deref(), Some("Running"));
    let dead = status(&one("Always"), &view(&[container("app", 0, Exited, 137)]), &memory);
    assert_eq!(
        (dead.phase.as_deref(), dead.reason.as_deref()),
        (Some("Failed"), Some("DeadlineExceeded"))
    );
    let ended = Memory {
        ended: true,
        ..Memory::default()
    };
    let ended = status(&one("Always"), &view(&[container("app", 0, Exited, 0)]), &ended);
    assert_eq!(ended.phase.as_deref(), Some("Succeeded"));
}
