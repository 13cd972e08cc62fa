//! What `kubectl get pods` shows. STATUS is no field of a pod: it is told from the phase, the containers and the
//! deletion mark, in an order that users know by heart.

use crate::registry::fields::{at, flag, list, name, number, text};
use crate::registry::table;
use jiff::Timestamp;
use serde_json::{Value, json};

/// The summary of a pod's containers, found in one walk.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    pub ready: usize,
    pub total: usize,
    pub reason: String,
    pub restarts: i64,
    pub last_restart: Option<Timestamp>,
}

/// The cells of one row, narrow ones first.
pub(crate) fn row(pod: &Value, now: Timestamp) -> Vec<Value> {
    let summary = summarize(pod);
    vec![
        json!(name(pod)),
        json!(format!("{}/{}", summary.ready, summary.total)),
        json!(summary.reason),
        json!(restarts(&summary, now)),
        table::age(pod, now),
        json!(or_none(pod_ip(pod))),
        json!(or_none(text(pod, "spec.nodeName"))),
        json!(or_none(text(pod, "status.nominatedNodeName"))),
        json!(readiness_gates(pod)),
    ]
}

fn restarts(summary: &Summary, now: Timestamp) -> String {
    match summary.last_restart {
        Some(at) if summary.restarts != 0 => {
            format!(
                "{} ({} ago)",
                summary.restarts,
                table::human_duration(now.as_second() - at.as_second())
            )
        }
        _ => summary.restarts.to_string(),
    }
}

fn pod_ip(pod: &Value) -> &str {
    list(pod, "status.podIPs")
        .first()
        .map_or_else(|| text(pod, "status.podIP"), |ip| text(ip, "ip"))
}

fn or_none(text: &str) -> &str {
    if text.is_empty() { "<none>" } else { text }
}

fn readiness_gates(pod: &Value) -> String {
    let gates = list(pod, "spec.readinessGates");
    if gates.is_empty() {
        return "<none>".to_owned();
    }
    let passed = gates.iter().filter(|gate| condition(pod, text(gate, "conditionType")));
    format!("{}/{}", passed.count(), gates.len())
}

fn condition(pod: &Value, kind: &str) -> bool {
    list(pod, "status.conditions")
        .iter()
        .any(|c| text(c, "type") == kind && text(c, "status") == "True")
}

/// Walks the containers as upstream's printer does.
pub(crate) fn summarize(pod: &Value) -> Summary {
    let mut summary = Summary {
        total: list(pod, "spec.containers").len(),
        reason: phase_reason(pod),
        ..<_>::default()
    };
    let sidecars = sidecars(pod);
    summary.total += sidecars.len();
    let mut of_sidecars = Summary::default();
    let initializing = walk_init(pod, &sidecars, &mut summary, &mut of_sidecars);
    if !initializing || condition(pod, "Initialized") {
        summary.restarts = of_sidecars.restarts;
        summary.last_restart = of_sidecars.last_restart;
        walk_main(pod, &mut summary);
    }
    if !text(pod, "metadata.deletionTimestamp").is_empty() {
        if text(pod, "status.reason") == "NodeLost" {
            summary.reason = "Unknown".to_owned();
        } else if !matches!(text(pod, "status.phase"), "Succeeded" | "Failed") {
            summary.reason = "Terminating".to_owned();
        }
    }
    summary
}

fn phase_reason(pod: &Value) -> String {
    let gated = |c: &&Value| text(c, "type") == "PodScheduled" && text(c, "reason") == "SchedulingGated";
    if list(pod, "status.conditions").iter().find(gated).is_some() {
        return "SchedulingGated".to_owned();
    }
    let reason = text(pod, "status.reason");
    if reason.is_empty() {
        text(pod, "status.phase").to_owned()
    } else {
        reason.to_owned()
    }
}

fn sidecars(pod: &Value) -> Vec<&str> {
    let init = list(pod, "spec.initContainers").iter();
    init.filter(|c| text(c, "restartPolicy") == "Always")
        .map(|c| text(c, "name"))
        .collect()
}

fn count_restarts(summary: &mut Summary, status: &Value) {
    summary.restarts += number(status, "restartCount");
    let finished = text(status, "lastState.terminated.finishedAt")
        .parse::<Timestamp>()
        .ok();
    summary.last_restart = summary.last_restart.max(finished);
}

