//! Whether a definition can be kept, said with upstream's field paths.

use crate::FieldError;
use crate::registry::check::{self, Errors, unchanged};
use crate::registry::fields::{at, entries, flag, list, name, text};
use crate::registry::names;
use api::structural::path::Path;
use api::structural::rules::{self, RuleFault};
use api::structural::{Kind, Node};
use serde_json::{Value, json};
use std::collections::HashSet;

/// Groups that belong to Kubernetes itself.
const PROTECTED: &[&str] = &["k8s.io", "kubernetes.io"];
const APPROVAL: &str = "api-approved.kubernetes.io";
const COLUMN_TYPES: &[&str] = &["boolean", "date", "integer", "number", "string"];
const SELECTABLE_MAX: usize = 8;

/// A new definition.
pub(super) fn definition(definition: &Value) -> Errors {
    let mut errors = Errors::new();
    let (group, plural) = (text(definition, "spec.group"), text(definition, "spec.names.plural"));
    if name(definition) != format!("{plural}.{group}") {
        let detail = "must be spec.names.plural+\".\"+spec.group";
        errors.push(FieldError::invalid("metadata.name", &json!(name(definition)), detail));
    }
    check_group(&mut errors, definition, group);
    check::required(&mut errors, &definition["spec"], "spec", "scope");
    check::one_of(
        &mut errors,
        &definition["spec"],
        "spec",
        "scope",
        &["Cluster", "Namespaced"],
    );
    check_names(&mut errors, &definition["spec"]["names"]);
    check_versions(&mut errors, definition);
    check_conversion(&mut errors, definition);
    if flag(definition, "spec.preserveUnknownFields") {
        let detail = "cannot be set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead";
        errors.push(FieldError::invalid("spec.preserveUnknownFields", &json!(true), detail));
    }
    errors
}

/// A changed definition.
pub(super) fn change(new: &Value, old: &Value) -> Errors {
    let mut errors = definition(new);
    if super::is(old, "Established") {
        for path in ["spec.scope", "spec.names.kind"] {
            unchanged(&mut errors, new, old, path);
        }
    }
    for path in ["spec.group", "spec.names.plural"] {
        unchanged(&mut errors, new, old, path);
    }
    errors.extend(stored_versions(new));
    errors
}

/// A version that objects may be stored in stays in the definition.
pub(super) fn stored_versions(definition: &Value) -> Errors {
    let mut errors = Errors::new();
    let known: Vec<&str> = list(definition, "spec.versions")
        .iter()
        .map(|version| text(version, "name"))
        .collect();
    let stored = list(definition, "status.storedVersions");
    for (index, version) in stored.iter().enumerate() {
        let word = version.as_str().unwrap_or_default();
        if !known.contains(&word) {
            let detail = format!(
                "missing from spec.versions; {word} was previously a storage version, and must remain in spec.versions until a \
                 storage migration ensures no data remains persisted in {word} and removes {word} from status.storedVersions"
            );
            errors.push(FieldError::invalid(
                format!("status.storedVersions[{index}]"),
                version,
                &detail,
            ));
        }
    }
    let current = list(definition, "spec.versions")
        .iter()
        .find(|version| flag(version, "storage"));
    if let Some(current) = current.map(|version| text(version, "name"))
        && !stored.iter().any(|version| version == current)
    {
        let detail = format!("must have the storage version {current}");
        errors.push(FieldError::invalid("status.storedVersions", &json!(stored), &detail));
    }
    errors
}

