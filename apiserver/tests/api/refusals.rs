//! Bad input: the right code, reason and words, and never more than an error.

use crate::harness::{Api, MAPS, PODS, config_map, pod};
use serde_json::json;

const JSON: &[(&str, &str)] = &[("content-type", "application/json")];

#[tokio::test]
async fn broken_bodies() {
    let api = Api::new().await;
    assert_eq!(api.raw("POST", MAPS, JSON, "{\"apiVersion\":").await.error().0, 400);
    assert_eq!(api.raw("POST", MAPS, JSON, "").await.error().0, 400);
    assert_eq!(api.raw("POST", MAPS, JSON, "[]").await.error().0, 400);
    let wrong_kind = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}});
    assert_eq!(api.post(MAPS, &wrong_kind).await.error().0, 400);
    let wrong_version = json!({"apiVersion": "v2", "kind": "ConfigMap", "metadata": {"name": "x"}});
    assert_eq!(api.post(MAPS, &wrong_version).await.error().0, 400);
    let wrong_type = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": {"k": 1}});
    assert_eq!(api.post(MAPS, &wrong_type).await.error().0, 400);
    let text = api.raw("POST", MAPS, &[("content-type", "text/plain")], "x").await;
    assert_eq!((text.error().0, text.error().1.as_str()), (415, "UnsupportedMediaType"));
    let huge = api.raw("POST", MAPS, JSON, " ".repeat(4 << 20)).await;
    assert_eq!(
        (huge.error().0, huge.error().1.as_str()),
        (413, "RequestEntityTooLarge")
    );
    let deep = "[".repeat(100_000);
    assert_eq!(api.raw("POST", MAPS, JSON, deep).await.error().0, 400);
}

#[tokio::test]
async fn unknown_fields_by_field_validation() {
    let api = Api::new().await;
    let mut body = config_map("x", "web");
    body["colour"] = "red".into();
    let strict = api.post(&format!("{MAPS}?fieldValidation=Strict"), &body).await;
    assert!(
        strict.error().0 == 400 && strict.error().2.contains("unknown field \"colour\""),
        "{}",
        strict.text
    );
    let warned = api.post(&format!("{MAPS}?fieldValidation=Warn"), &body).await;
    assert_eq!(warned.code, 201);
    assert!(
        warned.headers["warning"]
            .to_str()
            .unwrap()
            .starts_with("299 - \"unknown field"),
        "{:?}",
        warned.headers
    );
    assert!(warned.json().get("colour").is_none());
    assert_eq!(
        api.post(&format!("{MAPS}?fieldValidation=Maybe"), &body)
            .await
            .error()
            .0,
        422
    );
}

#[tokio::test]
async fn invalid_objects_name_their_fields() {
    let api = Api::new().await;
    let nameless = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}});
    let refused = api.post(MAPS, &nameless).await;
    let message = "ConfigMap \"\" is invalid: metadata.name: Required value: name or generateName is required";
    assert_eq!(refused.error(), (422, "Invalid".into(), message.into()));
    let mut capital = config_map("x", "web");
    capital["metadata"]["name"] = "BIG".into();
    let refused = api.post(MAPS, &capital).await;
    assert!(
        refused
            .error()
            .2
            .starts_with("ConfigMap \"BIG\" is invalid: metadata.name: Invalid value: \"BIG\": "),
        "{}",
        refused.text
    );
    let mut empty = pod("p");
    empty["spec"]["containers"] = json!([]);
    let refused = api.post(PODS, &empty).await;
    assert!(
        refused.error().2.contains("spec.containers: Required value"),
        "{}",
        refused.text
    );
    assert_eq!(refused.json()["details"]["causes"][0]["field"], "spec.containers");
    let mut renamed = api.post(MAPS, &config_map("x", "web")).await.expect(201);
    renamed["metadata"]["name"] = "y".into();
    assert_eq!(api.put(&format!("{MAPS}/x"), &renamed).await.error().0, 400);
    let mut other = api.get(&format!("{MAPS}/x")).await.expect(200);
    other["metadata"]["uid"] = "00000000-0000-0000-0000-000000000000".into();
    assert_eq!(api.put(&format!("{MAPS}/x"), &other).await.error().0, 409);
    let mut elsewhere = config_map("z", "web");
    elsewhere["metadata"]["namespace"] = "b".into();
    assert_eq!(api.post(MAPS, &elsewhere).await.error().0, 400);
    let mut versioned = config_map("v", "web");
    versioned["metadata"]["resourceVersion"] = "5".into();
    assert_eq!(api.post(MAPS, &versioned).await.error().0, 400);
}

