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
    validate_downward(errors, at(volume, "downwardAPI"), &join(path, "downwardAPI"));
    let projections = list(volume, "projected.sources");
    for (index, projection) in projections.iter().enumerate() {
        validate_projection(errors, projection, &format!("{path}.projected.sources[{index}]"));
    }
    validate_distinct(errors, projections, &join(path, "projected"));
}

/// What the sources of one projected volume are asked to write must not be the same file. Only equal paths are compared, as
/// upstream: a file where another needs a directory is for the node to refuse.
fn validate_distinct(errors: &mut Errors, projections: &[Value], path: &str) {
    let mut seen = HashSet::new();
    for projection in projections {
        for source in ["secret.items", "configMap.items", "downwardAPI.items"] {
            let paths = list(projection, source).iter().map(|item| text(item, "path"));
            for given in paths.filter(|p| !p.is_empty()) {
                if !seen.insert(given) {
                    errors.push(FieldError::invalid(path, &json!(given), "conflicting duplicate paths"));
                }
            }
        }
    }
}

fn validate_downward(errors: &mut Errors, source: Option<&Value>, path: &str) {
    let Some(source) = source else { return };
    for (index, item) in list(source, "items").iter().enumerate() {
        validate_local_path(errors, item, &format!("{path}.items[{index}]"));
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
    validate_downward(errors, at(projection, "downwardAPI"), &join(path, "downwardAPI"));
    if let Some(token) = at(projection, "serviceAccountToken") {
        let path = join(path, "serviceAccountToken");
        validate_local_path(errors, token, &path);
        check::at_least(errors, token, &path, "expirationSeconds", 600);
    }
}

/// A path inside the volume must stay inside it, and away from the names that the node uses there.
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
    let detail = if given.split('/').any(|part| part == "..") {
        "must not contain '..'"
    } else if given.starts_with("..") {
        "must not start with '..'"
    } else {
        return;
    };
    errors.push(FieldError::invalid(join(path, "path"), &json!(given), detail));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(volume: Value) -> Vec<String> {
        let mut errors = Errors::default();
        validate(&mut errors, &json!({ "volumes": [volume] }), "spec");
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn projected_sources_write_different_files_with_names_of_their_own() {
        let projected = |first: &str, second: &str| {
            problems(json!({ "name": "v", "projected": { "sources": [
                { "configMap": { "name": "c", "items": [{ "key": "k", "path": first }] } },
                { "downwardAPI": { "items": [{ "path": second, "fieldRef": { "fieldPath": "metadata.name" } }] } },
            ] } }))
        };
        assert_eq!(projected("a", "b"), [""; 0]);
        // Upstream leaves this to the node, too.
        assert_eq!(projected("a", "a/b"), [""; 0]);
        assert!(projected("a", "a")[0].contains("conflicting duplicate paths"));
        assert!(projected("a", "..data")[0].contains("must not start with '..'"));
        assert!(projected("../a", "b")[0].contains("must not contain '..'"));
    }
}
