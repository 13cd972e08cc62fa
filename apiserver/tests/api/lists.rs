//! Lists: selectors, pages, tables, metadata only.

use crate::harness::{Api, MAPS, PODS, config_map, pod};
use apiserver::Body;
use serde_json::{Value, json};

fn names(list: &Value) -> Vec<&str> {
    list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["metadata"]["name"].as_str().unwrap())
        .collect()
}

async fn filled() -> Api {
    let api = Api::new().await;
    for (name, app) in [("a1", "web"), ("a2", "db"), ("a3", "web")] {
        api.post(MAPS, &config_map(name, app)).await.expect(201);
    }
    api
}

#[tokio::test]
async fn a_list_is_an_object_with_whole_items() {
    let api = filled().await;
    let list = api.get(MAPS).await.expect(200);
    assert_eq!(
        (&list["kind"], &list["apiVersion"]),
        (&json!("ConfigMapList"), &json!("v1"))
    );
    assert_eq!(names(&list), ["a1", "a2", "a3"]);
    let one = api.get(&format!("{MAPS}/a2")).await.expect(200);
    assert_eq!(list["items"][1], one);
    assert_eq!(
        list["metadata"]["resourceVersion"],
        list["items"][2]["metadata"]["resourceVersion"]
    );
    let none = api.get("/api/v1/namespaces/none/configmaps").await.expect(200);
    assert_eq!(none["items"], json!([]));
}

#[tokio::test]
async fn selectors_narrow_a_list() {
    let api = filled().await;
    let select = async |query: &str| {
        let list = api.get(&format!("{MAPS}?{query}")).await.expect(200);
        names(&list).join(" ")
    };
    assert_eq!(select("labelSelector=app%3Dweb").await, "a1 a3");
    assert_eq!(select("labelSelector=app%20notin%20(web)").await, "a2");
    assert_eq!(select("fieldSelector=metadata.name%3Da2").await, "a2");
    assert_eq!(
        select("fieldSelector=metadata.name!%3Da2&labelSelector=app").await,
        "a1 a3"
    );
    api.post(PODS, &pod("p")).await.expect(201);
    let unbound = api
        .get("/api/v1/pods?fieldSelector=spec.nodeName%3D,status.phase%3DPending")
        .await
        .expect(200);
    assert_eq!(names(&unbound), ["p"]);
    let bad = api.get("/api/v1/pods?fieldSelector=spec.color%3Dred").await;
    assert_eq!(bad.error().2, "field label not supported: spec.color");
    assert_eq!(api.get("/api/v1/pods?labelSelector=!!").await.code, 400);
}

#[tokio::test]
async fn pages_join_to_one_snapshot() {
    let api = filled().await;
    let first = api.get(&format!("{MAPS}?limit=2")).await.expect(200);
    assert_eq!(
        (names(&first), &first["metadata"]["remainingItemCount"]),
        (vec!["a1", "a2"], &json!(1))
    );
    api.post(MAPS, &config_map("a2b", "web")).await.expect(201);
    let token = first["metadata"]["continue"].as_str().unwrap();
    let second = api.get(&format!("{MAPS}?limit=2&continue={token}")).await.expect(200);
    assert_eq!(
        (names(&second), &second["metadata"]["continue"]),
        (vec!["a3"], &Value::Null)
    );
    assert_eq!(
        second["metadata"]["resourceVersion"],
        first["metadata"]["resourceVersion"]
    );
}

#[tokio::test]
async fn an_expired_page_is_410_with_a_token_to_go_on() {
    let api = filled().await;
    let first = api.get(&format!("{MAPS}?limit=1")).await.expect(200);
    api.post(MAPS, &config_map("b", "web")).await.expect(201);
    let revision = api.store.view().revision();
    api.store
        .compact(raftstore::pb::CompactionRequest {
            revision,
            physical: true,
        })
        .await
        .unwrap();
    let token = first["metadata"]["continue"].as_str().unwrap();
    let expired = api.get(&format!("{MAPS}?limit=1&continue={token}")).await;
    assert_eq!((expired.error().0, expired.error().1.as_str()), (410, "Expired"));
    let resume = expired.json()["metadata"]["continue"].as_str().unwrap().to_string();
    let rest = api.get(&format!("{MAPS}?continue={resume}")).await.expect(200);
    assert_eq!(names(&rest), ["a2", "a3", "b"]);
}

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

