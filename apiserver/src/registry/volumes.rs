//! Persistent volumes and claims, storage classes, and what storage drivers say of themselves.

use super::check::{self, Errors};
use super::declared::{Declared, PLAIN, STATUS};
use super::fields::{at, child, flag, list, same, text};
use super::strategy::{Cells, Column};
use super::table::{AGE, NAME, age, column, name, wide};
use crate::FieldError;
use api::Quantity;
use jiff::Timestamp;
use serde_json::{Value, json};

const MODE: Column = wide("VolumeMode", "string", "A file system, or the bare device.");
const ACCESS: Column = column("Access Modes", "string", "Who may mount it at once.");
const CLASS: Column = column("StorageClass", "string", "Who provides it.");
const ATTRIBUTES: Column = column("VolumeAttributesClass", "string", "How it performs.");

/// `persistentvolumes`.
pub const VOLUMES: Declared = Declared {
    columns: &[
        NAME,
        column("Capacity", "string", "Its size."),
        ACCESS,
        column("Reclaim Policy", "string", "What becomes of it when its claim goes."),
        column("Status", "string", "Whether it is bound."),
        column("Claim", "string", "What it is bound to."),
        CLASS,
        ATTRIBUTES,
        column("Reason", "string", "Why it is in that status."),
        AGE,
        MODE,
    ],
    cells: volume_cells,
    check: volume,
    check_update: |errors, new, old| {
        if !source(new).is_some_and(|field| same(at(&new["spec"], field), at(&old["spec"], field))) {
            let detail = "spec.persistentvolumesource is immutable after creation";
            errors.push(FieldError::forbidden("spec.persistentvolumesource", detail));
        }
    },
    fixed: &["spec.volumeMode", "spec.nodeAffinity"],
    subresources: STATUS,
    prepare: |_, volume| protect(volume, "kubernetes.io/pv-protection"),
    ..PLAIN
};

/// `persistentvolumeclaims`.
pub const CLAIMS: Declared = Declared {
    columns: &[
        NAME,
        column("Status", "string", "Whether it is bound."),
        column("Volume", "string", "What it is bound to."),
        column("Capacity", "string", "The size it got."),
        ACCESS,
        CLASS,
        ATTRIBUTES,
        AGE,
        MODE,
    ],
    cells: claim_cells,
    check: claim,
    check_update: claim_update,
    subresources: STATUS,
    prepare: |_, claim| protect(claim, "kubernetes.io/pvc-protection"),
    ..PLAIN
};

/// `storageclasses.storage.k8s.io`.
pub const CLASSES: Declared = Declared {
    columns: &[
        NAME,
        column("Provisioner", "string", "Who makes its volumes."),
        column(
            "ReclaimPolicy",
            "string",
            "What becomes of a volume when its claim goes.",
        ),
        column(
            "VolumeBindingMode",
            "string",
            "Whether a volume is made before a pod needs it.",
        ),
        column("AllowVolumeExpansion", "string", "Whether claims may grow."),
        AGE,
    ],
    cells: |class, now| {
        let default = at(class, "metadata.annotations")
            .and_then(|annotations| annotations.get(DEFAULT_CLASS))
            .is_some_and(|value| value == "true");
        let shown = match default {
            true => json!(format!("{} (default)", text(class, "metadata.name"))),
            false => name(class),
        };
        vec![
            shown,
            json!(text(class, "provisioner")),
            json!(text(class, "reclaimPolicy")),
            json!(text(class, "volumeBindingMode")),
            json!(flag(class, "allowVolumeExpansion")),
            age(class, now),
        ]
    },
    fixed: &["provisioner", "parameters", "reclaimPolicy", "volumeBindingMode"],
    ..PLAIN
};

