//! Whether the node can take pods, and what it is short of.

use std::path::Path;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::NodeCondition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::facts;

/// Below this much available memory the node says that it is short.
const MEMORY_AVAILABLE_MIN: i64 = 100 << 20;
/// Below this share of the disk, in percent, the node says that it is short.
const DISK_AVAILABLE_PERCENT_MIN: i64 = 10;
/// Below this share of inodes, in percent, the node says that it is short.
const INODES_FREE_PERCENT_MIN: u64 = 5;
/// Below this share of process ids, in percent, the node says that it is short.
const PIDS_FREE_PERCENT_MIN: i64 = 5;

/// What the conditions are made from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// Why the node is not ready, most important first; empty if it is ready.
    pub problems: Vec<String>,
    /// It is short of memory.
    pub memory: bool,
    /// It is short of disk space or inodes.
    pub disk: bool,
    /// It is short of process ids.
    pub pids: bool,
}

impl Health {
    /// Measures what the node may be short of.
    pub fn measure(problems: Vec<String>, root_dir: &Path) -> Self {
        let available = facts::memory("MemAvailable:").unwrap_or(i64::MAX);
        let disk = facts::storage(root_dir).is_some_and(|s| {
            s.available < s.size / 100 * DISK_AVAILABLE_PERCENT_MIN
                || (s.inodes > 0 && s.inodes_free < s.inodes / 100 * INODES_FREE_PERCENT_MIN)
        });
        Health {
            problems,
            memory: available < MEMORY_AVAILABLE_MIN,
            disk,
            pids: short_of_pids().unwrap_or(false),
        }
    }
}

fn short_of_pids() -> Option<bool> {
    let max: i64 = std::fs::read_to_string("/proc/sys/kernel/pid_max")
        .ok()?
        .trim()
        .parse()
        .ok()?;
    // The fourth field is `running/all` tasks.
    let load = std::fs::read_to_string("/proc/loadavg").ok()?;
    let used: i64 = load.split_whitespace().nth(3)?.split('/').nth(1)?.parse().ok()?;
    Some(max - used < max / 100 * PIDS_FREE_PERCENT_MIN)
}

/// The conditions now; `before` keeps the times of what did not change.
pub fn conditions(health: &Health, before: &[NodeCondition], now: Timestamp) -> Vec<NodeCondition> {
    let pressure = |kind: &str, short: bool, reasons: (&str, &str), messages: (&str, &str)| {
        let (reason, message) = if short {
            (reasons.0, messages.0)
        } else {
            (reasons.1, messages.1)
        };
        condition(kind, short, reason, message.to_owned(), before, now)
    };
    let ready = health.problems.is_empty();
    let (reason, message) = if ready {
        ("KubeletReady", "the node agent is posting ready status".to_owned())
    } else {
        ("KubeletNotReady", health.problems.join("; "))
    };
    vec![
        pressure(
            "MemoryPressure",
            health.memory,
            ("KubeletHasInsufficientMemory", "KubeletHasSufficientMemory"),
            (
                "the node has insufficient memory available",
                "the node has sufficient memory available",
            ),
        ),
        pressure(
            "DiskPressure",
            health.disk,
            ("KubeletHasDiskPressure", "KubeletHasNoDiskPressure"),
            ("the node has disk pressure", "the node has no disk pressure"),
        ),
        pressure(
            "PIDPressure",
            health.pids,
            ("KubeletHasInsufficientPID", "KubeletHasSufficientPID"),
            (
                "the node has insufficient process ids available",
                "the node has sufficient process ids available",
            ),
        ),
        condition("Ready", ready, reason, message, before, now),
    ]
}

fn condition(
    kind: &str,
    status: bool,
    reason: &str,
    message: String,
    before: &[NodeCondition],
    now: Timestamp,
) -> NodeCondition {
    let status = if status { "True" } else { "False" };
    let now = Time(Timestamp::from_second(now.as_second()).unwrap_or(now));
    let same = before.iter().find(|c| c.type_ == kind && c.status == status);
    NodeCondition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message),
        last_heartbeat_time: Some(now.clone()),
        last_transition_time: same.and_then(|c| c.last_transition_time.clone()).or(Some(now)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_transition_time_moves_only_with_its_status() {
        let bad = Health {
            problems: vec!["network not ready".into()],
            ..Default::default()
        };
        let first = conditions(&bad, &[], at(1));
        let ready = |list: &[NodeCondition]| list.iter().find(|c| c.type_ == "Ready").unwrap().clone();
        assert_eq!(
            (ready(&first).status.as_str(), ready(&first).message.as_deref()),
            ("False", Some("network not ready"))
        );
        let second = conditions(&bad, &first, at(2));
        assert_eq!(ready(&second).last_transition_time, ready(&first).last_transition_time);
        assert_ne!(ready(&second).last_heartbeat_time, ready(&first).last_heartbeat_time);
        let third = conditions(&Health::default(), &second, at(3));
        assert_eq!(ready(&third).last_transition_time, Some(Time(at(3))));
    }
}
