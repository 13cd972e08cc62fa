//! Scripts: a pod, what the runtime holds of it, and the steps that must follow, one a line.

use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::pod::backoff::Backoff;
use crate::pod::memory::{RESTART, Verdict};
use crate::pod::view::SandboxView;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn pod(spec: Value) -> Pod {
    let mut spec = spec;
    if spec.get("containers").is_none() {
        spec["containers"] = json!([{ "name": "app" }]);
    }
    let meta = json!({ "name": "p", "namespace": "n", "uid": "u" });
    serde_json::from_value(json!({ "metadata": meta, "spec": spec })).unwrap()
}

fn ready() -> Memory {
    Memory {
        volumes_ready: true,
        started_at: Some(at(0)),
        ..Memory::default()
    }
}

fn sandbox(id: &str, ready: bool) -> SandboxView {
    SandboxView {
        id: id.into(),
        ready,
        attempt: 0,
        created_at: 0,
        ips: vec![],
    }
}

/// `name[#restarts]@sandbox state [exit code]`, as `app#1@s exited 2`.
fn container(text: &str) -> ContainerView {
    let words: Vec<&str> = text.split(' ').collect();
    let (name, sandbox) = words[0].split_once('@').unwrap();
    let (name, restarts) = name.split_once('#').unwrap_or((name, "0"));
    let restarts: u32 = restarts.parse().unwrap();
    let state = match words[1] {
        "running" => ContainerState::Running,
        "created" => ContainerState::Created,
        "unknown" => ContainerState::Unknown,
        _ => ContainerState::Exited,
    };
    ContainerView {
        id: format!("{name}{restarts}"),
        name: name.into(),
        sandbox_id: sandbox.into(),
        restarts,
        state,
        created_at: at(100 + i64::from(restarts)),
        started_at: at(100),
        finished_at: at(200),
        exit_code: words.get(2).map_or(0, |w| w.parse().unwrap()),
        reason: String::new(),
        message: String::new(),
        image: String::new(),
        image_ref: String::new(),
        hash: String::new(),
        log_path: String::new(),
    }
}

fn view(sandboxes: &[SandboxView], containers: &[&str]) -> PodView {
    let containers = containers.iter().map(|c| container(c)).collect();
    let mut view = PodView {
        sandboxes: sandboxes.to_vec(),
        containers,
    };
    view.sort();
    view
}

fn show(plan: &Plan) -> String {
    let mut lines: Vec<String> = plan
        .actions
        .iter()
        .map(|a| match a {
            Action::Fail { reason, .. } => format!("fail {reason}"),
            Action::Kill(k) => format!("kill {} within {}", k.id, k.grace_seconds),
            Action::RemoveContainer { id } => format!("remove {id}"),
            Action::StopSandbox { id } => format!("stop sandbox {id}"),
            Action::RemoveSandbox { id } => format!("remove sandbox {id}"),
            Action::PrepareVolumes => "volumes".into(),
            Action::RunSandbox { attempt } => format!("sandbox {attempt}"),
            Action::Start { name, restarts, .. } => format!("start {name} {restarts}"),
            Action::Release => "release".into(),
        })
        .collect();
    lines.extend(
        plan.waiting
            .iter()
            .map(|(name, w)| format!("{name} waits: {}", w.reason)),
    );
    lines.join("; ")
}

#[track_caller]
fn check(pod: &Pod, view: &PodView, memory: &Memory, expected: &str) {
    let plan = decide(Situation {
        pod,
        view,
        memory,
        now: at(300),
    });
    assert_eq!(show(&plan), expected);
}

#[test]
fn a_new_pod_gets_volumes_then_a_sandbox_then_its_containers() {
    let pod = pod(json!({ "containers": [{ "name": "a" }, { "name": "b" }] }));
    check(&pod, &PodView::default(), &Memory::default(), "volumes");
    check(&pod, &PodView::default(), &ready(), "sandbox 0");
    check(
        &pod,
        &view(&[sandbox("s", true)], &[]),
        &ready(),
        "start a 0; start b 0",
    );
    check(
        &pod,
        &view(&[sandbox("s", true)], &["a@s running"]),
        &ready(),
        "start b 0",
    );
    check(
        &pod,
        &view(&[sandbox("s", true)], &["a@s running", "b@s running"]),
        &ready(),
        "",
    );
}

#[test]
fn a_failed_step_is_not_repeated_before_its_time() {
    let memory = Memory {
        retry_at: Some(at(301)),
        ..ready()
    };
    let pod = pod(json!({}));
    let plan = decide(Situation {
        pod: &pod,
        view: &PodView::default(),
        memory: &memory,
        now: at(300),
    });
    assert_eq!((plan.actions.len(), plan.wake_at), (0, Some(at(301))));
    // An old sandbox is not stopped over and over while waiting, either.
    check(&pod, &view(&[sandbox("s", false)], &[]), &memory, "");
}

