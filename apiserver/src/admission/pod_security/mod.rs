//! PodSecurity: the labels of a namespace say which of the Pod Security Standards its pods are held to.
//!
//! `pod-security.kubernetes.io/enforce` refuses, `warn` tells the user, each with a level: `privileged` (anything goes, the
//! default), `baseline` ([`baseline`]) or `restricted` ([`restricted`]). Workloads are warned about their templates, by the
//! enforced level too, because their pods would be refused later and out of sight.
//!
//! Left out: older versions of the standards (`enforce-version` is shown but the rules are the latest), `audit` (there is no
//! audit log yet), exemptions, and warnings about pods that exist when a label is set.

mod baseline;
mod restricted;

use super::{Admission, AdmissionRequest, Operation};
use crate::ApiError;
use crate::registry::fields::{at, list, text};
use crate::registry::{Reader, home};
use serde_json::Value;
use storage::Freshness;

const PREFIX: &str = "pod-security.kubernetes.io/";
/// Resources with a pod template, and where it is.
const TEMPLATES: &[(&str, &str, &str)] = &[
    ("apps", "deployments", "spec.template"),
    ("apps", "replicasets", "spec.template"),
    ("apps", "statefulsets", "spec.template"),
    ("apps", "daemonsets", "spec.template"),
    ("batch", "jobs", "spec.template"),
    ("batch", "cronjobs", "spec.jobTemplate.spec.template"),
    ("", "replicationcontrollers", "spec.template"),
    ("", "podtemplates", "template"),
];

/// See the module.
pub(super) struct PodSecurity {
    pub reader: Reader,
}

/// How strict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Privileged,
    Baseline,
    Restricted,
}

/// A level as a label names it, with the version for messages.
struct Policy {
    level: Level,
    shown: String,
}

#[async_trait::async_trait]
impl Admission for PodSecurity {
    fn name(&self) -> &'static str {
        "PodSecurity"
    }

    async fn validate(&self, request: &mut AdmissionRequest<'_>) -> Result<(), ApiError> {
        let Some(pod) = judged(request) else {
            return Ok(());
        };
        let is_pod = request.resource == "pods";
        let (resource, name) = (request.group_resource(), request.name.to_owned());
        let namespace = match home::open(&self.reader, request.namespace, Freshness::Any, &resource, &name).await {
            Ok(item) => item.value().map_err(ApiError::internal)?,
            // An update in a namespace that is going away: nothing new runs there.
            Err(error) if request.operation == Operation::Update && home::is_ending(&error) => return Ok(()),
            Err(error) => return Err(error),
        };
        let (enforce, warn) = (Policy::of(&namespace, "enforce"), Policy::of(&namespace, "warn"));
        let refusal = |policy: &Policy| {
            let problems = problems(&pod, policy.level);
            (!problems.is_empty()).then(|| format!("violate PodSecurity {:?}: {}", policy.shown, problems.join(", ")))
        };
        let enforced = refusal(&enforce);
        if is_pod && let Some(why) = &enforced {
            return Err(ApiError::forbidden(
                &resource,
                &name,
                &why.replacen("violate", "violates", 1),
            ));
        }
        let told = if warn.level >= enforce.level || is_pod {
            refusal(&warn)
        } else {
            enforced
        };
        request.warnings.extend(told.map(|why| format!("would {why}")));
        Ok(())
    }
}

/// The pod, or the template as a pod, that a request is judged by; `None` when nothing that matters changes.
fn judged(request: &AdmissionRequest<'_>) -> Option<Value> {
    if !matches!(request.operation, Operation::Create | Operation::Update) {
        return None;
    }
    let whole = request.subresource.is_empty();
    if request.group.is_empty() && request.resource == "pods" {
        let ephemeral = request.subresource == "ephemeralcontainers";
        let same = request.old.is_some_and(|old| old["spec"] == request.object["spec"]);
        return ((whole || ephemeral) && !same).then(|| request.object.clone());
    }
    let found = TEMPLATES
        .iter()
        .find(|(group, resource, _)| *group == request.group && *resource == request.resource && whole);
    found.and_then(|(_, _, path)| at(request.object, path)).cloned()
}

