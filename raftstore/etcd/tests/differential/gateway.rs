//! The JSON gateways of both sides.

use bytes::{Bytes, BytesMut};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use serde_json::Value;

use crate::peer::{Etcd, HANG, Peer};

async fn send(url: &str, verb: &str, path: &str, json: &str) -> http::Response<Incoming> {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let body: Full<Bytes> = json.to_owned().into();
    let request = Request::builder()
        .method(verb)
        .uri(format!("{url}{path}"))
        .body(body)
        .unwrap();
    let response = tokio::time::timeout(HANG, client.request(request)).await;
    response.expect("an answer").unwrap()
}

/// The status, and the answer without what tells members apart.
async fn ask(url: &str, path: &str, json: &str) -> (StatusCode, Value) {
    let response = send(url, "POST", path, json).await;
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let text = || Value::String(String::from_utf8_lossy(&body).into());
    let mut value = serde_json::from_slice(&body).unwrap_or_else(|_| text());
    anonymous(&mut value);
    // etcd gives these no header.
    if let ("/v3/maintenance/alarm" | "/v3/maintenance/defragment", Value::Object(fields)) = (path, &mut value) {
        fields.remove("header");
    }
    (status, value)
}

fn anonymous(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            // And what only an etcd newer than Debian's says.
            for name in ["cluster_id", "member_id", "raft_term", "hash_revision"] {
                fields.remove(name);
            }
            // Inside a transaction etcd says of some operations at which revision they happened and of others nothing.
            if let Some(Value::Array(responses)) = fields.get_mut("responses") {
                for response in responses.iter_mut().flat_map(|one| one.as_object_mut()).flatten() {
                    response.1.as_object_mut().map(|inner| inner.remove("header"));
                }
            }
            fields.values_mut().for_each(anonymous);
        }
        Value::Array(values) => values.iter_mut().for_each(anonymous),
        _ => {}
    }
}

