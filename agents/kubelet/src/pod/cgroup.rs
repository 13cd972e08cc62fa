//! The cgroup of a pod: made with the pod's limits before its sandbox, removed after it (the runtime removes only the
//! containers' own).
//!
//! `<parent>/pod<uid>` for guaranteed pods, `<parent>/burstable/pod<uid>` and `<parent>/besteffort/pod<uid>` for the
//! others, in every hierarchy of cgroup v1 or in the one of v2.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Container, Pod};

use super::spec::{self, Kind, QosClass};
use crate::Error;

/// The kernel's smallest number of shares.
pub const SHARES_MIN: i64 = 2;
/// Shares of one CPU.
const SHARES_PER_CPU: i64 = 1024;
/// The period over which CPU quotas count, in microseconds.
pub const PERIOD_US: i64 = 100_000;
/// The smallest quota the kernel takes, in microseconds.
const QUOTA_US_MIN: i64 = 1000;

/// CPU shares for thousandths of a CPU.
pub fn shares(milli: i64) -> i64 {
    (milli * SHARES_PER_CPU / 1000).clamp(SHARES_MIN, 262_144)
}

/// CPU time per period for thousandths of a CPU; 0 is no limit.
pub fn quota(milli: i64) -> i64 {
    if milli <= 0 {
        0
    } else {
        (milli * PERIOD_US / 1000).max(QUOTA_US_MIN)
    }
}

/// The pod's cgroup, as a path from the root of each hierarchy.
pub fn path(parent: &str, pod: &Pod) -> String {
    let parent = parent.trim_end_matches('/');
    let class = match QosClass::of(spec::spec(pod)) {
        QosClass::Guaranteed => "",
        QosClass::Burstable => "/burstable",
        QosClass::BestEffort => "/besteffort",
    };
    format!("{parent}{class}/pod{}", spec::uid(pod))
}

/// What a pod as a whole may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Amounts {
    /// Requested CPU in thousandths.
    pub cpu_request_milli: i64,
    /// CPU limit in thousandths, if every container has one.
    pub cpu_limit_milli: Option<i64>,
    /// Memory limit in bytes, if every container has one.
    pub memory_limit: Option<i64>,
}

/// Sums of the containers; init containers count where one of them needs more than all the others together.
pub fn amounts(pod: &Pod) -> Amounts {
    let spec = spec::spec(pod);
    let init: Vec<&Container> = spec.init_containers.iter().flatten().collect();
    let milli = |c: &Container, kind| spec::amount(c, kind, "cpu").map(|q| q.milli());
    let bytes = |c: &Container, kind| spec::amount(c, kind, "memory").map(|q| q.value());
    let total = |get: &dyn Fn(&Container) -> Option<i64>| -> Option<i64> {
        let sidecars = init.iter().filter(|c| spec::is_sidecar(c));
        let sum: Option<i64> = spec.containers.iter().chain(sidecars.copied()).map(get).sum();
        let largest = init
            .iter()
            .map(|c| get(c))
            .collect::<Option<Vec<_>>>()?
            .into_iter()
            .max()
            .unwrap_or(0);
        sum.map(|s| s.max(largest))
    };
    Amounts {
        cpu_request_milli: total(&|c| milli(c, Kind::Request).or(milli(c, Kind::Limit)).or(Some(0))).unwrap_or(0),
        cpu_limit_milli: total(&|c| milli(c, Kind::Limit).filter(|m| *m > 0)),
        memory_limit: total(&|c| bytes(c, Kind::Limit).filter(|b| *b > 0)),
    }
}

const ROOT: &str = "/sys/fs/cgroup";

fn is_v2() -> bool {
    Path::new(ROOT).join("cgroup.controllers").exists()
}

/// Makes the pod's cgroup with its limits.
pub fn create(path: &str, pod: &Pod) -> Result<(), Error> {
    let amounts = amounts(pod);
    if is_v2() {
        create_v2(path, amounts)
    } else {
        create_v1(path, amounts)
    }
}

fn create_v1(path: &str, amounts: Amounts) -> Result<(), Error> {
    let relative = path.trim_start_matches('/');
    let cpu = Path::new(ROOT).join("cpu").join(relative);
    make(&cpu)?;
    set(&cpu.join("cpu.shares"), &shares(amounts.cpu_request_milli).to_string())?;
    if let Some(limit) = amounts.cpu_limit_milli {
        set(&cpu.join("cpu.cfs_period_us"), &PERIOD_US.to_string())?;
        set(&cpu.join("cpu.cfs_quota_us"), &quota(limit).to_string())?;
    }
    let memory = Path::new(ROOT).join("memory").join(relative);
    make(&memory)?;
    if let Some(limit) = amounts.memory_limit {
        set(&memory.join("memory.limit_in_bytes"), &limit.to_string())?;
    }
    Ok(())
}

