//! Discovery, OpenAPI, version, health, metrics.

use crate::harness::Api;
use apiserver::Body;
use serde_json::json;

#[tokio::test]
async fn legacy_discovery() {
    let api = Api::new().await;
    assert_eq!(api.get("/api").await.expect(200)["versions"], json!(["v1"]));
    let groups = api.get("/apis").await.expect(200);
    assert!(
        groups["groups"]
            .as_array()
            .unwrap()
            .iter()
            .any(|group| group["name"] == "apps")
    );
    assert_eq!(
        api.get("/apis/apps").await.expect(200)["preferredVersion"]["groupVersion"],
        "apps/v1"
    );
    let core = api.get("/api/v1").await.expect(200);
    let resources = core["resources"].as_array().unwrap();
    let eviction = resources.iter().find(|r| r["name"] == "pods/eviction").unwrap();
    assert_eq!(
        (&eviction["group"], &eviction["kind"]),
        (&json!("policy"), &json!("Eviction"))
    );
}

#[tokio::test]
async fn aggregated_discovery_with_a_tag() {
    let api = Api::new().await;
    let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
    let first = api.raw("GET", "/apis", &[("accept", accept)], Body::empty()).await;
    let etag = first.headers["etag"].to_str().unwrap().to_string();
    assert_eq!(
        first.headers["content-type"],
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    );
    assert_eq!(first.expect(200)["kind"], "APIGroupDiscoveryList");
    let again = api
        .raw(
            "GET",
            "/apis",
            &[("accept", accept), ("if-none-match", &etag)],
            Body::empty(),
        )
        .await;
    assert_eq!((again.code, again.text.as_str()), (304, ""));
}

#[tokio::test]
async fn openapi_documents_are_indexed() {
    let api = Api::new().await;
    let index = api.get("/openapi/v3").await.expect(200);
    for (path, entry) in index["paths"].as_object().unwrap() {
        let url = entry["serverRelativeURL"].as_str().unwrap();
        let document = api.get(url).await.expect(200);
        assert!(document["openapi"].as_str().unwrap().starts_with("3.0"), "{path}");
    }
}

/// Old clients refuse anything but protobuf; every client is told when nothing has changed.
#[tokio::test]
async fn openapi_version_2_in_both_encodings() {
    let api = Api::new().await;
    let document = api.get("/openapi/v2").await.expect(200);
    assert_eq!(document["swagger"], "2.0");
    let spec = &document["definitions"]["io.k8s.api.core.v1.PodSpec"];
    assert!(spec["description"].as_str().is_some_and(|text| !text.is_empty()));
    assert!(spec["properties"]["nodeName"]["description"].as_str().is_some());
    let media = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
    let protobuf = api.raw("GET", "/openapi/v2", &[("accept", media)], Body::empty()).await;
    // Without the `@`, on which Go's parser of media types fails.
    assert_eq!(protobuf.code, 200);
    assert_eq!(protobuf.headers["content-type"], media.replace('@', ".").as_str());
    assert!(protobuf.text.starts_with("\n\u{3}2.0"));
    let etag = protobuf.headers["etag"].to_str().unwrap().to_owned();
    let headers = [("accept", media), ("if-none-match", etag.as_str())];
    assert_eq!(api.raw("GET", "/openapi/v2", &headers, Body::empty()).await.code, 304);
    let refused = api
        .raw("GET", "/openapi/v2", &[("accept", "text/html")], Body::empty())
        .await;
    assert_eq!(refused.code, 406);
}

#[tokio::test]
async fn version_health_and_metrics() {
    let api = Api::new().await;
    let version = api.get("/version").await.expect(200);
    assert!(version["gitVersion"].as_str().unwrap().starts_with("v1.36."));
    for path in ["/healthz", "/livez", "/readyz", "/readyz/store"] {
        let answer = api.get(path).await;
        assert_eq!((answer.code, answer.text.as_str()), (200, "ok"), "{path}");
    }
    let verbose = api.get("/readyz?verbose&exclude=store").await;
    assert!(
        verbose.text.contains("[+]ping ok\n[+]store excluded: ok\n"),
        "{}",
        verbose.text
    );
    let metrics = api.get("/metrics").await;
    assert!(metrics.text.contains("apiserver_request_total"), "{}", metrics.text);
    assert!(api.get("/healthz").await.headers.contains_key("audit-id"));
}