#[tokio::test]
async fn what_does_not_exist() {
    let api = Api::new().await;
    let unknown = "the server could not find the requested resource";
    for path in [
        "/nothing",
        "/api/v2/pods",
        "/apis/apps/v9/deployments",
        "/api/v1/pots",
        "/api/v1/namespaces/a/nodes",
    ] {
        assert_eq!(
            api.get(path).await.error(),
            (404, "NotFound".into(), unknown.into()),
            "{path}"
        );
    }
    assert_eq!(api.get(&format!("{MAPS}/x/status")).await.error().0, 404);
    let missing = api
        .post("/api/v1/namespaces/none/configmaps", &config_map("x", "web"))
        .await;
    assert_eq!(
        missing.error(),
        (404, "NotFound".into(), "namespaces \"none\" not found".into())
    );
    assert_eq!(
        api.delete(&format!("{MAPS}/x")).await.error().2,
        "configmaps \"x\" not found"
    );
    assert_eq!(
        api.patch(&format!("{MAPS}/x"), "merge", &json!({})).await.error().0,
        404
    );
}

#[tokio::test]
async fn paths_that_exist_for_other_methods() {
    let api = Api::new().await;
    for path in ["/api/v1/pods", "/api/v1/configmaps", "/apis/apps/v1/deployments"] {
        assert_eq!(api.put(path, &json!({})).await.error().0, 405, "PUT {path}");
        assert_eq!(api.delete(path).await.error().0, 405, "DELETE {path}");
        assert_eq!(api.post(path, &json!({})).await.error().0, 405, "POST {path}");
    }
    assert_eq!(api.put(MAPS, &json!({})).await.error().0, 405);
    assert_eq!(api.get("/api/v1/pods/x").await.error().0, 404);
}

#[tokio::test]
async fn a_bad_quantity_is_named_with_its_place() {
    let api = Api::new().await;
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [
        {"name": "c", "image": "i", "resources": {"limits": {"cpu": "lots"}}}]}});
    let (code, _, message) = api.post(PODS, &pod).await.error();
    assert_eq!(code, 400);
    assert!(
        message.contains("spec.containers[0].resources.limits.cpu: unable to parse quantity"),
        "{message}"
    );
}

#[tokio::test]
async fn methods_and_media_types() {
    let api = Api::new().await;
    assert_eq!(
        api.post(&format!("{MAPS}/x"), &config_map("x", "web")).await.error().0,
        405
    );
    assert_eq!(api.put(MAPS, &config_map("x", "web")).await.error().0, 405);
    assert_eq!(
        api.post("/api/v1/configmaps", &config_map("x", "web")).await.error().0,
        405
    );
    assert_eq!(api.delete("/api/v1/namespaces").await.error().0, 405);
    let html = api.raw("GET", MAPS, &[("accept", "text/html")], "").await;
    assert_eq!((html.error().0, html.error().1.as_str()), (406, "NotAcceptable"));
    let table = api
        .raw(
            "GET",
            MAPS,
            &[("accept", "application/json;as=Table;v=v1alpha1;g=meta.k8s.io")],
            "",
        )
        .await;
    assert_eq!(table.error().0, 406);
    api.post(MAPS, &config_map("x", "web")).await.expect(201);
    let apply = [("content-type", "application/apply-patch+yaml")];
    let apply = api.raw("PATCH", &format!("{MAPS}/x"), &apply, "{}").await;
    assert!(
        apply.error().0 == 422 && apply.error().2.contains("fieldManager"),
        "{}",
        apply.text
    );
    let plain = api.raw("PATCH", &format!("{MAPS}/x"), JSON, "{}").await;
    assert_eq!(plain.error().0, 415);
}

#[tokio::test]
async fn nonsense_in_the_query() {
    let api = Api::new().await;
    assert_eq!(api.get(&format!("{MAPS}?resourceVersion=abc")).await.error().0, 400);
    assert_eq!(api.get(&format!("{MAPS}?limit=many")).await.error().0, 400);
    assert_eq!(api.get(&format!("{MAPS}?continue=garbage")).await.error().0, 400);
    assert_eq!(
        api.get(&format!("{MAPS}?watch=true&resourceVersionMatch=Exact"))
            .await
            .error()
            .0,
        422
    );
    assert_eq!(
        api.delete(&format!("{MAPS}/x?propagationPolicy=Sideways"))
            .await
            .error()
            .0,
        422
    );
    assert_eq!(api.get(&format!("{MAPS}?includeObject=Half")).await.error().0, 422);
}

#[tokio::test]
async fn strangers_are_told_who_they_are() {
    let api = Api::new().await;
    let mut local = api.server.local(apiserver::User::new("jane", &[]), None);
    let request = http::Request::builder()
        .uri(MAPS)
        .body(apiserver::Body::empty())
        .unwrap();
    let response = tower::Service::call(&mut local, request).await.unwrap();
    assert_eq!(response.status(), 403);
    let bytes = http_body_util::BodyExt::collect(response.into_body())
        .await
        .unwrap()
        .to_bytes();
    let status: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    let message = "configmaps is forbidden: User \"jane\" cannot list resource \"configmaps\" in API group \"\" in the namespace \"a\"";
    assert_eq!(status["message"], message);
}
