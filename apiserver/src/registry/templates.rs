//! Replication controllers, pod templates, controller revisions.

use super::check::{self, Errors};
use super::columns::{containers, label_list};
use super::declared::{Declared, PLAIN};
use super::fields::{at, list, number, text};
use super::pods;
use super::strategy::{Column, Subresource};
use super::table::{AGE, NAME, age, column, name, wide};
use super::workloads::SCALE;
use crate::FieldError;
use serde_json::{Value, json};

const CONTAINERS: Column = wide("Containers", "string", "The names of the template's containers.");
const IMAGES: Column = wide("Images", "string", "The images of the template's containers.");

/// `replicationcontrollers`.
pub const REPLICATION_CONTROLLERS: Declared = Declared {
    columns: &[
        NAME,
        column("Desired", "integer", "Pods wanted."),
        column("Current", "integer", "Pods that exist."),
        column("Ready", "integer", "Pods that are ready."),
        AGE,
        CONTAINERS,
        IMAGES,
        wide("Selector", "string", "The labels of the pods it owns."),
    ],
    cells: |object, now| {
        vec![
            name(object),
            json!(number(object, "spec.replicas")),
            json!(number(object, "status.replicas")),
            json!(number(object, "status.readyReplicas")),
            age(object, now),
            json!(containers(object, "name")),
            json!(containers(object, "image")),
            json!(label_list(at(object, "spec.selector"))),
        ]
    },
    check: replication_controller,
    generation: true,
    subresources: &[("status", Subresource::Object), ("scale", SCALE)],
    prepare: |_, object| object["status"] = json!({"replicas": 0}),
    orphans: true,
    ..PLAIN
};

/// `podtemplates`.
pub const POD_TEMPLATES: Declared = Declared {
    columns: &[
        NAME,
        column("Containers", "string", "The names of its containers."),
        column("Images", "string", "The images of its containers."),
        column("Pod Labels", "string", "The labels of its pods."),
    ],
    cells: |object, _| {
        let inner = json!({"spec": {"template": object["template"]}});
        vec![
            name(object),
            json!(containers(&inner, "name")),
            json!(containers(&inner, "image")),
            json!(label_list(at(object, "template.metadata.labels"))),
        ]
    },
    check: |errors, object| pods::spec::validate(errors, &object["template"]["spec"], "template.spec"),
    generation: true,
    ..PLAIN
};

/// `controllerrevisions.apps`.
pub const REVISIONS: Declared = Declared {
    columns: &[
        NAME,
        column("Controller", "string", "Whose state it is."),
        column("Revision", "integer", "Its number."),
        AGE,
    ],
    cells: |object, now| {
        let owner = list(object, "metadata.ownerReferences")
            .iter()
            .find(|owner| owner["controller"] == true);
        let shown = owner.map_or("<none>".to_owned(), |owner| {
            let kind = text(owner, "kind").to_lowercase();
            match text(owner, "apiVersion").split_once('/') {
                Some((group, _)) => format!("{kind}.{group}/{}", text(owner, "name")),
                None => format!("{kind}/{}", text(owner, "name")),
            }
        });
        vec![
            name(object),
            json!(shown),
            json!(number(object, "revision")),
            age(object, now),
        ]
    },
    check: |errors, object| check::at_least(errors, object, "", "revision", 0),
    fixed: &["data"],
    ..PLAIN
};

fn replication_controller(errors: &mut Errors, object: &Value) {
    let spec = &object["spec"];
    for field in ["replicas", "minReadySeconds"] {
        check::at_least(errors, spec, "spec", field, 0);
    }
    let selector = at(spec, "selector")
        .and_then(Value::as_object)
        .filter(|map| !map.is_empty());
    let Some(selector) = selector else {
        errors.push(FieldError::required("spec.selector", ""));
        return;
    };
    let labels = at(spec, "template.metadata.labels").cloned().unwrap_or(json!({}));
    if !selector.iter().all(|(key, value)| labels.get(key) == Some(value)) {
        let detail = "`selector` does not match template `labels`";
        errors.push(FieldError::invalid("spec.template.metadata.labels", &labels, detail));
    }
    pods::spec::validate(errors, &spec["template"]["spec"], "spec.template.spec");
    let policy = text(spec, "template.spec.restartPolicy");
    if !matches!(policy, "" | "Always") {
        let field = "spec.template.spec.restartPolicy";
        errors.push(FieldError::not_supported(field, &json!(policy), &["Always"]));
    }
}