/// Returns whether the pod is still in its init containers.
fn walk_init(pod: &Value, sidecars: &[&str], summary: &mut Summary, of_sidecars: &mut Summary) -> bool {
    let total = list(pod, "spec.initContainers").len();
    for (index, status) in list(pod, "status.initContainerStatuses").iter().enumerate() {
        count_restarts(summary, status);
        let sidecar = sidecars.contains(&text(status, "name"));
        if sidecar {
            count_restarts(of_sidecars, status);
        }
        let terminated = at(status, "state.terminated");
        if terminated.is_some() && number(status, "state.terminated.exitCode") == 0 {
            continue;
        }
        if sidecar && flag(status, "started") {
            summary.ready += usize::from(flag(status, "ready"));
            continue;
        }
        summary.reason = match (terminated, text(status, "state.waiting.reason")) {
            (Some(state), _) => format!("Init:{}", terminated_reason(state)),
            (None, reason) if !reason.is_empty() && reason != "PodInitializing" => format!("Init:{reason}"),
            _ => format!("Init:{index}/{total}"),
        };
        return true;
    }
    false
}

fn terminated_reason(state: &Value) -> String {
    match (
        text(state, "reason"),
        number(state, "signal"),
        number(state, "exitCode"),
    ) {
        ("", 0, code) => format!("ExitCode:{code}"),
        ("", signal, _) => format!("Signal:{signal}"),
        (reason, ..) => reason.to_owned(),
    }
}

fn walk_main(pod: &Value, summary: &mut Summary) {
    let mut running = false;
    for status in list(pod, "status.containerStatuses").iter().rev() {
        count_restarts(summary, status);
        let waiting = text(status, "state.waiting.reason");
        if !waiting.is_empty() {
            summary.reason = waiting.to_owned();
        } else if let Some(state) = at(status, "state.terminated") {
            summary.reason = terminated_reason(state);
        } else if flag(status, "ready") && at(status, "state.running").is_some() {
            running = true;
            summary.ready += 1;
        }
    }
    if summary.reason == "Completed" && running {
        summary.reason = if condition(pod, "Ready") { "Running" } else { "NotReady" }.to_owned();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status_of(spec: Value, status: Value) -> String {
        let summary = summarize(&json!({"metadata": {"name": "p"}, "spec": spec, "status": status}));
        format!(
            "{}/{} {} {}",
            summary.ready, summary.total, summary.reason, summary.restarts
        )
    }

    #[test]
    fn a_pending_pod_shows_its_phase() {
        assert_eq!(
            status_of(json!({"containers": [{"name": "a"}]}), json!({"phase": "Pending"})),
            "0/1 Pending 0"
        );
    }

    #[test]
    fn a_running_pod_counts_ready_containers_and_restarts() {
        let status = json!({"phase": "Running", "containerStatuses": [
            {"name": "a", "ready": true, "restartCount": 2, "state": {"running": {}}},
            {"name": "b", "ready": false, "restartCount": 1, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]});
        let spec = json!({"containers": [{"name": "a"}, {"name": "b"}]});
        assert_eq!(status_of(spec, status), "1/2 CrashLoopBackOff 3");
    }

    #[test]
    fn init_containers_show_progress_and_failure() {
        let spec = json!({"containers": [{"name": "a"}], "initContainers": [{"name": "i"}, {"name": "j"}]});
        let first = json!({"phase": "Pending", "initContainerStatuses": [
            {"name": "i", "state": {"terminated": {"exitCode": 0}}}, {"name": "j", "state": {"running": {}}}]});
        assert_eq!(status_of(spec.clone(), first), "0/1 Init:1/2 0");
        let failed = json!({"phase": "Pending", "initContainerStatuses": [
            {"name": "i", "state": {"terminated": {"exitCode": 1, "reason": "Error"}}}]});
        assert_eq!(status_of(spec, failed), "0/1 Init:Error 0");
    }

    #[test]
    fn a_finished_pod_shows_completed() {
        let status = json!({"phase": "Succeeded", "containerStatuses": [
            {"name": "a", "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}]});
        assert_eq!(
            status_of(json!({"containers": [{"name": "a"}]}), status),
            "0/1 Completed 0"
        );
    }

    #[test]
    fn a_deleted_pod_terminates_unless_it_has_ended() {
        let pod = |phase: &str| json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}, "status": {"phase": phase}});
        assert_eq!(summarize(&pod("Running")).reason, "Terminating");
        assert_eq!(summarize(&pod("Failed")).reason, "Failed");
    }

    #[test]
    fn the_last_restart_is_told_beside_the_count() {
        let pod = json!({"metadata": {"name": "p"}, "status": {"phase": "Running", "containerStatuses": [
            {"restartCount": 1, "lastState": {"terminated": {"finishedAt": "2026-01-01T00:00:00Z"}}}]}});
        let now: Timestamp = "2026-01-01T00:05:00Z".parse().unwrap();
        assert_eq!(row(&pod, now)[3], json!("1 (5m ago)"));
    }
}