impl Policy {
    fn of(namespace: &Value, mode: &str) -> Policy {
        let labels = at(namespace, "metadata.labels");
        let label = |name: String| labels.and_then(|labels| labels.get(name)?.as_str());
        let level = match label(format!("{PREFIX}{mode}")) {
            None | Some("privileged") => Level::Privileged,
            Some("baseline") => Level::Baseline,
            // What cannot be read is held to the strictest, as upstream decided.
            Some(_) => Level::Restricted,
        };
        let name = match level {
            Level::Privileged => "privileged",
            Level::Baseline => "baseline",
            Level::Restricted => "restricted",
        };
        let version = label(format!("{PREFIX}{mode}-version")).unwrap_or("latest");
        Policy {
            level,
            shown: format!("{name}:{version}"),
        }
    }
}

/// What a pod does that the level forbids, one text per rule.
fn problems(pod: &Value, level: Level) -> Vec<String> {
    let mut problems = Vec::new();
    if level >= Level::Baseline {
        baseline::check(&mut problems, pod, level == Level::Restricted);
    }
    if level == Level::Restricted {
        restricted::check(&mut problems, pod);
    }
    problems
}

/// All containers of a pod.
fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    let lists = ["spec.initContainers", "spec.containers", "spec.ephemeralContainers"];
    lists.into_iter().flat_map(|path| list(pod, path))
}

/// `container "a"`, `containers "a", "b"`; `None` when there is none.
fn named<'a>(guilty: impl Iterator<Item = &'a Value>, what: &str) -> Option<String> {
    let names: Vec<String> = guilty.map(|one| format!("{:?}", text(one, "name"))).collect();
    match names.len() {
        0 => None,
        1 => Some(format!("{what} {}", names[0])),
        _ => Some(format!("{what}s {}", names.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(spec: Value) -> Value {
        json!({"spec": spec})
    }

    #[test]
    fn the_baseline_keeps_pods_off_the_host() {
        let host = pod(json!({"hostNetwork": true, "hostPID": true, "containers": [
            {"name": "a", "securityContext": {"privileged": true, "capabilities": {"add": ["NET_ADMIN", "CHOWN"]}}},
            {"name": "b", "ports": [{"hostPort": 80}]}], "volumes": [{"name": "v", "hostPath": {"path": "/"}}]}));
        assert_eq!(
            problems(&host, Level::Baseline),
            [
                "host namespaces (hostNetwork=true, hostPID=true)",
                "privileged (container \"a\" must not set securityContext.privileged=true)",
                "non-default capabilities (container \"a\" must not include \"NET_ADMIN\" in securityContext.capabilities.add)",
                "hostPath volumes (volume \"v\")",
                "hostPort (container \"b\" uses hostPort 80)",
            ]
        );
        assert!(problems(&host, Level::Privileged).is_empty());
        assert!(problems(&pod(json!({"containers": [{"name": "a"}]})), Level::Baseline).is_empty());
    }

    #[test]
    fn the_restricted_level_wants_things_said() {
        let silent = pod(json!({"containers": [{"name": "a"}]}));
        assert_eq!(
            problems(&silent, Level::Restricted),
            [
                "allowPrivilegeEscalation != false (container \"a\" must set securityContext.allowPrivilegeEscalation=false)",
                "unrestricted capabilities (container \"a\" must set securityContext.capabilities.drop=[\"ALL\"])",
                "runAsNonRoot != true (pod or container \"a\" must set securityContext.runAsNonRoot=true)",
                "seccompProfile (pod or container \"a\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")",
            ]
        );
        let good = pod(
            json!({"securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
            "volumes": [{"name": "v", "configMap": {"name": "c"}}], "containers": [{"name": "a", "securityContext":
            {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}}}]}),
        );
        assert_eq!(problems(&good, Level::Restricted), [""; 0]);
        let mut root = good;
        root["spec"]["securityContext"]["runAsUser"] = json!(0);
        root["spec"]["volumes"][0] = json!({"name": "v", "nfs": {}});
        assert_eq!(
            problems(&root, Level::Restricted),
            [
                "restricted volume types (volume \"v\" uses restricted volume type \"nfs\")",
                "runAsUser=0 (pod must not set runAsUser=0)"
            ]
        );
    }

    #[test]
    fn labels_say_the_level() {
        let namespace = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "baseline",
            "pod-security.kubernetes.io/enforce-version": "v1.30", "pod-security.kubernetes.io/warn": "odd"}}});
        assert_eq!(Policy::of(&namespace, "enforce").shown, "baseline:v1.30");
        assert_eq!(Policy::of(&namespace, "warn").level, Level::Restricted);
        assert_eq!(Policy::of(&json!({}), "enforce").level, Level::Privileged);
    }
}
