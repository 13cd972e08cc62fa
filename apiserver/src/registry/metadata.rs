//! `metadata`: what the server sets, what it keeps, and what may be in it. The same for every resource.

use super::fields::{at, rfc3339, text};
use super::names;
use super::served::Served;
use super::strategy::NameRule;
use crate::{ApiError, FieldError, limits};
use jiff::Timestamp;
use rand::RngExt;
use serde_json::{Map, Value, json};

/// All annotations together, keys and values.
const ANNOTATION_BYTES_MAX: usize = 256 * 1024;

/// The metadata map, made if the object has none.
pub(super) fn metadata(object: &mut Value) -> &mut Map<String, Value> {
    super::fields::child(object, "metadata")
}

/// Agrees the namespace of the object with that of the request.
pub(super) fn place(served: &Served, namespace: &str, object: &mut Value) -> Result<(), ApiError> {
    let given = text(object, "metadata.namespace");
    if !served.info.namespaced {
        return match given.is_empty() {
            true => Ok(()),
            false => {
                let problem = FieldError::forbidden("metadata.namespace", "not allowed on this type");
                Err(ApiError::invalid(
                    &served.kind,
                    text(object, "metadata.name"),
                    vec![problem],
                ))
            }
        };
    }
    if !given.is_empty() && given != namespace {
        return Err(ApiError::bad_request(format!(
            "the namespace of the provided object does not match the namespace sent on the request: {given:?} is not {namespace:?}"
        )));
    }
    if namespace.is_empty() {
        return Err(ApiError::bad_request(
            "an empty namespace may not be set during creation",
        ));
    }
    metadata(object).insert("namespace".into(), namespace.into());
    Ok(())
}

/// Sets what only the server sets on a new object.
pub(super) fn stamp(object: &mut Value, now: Timestamp) {
    let metadata = metadata(object);
    for field in [
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
        "managedFields",
        "generation",
        "resourceVersion",
    ] {
        metadata.remove(field);
    }
    metadata.insert("creationTimestamp".into(), rfc3339(now).into());
    metadata.insert("uid".into(), uuid::Uuid::new_v4().to_string().into());
}

/// Whether the name is to be generated from `generateName`.
pub(super) fn wants_name(object: &Value) -> bool {
    text(object, "metadata.name").is_empty() && !text(object, "metadata.generateName").is_empty()
}

/// Sets a fresh random name.
pub(super) fn generate_name(object: &mut Value) {
    // No vowels and nothing that looks alike, so that names spell nothing and read well.
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let base: String = text(object, "metadata.generateName")
        .chars()
        .take(limits::GENERATED_NAME_BASE_MAX)
        .collect();
    let mut random = rand::rng();
    let suffix: String = (0..5)
        .map(|_| ALPHABET[random.random_range(0..ALPHABET.len())] as char)
        .collect();
    metadata(object).insert("name".into(), format!("{base}{suffix}").into());
}

/// Carries over what an update does not say and may not change.
pub(super) fn carry_over(new: &mut Value, old: &Value) {
    let kept: Vec<(&str, Option<Value>)> = [
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
    ]
    .into_iter()
    .map(|field| (field, old["metadata"].get(field).cloned()))
    .collect();
    let metadata = metadata(new);
    for (field, value) in kept {
        match value {
            // A uid or a creation time that differs is an error of the client, reported by `validate_update`.
            Some(_) if matches!(field, "uid" | "creationTimestamp") && is_given(metadata, field) => {}
            Some(value) => drop(metadata.insert(field.into(), value)),
            None => drop(metadata.remove(field)),
        }
    }
    for field in ["selfLink", "managedFields"] {
        metadata.remove(field);
    }
}

fn is_given(metadata: &Map<String, Value>, field: &str) -> bool {
    metadata
        .get(field)
        .and_then(Value::as_str)
        .is_some_and(|text| !text.is_empty())
}

/// The problems of a new object's metadata.
pub(super) fn validate(served: &Served, object: &Value) -> Vec<FieldError> {
    let mut problems = Vec::new();
    name(served, object, &mut problems);
    labels(object, &mut problems);
    annotations(object, &mut problems);
    finalizers(served, object, &mut problems);
    owners(object, &mut problems);
    problems
}

/// The problems of an update's metadata.
pub(super) fn validate_update(served: &Served, new: &Value, old: &Value) -> Vec<FieldError> {
    let mut problems = Vec::new();
    for field in ["name", "namespace", "uid", "creationTimestamp"] {
        let value = &new["metadata"][field];
        if *value != old["metadata"][field] {
            problems.push(FieldError::immutable(format!("metadata.{field}"), value));
        }
    }
    labels(new, &mut problems);
    annotations(new, &mut problems);
    finalizers(served, new, &mut problems);
    owners(new, &mut problems);
    late_finalizers(new, old, &mut problems);
    problems
}

