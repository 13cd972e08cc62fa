//! Custom resources, from their definition to its end.

use super::harness::{Answer, Client, Cluster};
use http::Method;
use serde_json::{Value, json};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const CRONTABS: &str = "/apis/stable.example.com/v1/namespaces/default/crontabs";

fn crontabs() -> Value {
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "crontabs.stable.example.com"},
        "spec": {"group": "stable.example.com", "scope": "Namespaced",
            "names": {"plural": "crontabs", "kind": "CronTab", "shortNames": ["ct"], "categories": ["all"]},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "description": "A table of times.", "properties": {
                    "spec": {"type": "object", "required": ["cronSpec"], "properties": {
                        "cronSpec": {"type": "string", "pattern": "^[0-9* ]+$", "description": "When."},
                        "image": {"type": "string", "default": "busybox"},
                        "replicas": {"type": "integer", "minimum": 0, "maximum": 10}}},
                    "status": {"type": "object", "properties": {"replicas": {"type": "integer"},
                        "labelSelector": {"type": "string"}}}}}},
                "selectableFields": [{"jsonPath": ".spec.image"}],
                "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.replicas",
                    "statusReplicasPath": ".status.replicas", "labelSelectorPath": ".status.labelSelector"}},
                "additionalPrinterColumns": [{"name": "Spec", "type": "string", "jsonPath": ".spec.cronSpec"},
                    {"name": "Replicas", "type": "integer", "jsonPath": ".spec.replicas", "priority": 1}]}]}})
}

fn crontab(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "stable.example.com/v1", "kind": "CronTab", "metadata": {"name": name}, "spec": spec})
}

fn has(condition: &'static str, status: &'static str) -> impl Fn(&Answer) -> bool {
    move |answer: &Answer| {
        let conditions = answer.body["status"]["conditions"].as_array().into_iter().flatten();
        conditions
            .into_iter()
            .any(|c| c["type"] == condition && c["status"] == status)
    }
}

async fn define(admin: &Client, definition: Value) {
    let name = definition["metadata"]["name"].as_str().unwrap().to_owned();
    admin.post(DEFINITIONS, definition).await.expect(201);
    admin
        .until(&format!("{DEFINITIONS}/{name}"), has("Established", "True"))
        .await;
}

pub async fn defined() -> (Cluster, Client) {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    define(&admin, crontabs()).await;
    (cluster, admin)
}