#[test]
fn init_containers_run_one_after_the_other() {
    let pod = pod(json!({ "initContainers": [{ "name": "i" }, { "name": "j" }] }));
    let with = |containers: &[&str]| view(&[sandbox("s", true)], containers);
    check(&pod, &with(&[]), &ready(), "start i 0");
    check(&pod, &with(&["i@s running"]), &ready(), "");
    check(&pod, &with(&["i@s exited 0"]), &ready(), "start j 0");
    check(&pod, &with(&["i@s exited 1"]), &ready(), "start i 1");
    check(&pod, &with(&["i@s exited 0", "j@s exited 0"]), &ready(), "start app 0");
    // Once the pod has run in this sandbox, a missing init container does not matter.
    check(&pod, &with(&["app@s running"]), &ready(), "");
}

#[test]
fn a_sidecar_runs_beside_what_follows_it() {
    let side = json!({ "name": "side", "restartPolicy": "Always" });
    let pod = pod(json!({ "initContainers": [side, { "name": "i" }] }));
    let with = |containers: &[&str]| view(&[sandbox("s", true)], containers);
    check(&pod, &with(&[]), &ready(), "start side 0");
    check(&pod, &with(&["side@s running"]), &ready(), "start i 0");
    check(
        &pod,
        &with(&["side@s running", "i@s exited 0"]),
        &ready(),
        "start app 0",
    );
    check(
        &pod,
        &with(&["side@s exited 0", "i@s exited 0", "app@s running"]),
        &ready(),
        "start side 1",
    );
}

#[test]
fn a_job_with_a_sidecar_ends_with_its_containers() {
    let side = json!({ "name": "side", "restartPolicy": "Always" });
    let pod = pod(json!({ "initContainers": [side], "restartPolicy": "Never" }));
    let with = |containers: &[&str]| view(&[sandbox("s", true)], containers);
    check(
        &pod,
        &with(&["side@s running", "app@s exited 0"]),
        &ready(),
        "kill side0 within 30",
    );
    check(
        &pod,
        &with(&["side@s exited 0", "app@s exited 0"]),
        &ready(),
        "stop sandbox s; release",
    );
}

#[test]
fn the_restart_policy_decides_what_happens_after_an_end() {
    let run = |policy: &str, container: &str, expected: &str| {
        let pod = pod(json!({ "restartPolicy": policy }));
        check(&pod, &view(&[sandbox("s", true)], &[container]), &ready(), expected);
    };
    run("Always", "app@s exited 0", "start app 1");
    run("Always", "app@s exited 1", "start app 1");
    run("OnFailure", "app@s exited 0", "stop sandbox s; release");
    run("OnFailure", "app@s exited 1", "start app 1");
    run("Never", "app@s exited 0", "stop sandbox s; release");
    run("Never", "app@s exited 1", "stop sandbox s; release");
}

#[test]
fn a_pod_that_never_restarts_ends_with_its_init_container() {
    let pod = pod(json!({ "restartPolicy": "Never", "initContainers": [{ "name": "i" }] }));
    check(
        &pod,
        &view(&[sandbox("s", true)], &["i@s exited 3"]),
        &ready(),
        "stop sandbox s; release",
    );
}

#[test]
fn a_crashing_container_waits_longer_each_time() {
    let pod = pod(json!({}));
    let crashed = view(&[sandbox("s", true)], &["app#1@s exited 1"]);
    let mut memory = ready();
    memory
        .restarts
        .insert("app".into(), Backoff::after(None, at(190), RESTART));
    check(&pod, &crashed, &memory, "start app 2");
    let now = at(205);
    let plan = decide(Situation {
        pod: &pod,
        view: &crashed,
        memory: &memory,
        now,
    });
    assert_eq!(show(&plan), "app waits: CrashLoopBackOff");
    assert_eq!(plan.wake_at, Some(at(210)));
    let message = &plan.waiting[0].1.message;
    assert_eq!(message, "back-off 10s restarting failed container=app pod=p_n(u)");
}

#[test]
fn a_container_that_cannot_be_started_waits_its_time() {
    let pod = pod(json!({}));
    let mut memory = ready();
    let waiting = Waiting {
        reason: "ErrImagePull".into(),
        message: String::new(),
        until: Some(at(310)),
    };
    memory.waiting.insert("app".into(), waiting);
    check(
        &pod,
        &view(&[sandbox("s", true)], &[]),
        &memory,
        "app waits: ErrImagePull",
    );
    memory.waiting.get_mut("app").unwrap().until = Some(at(300));
    check(&pod, &view(&[sandbox("s", true)], &[]), &memory, "start app 0");
}