fn name(served: &Served, object: &Value, problems: &mut Vec<FieldError>) {
    let name = text(object, "metadata.name");
    if name.is_empty() {
        problems.push(FieldError::required(
            "metadata.name",
            "name or generateName is required",
        ));
        return;
    }
    let rule = match served.strategy.name_rule() {
        NameRule::Subdomain => names::dns_subdomain,
        NameRule::Label => names::dns_label,
        NameRule::Label1035 => names::dns_1035_label,
        NameRule::PathSegment => names::path_segment,
    };
    if let Some(problem) = rule(name) {
        problems.push(FieldError::invalid("metadata.name", &json!(name), &problem));
    }
}

fn labels(object: &Value, problems: &mut Vec<FieldError>) {
    super::check::labels(problems, at(object, "metadata.labels"), "metadata.labels");
}

fn annotations(object: &Value, problems: &mut Vec<FieldError>) {
    let mut bytes = 0;
    for (key, value) in super::fields::entries(object, "metadata.annotations") {
        bytes += key.len() + value.as_str().map_or(0, str::len);
        if let Some(problem) = names::qualified_name(&key.to_lowercase()) {
            problems.push(FieldError::invalid("metadata.annotations", &json!(key), &problem));
        }
    }
    if bytes > ANNOTATION_BYTES_MAX {
        problems.push(FieldError::too_long("metadata.annotations", ANNOTATION_BYTES_MAX));
    }
}

fn finalizers(served: &Served, object: &Value, problems: &mut Vec<FieldError>) {
    // Only the kinds of Kubernetes itself insist on a domain.
    let free = served.custom.is_some() || served.info.group == "apiextensions.k8s.io";
    for (index, finalizer) in super::fields::list(object, "metadata.finalizers").iter().enumerate() {
        let known = matches!(finalizer.as_str(), Some("orphan" | "foregroundDeletion" | "kubernetes"));
        let name = finalizer.as_str().unwrap_or_default();
        let field = format!("metadata.finalizers[{index}]");
        if let Some(problem) = names::qualified_name(name) {
            problems.push(FieldError::invalid(field, finalizer, &problem));
        } else if !free && !known && !name.contains('/') {
            let detail = "name is neither a standard finalizer name nor is it fully qualified";
            problems.push(FieldError::invalid(field, finalizer, detail));
        }
    }
}

fn owners(object: &Value, problems: &mut Vec<FieldError>) {
    let mut controllers = Vec::new();
    for (index, owner) in super::fields::list(object, "metadata.ownerReferences")
        .iter()
        .enumerate()
    {
        for field in ["apiVersion", "kind", "name", "uid"] {
            if text(owner, field).is_empty() {
                let detail = format!(
                    "{} must not be empty",
                    if field == "apiVersion" { "version" } else { field }
                );
                let path = format!("metadata.ownerReferences[{index}].{field}");
                problems.push(FieldError::invalid(path, &json!(""), &detail));
            }
        }
        if super::fields::flag(owner, "controller") {
            controllers.push(text(owner, "name"));
        }
    }
    if let [first, second, ..] = controllers.as_slice() {
        let detail = format!(
            "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {second}"
        );
        problems.push(FieldError::invalid(
            "metadata.ownerReferences",
            &object["metadata"]["ownerReferences"],
            &detail,
        ));
    }
}

/// A finalizer added to an object that is going away would hold it back forever.
fn late_finalizers(new: &Value, old: &Value, problems: &mut Vec<FieldError>) {
    if at(old, "metadata.deletionTimestamp").is_none() {
        return;
    }
    let before = super::fields::list(old, "metadata.finalizers");
    let added: Vec<&Value> = super::fields::list(new, "metadata.finalizers")
        .iter()
        .filter(|f| !before.contains(f))
        .collect();
    if !added.is_empty() {
        let detail = format!(
            "no new finalizers can be added if the object is being deleted, found new finalizers {}",
            json!(added)
        );
        problems.push(FieldError::forbidden("metadata.finalizers", &detail));
    }
}

/// Counts a change of what the user wants: everything but metadata, and but the status where it has its own subresource.
pub(super) fn bump_generation(new: &mut Value, old: &Value, has_status: bool) {
    let wanted = |object: &Value| -> Map<String, Value> {
        let map = object.as_object().into_iter().flatten();
        map.filter(|(key, _)| *key != "metadata" && (*key != "status" || !has_status))
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect()
    };
    if wanted(new) != wanted(old) {
        let generation = super::fields::number(old, "metadata.generation") + 1;
        metadata(new).insert("generation".into(), generation.into());
    }
}
