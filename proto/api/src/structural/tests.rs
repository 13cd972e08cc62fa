//! What the schema of a custom resource does to its objects.

use super::rules::{RuleFault, problems};
use super::*;
use crate::FieldValidation;
use crate::apply::{self, Managed, Writer};
use crate::gvk::Gvk;
use serde_json::json;

fn cron() -> Node {
    Node::parse(&json!({"type": "object", "properties": {
        "spec": {"type": "object", "required": ["cronSpec"], "properties": {
            "cronSpec": {"type": "string", "pattern": r"^(\d+|\*)( (\d+|\*))*$"},
            "image": {"type": "string", "default": "busybox", "minLength": 2, "maxLength": 10},
            "replicas": {"type": "integer", "minimum": 1, "maximum": 10},
            "policy": {"type": "string", "enum": ["Allow", "Forbid"]},
            "port": {"x-kubernetes-int-or-string": true},
            "note": {"type": "string", "nullable": true},
            "any": {"type": "object", "x-kubernetes-preserve-unknown-fields": true,
                "properties": {"known": {"type": "object", "properties": {"a": {"type": "string"}}}}},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            "items": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                "items": {"type": "object", "required": ["name"], "properties": {
                    "name": {"type": "string"}, "n": {"type": "integer", "default": 1}}}},
            "one": {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
                "oneOf": [{"required": ["a"]}, {"required": ["b"]}]},
        }},
    }}))
    .unwrap()
}

fn texts(object: Value) -> Vec<String> {
    let text = |problem: Problem| match problem.fault {
        Fault::Required { detail } => format!("{}: required {detail}", problem.path),
        Fault::Type { detail, .. } | Fault::Invalid { detail, .. } => format!("{}: {detail}", problem.path),
        other => format!("{}: {other:?}", problem.path),
    };
    cron().check(&object, None).into_iter().map(text).collect()
}

#[test]
fn values_are_judged_in_upstreams_words() {
    for (spec, expected) in [
        (json!({}), "spec.cronSpec: required "),
        (
            json!({"cronSpec": 5}),
            r#"spec.cronSpec: spec.cronSpec in body must be of type string: "integer""#,
        ),
        (
            json!({"cronSpec": "x"}),
            r"spec.cronSpec: spec.cronSpec in body should match '^(\d+|\*)( (\d+|\*))*$'",
        ),
        (
            json!({"cronSpec": "*", "replicas": 11}),
            "spec.replicas: spec.replicas in body should be less than or equal to 10",
        ),
        (
            json!({"cronSpec": "*", "replicas": 0}),
            "spec.replicas: spec.replicas in body should be greater than or equal to 1",
        ),
        (
            json!({"cronSpec": "*", "replicas": 1.5}),
            r#"spec.replicas: spec.replicas in body must be of type integer: "number""#,
        ),
        (
            json!({"cronSpec": "*", "image": "a"}),
            "spec.image: spec.image in body should be at least 2 chars long",
        ),
        (
            json!({"cronSpec": "*", "image": "aaaaaaaaaaa"}),
            "spec.image: TooLong { max: 10 }",
        ),
        (
            json!({"cronSpec": "*", "port": true}),
            r#"spec.port: spec.port in body must be of type int-or-string: "boolean""#,
        ),
        (
            json!({"cronSpec": "*", "items": [{"name": "a"}, {"name": "a"}]}),
            r#"spec.items[1]: Duplicate { value: Object {"name": String("a")} }"#,
        ),
        (
            json!({"cronSpec": "*", "labels": {"a": 1}}),
            r#"spec.labels.a: spec.labels.a in body must be of type string: "integer""#,
        ),
        (
            json!({"cronSpec": "*", "one": {"a": "", "b": ""}}),
            r#": "spec.one" must validate one and only one schema (oneOf). Found 2 valid alternatives"#,
        ),
    ] {
        assert_eq!(texts(json!({"spec": spec})), [expected]);
    }
    let policy = texts(json!({"spec": {"cronSpec": "*", "policy": "Odd"}}));
    assert!(policy[0].starts_with("spec.policy: NotSupported"), "{policy:?}");
    let none = texts(json!({"spec": {"cronSpec": "*", "one": {}}}));
    assert!(
        none[0].ends_with("(oneOf). Found none valid") && none[1].starts_with("spec.one.a: required"),
        "{none:?}"
    );
    let good = json!({"spec": {"cronSpec": "1 *", "replicas": 3, "port": "http", "note": null, "one": {"a": "x"}}});
    assert_eq!(texts(good), [""; 0]);
}

