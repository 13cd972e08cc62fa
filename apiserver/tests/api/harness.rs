//! One server, one caller, requests as lines.

use apiserver::{Body, Config, Local, Server, Storage, User};
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::sync::Arc;
use tower::Service;

pub struct Api {
    pub server: Arc<Server>,
    pub store: raftstore::Store,
    local: Local,
}

/// An answer, read to its end.
pub struct Answer {
    pub code: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// Panics with the answer unless it has this code.
    #[track_caller]
    pub fn expect(self, code: u16) -> Value {
        assert_eq!(self.code, code, "{}", self.text);
        self.json()
    }

    /// The error's code, reason and message.
    pub fn error(&self) -> (u16, String, String) {
        let status = self.json();
        let text = |key: &str| status[key].as_str().unwrap_or_default().to_string();
        assert_eq!(
            (&status["kind"], &status["code"]),
            (&json!("Status"), &json!(self.code)),
            "{}",
            self.text
        );
        (self.code, text("reason"), text("message"))
    }
}

impl Api {
    /// A server with the namespace `a`.
    pub async fn new() -> Api {
        let store = memory::store().await.unwrap();
        let mut config = Config::new("test", [127, 0, 0, 1].into());
        config.bookmark_interval = std::time::Duration::from_millis(20);
        let server = Server::new(Storage::new(store.clone()), config);
        let local = server.local(User::new("admin", &["system:masters"]), None);
        let api = Api { server, store, local };
        for namespace in ["default", "a"] {
            let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
            api.post("/api/v1/namespaces", &body).await.expect(201);
            // What the service account controller would make, and pods need.
            let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
            api.post(&format!("/api/v1/namespaces/{namespace}/serviceaccounts"), &account)
                .await
                .expect(201);
        }
        api
    }

    pub async fn send(&self, request: Request<Body>) -> Response<Body> {
        let mut local = self.local.clone();
        Service::<Request<Body>>::call(&mut local, request).await.unwrap()
    }

    pub async fn raw(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.send(request.body(body.into()).unwrap()).await;
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Answer {
            code: parts.status.as_u16(),
            headers: parts.headers,
            text,
        }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.raw("GET", path, &[], Body::empty()).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.raw("POST", path, &[("content-type", "application/json")], body.to_string())
            .await
    }

    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        self.raw("PUT", path, &[("content-type", "application/json")], body.to_string())
            .await
    }

    pub async fn patch(&self, path: &str, kind: &str, body: &Value) -> Answer {
        let media = format!("application/{kind}-patch+json");
        self.raw("PATCH", path, &[("content-type", &media)], body.to_string())
            .await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.raw("DELETE", path, &[], Body::empty()).await
    }

    /// Opens a watch; frames are read with [`Frames::next`].
    pub async fn watch(&self, path: &str, accept: &str) -> Frames {
        let request = Request::builder()
            .uri(path)
            .header("accept", accept)
            .body(Body::empty())
            .unwrap();
        let response = self.send(request).await;
        assert_eq!(response.status(), 200);
        Frames {
            body: response.into_body(),
            rest: Vec::new(),
        }
    }
}

/// The frames of a watch.
pub struct Frames {
    body: Body,
    rest: Vec<u8>,
}

impl Frames {
    /// The next frame; `None` at the end of the stream.
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let frame = self.body.frame().await?.unwrap();
            self.rest.extend_from_slice(frame.data_ref().unwrap());
        }
    }

    /// `ADDED name`, for the next frame.
    pub async fn line(&mut self) -> String {
        let frame = self.next().await.expect("a frame");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
        format!(
            "{} {}",
            text(&frame["type"]),
            text(&frame["object"]["metadata"]["name"])
        )
        .trim()
        .to_string()
    }
}

pub fn config_map(name: &str, app: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"app": app}}, "data": {"k": "v"}})
}

pub fn pod(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c", "image": "nginx"}]}})
}

pub fn deployment(name: &str, replicas: i64) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": {
            "metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "nginx"}]}}}})
}

pub const MAPS: &str = "/api/v1/namespaces/a/configmaps";
pub const PODS: &str = "/api/v1/namespaces/a/pods";
pub const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/a/deployments";
