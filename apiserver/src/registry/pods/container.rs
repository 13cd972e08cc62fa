//! Validation of one container.

use super::{probes, resources};
use crate::FieldError;
use crate::registry::check::{self, Errors, join};
use crate::registry::fields::{at, entries, list, number, text};
use crate::registry::names;
use serde_json::{Value, json};
use std::collections::HashSet;

/// Which list of the pod spec a container stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Main,
    Init,
    Ephemeral,
}

/// What the pod says that containers refer to.
pub(crate) struct Scope<'a> {
    pub volumes: &'a HashSet<&'a str>,
    pub host_network: bool,
}

/// Appends what is wrong with `container`, which stands at `path`.
pub(crate) fn validate(errors: &mut Errors, container: &Value, path: &str, scope: &Scope<'_>, kind: Kind) {
    check::required_shape(errors, container, path, "name", names::dns_label);
    validate_image(errors, container, path);
    check::one_of(
        errors,
        container,
        path,
        "imagePullPolicy",
        &["Always", "Never", "IfNotPresent"],
    );
    check::one_of(
        errors,
        container,
        path,
        "terminationMessagePolicy",
        &["File", "FallbackToLogsOnError"],
    );
    validate_env(errors, container, path);
    validate_mounts(errors, container, path, scope);
    validate_security(errors, container, path);
    resources::validate(errors, container, path);
    match kind {
        Kind::Ephemeral => forbid(
            errors,
            container,
            path,
            EPHEMERAL_FORBIDDEN,
            "not allowed for ephemeral containers",
        ),
        _ => validate_ports(errors, container, path, scope),
    }
    let restarts = text(container, "restartPolicy");
    match kind {
        Kind::Init if restarts != "Always" => {
            forbid(
                errors,
                container,
                path,
                PROBES,
                "may not be set for init containers without restartPolicy=Always",
            );
        }
        Kind::Main | Kind::Init => probes::validate(errors, container, path),
        Kind::Ephemeral => {}
    }
}

const PROBES: &[&str] = &["livenessProbe", "readinessProbe", "startupProbe", "lifecycle"];
const EPHEMERAL_FORBIDDEN: &[&str] = &[
    "ports",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "lifecycle",
    "resources",
];

fn forbid(errors: &mut Errors, container: &Value, path: &str, fields: &[&str], why: &str) {
    for field in fields {
        let given = container.get(*field);
        if !crate::registry::fields::same(given, None) {
            errors.push(FieldError::forbidden(join(path, field), why));
        }
    }
}

fn validate_image(errors: &mut Errors, container: &Value, path: &str) {
    let image = text(container, "image");
    if image.is_empty() {
        errors.push(FieldError::required(join(path, "image"), ""));
    } else if image.trim() != image {
        let detail = "must not have leading or trailing whitespace";
        errors.push(FieldError::invalid(join(path, "image"), &json!(image), detail));
    }
}

fn validate_ports(errors: &mut Errors, container: &Value, path: &str, scope: &Scope<'_>) {
    let mut seen = HashSet::new();
    for (index, port) in list(container, "ports").iter().enumerate() {
        let path = format!("{path}.ports[{index}]");
        check::shape(errors, port, &path, "name", names::port_name);
        let name = text(port, "name");
        if !name.is_empty() && !seen.insert(name) {
            errors.push(FieldError::duplicate(join(&path, "name"), &json!(name)));
        }
        if number(port, "containerPort") == 0 {
            errors.push(FieldError::required(join(&path, "containerPort"), ""));
        }
        check::port(errors, port, &path, "containerPort");
        if number(port, "hostPort") != 0 {
            check::port(errors, port, &path, "hostPort");
            if scope.host_network && number(port, "hostPort") != number(port, "containerPort") {
                let detail = "must match `hostPort` when `hostNetwork` is true";
                let given = json!(number(port, "containerPort"));
                errors.push(FieldError::invalid(join(&path, "containerPort"), &given, detail));
            }
        }
        check::one_of(errors, port, &path, "protocol", &["SCTP", "TCP", "UDP"]);
    }
}

fn validate_env(errors: &mut Errors, container: &Value, path: &str) {
    for (index, variable) in list(container, "env").iter().enumerate() {
        let path = format!("{path}.env[{index}]");
        check::required_shape(errors, variable, &path, "name", names::env_name);
        let Some(source) = at(variable, "valueFrom") else {
            continue;
        };
        let path = join(&path, "valueFrom");
        let sources = entries(variable, "valueFrom").filter(|(_, v)| !v.is_null()).count();
        if sources == 0 {
            let detail = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`";
            errors.push(FieldError::invalid(path.clone(), &json!(""), detail));
        }
        if sources > 1 {
            let detail = "may not have more than one field specified at a time";
            errors.push(FieldError::invalid(path.clone(), &json!(""), detail));
        }
        if !text(variable, "value").is_empty() && sources > 0 {
            let detail = "may not be specified when `value` is not empty";
            errors.push(FieldError::invalid(path.clone(), &json!(""), detail));
        }
        for reference in ["configMapKeyRef", "secretKeyRef"] {
            if let Some(key) = at(source, reference) {
                check::required_shape(errors, key, &join(&path, reference), "key", names::config_key);
            }
        }
        if let Some(field) = at(source, "fieldRef") {
            check::required(errors, field, &join(&path, "fieldRef"), "fieldPath");
        }
    }
}

fn validate_mounts(errors: &mut Errors, container: &Value, path: &str, scope: &Scope<'_>) {
    let mut seen = HashSet::new();
    for (index, mount) in list(container, "volumeMounts").iter().enumerate() {
        let path = format!("{path}.volumeMounts[{index}]");
        let (name, mount_path) = (text(mount, "name"), text(mount, "mountPath"));
        check::required(errors, mount, &path, "name");
        if !name.is_empty() && !scope.volumes.contains(name) {
            errors.push(FieldError::not_found(join(&path, "name"), &json!(name)));
        }
        check::required(errors, mount, &path, "mountPath");
        if !mount_path.is_empty() && !seen.insert(mount_path) {
            errors.push(FieldError::invalid(
                join(&path, "mountPath"),
                &json!(mount_path),
                "must be unique",
            ));
        }
        validate_sub_path(errors, mount, &path);
    }
}

fn validate_sub_path(errors: &mut Errors, mount: &Value, path: &str) {
    for key in ["subPath", "subPathExpr"] {
        let given = text(mount, key);
        if given.starts_with('/') {
            errors.push(FieldError::invalid(
                join(path, key),
                &json!(given),
                "must be a relative path",
            ));
        }
        if given.split('/').any(|part| part == "..") {
            errors.push(FieldError::invalid(
                join(path, key),
                &json!(given),
                "must not contain '..'",
            ));
        }
    }
    if !text(mount, "subPath").is_empty() && !text(mount, "subPathExpr").is_empty() {
        let given = json!(text(mount, "subPathExpr"));
        errors.push(FieldError::invalid(
            join(path, "subPathExpr"),
            &given,
            "subPathExpr and subPath are mutually exclusive",
        ));
    }
}

fn validate_security(errors: &mut Errors, container: &Value, path: &str) {
    let Some(context) = at(container, "securityContext") else {
        return;
    };
    let path = join(path, "securityContext");
    check::at_least(errors, context, &path, "runAsUser", 0);
    check::at_least(errors, context, &path, "runAsGroup", 0);
    let escalates = at(context, "allowPrivilegeEscalation").and_then(Value::as_bool);
    if escalates == Some(false) && crate::registry::fields::flag(context, "privileged") {
        let detail = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
        errors.push(FieldError::invalid(path, context, detail));
    }
}
