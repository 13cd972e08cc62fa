//! Nodes: what kubectl shows of them, and who may change what.

use super::check::{self, Errors};
use super::fields::{at, entries, flag, list, text};
use super::strategy::*;
use super::table::{AGE, NAME, age, column, name, wide};
use super::{RequestContext, names};
use crate::{ApiError, Body, FieldError};
use serde_json::{Value, json};

/// The strategy of `nodes`.
pub struct Nodes {
    pub kubelets: Option<std::sync::Arc<crate::outbound::Kubelets>>,
}

const ROLE_LABEL: &str = "node-role.kubernetes.io/";
const OLD_ROLE_LABEL: &str = "kubernetes.io/role";

const COLUMNS: &[Column] = &[
    NAME,
    column(
        "Status",
        "string",
        "Whether it is ready, and whether pods are still scheduled there.",
    ),
    column("Roles", "string", "What its labels say it is for."),
    AGE,
    column("Version", "string", "The version of its kubelet."),
    wide("Internal-IP", "string", "Its address inside the cluster."),
    wide("External-IP", "string", "Its address outside the cluster."),
    wide("OS-Image", "string", "The operating system it reports."),
    wide("Kernel-Version", "string", "The kernel it reports."),
    wide("Container-Runtime", "string", "The container runtime it reports."),
];

#[async_trait::async_trait]
impl Strategy for Nodes {
    fn prepare_for_create(&self, _context: &RequestContext, _node: &mut Value) {
        // A kubelet registers its node together with its first status.
    }

    fn prepare_for_update(&self, _context: &RequestContext, subresource: &str, old: &Value, new: &mut Value) {
        match subresource {
            // Unlike elsewhere, a status update may also change metadata: kubelets annotate their node with it.
            "status" => copy_field(new, old, "spec"),
            _ => copy_field(new, old, "status"),
        }
    }

    fn validate(&self, node: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        for (index, taint) in list(node, "spec.taints").iter().enumerate() {
            let path = format!("spec.taints[{index}]");
            check::required_shape(&mut errors, taint, &path, "key", names::qualified_name);
            check::shape(&mut errors, taint, &path, "value", names::label_value);
            check::required(&mut errors, taint, &path, "effect");
            check::one_of(
                &mut errors,
                taint,
                &path,
                "effect",
                &["NoSchedule", "PreferNoSchedule", "NoExecute"],
            );
            let same = |t: &&Value| text(t, "key") == text(taint, "key") && text(t, "effect") == text(taint, "effect");
            if list(node, "spec.taints")[..index].iter().find(same).is_some() {
                errors.push(FieldError::duplicate(path, taint));
            }
        }
        errors
    }

    fn validate_update(&self, subresource: &str, new: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = if subresource.is_empty() {
            self.validate(new)
        } else {
            Errors::new()
        };
        for field in ["spec.podCIDR", "spec.providerID"] {
            if !text(old, field).is_empty() && text(old, field) != text(new, field) {
                let detail = "node updates may not change this field once it is set";
                errors.push(FieldError::forbidden(field, detail));
            }
        }
        errors
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, node: &Value, now: jiff::Timestamp) -> Cells {
        let info = |field: &str| {
            let value = text(node, &format!("status.nodeInfo.{field}"));
            json!(if value.is_empty() { "<unknown>" } else { value })
        };
        vec![
            name(node),
            json!(status(node)),
            json!(roles(node)),
            age(node, now),
            json!(text(node, "status.nodeInfo.kubeletVersion")),
            json!(address(node, "InternalIP")),
            json!(address(node, "ExternalIP")),
            info("osImage"),
            info("kernelVersion"),
            info("containerRuntimeVersion"),
        ]
    }

    fn selectable_fields(&self) -> &'static [SelectableField] {
        const FIELDS: &[SelectableField] = &[SelectableField::of("spec.unschedulable", "false")];
        FIELDS
    }

    fn subresource(&self, name: &str) -> Option<Subresource<'_>> {
        match name {
            "status" => Some(Subresource::Object),
            "proxy" => Some(Subresource::Stream),
            _ => None,
        }
    }

    async fn connect(&self, connect: Connect<'_>) -> Result<http::Response<Body>, ApiError> {
        let Some(kubelets) = &self.kubelets else {
            return Err(crate::outbound::not_configured());
        };
        crate::outbound::nodes::connect(kubelets, connect).await
    }
}

fn status(node: &Value) -> String {
    let ready = list(node, "status.conditions")
        .iter()
        .find(|c| text(c, "type") == "Ready");
    let word = match ready.map(|c| text(c, "status")) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    };
    if flag(node, "spec.unschedulable") {
        format!("{word},SchedulingDisabled")
    } else {
        word.to_owned()
    }
}

fn roles(node: &Value) -> String {
    let mut roles: Vec<&str> = entries(node, "metadata.labels")
        .filter_map(|(key, value)| match key.strip_prefix(ROLE_LABEL) {
            Some(role) if !role.is_empty() => Some(role),
            _ if key == OLD_ROLE_LABEL => value.as_str().filter(|v| !v.is_empty()),
            _ => None,
        })
        .collect();
    roles.sort_unstable();
    roles.dedup();
    if roles.is_empty() {
        "<none>".to_owned()
    } else {
        roles.join(",")
    }
}

/// The first address of a kind, `<none>` without one.
fn address<'a>(node: &'a Value, kind: &str) -> &'a str {
    let found = list(node, "status.addresses").iter().find(|a| text(a, "type") == kind);
    found
        .and_then(|a| at(a, "address"))
        .and_then(Value::as_str)
        .unwrap_or("<none>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_tells_readiness_and_roles() {
        let node = json!({"metadata": {"name": "n", "labels": {"node-role.kubernetes.io/control-plane": "", "x": "y"}},
            "spec": {"unschedulable": true},
            "status": {"conditions": [{"type": "Ready", "status": "True"}], "nodeInfo": {"kubeletVersion": "v1.36.0"},
                "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}]}});
        let cells = Nodes { kubelets: None }.cells(&node, jiff::Timestamp::UNIX_EPOCH);
        assert_eq!(cells[1..3], [json!("Ready,SchedulingDisabled"), json!("control-plane")]);
        assert_eq!(cells[4..7], [json!("v1.36.0"), json!("10.0.0.1"), json!("<none>")]);
        assert_eq!(cells.len(), COLUMNS.len());
    }
}
