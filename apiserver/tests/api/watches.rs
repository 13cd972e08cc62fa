//! Watches.

use crate::harness::{Api, MAPS, PODS, config_map, pod};
use serde_json::json;

const JSON: &str = "application/json";

#[tokio::test]
async fn a_watch_tells_what_exists_and_what_happens() {
    let api = Api::new().await;
    api.post(MAPS, &config_map("x", "web")).await.expect(201);
    let mut watch = api.watch(&format!("{MAPS}?watch=true"), JSON).await;
    assert_eq!(watch.line().await, "ADDED x");
    let updated = api
        .patch(&format!("{MAPS}/x"), "merge", &json!({"data": {"k": "w"}}))
        .await
        .expect(200);
    let frame = watch.next().await.unwrap();
    assert_eq!((&frame["type"], &frame["object"]), (&json!("MODIFIED"), &updated));
    api.delete(&format!("{MAPS}/x")).await.expect(200);
    let deleted = watch.next().await.unwrap();
    assert_eq!(deleted["type"], "DELETED");
    let versions = [&deleted, &frame].map(|f| {
        f["object"]["metadata"]["resourceVersion"]
            .as_str()
            .unwrap()
            .parse::<i64>()
            .unwrap()
    });
    assert!(versions[0] > versions[1]);
}

#[tokio::test]
async fn selectors_make_additions_and_deletions_of_changes() {
    let api = Api::new().await;
    let start = api.get(MAPS).await.expect(200)["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .to_string();
    let mut watch = api
        .watch(
            &format!("{MAPS}?watch=true&resourceVersion={start}&labelSelector=app%3Dweb"),
            JSON,
        )
        .await;
    api.post(MAPS, &config_map("x", "db")).await.expect(201);
    for app in ["web", "db", "web"] {
        let patch = json!({"metadata": {"labels": {"app": app}}});
        api.patch(&format!("{MAPS}/x"), "merge", &patch).await.expect(200);
    }
    assert_eq!(
        [watch.line().await, watch.line().await, watch.line().await],
        ["ADDED x", "DELETED x", "ADDED x"]
    );
}

#[tokio::test]
async fn a_streamed_list_ends_with_a_marked_bookmark() {
    let api = Api::new().await;
    api.post(MAPS, &config_map("x", "web")).await.expect(201);
    let query = "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut watch = api.watch(&format!("{MAPS}?{query}"), JSON).await;
    assert_eq!(watch.line().await, "ADDED x");
    let bookmark = watch.next().await.unwrap();
    assert_eq!(bookmark["type"], "BOOKMARK");
    assert_eq!(bookmark["object"]["kind"], "ConfigMap");
    assert_eq!(
        bookmark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"],
        "true"
    );
    let list = api.get(MAPS).await.expect(200);
    assert_eq!(
        bookmark["object"]["metadata"]["resourceVersion"],
        list["metadata"]["resourceVersion"]
    );
}

#[tokio::test]
async fn an_idle_watch_gets_bookmarks_and_ends_in_time() {
    let api = Api::new().await;
    let start = api.get(MAPS).await.expect(200)["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .to_string();
    let query = format!("watch=true&resourceVersion={start}&allowWatchBookmarks=true&timeoutSeconds=1");
    let mut watch = api.watch(&format!("{MAPS}?{query}"), JSON).await;
    api.post(PODS, &pod("elsewhere")).await.expect(201);
    let bookmark = watch.next().await.unwrap();
    assert_eq!(bookmark["type"], "BOOKMARK");
    assert_eq!(
        bookmark["object"]["metadata"]["resourceVersion"],
        api.store.view().revision().to_string()
    );
    while let Some(frame) = watch.next().await {
        assert_eq!(frame["type"], "BOOKMARK");
    }
}

#[tokio::test]
async fn a_compacted_start_is_an_error_event() {
    let api = Api::new().await;
    for i in 0..3 {
        api.post(MAPS, &config_map(&format!("m{i}"), "web")).await.expect(201);
    }
    let revision = api.store.view().revision();
    api.store
        .compact(raftstore::pb::CompactionRequest {
            revision,
            physical: true,
        })
        .await
        .unwrap();
    let mut watch = api.watch(&format!("{MAPS}?watch=true&resourceVersion=2"), JSON).await;
    let frame = watch.next().await.unwrap();
    if frame["type"] == "ERROR" {
        assert_eq!(
            (&frame["object"]["code"], &frame["object"]["reason"]),
            (&json!(410), &json!("Expired"))
        );
        assert!(watch.next().await.is_none());
    } else {
        // The events were still in memory, which is as good: nothing was missed.
        assert_eq!(frame["type"], "ADDED");
    }
}

#[tokio::test]
async fn a_table_watch_sends_rows() {
    let api = Api::new().await;
    api.post(PODS, &pod("p")).await.expect(201);
    let accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    let mut watch = api.watch(&format!("{PODS}?watch=true"), accept).await;
    let frame = watch.next().await.unwrap();
    assert_eq!(
        (&frame["type"], &frame["object"]["kind"]),
        (&json!("ADDED"), &json!("Table"))
    );
    assert_eq!(frame["object"]["rows"][0]["cells"][0], "p");
}