#[tokio::test]
async fn objects_are_pruned_defaulted_and_judged() {
    let (_cluster, admin) = defined().await;
    let given = crontab("a", json!({"cronSpec": "* * 1", "odd": 1, "replicas": 2}));
    let made = admin.post(CRONTABS, given.clone()).await.expect(201);
    assert_eq!(
        made["spec"],
        json!({"cronSpec": "* * 1", "image": "busybox", "replicas": 2})
    );
    assert_eq!(made["metadata"]["generation"], 1);
    let strict = admin.post(&format!("{CRONTABS}?fieldValidation=Strict"), given).await;
    let message = strict.message(400);
    assert!(
        message.contains(r#"strict decoding error: unknown field "spec.odd""#),
        "{message}"
    );
    for (spec, expected) in [
        (json!({}), "spec.cronSpec: Required value"),
        (
            json!({"cronSpec": "x"}),
            r#"spec.cronSpec: Invalid value: "x": spec.cronSpec in body should match '^[0-9* ]+$'"#,
        ),
        (
            json!({"cronSpec": "1", "replicas": "2"}),
            r#"spec.replicas: Invalid value: "string": spec.replicas in body must be of type integer: "string""#,
        ),
        (
            json!({"cronSpec": "1", "replicas": 11}),
            "spec.replicas: Invalid value: 11: spec.replicas in body should be less than or equal to 10",
        ),
    ] {
        let message = admin.post(CRONTABS, crontab("b", spec)).await.message(422);
        let expected = format!(r#"CronTab.stable.example.com "b" is invalid: {expected}"#);
        assert_eq!(message, expected);
    }
    let listed = admin.get(CRONTABS).await.expect(200);
    assert_eq!(
        (&listed["kind"], listed["items"].as_array().unwrap().len()),
        (&json!("CronTabList"), 1)
    );
}

#[tokio::test]
async fn patches_and_applies_count_generations() {
    let (_cluster, admin) = defined().await;
    let path = format!("{CRONTABS}/a");
    admin
        .post(CRONTABS, crontab("a", json!({"cronSpec": "1"})))
        .await
        .expect(201);
    assert_eq!(admin.patch(&path, json!({"spec": {"replicas": 1}})).await.code, 415);
    let patched = admin.merge(&path, json!({"spec": {"replicas": 1}})).await.expect(200);
    assert_eq!(
        (&patched["spec"]["replicas"], &patched["metadata"]["generation"]),
        (&json!(1), &json!(2))
    );
    let labelled = admin
        .merge(&path, json!({"metadata": {"labels": {"a": "b"}}}))
        .await
        .expect(200);
    assert_eq!(
        labelled["metadata"]["generation"], 2,
        "metadata is no part of what is wanted"
    );
    // What nobody has seen cannot be replaced.
    let blind = admin
        .put(&path, crontab("a", json!({"cronSpec": "2"})))
        .await
        .message(422);
    assert!(
        blind.contains("metadata.resourceVersion") && blind.contains("must be specified for an update"),
        "{blind}"
    );
    let apply = |manager: &str, spec: Value| {
        let (admin, path) = (admin.clone(), format!("{path}?fieldManager={manager}"));
        let body = crontab("a", spec);
        async move {
            admin
                .send(Method::PATCH, &path, "application/apply-patch+yaml", body)
                .await
        }
    };
    let applied = apply("one", json!({"image": "mine"})).await;
    assert_eq!(applied.code, 409, "the creator owns the default: {}", applied.body);
    let applied = apply("one&force=true", json!({"image": "mine"})).await.expect(200);
    assert_eq!(
        applied["spec"],
        json!({"cronSpec": "1", "image": "mine", "replicas": 1})
    );
    let conflict = apply("two", json!({"image": "other"})).await.message(409);
    assert!(conflict.contains(r#"conflict with "one": .spec.image"#), "{conflict}");
    let made = admin
        .send(
            Method::PATCH,
            &format!("{CRONTABS}/new?fieldManager=one"),
            "application/apply-patch+yaml",
            crontab("new", json!({"cronSpec": "1"})),
        )
        .await
        .expect(201);
    assert_eq!(made["spec"]["image"], "busybox");
}

#[tokio::test]
async fn status_and_scale_are_subresources() {
    let (_cluster, admin) = defined().await;
    let path = format!("{CRONTABS}/a");
    let mut given = crontab("a", json!({"cronSpec": "1", "replicas": 2}));
    given["status"] = json!({"replicas": 9});
    let made = admin.post(CRONTABS, given).await.expect(201);
    assert!(made.get("status").is_none(), "a client cannot create a status: {made}");
    let status = json!({"spec": {"replicas": 7}, "status": {"replicas": 2, "labelSelector": "a=b"}});
    let changed = admin.merge(&format!("{path}/status"), status).await.expect(200);
    assert_eq!(
        (&changed["spec"]["replicas"], &changed["status"]["replicas"]),
        (&json!(2), &json!(2))
    );
    assert_eq!(changed["metadata"]["generation"], 1);
    let wrong = admin
        .merge(&format!("{path}/status"), json!({"status": {"replicas": "x"}}))
        .await;
    assert!(
        wrong
            .message(422)
            .contains("status.replicas in body must be of type integer")
    );
    let scale = admin.get(&format!("{path}/scale")).await.expect(200);
    assert_eq!(
        (&scale["kind"], &scale["spec"]["replicas"]),
        (&json!("Scale"), &json!(2))
    );
    assert_eq!(scale["status"], json!({"replicas": 2, "selector": "a=b"}));
    admin
        .merge(&format!("{path}/scale"), json!({"spec": {"replicas": 5}}))
        .await
        .expect(200);
    assert_eq!(admin.get(&path).await.expect(200)["spec"]["replicas"], 5);
    let beyond = admin
        .merge(&format!("{path}/scale"), json!({"spec": {"replicas": 50}}))
        .await;
    assert_eq!(beyond.code, 422, "{}", beyond.body);
}

#[tokio::test]
async fn columns_and_selectors_are_the_definitions() {
    let (_cluster, admin) = defined().await;
    for (name, image) in [("a", "one"), ("b", "two")] {
        let spec = json!({"cronSpec": "*", "image": image, "replicas": 3});
        admin.post(CRONTABS, crontab(name, spec)).await.expect(201);
    }
    assert_eq!(
        admin.columns(CRONTABS).await,
        [json!("Name"), json!("Spec"), json!("Replicas")]
    );
    assert_eq!(admin.table(CRONTABS).await[0], [json!("a"), json!("*"), json!(3)]);
    let selected = admin
        .get(&format!("{CRONTABS}?fieldSelector=spec.image%3Dtwo"))
        .await
        .expect(200);
    let names: Vec<&Value> = selected["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|o| &o["metadata"]["name"])
        .collect();
    assert_eq!(names, ["b"]);
    let unknown = admin
        .get(&format!("{CRONTABS}?fieldSelector=spec.cronSpec%3Da"))
        .await
        .message(400);
    assert!(
        unknown.contains("field label not supported: spec.cronSpec"),
        "{unknown}"
    );
    // New selectable fields count for objects whose metadata has been parsed with the old ones.
    let path = format!("{DEFINITIONS}/crontabs.stable.example.com");
    let change = json!([{"op": "replace", "path": "/spec/versions/0/selectableFields",
        "value": [{"jsonPath": ".spec.cronSpec"}, {"jsonPath": ".spec.image"}]}]);
    admin
        .send(Method::PATCH, &path, "application/json-patch+json", change)
        .await
        .expect(200);
    let selected = admin
        .until(
            &format!("{CRONTABS}?fieldSelector=spec.cronSpec%3D*,spec.image%3Done"),
            |answer| answer.code == 200,
        )
        .await;
    assert_eq!(selected["items"].as_array().unwrap().len(), 1, "{selected}");
}

#[tokio::test]
async fn discovery_and_openapi_know_what_is_served() {
    let (_cluster, admin) = defined().await;
    let groups = admin.get("/apis").await.expect(200);
    let group = groups["groups"]
        .as_array()
        .unwrap()
        .iter()
        .find(|group| group["name"] == "stable.example.com");
    assert_eq!(
        group.unwrap()["preferredVersion"]["groupVersion"],
        "stable.example.com/v1"
    );
    let resources = admin.get("/apis/stable.example.com/v1").await.expect(200);
    let names: Vec<&Value> = resources["resources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| &r["name"])
        .collect();
    assert_eq!(names, ["crontabs", "crontabs/scale", "crontabs/status"]);
    assert_eq!(resources["resources"][0]["shortNames"], json!(["ct"]));
    let index = admin.get("/openapi/v3").await.expect(200);
    let url = index["paths"]["apis/stable.example.com/v1"]["serverRelativeURL"]
        .as_str()
        .unwrap()
        .to_owned();
    let document = admin.get(&url).await.expect(200);
    let schema = &document["components"]["schemas"]["com.example.stable.v1.CronTab"];
    assert_eq!(
        schema["properties"]["spec"]["properties"]["cronSpec"]["description"],
        "When."
    );
    assert_eq!(schema["x-kubernetes-group-version-kind"][0]["kind"], "CronTab");
    let patch = &document["paths"]["/apis/stable.example.com/v1/namespaces/{namespace}/crontabs/{name}"]["patch"];
    let media: Vec<&String> = patch["requestBody"]["content"].as_object().unwrap().keys().collect();
    assert!(!media.iter().any(|media| media.contains("strategic")), "{media:?}");
    let swagger = admin.get("/openapi/v2").await.expect(200);
    let definitions = swagger["definitions"].as_object().unwrap();
    assert!(definitions.contains_key("com.example.stable.v1.CronTab"));
    assert!(definitions.contains_key("io.k8s.api.core.v1.Pod"));
    assert!(swagger["paths"].get("/api/v1/pods").is_some());
    admin
        .delete(&format!("{DEFINITIONS}/crontabs.stable.example.com"), Value::Null)
        .await
        .expect(200);
    admin
        .until("/apis/stable.example.com/v1", |answer| answer.code == 404)
        .await;
    let swagger = admin.get("/openapi/v2").await.expect(200);
    assert!(swagger["definitions"].get("com.example.stable.v1.CronTab").is_none());
}

#[tokio::test]
async fn versions_show_the_same_objects() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let mut definition = crontabs();
    let mut second = definition["spec"]["versions"][0].clone();
    second["name"] = json!("v2");
    second["storage"] = json!(false);
    second["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["note"] =
        json!({"type": "string", "default": "n"});
    definition["spec"]["versions"].as_array_mut().unwrap().push(second);
    define(&admin, definition).await;
    let v2 = CRONTABS.replace("/v1/", "/v2/");
    admin
        .post(CRONTABS, crontab("a", json!({"cronSpec": "1"})))
        .await
        .expect(201);
    let shown = admin.get(&format!("{v2}/a")).await.expect(200);
    assert_eq!(
        (&shown["apiVersion"], &shown["spec"]["note"]),
        (&json!("stable.example.com/v2"), &json!("n"))
    );
    let mut object = crontab("b", json!({"cronSpec": "1", "note": "mine"}));
    object["apiVersion"] = json!("stable.example.com/v2");
    admin.post(&v2, object).await.expect(201);
    let shown = admin.get(&format!("{CRONTABS}/b")).await.expect(200);
    assert_eq!(shown["apiVersion"], "stable.example.com/v1");
    assert!(
        shown["spec"].get("note").is_none(),
        "v1 does not know the field: {shown}"
    );
    assert_eq!(admin.get(&format!("{v2}/b")).await.expect(200)["spec"]["note"], "mine");
}

#[tokio::test]
async fn a_new_default_is_seen_in_old_objects() {
    let (_cluster, admin) = defined().await;
    admin
        .post(CRONTABS, crontab("a", json!({"cronSpec": "1"})))
        .await
        .expect(201);
    let path = format!("{DEFINITIONS}/crontabs.stable.example.com");
    let pointer = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/replicas/default";
    let change = json!([{"op": "add", "path": pointer, "value": 4}]);
    let changed = admin
        .send(Method::PATCH, &path, "application/json-patch+json", change)
        .await
        .expect(200);
    assert_eq!(changed["metadata"]["generation"], 2);
    admin
        .until(&format!("{CRONTABS}/a"), |answer| answer.body["spec"]["replicas"] == 4)
        .await;
}

#[tokio::test]
async fn every_server_serves_what_is_established() {
    let cluster = Cluster::start().await;
    let (admin, elsewhere) = (cluster.admin(), cluster.elsewhere().await);
    define(&admin, crontabs()).await;
    // At once, and not only when the other server has heard of it.
    elsewhere
        .post(CRONTABS, crontab("a", json!({"cronSpec": "1"})))
        .await
        .expect(201);
    admin.get(&format!("{CRONTABS}/a")).await.expect(200);
}

#[tokio::test]
async fn a_definition_takes_its_objects_with_it() {
    let (_cluster, admin) = defined().await;
    let path = format!("{DEFINITIONS}/crontabs.stable.example.com");
    admin
        .post(CRONTABS, crontab("a", json!({"cronSpec": "1"})))
        .await
        .expect(201);
    let mut held = crontab("held", json!({"cronSpec": "1"}));
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    admin.post(CRONTABS, held).await.expect(201);
    admin.delete(&path, Value::Null).await.expect(200);
    admin.until(&format!("{CRONTABS}/a"), |answer| answer.code == 404).await;
    let going = admin.until(&path, has("Terminating", "True")).await;
    assert_eq!(
        going["metadata"]["finalizers"],
        json!(["customresourcecleanup.apiextensions.k8s.io"])
    );
    let refused = admin
        .post(CRONTABS, crontab("late", json!({"cronSpec": "1"})))
        .await
        .message(405);
    assert_eq!(
        refused,
        "create not allowed while custom resource definition is terminating"
    );
    admin
        .merge(&format!("{CRONTABS}/held"), json!({"metadata": {"finalizers": null}}))
        .await
        .expect(200);
    admin.until(&path, |answer| answer.code == 404).await;
    // The same name again starts empty.
    define(&admin, crontabs()).await;
    assert_eq!(admin.get(CRONTABS).await.expect(200)["items"], json!([]));
}

#[tokio::test]
async fn names_are_given_once_and_roles_apply() {
    let (cluster, admin) = defined().await;
    let mut other = crontabs();
    other["metadata"]["name"] = json!("others.stable.example.com");
    other["spec"]["names"] = json!({"plural": "others", "kind": "Other", "shortNames": ["ct"]});
    let made = admin.post(DEFINITIONS, other).await.expect(201);
    assert_eq!(
        (&made["spec"]["names"]["singular"], &made["spec"]["names"]["listKind"]),
        (&json!("other"), &json!("OtherList"))
    );
    let path = format!("{DEFINITIONS}/others.stable.example.com");
    let refused = admin.until(&path, has("NamesAccepted", "False")).await;
    let text = refused["status"]["conditions"].to_string();
    assert!(
        text.contains("ShortNamesConflict") && text.contains("NotAccepted"),
        "{text}"
    );
    assert_eq!(admin.get("/apis/stable.example.com/v1/others").await.code, 404);
    admin
        .delete(&format!("{DEFINITIONS}/crontabs.stable.example.com"), Value::Null)
        .await
        .expect(200);
    admin.until(&path, has("Established", "True")).await;
    let somebody = cluster.user("somebody", &[]);
    let message = somebody.get("/apis/stable.example.com/v1/others").await.message(403);
    assert!(
        message.contains(r#"cannot list resource "others" in API group "stable.example.com""#),
        "{message}"
    );
}

#[tokio::test]
async fn a_bad_definition_is_refused_by_path() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let mut definition = crontabs();
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"] = json!({});
    definition["spec"]["versions"][0]["selectableFields"] = json!([]);
    let message = admin.post(DEFINITIONS, definition).await.message(422);
    assert_eq!(
        message,
        "CustomResourceDefinition.apiextensions.k8s.io \"crontabs.stable.example.com\" is invalid: \
         spec.versions[0].schema.openAPIV3Schema.properties[spec].type: Required value: must not be empty for specified object fields"
    );
}