#[test]
fn what_an_update_leaves_alone_is_not_judged() {
    let old = json!({"spec": {"cronSpec": "bad", "replicas": 1}});
    let mut new = old.clone();
    new["spec"]["replicas"] = json!(2);
    assert!(cron().check(&new, Some(&old)).is_empty());
    new["spec"]["cronSpec"] = json!("worse");
    assert_eq!(cron().check(&new, Some(&old)).len(), 1);
}

#[test]
fn an_element_with_a_key_is_compared_with_what_it_was() {
    let list = json!({"type": "object", "properties": {"items": {"type": "array", "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"], "items": {"type": "object", "properties": {
            "name": {"type": "string"}, "n": {"type": "integer", "maximum": 5}}}}}});
    let node = Node::parse(&list).unwrap();
    let old = json!({"items": [{"name": "a", "n": 9}, {"name": "b", "n": 1}]});
    let moved = json!({"items": [{"name": "b", "n": 2}, {"name": "a", "n": 9}]});
    assert_eq!(node.check(&moved, Some(&old)), []);
    let worse = json!({"items": [{"name": "b", "n": 6}, {"name": "a", "n": 9}]});
    let found = node.check(&worse, Some(&old));
    assert_eq!((found.len(), found[0].path.as_str()), (1, "items[0].n"));
}

/// Twice the work at each of fifty levels would never end.
#[test]
fn nested_alternatives_are_judged_once_each() {
    let mut schema = json!({"minLength": 5});
    for _ in 0..50 {
        schema = json!({"anyOf": [schema.clone()], "oneOf": []});
    }
    schema["type"] = json!("string");
    let found = Node::parse(&schema).unwrap().check(&json!("x"), None);
    assert_eq!(found.len(), 51);
}

#[test]
fn unknown_fields_go_and_defaults_come() {
    let mut object = json!({"apiVersion": "a/v1", "kind": "C", "metadata": {"x": 1}, "odd": 1, "spec": {"cronSpec": "*",
        "unknown": {}, "any": {"free": 1, "known": {"a": "", "b": ""}}, "labels": {"k": "v"}, "note": null,
        "items": [{"name": "a", "odd": 1}], "replicas": null}});
    let unknown = cron().prune(&mut object);
    assert_eq!(
        unknown,
        ["odd", "spec.any.known.b", "spec.items[0].odd", "spec.unknown"]
    );
    cron().fill(&mut object);
    assert_eq!(
        object["spec"],
        json!({"cronSpec": "*", "any": {"free": 1, "known": {"a": ""}}, "labels": {"k": "v"}, "note": null,
            "image": "busybox", "items": [{"name": "a", "n": 1}]})
    );
}