#[tokio::test]
async fn a_table_has_columns_and_rows() {
    let api = Api::new().await;
    api.post(PODS, &pod("p")).await.expect(201);
    let table = api
        .raw("GET", PODS, &[("accept", TABLE)], Body::empty())
        .await
        .expect(200);
    assert_eq!(
        (&table["kind"], &table["apiVersion"]),
        (&json!("Table"), &json!("meta.k8s.io/v1"))
    );
    let columns: Vec<&str> = table["columnDefinitions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["name"].as_str().unwrap())
        .collect();
    assert_eq!(&columns[..5], ["Name", "Ready", "Status", "Restarts", "Age"]);
    let row = &table["rows"][0];
    assert_eq!(row["cells"].as_array().unwrap().len(), columns.len());
    assert_eq!(
        (&row["cells"][0], &row["cells"][1], &row["cells"][2]),
        (&json!("p"), &json!("0/1"), &json!("Pending"))
    );
    assert_eq!(row["object"]["kind"], "PartialObjectMetadata");
    assert_eq!(row["object"]["metadata"]["labels"]["app"], "web");
    let path = format!("{PODS}/p?includeObject=Object");
    let one = api
        .raw("GET", &path, &[("accept", TABLE)], Body::empty())
        .await
        .expect(200);
    assert_eq!(one["rows"][0]["object"]["spec"]["containers"][0]["name"], "c");
}

#[tokio::test]
async fn metadata_only() {
    let api = filled().await;
    let accept = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
    let list = api
        .raw("GET", MAPS, &[("accept", accept)], Body::empty())
        .await
        .expect(200);
    assert_eq!(list["kind"], "PartialObjectMetadataList");
    let item = &list["items"][0];
    assert_eq!(
        (&item["kind"], &item["data"]),
        (&json!("PartialObjectMetadata"), &Value::Null)
    );
    assert!(item["metadata"]["resourceVersion"].is_string());
}

#[tokio::test]
async fn a_big_list_streams_and_compresses() {
    let api = Api::new().await;
    let filler = "x".repeat(20_000);
    for i in 0..20 {
        let mut map = config_map(&format!("m{i:02}"), "web");
        map["data"]["k"] = filler.as_str().into();
        api.post(MAPS, &map).await.expect(201);
    }
    let list = api.get(MAPS).await.expect(200);
    assert_eq!(list["items"].as_array().unwrap().len(), 20);
    let zipped = api
        .raw("GET", MAPS, &[("accept-encoding", "gzip")], Body::empty())
        .await;
    assert_eq!(zipped.headers["content-encoding"], "gzip");
    assert!(zipped.text.len() < 100_000);
}

#[tokio::test]
async fn versions_decide_how_fresh_a_list_is() {
    let api = filled().await;
    let old = api.get(MAPS).await.expect(200)["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .to_string();
    api.post(MAPS, &config_map("z", "web")).await.expect(201);
    let exact = api
        .get(&format!("{MAPS}?resourceVersion={old}&resourceVersionMatch=Exact"))
        .await
        .expect(200);
    assert_eq!(exact["items"].as_array().unwrap().len(), 3);
    let newer = api
        .get(&format!(
            "{MAPS}?resourceVersion={old}&resourceVersionMatch=NotOlderThan"
        ))
        .await
        .expect(200);
    assert_eq!(newer["items"].as_array().unwrap().len(), 4);
    let future = api.get(&format!("{MAPS}?resourceVersion=999999")).await;
    assert_eq!((future.error().0, future.error().1.as_str()), (504, "Timeout"));
    assert_eq!(
        future.json()["details"]["causes"][0]["reason"],
        "ResourceVersionTooLarge"
    );
    assert_eq!(future.headers["retry-after"], "1");
}
