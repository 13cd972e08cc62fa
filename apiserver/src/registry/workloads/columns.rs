//! The tables of workloads.

use super::Workload;
use crate::registry::columns::{containers, label_list, selector};
use crate::registry::fields::{at, number};
use crate::registry::strategy::{Cells, Column};
use crate::registry::table::{AGE, NAME, age, column, name, wide};
use serde_json::{Value, json};

const CONTAINERS: Column = wide("Containers", "string", "The names of the template's containers.");
const IMAGES: Column = wide("Images", "string", "The images of the template's containers.");
const SELECTOR: Column = wide("Selector", "string", "The labels of the pods it owns.");

const DEPLOYMENT: &[Column] = &[
    NAME,
    column("Ready", "string", "Pods that are ready, of those wanted."),
    column("Up-to-date", "string", "Pods made from the current template."),
    column("Available", "string", "Pods that have been ready for long enough."),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

const REPLICA_SET: &[Column] = &[
    NAME,
    column("Desired", "integer", "Pods wanted."),
    column("Current", "integer", "Pods that exist."),
    column("Ready", "integer", "Pods that are ready."),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

const STATEFUL_SET: &[Column] = &[
    NAME,
    column("Ready", "string", "Pods that are ready, of those wanted."),
    AGE,
    CONTAINERS,
    IMAGES,
];

const DAEMON_SET: &[Column] = &[
    NAME,
    column("Desired", "integer", "Nodes that should run its pod."),
    column("Current", "integer", "Nodes that have its pod."),
    column("Ready", "integer", "Nodes where its pod is ready."),
    column(
        "Up-to-date",
        "integer",
        "Nodes with a pod made from the current template.",
    ),
    column(
        "Available",
        "integer",
        "Nodes where its pod has been ready for long enough.",
    ),
    column("Node Selector", "string", "The labels of the nodes it runs on."),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

pub(super) fn columns(kind: Workload) -> &'static [Column] {
    match kind {
        Workload::Deployment => DEPLOYMENT,
        Workload::ReplicaSet => REPLICA_SET,
        Workload::StatefulSet => STATEFUL_SET,
        Workload::DaemonSet => DAEMON_SET,
    }
}

pub(super) fn cells(kind: Workload, object: &Value, now: jiff::Timestamp) -> Cells {
    let count = |path: &str| json!(number(object, path));
    let wanted = at(object, "spec.replicas").and_then(Value::as_i64).unwrap_or(1);
    let ready = || json!(format!("{}/{wanted}", number(object, "status.readyReplicas")));
    let mut cells = vec![name(object)];
    match kind {
        Workload::Deployment => {
            cells.extend([
                ready(),
                count("status.updatedReplicas"),
                count("status.availableReplicas"),
            ]);
        }
        Workload::ReplicaSet => {
            cells.extend([json!(wanted), count("status.replicas"), count("status.readyReplicas")]);
        }
        Workload::StatefulSet => cells.push(ready()),
        Workload::DaemonSet => {
            let fields = [
                "desiredNumberScheduled",
                "currentNumberScheduled",
                "numberReady",
                "updatedNumberScheduled",
                "numberAvailable",
            ];
            cells.extend(fields.iter().map(|f| count(&format!("status.{f}"))));
            let nodes = label_list(at(object, "spec.template.spec.nodeSelector"));
            cells.push(json!(if nodes.is_empty() { "<none>" } else { &nodes }));
        }
    }
    cells.extend([
        age(object, now),
        json!(containers(object, "name")),
        json!(containers(object, "image")),
    ]);
    if kind != Workload::StatefulSet {
        cells.push(json!(selector(at(object, "spec.selector"))));
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_has_a_cell() {
        let object = json!({"metadata": {"name": "x"}, "spec": {"replicas": 3}, "status": {"readyReplicas": 2}});
        for kind in [
            Workload::Deployment,
            Workload::ReplicaSet,
            Workload::StatefulSet,
            Workload::DaemonSet,
        ] {
            assert_eq!(
                columns(kind).len(),
                cells(kind, &object, jiff::Timestamp::UNIX_EPOCH).len(),
                "{kind:?}"
            );
        }
        assert_eq!(
            cells(Workload::Deployment, &object, jiff::Timestamp::UNIX_EPOCH)[1],
            "2/3"
        );
    }
}
