use super::*;
use serde_json::json;

fn deployment() -> Gvk {
    Gvk::of("apps", "v1", "Deployment")
}

fn pod() -> Gvk {
    Gvk::of("", "v1", "Pod")
}

fn strict(body: &str, gvk: &Gvk) -> Result<Decoded, DecodeError> {
    decode("application/json", body.as_bytes(), gvk, FieldValidation::Strict)
}

fn refusal(body: &str, gvk: &Gvk) -> String {
    strict(body, gvk).unwrap_err().to_string()
}

#[test]
fn unknown_and_duplicate_fields_are_named_with_their_paths() {
    let body = r#"{"spec":{"foo":1,"replicas":1,"replicas":2,
        "template":{"spec":{"containers":[{"name":"a","imagePullPolice":"x"}]}}}}"#;
    assert_eq!(
        refusal(body, &deployment()),
        "Deployment in version \"v1\" cannot be handled as a Deployment: strict decoding error: \
         unknown field \"spec.foo\", duplicate field \"spec.replicas\", \
         unknown field \"spec.template.spec.containers[0].imagePullPolice\""
    );
    let warned = decode(
        "application/json",
        body.as_bytes(),
        &deployment(),
        FieldValidation::Warn,
    )
    .unwrap();
    assert_eq!(warned.warnings.len(), 3);
    assert_eq!(warned.value["spec"]["replicas"], 2);
    assert!(warned.value["spec"].get("foo").is_none());
}

#[test]
fn type_mismatches_name_the_field() {
    assert_eq!(
        refusal(r#"{"spec":{"replicas":"three"}}"#, &deployment()),
        "Deployment in version \"v1\" cannot be handled as a Deployment: \
         json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32"
    );
    assert_eq!(
        refusal(r#"{"spec":{"containers":{"name":"x"}}}"#, &pod()),
        "Pod in version \"v1\" cannot be handled as a Pod: \
         json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container"
    );
    assert!(
        refusal(r#"{"metadata":{"labels":{"a":1}}}"#, &pod()).contains("ObjectMeta.metadata.labels of type string")
    );
    assert!(refusal("[]", &pod()).contains("Go value of type v1.Pod"));
    assert!(refusal(r#"{"spec":{"priority":3000000000}}"#, &pod()).contains("number 3000000000"));
}

#[test]
fn broken_bodies_are_malformed() {
    for body in ["", "{", "{\"spec\":}", "nonsense", "{} {}"] {
        assert!(
            matches!(strict(body, &pod()), Err(DecodeError::Malformed { .. })),
            "{body:?}"
        );
    }
    let deep = "[".repeat(100_000);
    assert!(strict(&deep, &pod()).is_err());
}

#[test]
fn scalars_become_canonical_and_nulls_vanish() {
    let body = r#"{"metadata":{"creationTimestamp":null,"deletionTimestamp":"2024-01-02T03:04:05.9+01:00","labels":{}},
        "spec":{"nodeName":"","hostNetwork":false,"automountServiceAccountToken":false,"containers":[{"name":"a",
        "resources":{"limits":{"cpu":"1000m","memory":"1024Mi","x/y":2}},"ports":null}]}}"#;
    let decoded = strict(body, &pod()).unwrap();
    assert_eq!(
        decoded.value,
        json!({"apiVersion":"v1","kind":"Pod","metadata":{"deletionTimestamp":"2024-01-02T02:04:05Z"},
            "spec":{"automountServiceAccountToken":false,"containers":[{"name":"a",
            "resources":{"limits":{"cpu":"1","memory":"1Gi","x/y":"2"}}}]}})
    );
    let again = conform(
        registry().schema(&pod()).unwrap(),
        decoded.value.clone(),
        FieldValidation::Strict,
    )
    .unwrap();
    assert_eq!(again, (decoded.value, vec![]));
}

#[test]
fn bad_quantities_times_and_base64_are_refused() {
    assert!(refusal(r#"{"spec":{"overhead":{"cpu":"1x"}}}"#, &pod()).contains("suffix"));
    assert!(refusal(r#"{"metadata":{"deletionTimestamp":"soon"}}"#, &pod()).contains("parsing time"));
    let secret = Gvk::of("", "v1", "Secret");
    assert!(refusal(r#"{"data":{"a":"b*d="}}"#, &secret).contains("illegal base64 data at input byte 1"));
}

#[test]
fn the_body_must_be_what_the_url_says() {
    assert_eq!(
        refusal(r#"{"apiVersion":"apps/v1","kind":"Pod"}"#, &pod()),
        "the API version in the data (apps/v1) does not match the expected API version (v1)"
    );
    let other = r#"{"apiVersion":"v1","kind":"Service","spec":{"selector":{"a":"b"},"ports":[]}}"#;
    assert!(matches!(strict(other, &pod()), Err(DecodeError::Mismatch { .. })));
    let unsupported = decode("text/plain", b"", &pod(), FieldValidation::Warn).unwrap_err();
    assert_eq!(unsupported.http_status(), 415);
}

#[test]
fn delete_options_come_in_any_group() {
    let expected = Gvk::of("", "v1", "DeleteOptions");
    let body = r#"{"apiVersion":"policy/v1","kind":"DeleteOptions","gracePeriodSeconds":0}"#;
    let decoded = strict(body, &expected).unwrap();
    assert_eq!(decoded.gvk, Gvk::of("policy", "v1", "DeleteOptions"));
    assert_eq!(decoded.value["gracePeriodSeconds"], 0);
}

#[test]
fn yaml_bodies_decode_like_json() {
    let body = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\nspec:\n  containers:\n  - name: c\n    ports:\n    - containerPort: 80\n";
    let decoded = decode("application/yaml", body.as_bytes(), &pod(), FieldValidation::Strict).unwrap();
    assert_eq!(decoded.value["spec"]["containers"][0]["ports"][0]["containerPort"], 80);
    assert!(decode_yaml(b"- 1").is_err());
    assert!(decode_yaml(b"a: [").is_err());
}