#[test]
fn decoding_is_strict_when_asked() {
    let gvk = Gvk::of("example.com", "v1", "Cron");
    let body = br#"{"metadata":{"name":"a","odd":1},"spec":{"cronSpec":"*","cronSpec":"1","x":1}}"#;
    let error = decode("", body, &gvk, &cron(), FieldValidation::Strict)
        .unwrap_err()
        .to_string();
    for part in [
        r#"duplicate field "spec.cronSpec""#,
        r#"unknown field "spec.x""#,
        r#"unknown field "metadata.odd""#,
    ] {
        assert!(error.contains(part), "{error}");
    }
    let (object, warnings) = decode("", body, &gvk, &cron(), FieldValidation::Warn).unwrap();
    assert_eq!(warnings.len(), 3);
    assert_eq!(
        object,
        json!({"apiVersion": "example.com/v1", "kind": "Cron", "metadata": {"name": "a"}, "spec": {"cronSpec": "1"}})
    );
    let protobuf = decode(
        "application/vnd.kubernetes.protobuf",
        body,
        &gvk,
        &cron(),
        FieldValidation::Warn,
    );
    assert_eq!(protobuf.unwrap_err().http_status(), 415);
    let other = decode("", br#"{"kind":"Other"}"#, &gvk, &cron(), FieldValidation::Warn);
    assert_eq!(other.unwrap_err().http_status(), 400);
}

#[test]
fn appliers_share_lists_by_their_keys_and_free_fields_one_by_one() {
    let gvk = Gvk::of("example.com", "v1", "Cron");
    let registry = registry::compile(&cron(), &gvk);
    let schema = registry.schema(&gvk).unwrap();
    let apply = |live: &Value, managed: Managed, manager, spec: Value| {
        let config = json!({"apiVersion": "example.com/v1", "kind": "Cron", "metadata": {"name": "a"}, "spec": spec});
        let writer = Writer {
            manager,
            api_version: "example.com/v1",
            subresource: "",
            now: "2026-01-01T00:00:00Z",
        };
        apply::apply(schema, live, &config, managed, writer, false)
    };
    let first = json!({"items": [{"name": "a", "n": 1}], "any": {"free": {"x": 1}, "one": 1}});
    let one = apply(&Value::Null, Managed::default(), "one", first).unwrap();
    let second = json!({"items": [{"name": "b"}], "any": {"free": {"y": 2}}});
    let two = apply(&one.object, one.managed, "two", second).unwrap();
    assert_eq!(
        two.object["spec"],
        json!({"items": [{"name": "a", "n": 1}, {"name": "b"}], "any": {"free": {"x": 1, "y": 2}, "one": 1}})
    );
    let conflict = apply(&two.object, two.managed.clone(), "two", json!({"any": {"one": 2}})).unwrap_err();
    assert_eq!(conflict[0].path, ".spec.any.one");
    // Who no longer says a thing takes it back.
    let gone = apply(&two.object, two.managed, "two", json!({"items": [{"name": "b"}]})).unwrap();
    assert_eq!(gone.object["spec"]["any"], json!({"free": {"x": 1}, "one": 1}));
}

#[test]
fn schemas_that_are_not_structural_are_refused_by_path() {
    let check = |schema: Value, path: &str, word: &str| {
        let found = problems(&schema);
        let text = format!("{found:?}");
        assert!(
            found.iter().any(|rule| rule.path == path) && text.contains(word),
            "{path}: {text}"
        );
    };
    let under = |spec: Value| json!({"type": "object", "properties": {"spec": spec}});
    check(json!({}), "type", "must not be empty at the root");
    check(json!({"type": "string"}), "type", "must be object at the root");
    check(
        under(json!({})),
        "properties[spec].type",
        "must not be empty for specified object fields",
    );
    check(
        under(json!({"type": "array"})),
        "properties[spec].items",
        "must be specified",
    );
    check(
        under(json!({"type": "array", "items": {}})),
        "properties[spec].items.type",
        "must not be empty for specified array items",
    );
    check(under(json!({"type": "odd"})), "properties[spec].type", "NotSupported");
    check(
        under(json!({"type": "object", "$ref": "x"})),
        "properties[spec].$ref",
        "$ref is not supported",
    );
    check(
        under(json!({"type": "object", "additionalProperties": false})),
        "properties[spec].additionalProperties",
        "cannot be set to false",
    );
    check(
        under(json!({"type": "string", "anyOf": [{"type": "string"}]})),
        "properties[spec].anyOf[0].type",
        "must be empty to be structural",
    );
    check(
        under(json!({"type": "array", "items": {"type": "object"}, "x-kubernetes-list-type": "map"})),
        "properties[spec].x-kubernetes-list-map-keys",
        "must not be empty",
    );
    check(
        under(json!({"type": "integer", "default": "x"})),
        "properties[spec].default",
        "must be of type integer",
    );
    check(
        under(json!({"type": "string", "pattern": "("})),
        "properties[spec].pattern",
        "regular expression",
    );
    check(
        json!({"type": "object", "properties": {"metadata": {"type": "object", "properties": {"labels": {"type": "object"}}}}}),
        "properties[metadata]",
        "implicitly specified",
    );
    let fine = json!({"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]});
    assert_eq!(problems(&under(fine)), []);
    let RuleFault::NotSupported(..) = &problems(&under(json!({"type": "odd"})))[0].fault else {
        panic!("not the fault that was meant");
    };
}