/// `volumeattachments.storage.k8s.io`.
pub const ATTACHMENTS: Declared = Declared {
    columns: &[
        NAME,
        column("Attacher", "string", "Who attaches it."),
        column("PV", "string", "The volume."),
        column("Node", "string", "The node."),
        column("Attached", "boolean", "Whether it is."),
        AGE,
    ],
    cells: |attachment, now| {
        vec![
            name(attachment),
            json!(text(attachment, "spec.attacher")),
            json!(text(attachment, "spec.source.persistentVolumeName")),
            json!(text(attachment, "spec.nodeName")),
            json!(flag(attachment, "status.attached")),
            age(attachment, now),
        ]
    },
    fixed: &["spec"],
    subresources: STATUS,
    ..PLAIN
};

/// `csidrivers.storage.k8s.io`.
pub const DRIVERS: Declared = Declared {
    columns: &[
        NAME,
        column(
            "AttachRequired",
            "boolean",
            "Whether volumes are attached before they are mounted.",
        ),
        column("PodInfoOnMount", "boolean", "Whether it wants to know the pod."),
        column("StorageCapacity", "boolean", "Whether it tells how much is left."),
        column("TokenRequests", "string", "The audiences of tokens it wants."),
        column("RequiresRepublish", "boolean", "Whether it is called again and again."),
        column("Modes", "string", "The kinds of volumes it has."),
        AGE,
    ],
    cells: |driver, now| {
        let on = |field: &str| json!(flag(driver, &format!("spec.{field}")));
        let audiences: Vec<&str> = list(driver, "spec.tokenRequests")
            .iter()
            .map(|t| text(t, "audience"))
            .collect();
        let modes: Vec<&str> = list(driver, "spec.volumeLifecycleModes")
            .iter()
            .filter_map(Value::as_str)
            .collect();
        let or_unset = |list: Vec<&str>| {
            if list.is_empty() {
                "<unset>".to_owned()
            } else {
                list.join(",")
            }
        };
        vec![
            name(driver),
            on("attachRequired"),
            on("podInfoOnMount"),
            on("storageCapacity"),
            json!(or_unset(audiences)),
            on("requiresRepublish"),
            json!(or_unset(modes)),
            age(driver, now),
        ]
    },
    fixed: &["spec.attachRequired", "spec.volumeLifecycleModes"],
    generation: true,
    ..PLAIN
};

/// `csinodes.storage.k8s.io`.
pub const NODES: Declared = Declared {
    columns: &[NAME, column("Drivers", "integer", "How many drivers run there."), AGE],
    cells: |node, now| vec![name(node), json!(list(node, "spec.drivers").len()), age(node, now)],
    ..PLAIN
};

/// `csistoragecapacities.storage.k8s.io`.
pub const CAPACITIES: Declared = Declared {
    columns: &[
        NAME,
        column("StorageClassName", "string", "Of which class."),
        column("Capacity", "string", "What is left."),
    ],
    cells: |capacity, _| {
        vec![
            name(capacity),
            json!(text(capacity, "storageClassName")),
            json!(text(capacity, "capacity")),
        ]
    },
    fixed: &["nodeTopology", "storageClassName"],
    ..PLAIN
};

/// `volumeattributesclasses.storage.k8s.io`.
pub const ATTRIBUTES_CLASSES: Declared = Declared {
    columns: &[NAME, column("DriverName", "string", "Whose attributes they are."), AGE],
    cells: |class, now| vec![name(class), json!(text(class, "driverName")), age(class, now)],
    fixed: &["driverName", "parameters"],
    ..PLAIN
};

/// Marks the class of claims that name none.
const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";
const ACCESS_MODES: &[(&str, &str)] = &[
    ("ReadWriteOnce", "RWO"),
    ("ReadOnlyMany", "ROX"),
    ("ReadWriteMany", "RWX"),
    ("ReadWriteOncePod", "RWOP"),
];
/// What a volume's spec says besides where it is.
const NOT_A_SOURCE: &[&str] = &[
    "accessModes",
    "capacity",
    "claimRef",
    "mountOptions",
    "nodeAffinity",
    "persistentVolumeReclaimPolicy",
    "storageClassName",
    "volumeAttributesClassName",
    "volumeMode",
];

