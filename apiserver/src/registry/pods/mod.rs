//! Pods. What is special: almost all of the spec is fixed once created, binding happens once, and a pod on a node is
//! deleted in two steps so that its containers can stop first.

mod binding;
mod container;
mod eviction;
pub(crate) mod printer;
mod probes;
mod resources;
pub(crate) mod spec;
mod update;
mod volumes;

pub(super) use binding::Bindings;

use super::check::Errors;
use super::fields::{at, number, text};
use super::strategy::{self, *};
use super::table::{AGE, NAME, column, wide};
use super::{RequestContext, Strategy};
use crate::{ApiError, Body, FieldError};
use serde_json::{Value, json};

/// Seconds a pod gets to stop when neither the delete nor its spec says.
const GRACE_SECONDS_DEFAULT: i64 = 30;

/// The strategy of `pods`.
pub struct Pods {
    /// Absent when the server has no certificate for kubelets.
    pub kubelets: Option<std::sync::Arc<crate::outbound::Kubelets>>,
}

const COLUMNS: &[Column] = &[
    NAME,
    column("Ready", "string", "Containers that are ready, of all that should be."),
    column(
        "Status",
        "string",
        "What the pod is doing, told from its phase and containers.",
    ),
    column(
        "Restarts",
        "string",
        "How often containers were restarted, and when last.",
    ),
    AGE,
    wide("IP", "string", "The pod's first address."),
    wide("Node", "string", "The node it was assigned to."),
    wide(
        "Nominated Node",
        "string",
        "The node where preemption makes room for it.",
    ),
    wide(
        "Readiness Gates",
        "string",
        "Conditions outside its containers that have to hold, and how many do.",
    ),
];

const SELECTABLE: &[SelectableField] = &[
    SelectableField::text("spec.nodeName"),
    SelectableField::text("spec.restartPolicy"),
    SelectableField::text("spec.schedulerName"),
    SelectableField::text("spec.serviceAccountName"),
    SelectableField::of("spec.hostNetwork", "false"),
    SelectableField::text("status.phase"),
    SelectableField::text("status.podIP"),
    SelectableField::text("status.nominatedNodeName"),
];

#[async_trait::async_trait]
impl Strategy for Pods {
    fn tracks_generation(&self) -> bool {
        true
    }

    fn prepare_for_create(&self, _context: &RequestContext, pod: &mut Value) {
        let class = api::pods::qos_class(pod);
        let mut status = json!({"phase": "Pending", "qosClass": class});
        if !super::fields::list(pod, "spec.schedulingGates").is_empty() {
            status["conditions"] = json!([{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated",
                "message": "Scheduling is blocked due to non-empty scheduling gates"}]);
        }
        if let Some(map) = pod.as_object_mut() {
            map.insert("status".into(), status);
        }
        if let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) {
            spec.remove("ephemeralContainers");
        }
    }

    fn prepare_for_update(&self, _context: &RequestContext, subresource: &str, old: &Value, new: &mut Value) {
        match subresource {
            "" => copy_field(new, old, "status"),
            "status" => keep_all_but(new, old, "status"),
            "ephemeralcontainers" => update::keep_all_but_ephemeral(new, old),
            "resize" => update::keep_all_but_resources(new, old),
            _ => {}
        }
    }

    fn validate(&self, pod: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        match at(pod, "spec") {
            Some(found) => spec::validate(&mut errors, found, "spec"),
            None => errors.push(FieldError::required("spec", "")),
        }
        errors
    }

    fn validate_update(&self, subresource: &str, new: &Value, old: &Value) -> Vec<FieldError> {
        match subresource {
            "" => {
                let mut errors = self.validate(new);
                update::validate(&mut errors, new, old);
                errors
            }
            "resize" => {
                let mut errors = self.validate(new);
                update::validate_resize(&mut errors, new, old);
                errors
            }
            "ephemeralcontainers" => {
                let mut errors = self.validate(new);
                update::validate_ephemeral(&mut errors, new, old);
                errors
            }
            _ => Errors::new(),
        }
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, pod: &Value, now: jiff::Timestamp) -> Cells {
        printer::row(pod, now)
    }

    fn selectable_fields(&self) -> &'static [SelectableField] {
        SELECTABLE
    }

    fn begin_delete(&self, pod: &mut Value, options: &DeleteOptions) -> Deletion {
        match grace_seconds(pod, options) {
            0 => Deletion::Now,
            seconds => Deletion::Graceful { seconds },
        }
    }

    fn subresource(&self, name: &str) -> Option<Subresource<'_>> {
        match name {
            "status" | "ephemeralcontainers" | "resize" => Some(Subresource::Object),
            "binding" | "eviction" => Some(Subresource::Action),
            "log" | "exec" | "attach" | "portforward" | "proxy" => Some(Subresource::Stream),
            _ => None,
        }
    }

    async fn act(&self, action: strategy::Action<'_>) -> Result<Reply, ApiError> {
        match action.subresource {
            "binding" => binding::bind(action).await,
            _ => eviction::evict(action).await,
        }
    }

    async fn connect(&self, connect: Connect<'_>) -> Result<http::Response<Body>, ApiError> {
        if connect.info.subresource == "proxy" {
            return crate::outbound::proxy::pod(connect).await;
        }
        let Some(kubelets) = &self.kubelets else {
            return Err(crate::outbound::not_configured());
        };
        crate::outbound::pods::connect(kubelets, connect).await
    }
}

