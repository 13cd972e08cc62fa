use super::*;
use crate::codec::{FieldValidation, decode};
use crate::schema::{Form, Type};
use serde_json::{Map, json};

/// An object with every field of its schema set. A definition is not entered again below itself.
fn sample<'r>(schema: Schema<'r>, above: &[&'r str]) -> Value {
    let mut map = Map::new();
    let above: Vec<&str> = above.iter().copied().chain([schema.definition.name.as_ref()]).collect();
    for field in schema.definition.fields.iter().filter(|field| !field.proto.is_empty()) {
        if let Some(value) = sample_value(schema, &field.r#type, &above) {
            map.insert(field.name.to_string(), value);
        }
    }
    Value::Object(map)
}

fn sample_value<'r>(schema: Schema<'r>, r#type: &Type, above: &[&'r str]) -> Option<Value> {
    Some(match r#type {
        Type::String => json!("text"),
        Type::Bytes => json!("Ynl0ZXM="),
        Type::Bool => json!(true),
        Type::Int32 => json!(-7),
        Type::Int64 => json!(1i64 << 40),
        Type::Double => json!(1.5),
        Type::Object => json!({"any": 1}),
        Type::List(inner) => {
            let length = if matches!(**inner, Type::Ref(_)) { 1 } else { 2 };
            Value::Array(vec![sample_value(schema, inner, above)?; length])
        }
        Type::Map(inner) => json!({"a/b": sample_value(schema, inner, above)?}),
        Type::Ref(id) => {
            let target = schema.registry.get(*id);
            match target.definition.form {
                Form::Struct if above.contains(&target.definition.name.as_ref()) => return None,
                Form::Struct => sample(target, above),
                Form::Quantity => json!("1500m"),
                Form::IntOrString => json!("25%"),
                Form::Time => json!("2024-02-29T12:00:00Z"),
                Form::MicroTime => json!("2024-02-29T12:00:00.123456Z"),
                Form::Raw | Form::Any | Form::Unknown => json!({"raw": [1, "two", null]}),
                Form::SchemaOrBool => json!(true),
                Form::SchemaOrArray => json!([{"type": "string"}]),
                Form::SchemaOrStrings => json!(["x"]),
            }
        }
    })
}

#[test]
fn every_built_in_kind_survives_json_to_protobuf_and_back() {
    let mut kinds = 0;
    for schema in registry().definitions() {
        let definition = schema.definition;
        // A WatchEvent is a kind in name only: it carries no `kind` itself.
        let Some(gvk) = definition.gvks.first().filter(|_| definition.field("kind").is_some()) else {
            continue;
        };
        let mut object = sample(schema, &[]);
        object["apiVersion"] = gvk.api_version().into();
        object["kind"] = gvk.kind.as_ref().into();
        let bytes = encode_protobuf(&object).unwrap_or_else(|error| panic!("{gvk}: {error}"));
        let decoded = decode(
            "application/vnd.kubernetes.protobuf",
            &bytes,
            gvk,
            FieldValidation::Strict,
        );
        assert_eq!(
            decoded.unwrap_or_else(|error| panic!("{gvk}: {error}")).value,
            object,
            "{gvk}"
        );
        let text = serde_json::to_vec(&object).unwrap();
        let from_json = decode("application/json", &text, gvk, FieldValidation::Strict);
        assert_eq!(
            from_json.unwrap_or_else(|error| panic!("{gvk}: {error}")).value,
            object,
            "{gvk}"
        );
        kinds += 1;
    }
    assert!(kinds > 150, "{kinds}");
}

#[test]
fn zero_values_that_go_always_writes_are_dropped() {
    // PodSpec { restartPolicy: "", hostNetwork: false, automountServiceAccountToken: false, priority: 0 }
    let pod_spec = [0x1a, 0, 0x58, 0, 0xa8, 1, 0, 0xc8, 1, 0];
    let spec = registry().definition("io.k8s.api.core.v1.PodSpec").unwrap();
    let decoded = decode_message(spec, &pod_spec).unwrap();
    assert_eq!(decoded, json!({"automountServiceAccountToken": false, "priority": 0}));
}

#[test]
fn an_empty_time_is_no_time() {
    let meta = registry()
        .definition("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta")
        .unwrap();
    assert_eq!(decode_message(meta, &[0x42, 0]).unwrap(), json!({}));
    assert_eq!(
        decode_message(meta, &[0x42, 4, 8, 0, 16, 0]).unwrap(),
        json!({"creationTimestamp": "1970-01-01T00:00:00Z"})
    );
}

#[test]
fn extra_values_are_wrapped_lists() {
    let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
        "metadata": {}, "spec": {"user": "u", "extra": {"scopes": ["a", "b"], "none": []}}, "status": {"allowed": false}});
    let bytes = encode_protobuf(&review).unwrap();
    assert_eq!(decode_protobuf(&bytes).unwrap(), review);
}

#[test]
fn broken_messages_are_errors() {
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "labels": {"x": "y"}},
        "spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": "1"}}}]}});
    let whole = encode_protobuf(&pod).unwrap();
    for length in 0..whole.len() {
        let _ = decode_protobuf(&whole[..length]);
    }
    for index in 4..whole.len() {
        let mut broken = whole.clone();
        broken[index] ^= 0xff;
        let _ = decode_protobuf(&broken);
    }
    assert!(decode_protobuf(b"{}").is_err());
    assert!(decode_protobuf(b"k8s\0\xff").is_err());
}
