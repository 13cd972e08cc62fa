//! The baseline level: nothing that is known to lead out of a container.

use super::{containers, named};
use crate::registry::fields::{at, flag, list, text};
use serde_json::Value;

/// What runtimes give to containers anyway.
const CAPABILITIES: &[&str] = &[
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];
/// Kernel parameters that are a pod's own.
const SYSCTLS: &[&str] = &[
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
];
const SELINUX_TYPES: &[&str] = &[
    "",
    "container_t",
    "container_init_t",
    "container_kvm_t",
    "container_engine_t",
];

/// Appends what the level forbids. The restricted level has a stricter rule on capabilities and seccomp of its own.
pub(super) fn check(problems: &mut Vec<String>, pod: &Value, restricted: bool) {
    host_namespaces(problems, pod);
    let privileged = containers(pod).filter(|one| flag(one, "securityContext.privileged"));
    if let Some(who) = named(privileged, "container") {
        problems.push(format!(
            "privileged ({who} must not set securityContext.privileged=true)"
        ));
    }
    if !restricted {
        capabilities(problems, pod);
    }
    let host_paths = list(pod, "spec.volumes")
        .iter()
        .filter(|volume| at(volume, "hostPath").is_some());
    if let Some(which) = named(host_paths, "volume") {
        problems.push(format!("hostPath volumes ({which})"));
    }
    host_ports(problems, pod);
    let unmasked = |one: &&Value| !matches!(text(one, "securityContext.procMount"), "" | "Default");
    if let Some(who) = named(containers(pod).filter(unmasked), "container") {
        problems.push(format!(
            "procMount ({who} must not set securityContext.procMount=\"Unmasked\")"
        ));
    }
    selinux(problems, pod);
    profiles(problems, pod, "appArmorProfile");
    if !restricted {
        profiles(problems, pod, "seccompProfile");
    }
    let sysctls = list(pod, "spec.securityContext.sysctls")
        .iter()
        .map(|sysctl| text(sysctl, "name"));
    let forbidden: Vec<&str> = sysctls.filter(|name| !SYSCTLS.contains(name)).collect();
    if !forbidden.is_empty() {
        problems.push(format!("forbidden sysctls ({})", forbidden.join(", ")));
    }
    let host_process = |holder: &Value| flag(holder, "securityContext.windowsOptions.hostProcess");
    if host_process(&pod["spec"]) {
        problems.push("hostProcess (pod must not set securityContext.windowsOptions.hostProcess=true)".to_owned());
    } else if let Some(who) = named(containers(pod).filter(|one| host_process(one)), "container") {
        problems.push(format!(
            "hostProcess ({who} must not set securityContext.windowsOptions.hostProcess=true)"
        ));
    }
}

fn host_namespaces(problems: &mut Vec<String>, pod: &Value) {
    let fields = ["hostNetwork", "hostPID", "hostIPC"];
    let shared = fields.into_iter().filter(|field| flag(&pod["spec"], field));
    let shared: Vec<String> = shared.map(|field| format!("{field}=true")).collect();
    if !shared.is_empty() {
        problems.push(format!("host namespaces ({})", shared.join(", ")));
    }
}

fn capabilities(problems: &mut Vec<String>, pod: &Value) {
    let added = |one: &Value| -> Vec<String> {
        let names = list(one, "securityContext.capabilities.add")
            .iter()
            .filter_map(Value::as_str);
        names
            .filter(|name| !CAPABILITIES.contains(name))
            .map(|name| format!("{name:?}"))
            .collect()
    };
    let mut all: Vec<String> = containers(pod).flat_map(added).collect();
    all.sort_unstable();
    all.dedup();
    if let Some(who) = named(containers(pod).filter(|one| !added(one).is_empty()), "container") {
        let which = all.join(", ");
        problems.push(format!(
            "non-default capabilities ({who} must not include {which} in securityContext.capabilities.add)"
        ));
    }
}

fn host_ports(problems: &mut Vec<String>, pod: &Value) {
    let ports = |one: &Value| -> Vec<i64> {
        let ports = list(one, "ports")
            .iter()
            .filter_map(|port| at(port, "hostPort")?.as_i64());
        ports.filter(|port| *port != 0).collect()
    };
    let mut all: Vec<i64> = containers(pod).flat_map(ports).collect();
    all.sort_unstable();
    all.dedup();
    if let Some(who) = named(containers(pod).filter(|one| !ports(one).is_empty()), "container") {
        let shown: Vec<String> = all.iter().map(i64::to_string).collect();
        let plural = if all.len() == 1 { "" } else { "s" };
        let verb = if who.starts_with("containers") { "use" } else { "uses" };
        problems.push(format!("hostPort ({who} {verb} hostPort{plural} {})", shown.join(", ")));
    }
}

fn selinux(problems: &mut Vec<String>, pod: &Value) {
    let bad = |holder: &Value| {
        let options = |field: &str| text(holder, &format!("securityContext.seLinuxOptions.{field}"));
        !SELINUX_TYPES.contains(&options("type")) || !options("user").is_empty() || !options("role").is_empty()
    };
    let whole = bad(&pod["spec"]).then(|| "pod".to_owned());
    let who: Vec<String> = whole
        .into_iter()
        .chain(named(containers(pod).filter(|one| bad(one)), "container"))
        .collect();
    if !who.is_empty() {
        problems.push(format!(
            "seLinuxOptions ({} set forbidden securityContext.seLinuxOptions)",
            who.join(" and ")
        ));
    }
}

fn profiles(problems: &mut Vec<String>, pod: &Value, profile: &str) {
    let bad = |holder: &Value| text(holder, &format!("securityContext.{profile}.type")) == "Unconfined";
    let whole = bad(&pod["spec"]).then(|| "pod".to_owned());
    let who: Vec<String> = whole
        .into_iter()
        .chain(named(containers(pod).filter(|one| bad(one)), "container"))
        .collect();
    if !who.is_empty() {
        let who = who.join(" and ");
        problems.push(format!(
            "{profile} ({who} must not set securityContext.{profile}.type to \"Unconfined\")"
        ));
    }
}
