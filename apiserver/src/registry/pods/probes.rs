//! Validation of probes and lifecycle hooks.

use crate::FieldError;
use crate::registry::check::{self, Errors, join};
use crate::registry::fields::{at, list, number};
use serde_json::{Value, json};

const HANDLERS: &[&str] = &["exec", "httpGet", "tcpSocket", "grpc", "sleep"];
const TIMINGS: &[&str] = &[
    "initialDelaySeconds",
    "timeoutSeconds",
    "periodSeconds",
    "successThreshold",
    "failureThreshold",
];

/// Appends what is wrong with the probes and hooks of `container`.
pub(crate) fn validate(errors: &mut Errors, container: &Value, path: &str) {
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = at(container, name) {
            validate_probe(errors, probe, &join(path, name), name);
        }
    }
    for name in ["postStart", "preStop"] {
        if let Some(handler) = at(container, &format!("lifecycle.{name}")) {
            validate_handler(errors, handler, &format!("{path}.lifecycle.{name}"));
        }
    }
}

fn validate_probe(errors: &mut Errors, probe: &Value, path: &str, name: &str) {
    validate_handler(errors, probe, path);
    for timing in TIMINGS {
        check::at_least(errors, probe, path, timing, 0);
    }
    let threshold = number(probe, "successThreshold");
    if name != "readinessProbe" && !matches!(threshold, 0 | 1) {
        errors.push(FieldError::invalid(
            join(path, "successThreshold"),
            &json!(threshold),
            "must be 1",
        ));
    }
}

fn validate_handler(errors: &mut Errors, handler: &Value, path: &str) {
    let given: Vec<&&str> = HANDLERS.iter().filter(|h| at(handler, h).is_some()).collect();
    match given.as_slice() {
        [] => errors.push(FieldError::required(path, "must specify a handler type")),
        [_] => {}
        [_, others @ ..] => {
            for other in others {
                errors.push(FieldError::forbidden(
                    join(path, other),
                    "may not specify more than 1 handler type",
                ));
            }
        }
    }
    if let Some(exec) = at(handler, "exec")
        && list(exec, "command").is_empty()
    {
        errors.push(FieldError::required(format!("{path}.exec.command"), ""));
    }
    if let Some(get) = at(handler, "httpGet") {
        let path = join(path, "httpGet");
        check::port_reference(errors, get, &path, "port");
        check::one_of(errors, get, &path, "scheme", &["HTTP", "HTTPS"]);
    }
    if let Some(socket) = at(handler, "tcpSocket") {
        check::port_reference(errors, socket, &join(path, "tcpSocket"), "port");
    }
    if let Some(grpc) = at(handler, "grpc") {
        check::port(errors, grpc, &join(path, "grpc"), "port");
    }
}