#[test]
fn a_dead_sandbox_is_replaced_and_everything_runs_again() {
    let pod = pod(json!({ "initContainers": [{ "name": "i" }] }));
    let dead = view(&[sandbox("s", false)], &["i@s exited 0", "app@s running"]);
    check(&pod, &dead, &ready(), "kill app0 within 30; stop sandbox s; sandbox 1");
    let replaced = view(
        &[
            sandbox("s", false),
            SandboxView {
                attempt: 1,
                ..sandbox("t", true)
            },
        ],
        &["i@s exited 0", "app@s exited 137"],
    );
    check(&pod, &replaced, &ready(), "start i 1");
}

#[test]
fn a_pod_that_never_restarts_does_not_get_a_second_sandbox() {
    let pod = pod(json!({ "restartPolicy": "Never" }));
    check(
        &pod,
        &view(&[sandbox("s", false)], &["app@s exited 255"]),
        &ready(),
        "release",
    );
}

#[test]
fn only_the_newest_two_of_a_container_are_kept() {
    let pod = pod(json!({}));
    let all = [
        "app#3@s running",
        "app#2@s exited 1",
        "app#1@s exited 1",
        "app@s exited 1",
    ];
    check(
        &pod,
        &view(&[sandbox("s", true)], &all),
        &ready(),
        "remove app1; remove app0",
    );
    // What an agent that died left unstarted is cleared, and started anew.
    check(
        &pod,
        &view(&[sandbox("s", true)], &["app@s created"]),
        &ready(),
        "remove app0; start app 0",
    );
}

#[test]
fn a_failed_probe_or_a_new_image_stops_the_container() {
    let probe = json!({ "tcpSocket": { "port": 1 }, "terminationGracePeriodSeconds": 3 });
    let pod = pod(json!({ "containers": [{ "name": "app", "image": "new", "livenessProbe": probe }] }));
    let mut running = view(&[sandbox("s", true)], &["app@s running"]);
    let mut memory = ready();
    memory.verdicts.insert(
        "app0".into(),
        Verdict {
            failed: Some((ProbeKind::Liveness, "refused".into())),
            ..Verdict::default()
        },
    );
    check(&pod, &running, &memory, "kill app0 within 3");
    running.containers[0].hash = "of the old image".into();
    check(&pod, &running, &ready(), "kill app0 within 30");
}

#[test]
fn a_deadline_ends_the_pod() {
    let pod = pod(json!({ "activeDeadlineSeconds": 300 }));
    let running = view(&[sandbox("s", true)], &["app@s running"]);
    check(&pod, &running, &ready(), "fail DeadlineExceeded");
    let early = decide(Situation {
        pod: &pod,
        view: &running,
        memory: &ready(),
        now: at(299),
    });
    assert_eq!((show(&early).as_str(), early.wake_at), ("", Some(at(300))));
}

#[test]
fn a_finished_pod_never_runs_again() {
    let mut pod = pod(json!({}));
    pod.status = serde_json::from_value(json!({ "phase": "Failed" })).unwrap();
    check(&pod, &PodView::default(), &Memory::default(), "release");
    check(
        &pod,
        &PodView::default(),
        &Memory {
            released: true,
            ..Memory::default()
        },
        "",
    );
}

#[test]
fn the_end_stops_everything_then_removes_everything() {
    let pod = pod(json!({}));
    let end = |view: &PodView| {
        show(&decide_end(
            Situation {
                pod: &pod,
                view,
                memory: &ready(),
                now: at(300),
            },
            7,
        ))
    };
    let running = view(&[sandbox("s", true)], &["app@s running", "b@s unknown", "c@s exited 0"]);
    assert_eq!(end(&running), "kill app0 within 7; kill b0 within 7");
    let ended = view(&[sandbox("s", true)], &["app@s exited 0", "x@lost exited 0"]);
    assert_eq!(end(&ended), "stop sandbox s; remove x0; remove sandbox s");
    assert_eq!(end(&PodView::default()), "");
}

#[test]
fn restarts_are_counted_on_when_the_runtime_forgot() {
    let mut pod = pod(json!({}));
    let status = json!({ "containerStatuses": [{ "name": "app", "restartCount": 4, "containerID": "containerd://x",
        "image": "", "imageID": "", "ready": true }] });
    pod.status = serde_json::from_value(status).unwrap();
    let memory = Memory {
        volumes_ready: true,
        ..Memory::begin(&pod, at(0))
    };
    check(&pod, &view(&[sandbox("s", true)], &[]), &memory, "start app 5");
}

#[test]
fn waits_are_shown_as_people_know_them() {
    assert_eq!(super::show(Duration::from_secs(10)), "10s");
    assert_eq!(super::show(Duration::from_secs(160)), "2m40s");
}