fn source(volume: &Value) -> Option<&str> {
    let fields = at(volume, "spec")?.as_object()?.keys();
    fields.map(String::as_str).find(|field| !NOT_A_SOURCE.contains(field))
}

/// Holds an object back while pods use it; the protection controllers let it go.
fn protect(object: &mut Value, finalizer: &str) {
    let metadata = child(object, "metadata");
    let finalizers = metadata.entry("finalizers").or_insert_with(|| json!([]));
    if let Value::Array(list) = finalizers
        && !list.iter().any(|known| known == finalizer)
    {
        list.push(finalizer.into());
    }
}

fn modes(object: &Value, path: &str) -> String {
    let short = |mode: &Value| {
        ACCESS_MODES
            .iter()
            .find(|(long, _)| mode == long)
            .map(|(_, short)| *short)
    };
    let shown: Vec<&str> = list(object, path).iter().filter_map(short).collect();
    shown.join(",")
}

fn or_unset(value: &str) -> Value {
    json!(if value.is_empty() { "<unset>" } else { value })
}

fn volume_cells(volume: &Value, now: Timestamp) -> Cells {
    let phase = match at(volume, "metadata.deletionTimestamp") {
        Some(_) => "Terminating",
        None => text(volume, "status.phase"),
    };
    let claim = match at(volume, "spec.claimRef") {
        Some(claim) => format!("{}/{}", text(claim, "namespace"), text(claim, "name")),
        None => String::new(),
    };
    vec![
        name(volume),
        json!(text(volume, "spec.capacity.storage")),
        json!(modes(volume, "spec.accessModes")),
        json!(text(volume, "spec.persistentVolumeReclaimPolicy")),
        json!(phase),
        json!(claim),
        json!(text(volume, "spec.storageClassName")),
        or_unset(text(volume, "spec.volumeAttributesClassName")),
        json!(text(volume, "status.reason")),
        age(volume, now),
        or_unset(text(volume, "spec.volumeMode")),
    ]
}

fn claim_cells(claim: &Value, now: Timestamp) -> Cells {
    let phase = match at(claim, "metadata.deletionTimestamp") {
        Some(_) => "Terminating",
        None => text(claim, "status.phase"),
    };
    let bound = !text(claim, "spec.volumeName").is_empty();
    let when_bound = |value: String| json!(if bound { value } else { String::new() });
    vec![
        name(claim),
        json!(phase),
        json!(text(claim, "spec.volumeName")),
        when_bound(text(claim, "status.capacity.storage").to_owned()),
        when_bound(modes(claim, "status.accessModes")),
        json!(text(claim, "spec.storageClassName")),
        or_unset(text(claim, "spec.volumeAttributesClassName")),
        age(claim, now),
        or_unset(text(claim, "spec.volumeMode")),
    ]
}

fn access_modes(errors: &mut Errors, object: &Value) {
    let given = list(object, "spec.accessModes");
    if given.is_empty() {
        errors.push(FieldError::required(
            "spec.accessModes",
            "at least 1 access mode is required",
        ));
    }
    for (index, mode) in given.iter().enumerate() {
        if !ACCESS_MODES.iter().any(|(long, _)| mode == long) {
            let supported: Vec<&str> = ACCESS_MODES.iter().map(|(long, _)| *long).collect();
            errors.push(FieldError::not_supported(
                format!("spec.accessModes[{index}]"),
                mode,
                &supported,
            ));
        }
    }
    let pod_only = given.iter().any(|mode| mode == "ReadWriteOncePod");
    if pod_only && given.len() > 1 {
        let detail = "may not use ReadWriteOncePod with other access modes";
        errors.push(FieldError::forbidden("spec.accessModes", detail));
    }
}

/// A size above nothing.
fn size(errors: &mut Errors, object: &Value, path: &str) {
    let value = at(object, path).unwrap_or(&Value::Null);
    match value.as_str().map(Quantity::parse) {
        Some(Ok(amount)) if amount.value() > 0 => {}
        Some(Ok(_)) => errors.push(FieldError::invalid(path, value, "must be greater than zero")),
        _ => errors.push(FieldError::required(path, "")),
    }
}

