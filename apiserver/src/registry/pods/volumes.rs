//! Validation of a pod's volumes. Each has exactly one source; sources are checked for what their users must give.

use crate::FieldError;
use crate::registry::check::{self, Errors, join};
use crate::registry::fields::{at, list, text};
use crate::registry::names;
use serde_json::{Value, json};
use std::collections::HashSet;

/// What each source cannot do without, as far as it is checked here.
const REQUIRED: &[(&str, &str)] = &[
    ("hostPath", "path"),
    ("configMap", "name"),
    ("secret", "secretName"),
    ("persistentVolumeClaim", "claimName"),
    ("nfs", "server"),
    ("nfs", "path"),
    ("csi", "driver"),
];

/// Appends what is wrong and returns the names that mounts may use.
pub(crate) fn validate<'a>(errors: &mut Errors, spec: &'a Value, path: &str) -> HashSet<&'a str> {
    let mut seen = HashSet::new();
    for (index, volume) in list(spec, "volumes").iter().enumerate() {
        let path = format!("{path}.volumes[{index}]");
        check::required_shape(errors, volume, &path, "name", names::dns_label);
        let name = text(volume, "name");
        if !name.is_empty() && !seen.insert(name) {
            errors.push(FieldError::duplicate(join(&path, "name"), &json!(name)));
        }
        validate_source(errors, volume, &path);
    }
    seen
}

fn validate_source(errors: &mut Errors, volume: &Value, path: &str) {
    let fields = volume.as_object().into_iter().flatten();
    let sources: Vec<&String> = fields
        .filter(|(key, v)| *key != "name" && !v.is_null())
        .map(|(key, _)| key)
        .collect();
    if sources.is_empty() {
        errors.push(FieldError::required(path, "must specify a volume type"));
    }
    for extra in sources.iter().skip(1) {
        errors.push(FieldError::forbidden(
            join(path, extra),
            "may not specify more than 1 volume type",
        ));
    }
    for (source, key) in REQUIRED {
        if let Some(value) = at(volume, source) {
            check::required(errors, value, &join(path, source), key);
        }
    }
    for source in ["configMap", "secret"] {
        validate_items(errors, at(volume, source), &join(path, source));
    }
    for (index, projection) in list(volume, "projected.sources").iter().enumerate() {
        validate_projection(errors, projection, &format!("{path}.projected.sources[{index}]"));
    }
}

fn validate_items(errors: &mut Errors, source: Option<&Value>, path: &str) {
    let Some(source) = source else { return };
    for (index, item) in list(source, "items").iter().enumerate() {
        let path = format!("{path}.items[{index}]");
        check::required(errors, item, &path, "key");
        validate_local_path(errors, item, &path);
    }
}

fn validate_projection(errors: &mut Errors, projection: &Value, path: &str) {
    for source in ["configMap", "secret"] {
        validate_items(errors, at(projection, source), &join(path, source));
    }
    if let Some(token) = at(projection, "serviceAccountToken") {
        let path = join(path, "serviceAccountToken");
        validate_local_path(errors, token, &path);
        check::at_least(errors, token, &path, "expirationSeconds", 600);
    }
}

/// A path inside the volume must stay inside it.
fn validate_local_path(errors: &mut Errors, item: &Value, path: &str) {
    let given = text(item, "path");
    check::required(errors, item, path, "path");
    if given.starts_with('/') {
        errors.push(FieldError::invalid(
            join(path, "path"),
            &json!(given),
            "must be a relative path",
        ));
    }
    if given.split('/').any(|part| part == "..") {
        errors.push(FieldError::invalid(
            join(path, "path"),
            &json!(given),
            "must not contain '..'",
        ));
    }
}