/// `foo` is `Zm9v`, `fop` is `Zm9w`, `bar` is `YmFy`.
const STEPS: [(&str, &str); 44] = [
    ("/v3/kv/put", r#"{"key": "Zm9v", "value": "YmFy"}"#),
    ("/v3/kv/put", r#"{"key": "Zm9v", "value": "Zm9v", "prev_kv": true}"#),
    ("/v3/kv/put", r#"{"key": "Zm9vYQ==", "lease": "77"}"#),
    ("/v3/kv/put", "{}"),
    ("/v3/kv/put", ""),
    ("/v3/kv/range", r#"{"key": "Zm9v", "range_end": "Zm9w"}"#),
    ("/v3/kv/range", r#"{"key": "Zm9v", "rangeEnd": "Zm9w", "limit": "1"}"#),
    (
        "/v3/kv/range",
        r#"{"key": "Zm9v", "range_end": "Zm9w", "count_only": true}"#,
    ),
    (
        "/v3/kv/range",
        r#"{"key": "Zm9v", "sort_order": "DESCEND", "sort_target": "MOD", "keys_only": true}"#,
    ),
    (
        "/v3/kv/range",
        r#"{"key": "Zm9v", "sort_order": 2, "sort_target": 3, "revision": 2}"#,
    ),
    ("/v3/kv/range", r#"{"key": "Zm9v", "revision": "99"}"#),
    ("/v3/kv/range", r#"{"key": "YmFy"}"#),
    ("/v3/kv/range", r#"{"key": "YmFy", "what_is_this": 1}"#),
    (
        "/v3/kv/txn",
        r#"{"compare": [{"key": "Zm9v", "target": "VERSION", "result": "EQUAL", "version": "2"}],
            "success": [{"request_put": {"key": "YmFy", "value": "MQ=="}}, {"request_range": {"key": "YmFy"}}],
            "failure": [{"request_delete_range": {"key": "Zm9v"}}]}"#,
    ),
    (
        "/v3/kv/txn",
        r#"{"compare": [{"key": "Zm9v", "target": "CREATE", "result": "GREATER", "create_revision": "9"}],
            "failure": [{"request_delete_range": {"key": "YmFy", "prev_kv": true}}]}"#,
    ),
    (
        "/v3/kv/txn",
        r#"{"success": [{"request_put": {"key": "YQ=="}}, {"request_put": {"key": "YQ=="}}]}"#,
    ),
    ("/v3/kv/deleterange", r#"{"key": "Zm9v", "prev_kv": true}"#),
    ("/v3/kv/compaction", r#"{"revision": "3", "physical": true}"#),
    ("/v3/kv/compaction", r#"{"revision": "3"}"#),
    ("/v3/kv/range", r#"{"key": "Zm9v", "revision": "2"}"#),
    ("/v3/lease/grant", r#"{"ID": "77", "TTL": "1000"}"#),
    ("/v3/lease/grant", r#"{"ID": "77", "TTL": "1000"}"#),
    ("/v3/kv/put", r#"{"key": "Zm9v", "value": "YmFy", "lease": 77}"#),
    ("/v3/lease/leases", "{}"),
    ("/v3/kv/lease/leases", ""),
    ("/v3/lease/revoke", r#"{"ID": "77"}"#),
    ("/v3/kv/lease/revoke", r#"{"ID": "77"}"#),
    ("/v3/lease/timetolive", r#"{"ID": "77", "keys": true}"#),
    ("/v3/maintenance/alarm", r#"{"action": "GET"}"#),
    ("/v3/maintenance/defragment", "{}"),
    ("/v3/cluster/member/remove", r#"{"ID": "1234"}"#),
    ("/v3/auth/enable", "{}"),
    ("/v3/auth/authenticate", r#"{"name": "a", "password": "b"}"#),
    ("/v3/auth/user/add", r#"{"name": "root", "password": "r"}"#),
    ("/v3/auth/user/add", r#"{"name": "root"}"#),
    ("/v3/auth/role/add", r#"{"name": "root"}"#),
    ("/v3/auth/role/add", r#"{"name": "r"}"#),
    (
        "/v3/auth/role/grant",
        r#"{"name": "r", "perm": {"permType": "READWRITE", "key": "YQ==", "range_end": "Yg=="}}"#,
    ),
    ("/v3/auth/role/get", r#"{"role": "r"}"#),
    ("/v3/auth/role/list", "{}"),
    ("/v3/auth/user/grant", r#"{"user": "root", "role": "root"}"#),
    ("/v3/auth/user/get", r#"{"name": "root"}"#),
    ("/v3/auth/user/list", "{}"),
    ("/v3/auth/enable", "{}"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateway_answers_as_etcds() {
    let Some(etcd) = Etcd::start().await else { return };
    let (_theirs, ours) = (etcd.peer().await, Peer::door().await);
    let mut wrong = Vec::new();
    for (path, json) in STEPS {
        let theirs = ask(&etcd.client_url, path, json).await;
        let ours = ask(&ours.url, path, json).await;
        if ours != theirs {
            wrong.push(format!("{path} {json}\nours: {ours:?}\netcd: {theirs:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // With authentication on: without a token, with a wrong one, and with one.
    for (path, json) in [
        ("/v3/kv/range", r#"{"key": "Zm9v"}"#),
        ("/v3/auth/authenticate", r#"{"name": "root", "password": "x"}"#),
    ] {
        let (theirs, ours) = (
            ask(&etcd.client_url, path, json).await,
            ask(&ours.url, path, json).await,
        );
        assert_eq!(ours, theirs, "{path} {json}");
    }
    for url in [&etcd.client_url, &ours.url] {
        let (_, answer) = ask(url, "/v3/auth/authenticate", r#"{"name": "root", "password": "r"}"#).await;
        let token = answer["token"].as_str().expect("a token").to_owned();
        for (token, expected) in [(token.as_str(), 200), ("nonsense", 401)] {
            let client = Client::builder(TokioExecutor::new()).build_http();
            let request = Request::post(format!("{url}/v3/kv/range"))
                .header("Authorization", token)
                .body(Full::<Bytes>::from(r#"{"key": "Zm9v"}"#))
                .unwrap();
            assert_eq!(client.request(request).await.unwrap().status(), expected, "{url}");
        }
    }
    // What is no request.
    for (verb, path, json) in [
        ("POST", "/v3/kv/range", "{"),
        ("POST", "/v3/kv/range", r#"{"key": 7}"#),
        ("POST", "/v3/kv/nothing", "{}"),
        ("GET", "/v3/kv/range", ""),
    ] {
        let theirs = send(&etcd.client_url, verb, path, json).await.status();
        assert_eq!(
            send(&ours.url, verb, path, json).await.status(),
            theirs,
            "{verb} {path} {json}"
        );
    }
}

/// The next line of a stream.
async fn line(body: &mut Incoming, rest: &mut BytesMut) -> Value {
    let read = async {
        loop {
            if let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line = rest.split_to(end + 1);
                let mut value = serde_json::from_slice(&line).unwrap();
                anonymous(&mut value);
                return value;
            }
            let frame = body.frame().await.expect("the stream goes on").unwrap();
            rest.extend_from_slice(&frame.into_data().unwrap());
        }
    };
    tokio::time::timeout(HANG, read).await.expect("a line")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_through_the_gateway_goes_on() {
    let Some(etcd) = Etcd::start().await else { return };
    let (_theirs, ours) = (etcd.peer().await, Peer::door().await);
    let mut heard = Vec::new();
    for url in [&etcd.client_url, &ours.url] {
        let create = r#"{"create_request": {"key": "Zm9v", "start_revision": "1", "prev_kv": true}}"#;
        let mut body = send(url, "POST", "/v3/watch", create).await.into_body();
        let mut rest = BytesMut::new();
        let mut lines = vec![line(&mut body, &mut rest).await];
        for json in [
            r#"{"key": "Zm9v", "value": "YmFy"}"#,
            r#"{"key": "Zm9v", "value": "Zm9v"}"#,
        ] {
            ask(url, "/v3/kv/put", json).await;
            lines.push(line(&mut body, &mut rest).await);
        }
        ask(url, "/v3/kv/deleterange", r#"{"key": "Zm9v"}"#).await;
        lines.push(line(&mut body, &mut rest).await);
        // A watch that cannot be is refused on the stream.
        let create = r#"{"create_request": {"key": "Zm9v", "range_end": "YQ=="}}"#;
        let mut body = send(url, "POST", "/v3/watch", create).await.into_body();
        lines.push(line(&mut body, &mut BytesMut::new()).await);
        heard.push(lines);
    }
    assert_eq!(heard[1], heard[0]);
    assert!(heard[0][1].to_string().contains("YmFy"), "{heard:?}");
}