fn volume(errors: &mut Errors, volume: &Value) {
    access_modes(errors, volume);
    size(errors, volume, "spec.capacity.storage");
    let spec = at(volume, "spec").and_then(Value::as_object);
    let sources = spec
        .into_iter()
        .flatten()
        .filter(|(field, _)| !NOT_A_SOURCE.contains(&field.as_str()));
    match sources.count() {
        0 => errors.push(FieldError::required("spec", "must specify a volume type")),
        1 => {}
        _ => errors.push(FieldError::forbidden("spec", "may not specify more than 1 volume type")),
    }
}

fn claim(errors: &mut Errors, claim: &Value) {
    access_modes(errors, claim);
    size(errors, claim, "spec.resources.requests.storage");
    if let Some(selector) = at(claim, "spec.selector") {
        check::selector(errors, selector, "spec.selector");
    }
}

/// Once bound a claim may only ask for more; before, its volume may be set.
fn claim_update(errors: &mut Errors, new: &Value, old: &Value) {
    let keep = |object: &Value| {
        let mut spec = object["spec"].clone();
        let bound = !text(old, "spec.volumeName").is_empty();
        if let Value::Object(spec) = &mut spec {
            spec.remove("resources");
            spec.remove("volumeAttributesClassName");
            if !bound {
                spec.remove("volumeName");
            }
            // A default class may be filled in later.
            if at(old, "spec.storageClassName").is_none() {
                spec.remove("storageClassName");
            }
        }
        spec
    };
    if !same(Some(&keep(new)), Some(&keep(old))) {
        let detail =
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
        errors.push(FieldError::forbidden("spec", detail));
    }
    let amount = |object: &Value| Quantity::parse(text(object, "spec.resources.requests.storage")).ok();
    if let (Some(new_amount), Some(old_amount)) = (amount(new), amount(old)) {
        let path = "spec.resources.requests.storage";
        if new_amount < old_amount {
            errors.push(FieldError::forbidden(path, "field can not be less than previous value"));
        } else if new_amount > old_amount && text(old, "status.phase") != "Bound" {
            let detail = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
            errors.push(FieldError::forbidden("spec", detail));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a_claim() -> Value {
        json!({"metadata": {"name": "c"}, "spec": {"accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}}}, "status": {"phase": "Bound"}})
    }

    fn problems(new: &Value, old: &Value) -> usize {
        let mut errors = Errors::new();
        claim(&mut errors, new);
        claim_update(&mut errors, new, old);
        errors.len()
    }

    #[test]
    fn a_claim_only_grows() {
        let old = a_claim();
        let with = |size: &str| {
            let mut claim = a_claim();
            claim["spec"]["resources"]["requests"]["storage"] = json!(size);
            claim
        };
        assert_eq!(problems(&with("2Gi"), &old), 0);
        assert_eq!(problems(&with("512Mi"), &old), 1);
        assert_eq!(problems(&with("0"), &old), 2);
        let mut other = a_claim();
        other["spec"]["accessModes"] = json!(["ReadWriteMany"]);
        assert_eq!(problems(&other, &old), 1);
        let mut bound = a_claim();
        bound["spec"]["volumeName"] = json!("v");
        assert_eq!((problems(&bound, &old), problems(&old, &bound)), (0, 1));
    }

    #[test]
    fn a_volume_has_one_source() {
        let with = |sources: Value| {
            let mut object = json!({"spec": {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}}});
            for (field, value) in sources.as_object().unwrap() {
                object["spec"][field] = value.clone();
            }
            let mut errors = Errors::new();
            volume(&mut errors, &object);
            errors.len()
        };
        assert_eq!(with(json!({"hostPath": {"path": "/x"}})), 0);
        assert_eq!(with(json!({})), 1);
        assert_eq!(with(json!({"hostPath": {"path": "/x"}, "nfs": {}})), 1);
    }
}
