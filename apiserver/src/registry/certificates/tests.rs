use super::*;
use crate::User;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

fn new() -> Value {
    let leaf = pki::Leaf {
        common_name: "anna".into(),
        ..pki::Leaf::default()
    };
    let pem = pki::csr::request(&leaf).unwrap().request_pem;
    json!({"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {"name": "x"}, "spec": {
        "request": STANDARD.encode(pem), "signerName": "example.com/a.signer", "usages": ["client auth"]}})
}

fn problems(request: &Value) -> Vec<String> {
    Requests.validate(request).iter().map(ToString::to_string).collect()
}

/// The problem with a request in which one field of the spec is another.
fn with(field: &str, value: Value) -> String {
    let mut request = new();
    request["spec"][field] = value;
    problems(&request).join("; ")
}

#[test]
fn the_condition_tells_the_whole_story() {
    let with = |types: &[&str], certificate: &str| {
        let conditions: Vec<Value> = types.iter().map(|kind| json!({"type": kind})).collect();
        condition(&json!({"status": {"conditions": conditions, "certificate": certificate}}))
    };
    assert_eq!(with(&[], ""), "Pending");
    assert_eq!(with(&["Approved"], "x"), "Approved,Issued");
    assert_eq!(with(&["Denied", "Failed"], ""), "Denied,Failed");
}

#[test]
fn a_spec_says_what_can_be_signed() {
    assert_eq!(problems(&new()), [""; 0]);
    let bad = with("request", json!(STANDARD.encode("nonsense")));
    assert!(
        bad.contains("spec.request") && bad.contains("PEM block type must be CERTIFICATE REQUEST"),
        "{bad}"
    );
    assert_eq!(with("usages", json!([])), "spec.usages: Required value");
    assert!(with("usages", json!(["flying"])).starts_with("spec.usages[0]: Unsupported value: \"flying\""));
    assert_eq!(
        with("usages", json!(["any", "any"])),
        "spec.usages[1]: Duplicate value: \"any\""
    );
    assert_eq!(with("signerName", json!("")), "spec.signerName: Required value");
    for name in [
        "signer",
        "a.b/c/d",
        "host/name",
        "A.b/c",
        "a.b/",
        "a.b/C",
        "kubernetes.io/legacy-unknown",
    ] {
        assert!(
            with("signerName", json!(name)).contains("spec.signerName: Invalid value"),
            "{name}"
        );
    }
    assert!(with("signerName", json!(format!("a.b/{}", ["x"; 290].join(".")))).contains("Too long"));
    assert_eq!(with("expirationSeconds", json!(600)), "");
    assert!(with("expirationSeconds", json!(599)).contains("less than 600 seconds"));
}

#[test]
fn who_asks_is_nobodys_choice() {
    let mut request = new();
    for field in ["username", "uid"] {
        request["spec"][field] = json!("somebody-else");
    }
    request["spec"]["extra"] = json!({"a": ["b"]});
    request["status"] = json!({"certificate": "x"});
    let context = RequestContext::of(User::new("anna", &["g"]));
    Requests.prepare_for_create(&context, &mut request);
    assert_eq!(request["spec"]["username"], "anna");
    assert_eq!(request["spec"]["groups"], json!(["g"]));
    assert_eq!((request["spec"].get("uid"), request["spec"].get("extra")), (None, None));
    assert_eq!(request["status"], json!({}));
}

/// What an update through `subresource` that wants this status comes to: the stored one, and what is wrong with it.
fn update(subresource: &str, old: Value, wanted: Value) -> (Value, Vec<String>) {
    let mut before = new();
    before["status"] = old;
    let mut after = before.clone();
    after["spec"]["usages"] = json!(["any"]);
    after["status"] = wanted;
    Requests.prepare_for_update(&RequestContext::default(), subresource, &before, &mut after);
    assert_eq!(after["spec"], before["spec"], "{subresource:?}");
    let problems = Requests.validate_update(subresource, &after, &before);
    (
        after["status"].take(),
        problems.iter().map(ToString::to_string).collect(),
    )
}

fn conditions(types: &[&str]) -> Value {
    let of =
        |kind: &&str| json!({"type": kind, "status": "True", "reason": "r", "lastUpdateTime": "2026-01-01T00:00:00Z"});
    json!(types.iter().map(of).collect::<Vec<_>>())
}

#[test]
fn an_update_of_the_object_changes_neither_spec_nor_status() {
    let old = json!({"conditions": conditions(&["Denied"])});
    let (status, problems) = update("", old.clone(), json!({"certificate": "x"}));
    assert_eq!((status, problems.len()), (old, 0));
}

#[test]
fn approval_sets_conditions_and_nothing_else() {
    let (status, problems) = update(
        "approval",
        json!({}),
        json!({"certificate": "x", "conditions": [{"type": "Approved", "status": "True"}]}),
    );
    assert!(problems.is_empty(), "{problems:?}");
    assert_eq!(status.get("certificate"), None);
    let condition = &status["conditions"][0];
    assert!(condition["lastUpdateTime"].is_string() && condition["lastTransitionTime"].is_string());
    let approve = |old: &[&str], new: &[&str]| {
        let (old, new) = (
            json!({"conditions": conditions(old)}),
            json!({"conditions": conditions(new)}),
        );
        update("approval", old, new).1.join("; ")
    };
    assert!(approve(&["Approved"], &["Approved", "Denied"]).contains("mutually exclusive"));
    assert!(approve(&["Approved"], &[]).contains("may not remove a condition of type \"Approved\""));
    assert!(approve(&[], &["Approved", "Approved"]).contains("Duplicate value"));
    let doubtful = json!({"conditions": [{"type": "Approved", "status": "Unknown"}]});
    assert!(update("approval", json!({}), doubtful).1[0].contains("supported values: \"True\""));
}

#[test]
fn status_issues_once_and_approves_nothing() {
    let ca = pki::Ca::generate("x").unwrap();
    let certificate = json!(STANDARD.encode(ca.cert_pem()));
    let approved = json!({"conditions": conditions(&["Approved"])});
    let issued = json!({"conditions": conditions(&["Approved"]), "certificate": certificate});
    assert_eq!(update("status", approved.clone(), issued.clone()).1, [""; 0]);
    let said = |old: &Value, new: &Value| update("status", old.clone(), new.clone()).1.join("; ");
    assert!(said(&json!({}), &approved).contains("may not add a condition of type \"Approved\""));
    assert!(said(&issued, &approved).contains("may not modify existing certificate content"));
    let broken = json!({"conditions": conditions(&["Approved"]), "certificate": STANDARD.encode("x")});
    assert!(said(&approved, &broken).contains("status.certificate: Invalid value: \"<certificate data>\""));
    let failed = json!({"conditions": conditions(&["Approved", "Failed"])});
    assert_eq!(said(&approved, &failed), "");
    assert!(said(&failed, &approved).contains("may not remove a condition of type \"Failed\""));
    // A signer that saw an older approval does not undo what was written since.
    let mut newer = approved.clone();
    newer["conditions"][0]["reason"] = json!("newer");
    let (status, _) = update("status", newer, approved);
    assert_eq!(status["conditions"][0]["reason"], "newer");
}