/// A pod that runs nowhere, or no longer, has nothing to stop: it goes at once.
fn grace_seconds(pod: &Value, options: &DeleteOptions) -> i64 {
    let ended = matches!(text(pod, "status.phase"), "Succeeded" | "Failed");
    if ended || text(pod, "spec.nodeName").is_empty() {
        return 0;
    }
    let from_spec =
        || at(pod, "spec.terminationGracePeriodSeconds").map(|_| number(pod, "spec.terminationGracePeriodSeconds"));
    match options
        .grace_period_seconds
        .or_else(from_spec)
        .unwrap_or(GRACE_SECONDS_DEFAULT)
    {
        negative if negative < 0 => 1,
        seconds => seconds,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(pod: Value) -> Vec<String> {
        Pods { kubelets: None }
            .validate(&pod)
            .iter()
            .map(|e| e.to_string())
            .collect()
    }

    #[test]
    fn a_plain_pod_is_valid() {
        let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i",
            "ports": [{"containerPort": 80, "protocol": "TCP"}], "resources": {"limits": {"cpu": "100m"}},
            "volumeMounts": [{"name": "v", "mountPath": "/v"}]}],
            "volumes": [{"name": "v", "emptyDir": {}}], "restartPolicy": "Always"}});
        assert_eq!(problems(pod), Vec::<String>::new());
    }

    #[test]
    fn problems_name_the_field_as_upstream_does() {
        let check = |spec: Value, want: &str| {
            let found = problems(json!({ "spec": spec }));
            assert!(found.iter().any(|p| p.starts_with(want)), "{want} not in {found:?}");
        };
        check(json!({}), "spec.containers: Required value");
        check(
            json!({"containers": [{"name": "A", "image": "i"}]}),
            "spec.containers[0].name: Invalid value: \"A\"",
        );
        check(
            json!({"containers": [{"name": "a"}]}),
            "spec.containers[0].image: Required value",
        );
        check(
            json!({"containers": [{"name": "a", "image": "i"}, {"name": "a", "image": "i"}]}),
            "spec.containers[1].name: Duplicate value: \"a\"",
        );
        check(
            json!({"containers": [{"name": "a", "image": "i", "volumeMounts": [{"name": "x", "mountPath": "/"}]}]}),
            "spec.containers[0].volumeMounts[0].name: Not found: \"x\"",
        );
        check(
            json!({"restartPolicy": "Sometimes", "containers": [{"name": "a", "image": "i"}]}),
            "spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\"",
        );
        check(
            json!({"containers": [{"name": "a", "image": "i", "livenessProbe": {"exec": {"command": ["x"]}, "tcpSocket": {"port": 1}}}]}),
            "spec.containers[0].livenessProbe.tcpSocket: Forbidden",
        );
    }

    #[test]
    fn only_pods_on_a_node_get_time_to_stop() {
        let options = DeleteOptions::default();
        let mut pod = json!({"spec": {"terminationGracePeriodSeconds": 5}, "status": {"phase": "Pending"}});
        assert_eq!(Pods { kubelets: None }.begin_delete(&mut pod, &options), Deletion::Now);
        pod["spec"]["nodeName"] = json!("n");
        assert_eq!(
            Pods { kubelets: None }.begin_delete(&mut pod, &options),
            Deletion::Graceful { seconds: 5 }
        );
        let at_once = DeleteOptions {
            grace_period_seconds: Some(0),
            ..DeleteOptions::default()
        };
        assert_eq!(Pods { kubelets: None }.begin_delete(&mut pod, &at_once), Deletion::Now);
        pod["status"]["phase"] = json!("Succeeded");
        assert_eq!(Pods { kubelets: None }.begin_delete(&mut pod, &options), Deletion::Now);
    }
}