fn check_group(errors: &mut Errors, definition: &Value, group: &str) {
    check::required_shape(errors, &definition["spec"], "spec", "group", names::dns_subdomain);
    if !group.is_empty() && !group.contains('.') {
        let detail = "should be a domain with at least one dot";
        errors.push(FieldError::invalid("spec.group", &json!(group), detail));
    }
    let protected = PROTECTED
        .iter()
        .any(|domain| group == *domain || group.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.')));
    let approved = entries(definition, "metadata.annotations").any(|(key, _)| key == APPROVAL);
    if protected && !approved {
        let detail = format!(
            "protected groups must have approval annotation {APPROVAL:?}, see https://github.com/kubernetes/enhancements/pull/1111"
        );
        errors.push(FieldError::required(
            format!("metadata.annotations[{APPROVAL}]"),
            &detail,
        ));
    }
}

fn check_names(errors: &mut Errors, given: &Value) {
    for key in ["plural", "singular"] {
        check::required_shape(errors, given, "spec.names", key, names::dns_1035_label);
    }
    for key in ["kind", "listKind"] {
        check::required(errors, given, "spec.names", key);
        let word = text(given, key);
        if !word.is_empty()
            && let Some(problem) = names::dns_1035_label(&word.to_lowercase())
        {
            let detail = format!("may have mixed case, but should otherwise match: {problem}");
            errors.push(FieldError::invalid(format!("spec.names.{key}"), &json!(word), &detail));
        }
    }
    for key in ["shortNames", "categories"] {
        for (index, word) in list(given, key).iter().enumerate() {
            if let Some(problem) = names::dns_1035_label(word.as_str().unwrap_or_default()) {
                errors.push(FieldError::invalid(
                    format!("spec.names.{key}[{index}]"),
                    word,
                    &problem,
                ));
            }
        }
    }
    let kind = text(given, "kind");
    if !kind.is_empty() && kind == text(given, "listKind") {
        let detail = "kind and listKind may not be the same";
        errors.push(FieldError::invalid("spec.names.listKind", &json!(kind), detail));
    }
}

fn check_versions(errors: &mut Errors, definition: &Value) {
    let versions = list(definition, "spec.versions");
    let mut seen = HashSet::new();
    let mut unique = true;
    for (index, version) in versions.iter().enumerate() {
        let path = format!("spec.versions[{index}]");
        check::required_shape(errors, version, &path, "name", names::dns_1035_label);
        unique &= seen.insert(text(version, "name"));
        check_version(errors, version, &path);
    }
    let names: Vec<&str> = versions.iter().map(|version| text(version, "name")).collect();
    if !unique {
        let detail = "must contain unique version names";
        errors.push(FieldError::invalid("spec.versions", &json!(names), detail));
    }
    if versions.iter().filter(|version| flag(version, "storage")).count() != 1 {
        let detail = "must have exactly one version marked as storage version";
        errors.push(FieldError::invalid("spec.versions", &json!(names), detail));
    }
}

fn check_version(errors: &mut Errors, version: &Value, path: &str) {
    let place = format!("{path}.schema.openAPIV3Schema");
    let schema = at(version, "schema.openAPIV3Schema");
    match schema {
        None => errors.push(FieldError::required(&*place, "schemas are required")),
        Some(schema) => errors.extend(rules::problems(schema).into_iter().map(|rule| {
            let path = match rule.path.as_str() {
                "" => place.clone(),
                inner => format!("{place}.{inner}"),
            };
            match rule.fault {
                RuleFault::Required(detail) => FieldError::required(path, &detail),
                RuleFault::Forbidden(detail) => FieldError::forbidden(path, &detail),
                RuleFault::Invalid(value, detail) => FieldError::invalid(path, &value, &detail),
                RuleFault::NotSupported(value, supported) => FieldError::not_supported(path, &value, &supported),
            }
        })),
    }
    for (index, column) in list(version, "additionalPrinterColumns").iter().enumerate() {
        check_column(errors, column, &format!("{path}.additionalPrinterColumns[{index}]"));
    }
    check_selectable(errors, version, schema, path);
    if let Some(scale) = at(version, "subresources.scale") {
        check_scale(errors, scale, &format!("{path}.subresources.scale"));
    }
    if let Some(warning) = at(version, "deprecationWarning")
        && !flag(version, "deprecated")
    {
        let detail = "can only be set for deprecated versions";
        errors.push(FieldError::invalid(
            format!("{path}.deprecationWarning"),
            warning,
            detail,
        ));
    }
}

fn check_column(errors: &mut Errors, column: &Value, path: &str) {
    for key in ["name", "type", "jsonPath"] {
        check::required(errors, column, path, key);
    }
    check::one_of(errors, column, path, "type", COLUMN_TYPES);
    let given = text(column, "jsonPath");
    let place = format!("{path}.jsonPath");
    if given.is_empty() {
        return;
    }
    if !given.starts_with('.') {
        let detail = "must be a simple json path starting with .";
        errors.push(FieldError::invalid(place, &json!(given), detail));
    } else if let Err(reason) = Path::parse(given) {
        errors.push(FieldError::invalid(place, &json!(given), &reason));
    }
}

fn check_selectable(errors: &mut Errors, version: &Value, schema: Option<&Value>, path: &str) {
    let fields = list(version, "selectableFields");
    if fields.len() > SELECTABLE_MAX {
        errors.push(FieldError::too_many(
            format!("{path}.selectableFields"),
            fields.len(),
            SELECTABLE_MAX,
        ));
    }
    let node = schema.and_then(|schema| Node::parse(schema).ok());
    let mut seen = HashSet::new();
    for (index, field) in fields.iter().enumerate() {
        let (given, place) = (
            text(field, "jsonPath"),
            format!("{path}.selectableFields[{index}].jsonPath"),
        );
        if given.is_empty() {
            errors.push(FieldError::required(place, ""));
            continue;
        }
        if !seen.insert(given) {
            errors.push(FieldError::duplicate(place, &json!(given)));
            continue;
        }
        let dotted = Path::parse(given).ok().and_then(|path| path.dotted());
        let kind = dotted.and_then(|dotted| Some(node.as_ref()?.at(&dotted)?.kind));
        let detail = match kind {
            _ if given.starts_with(".metadata") => "must not point to fields in metadata",
            None => "is an invalid path: does not refer to a valid field",
            Some(Kind::String | Kind::Boolean | Kind::Integer) => continue,
            Some(_) => {
                "must point to a field of type string, boolean or integer. Enum string fields and strings with \
                        formats are allowed."
            }
        };
        errors.push(FieldError::invalid(place, &json!(given), detail));
    }
}

fn check_scale(errors: &mut Errors, scale: &Value, path: &str) {
    let below = |given: &str, roots: &[&str]| roots.iter().any(|root| given.starts_with(&format!("{root}.")));
    for (key, roots, detail) in [
        ("specReplicasPath", &[".spec"][..], "should be a json path under .spec"),
        (
            "statusReplicasPath",
            &[".status"],
            "should be a json path under .status",
        ),
        (
            "labelSelectorPath",
            &[".spec", ".status"],
            "should be a json path under either .spec or .status",
        ),
    ] {
        let given = text(scale, key);
        let place = format!("{path}.{key}");
        if given.is_empty() {
            if key != "labelSelectorPath" {
                errors.push(FieldError::required(place, ""));
            }
        } else if !below(given, roots) || Path::parse(given).ok().and_then(|path| path.dotted()).is_none() {
            errors.push(FieldError::invalid(place, &json!(given), detail));
        }
    }
}

fn check_conversion(errors: &mut Errors, definition: &Value) {
    let conversion = &definition["spec"]["conversion"];
    let path = "spec.conversion";
    match text(conversion, "strategy") {
        "None" | "" => {
            if at(conversion, "webhook").is_some() {
                let detail = "should not be set when strategy is not set to Webhook";
                errors.push(FieldError::forbidden(format!("{path}.webhook"), detail));
            }
        }
        "Webhook" => {
            if at(conversion, "webhook.clientConfig").is_none() {
                let detail = "required when strategy is set to Webhook";
                errors.push(FieldError::required(format!("{path}.webhook.clientConfig"), detail));
            }
            if list(conversion, "webhook.conversionReviewVersions").is_empty() {
                errors.push(FieldError::required(
                    format!("{path}.webhook.conversionReviewVersions"),
                    "",
                ));
            }
        }
        other => errors.push(FieldError::not_supported(
            format!("{path}.strategy"),
            &json!(other),
            &["None", "Webhook"],
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn foos() -> Value {
        json!({"metadata": {"name": "foos.example.com"}, "spec": {"group": "example.com", "scope": "Namespaced",
            "names": {"plural": "foos", "singular": "foo", "kind": "Foo", "listKind": "FooList"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object",
                "properties": {"spec": {"type": "object", "properties": {"n": {"type": "integer"}, "l": {"type": "array",
                    "items": {"type": "string"}}}}}}}}]},
            "status": {"storedVersions": ["v1"]}})
    }

    #[test]
    fn a_definition_says_what_is_wrong_and_where() {
        assert_eq!(definition(&foos()), []);
        let check = |pointer: &str, value: Value, expected: &str| {
            let mut object = foos();
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            object.pointer_mut(parent).unwrap()[key] = value;
            let texts: Vec<String> = definition(&object).iter().map(ToString::to_string).collect();
            assert!(
                texts.iter().any(|text| text.starts_with(expected)),
                "{expected}: {texts:?}"
            );
        };
        check(
            "/metadata/name",
            json!("x"),
            "metadata.name: Invalid value: \"x\": must be spec.names.plural+\".\"+spec.group",
        );
        check(
            "/spec/group",
            json!("nodots"),
            "spec.group: Invalid value: \"nodots\": should be a domain",
        );
        check(
            "/spec/group",
            json!("a.k8s.io"),
            "metadata.annotations[api-approved.kubernetes.io]: Required value",
        );
        check(
            "/spec/scope",
            json!("Odd"),
            "spec.scope: Unsupported value: \"Odd\": supported values: \"Cluster\", \"Namespaced\"",
        );
        check(
            "/spec/names/kind",
            json!("FooList"),
            "spec.names.listKind: Invalid value: \"FooList\": kind and listKind",
        );
        let version = "/spec/versions/0";
        check(
            &format!("{version}/storage"),
            json!(false),
            "spec.versions: Invalid value: [\"v1\"]: must have exactly one",
        );
        check(
            &format!("{version}/schema"),
            json!({}),
            "spec.versions[0].schema.openAPIV3Schema: Required value: schemas",
        );
        check(
            &format!("{version}/schema"),
            json!({"openAPIV3Schema": {"type": "object", "properties": {"a": {}}}}),
            "spec.versions[0].schema.openAPIV3Schema.properties[a].type: Required value: must not be empty for specified object fields",
        );
        check(
            &format!("{version}/additionalPrinterColumns"),
            json!([{"name": "N", "type": "odd", "jsonPath": "spec"}]),
            "spec.versions[0].additionalPrinterColumns[0].type: Unsupported value: \"odd\"",
        );
        check(
            &format!("{version}/subresources"),
            json!({"scale": {"specReplicasPath": ".status.n", "statusReplicasPath": ".status.n"}}),
            "spec.versions[0].subresources.scale.specReplicasPath: Invalid value: \".status.n\": should be a json path under .spec",
        );
        check(
            &format!("{version}/selectableFields"),
            json!([{"jsonPath": ".spec.l"}]),
            "spec.versions[0].selectableFields[0].jsonPath: Invalid value: \".spec.l\": must point to a field of type",
        );
    }

    #[test]
    fn what_is_established_or_stored_stays() {
        let mut old = foos();
        old["status"]["conditions"] = json!([{"type": "Established", "status": "True"}]);
        let mut new = old.clone();
        new["spec"]["scope"] = json!("Cluster");
        assert_eq!(
            change(&new, &old)[0].to_string(),
            "spec.scope: Invalid value: \"Cluster\": field is immutable"
        );
        let mut new = old.clone();
        new["spec"]["versions"][0]["name"] = json!("v2");
        new["status"]["storedVersions"] = json!(["v1", "v2"]);
        let text = change(&new, &old)[0].to_string();
        assert!(
            text.starts_with("status.storedVersions[0]: Invalid value: \"v1\": missing from spec.versions;"),
            "{text}"
        );
    }
}
