//! The restricted level: what hardened pods say of themselves, besides all of the baseline.

use super::{containers, named};
use crate::registry::fields::{at, list, number, text};
use serde_json::Value;

/// Volumes that hold nothing of the host's.
const VOLUMES: &[&str] = &[
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

/// Appends what the level forbids or misses.
pub(super) fn check(problems: &mut Vec<String>, pod: &Value) {
    let windows = text(pod, "spec.os.name") == "windows";
    volumes(problems, pod);
    if !windows {
        let escalates = |one: &&Value| at(one, "securityContext.allowPrivilegeEscalation") != Some(&Value::Bool(false));
        if let Some(who) = named(containers(pod).filter(escalates), "container") {
            problems.push(format!(
                "allowPrivilegeEscalation != false ({who} must set securityContext.allowPrivilegeEscalation=false)"
            ));
        }
        capabilities(problems, pod);
    }
    non_root(problems, pod);
    if !windows {
        seccomp(problems, pod);
    }
}

fn volumes(problems: &mut Vec<String>, pod: &Value) {
    let kind = |volume: &Value| -> Option<String> {
        let fields = volume.as_object()?.keys();
        fields
            .filter(|field| *field != "name")
            .find(|field| !VOLUMES.contains(&field.as_str()))
            .cloned()
    };
    let guilty: Vec<&Value> = list(pod, "spec.volumes")
        .iter()
        .filter(|volume| kind(volume).is_some())
        .collect();
    let mut kinds: Vec<String> = guilty
        .iter()
        .filter_map(|volume| kind(volume))
        .map(|kind| format!("{kind:?}"))
        .collect();
    kinds.sort_unstable();
    kinds.dedup();
    if let Some(which) = named(guilty.into_iter(), "volume") {
        let verb = if which.starts_with("volumes") { "use" } else { "uses" };
        let plural = if kinds.len() == 1 { "" } else { "s" };
        problems.push(format!(
            "restricted volume types ({which} {verb} restricted volume type{plural} {})",
            kinds.join(", ")
        ));
    }
}

fn capabilities(problems: &mut Vec<String>, pod: &Value) {
    let keeps = |one: &&Value| {
        !list(one, "securityContext.capabilities.drop")
            .iter()
            .any(|name| name == "ALL")
    };
    let added = |one: &Value| -> Vec<String> {
        let names = list(one, "securityContext.capabilities.add")
            .iter()
            .filter_map(Value::as_str);
        names
            .filter(|name| *name != "NET_BIND_SERVICE")
            .map(|name| format!("{name:?}"))
            .collect()
    };
    let mut details = Vec::new();
    if let Some(who) = named(containers(pod).filter(keeps), "container") {
        details.push(format!("{who} must set securityContext.capabilities.drop=[\"ALL\"]"));
    }
    if let Some(who) = named(containers(pod).filter(|one| !added(one).is_empty()), "container") {
        let mut all: Vec<String> = containers(pod).flat_map(added).collect();
        all.sort_unstable();
        all.dedup();
        details.push(format!(
            "{who} must not include {} in securityContext.capabilities.add",
            all.join(", ")
        ));
    }
    if !details.is_empty() {
        problems.push(format!("unrestricted capabilities ({})", details.join("; ")));
    }
}

fn non_root(problems: &mut Vec<String>, pod: &Value) {
    let says = |holder: &Value| at(holder, "securityContext.runAsNonRoot").and_then(Value::as_bool);
    let whole = says(&pod["spec"]);
    let silent = containers(pod).filter(|one| says(one).or(whole) != Some(true));
    if let Some(who) = named(silent, "container") {
        problems.push(format!(
            "runAsNonRoot != true (pod or {who} must set securityContext.runAsNonRoot=true)"
        ));
    }
    let root = |holder: &Value| {
        at(holder, "securityContext.runAsUser").is_some() && number(holder, "securityContext.runAsUser") == 0
    };
    let whole = root(&pod["spec"]).then(|| "pod".to_owned());
    let who: Vec<String> = whole
        .into_iter()
        .chain(named(containers(pod).filter(|one| root(one)), "container"))
        .collect();
    if !who.is_empty() {
        problems.push(format!("runAsUser=0 ({} must not set runAsUser=0)", who.join(" and ")));
    }
}

fn seccomp(problems: &mut Vec<String>, pod: &Value) {
    let kind = |holder: &Value| text(holder, "securityContext.seccompProfile.type").to_owned();
    let good = |kind: &str| matches!(kind, "RuntimeDefault" | "Localhost");
    let whole = kind(&pod["spec"]);
    let guilty = containers(pod).filter(|one| match kind(one).as_str() {
        "" => !good(&whole),
        own => !good(own),
    });
    if let Some(who) = named(guilty, "container") {
        problems.push(format!(
            "seccompProfile (pod or {who} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")"
        ));
    }
}