fn create_v2(path: &str, amounts: Amounts) -> Result<(), Error> {
    let mut dir = PathBuf::from(ROOT);
    for part in path.trim_matches('/').split('/') {
        // A controller reaches a child only if its parent passes it on.
        let available = fs::read_to_string(dir.join("cgroup.controllers")).unwrap_or_default();
        for controller in available.split_whitespace() {
            let _ = fs::write(dir.join("cgroup.subtree_control"), format!("+{controller}"));
        }
        dir.push(part);
        make(&dir)?;
    }
    // The kernel's documented mapping of shares (2 to 262144) to weights (1 to 10000).
    let weight = 1 + ((shares(amounts.cpu_request_milli) - 2) * 9999) / 262_142;
    set(&dir.join("cpu.weight"), &weight.to_string())?;
    if let Some(limit) = amounts.cpu_limit_milli {
        set(&dir.join("cpu.max"), &format!("{} {PERIOD_US}", quota(limit)))?;
    }
    if let Some(limit) = amounts.memory_limit {
        set(&dir.join("memory.max"), &limit.to_string())?;
    }
    Ok(())
}

fn make(dir: &Path) -> Result<(), Error> {
    fs::create_dir_all(dir).map_err(Error::file("create cgroup", dir))
}

fn set(file: &Path, value: &str) -> Result<(), Error> {
    fs::write(file, value).map_err(Error::file("write", file))
}

/// Removes the cgroup of a pod by its uid, in every class and hierarchy. What is gone already is fine; a cgroup that
/// still has processes is an error, to be tried again.
pub fn remove(parent: &str, uid: &str) -> Result<(), Error> {
    for root in roots() {
        for class in ["", "burstable", "besteffort"] {
            let dir = root
                .join(parent.trim_matches('/'))
                .join(class)
                .join(format!("pod{uid}"));
            if dir.exists() {
                remove_tree(&dir).map_err(Error::file("remove cgroup", &dir))?;
            }
        }
    }
    Ok(())
}

/// Removes the parent of all pods' cgroups, if nothing is left in it.
pub fn remove_parent(parent: &str) {
    for root in roots() {
        let _ = remove_tree(&root.join(parent.trim_matches('/')));
    }
}

/// The top of every hierarchy.
fn roots() -> Vec<PathBuf> {
    if is_v2() {
        return vec![ROOT.into()];
    }
    let entries = fs::read_dir(ROOT).into_iter().flatten().flatten();
    // Combined hierarchies have links for their parts, which would lead to the same directories twice.
    entries
        .filter(|e| e.file_type().is_ok_and(|t| t.is_dir()))
        .map(|e| e.path())
        .collect()
}

/// A cgroup is removed by rmdir, its children first; the files in it go with it.
fn remove_tree(dir: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    match fs::remove_dir(dir) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(resources: &[serde_json::Value]) -> Pod {
        let containers: Vec<_> = resources
            .iter()
            .map(|r| serde_json::json!({ "name": "c", "resources": r }))
            .collect();
        let json = serde_json::json!({ "metadata": { "uid": "u" }, "spec": { "containers": containers } });
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn the_class_decides_the_path() {
        let limits = serde_json::json!({ "limits": { "cpu": "1", "memory": "1Gi" } });
        let requests = serde_json::json!({ "requests": { "cpu": "100m" } });
        assert_eq!(path("/kubepods", &pod(std::slice::from_ref(&limits))), "/kubepods/podu");
        assert_eq!(
            path("/kubepods/", &pod(&[limits, requests])),
            "/kubepods/burstable/podu"
        );
        assert_eq!(
            path("/kubepods", &pod(&[serde_json::json!({})])),
            "/kubepods/besteffort/podu"
        );
    }

    #[test]
    fn a_pod_is_limited_only_if_every_container_is() {
        let a = serde_json::json!({ "limits": { "cpu": "500m", "memory": "1Ki" } });
        let b = serde_json::json!({ "requests": { "cpu": "250m" }, "limits": { "memory": "1Ki" } });
        let expected = Amounts {
            cpu_request_milli: 750,
            cpu_limit_milli: None,
            memory_limit: Some(2048),
        };
        assert_eq!(amounts(&pod(&[a, b])), expected);
        assert_eq!(
            (shares(0), shares(1000), quota(0), quota(5), quota(1500)),
            (2, 1024, 0, 1000, 150_000)
        );
    }
}
