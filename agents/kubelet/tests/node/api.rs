//! As much of the API as a node needs, in memory: objects by path, lists, watches, patches. Nothing is validated.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use tokio::sync::{Notify, broadcast};

#[derive(Clone, Default)]
pub struct Api(Arc<Inner>);

struct Inner {
    state: Mutex<Store>,
    events: broadcast::Sender<(String, Value)>,
    changed: Notify,
}

#[derive(Default)]
struct Store {
    version: u64,
    objects: BTreeMap<String, Value>,
}

impl Default for Inner {
    fn default() -> Self {
        Inner {
            state: Mutex::default(),
            events: broadcast::channel(4096).0,
            changed: Notify::new(),
        }
    }
}

impl Api {
    pub fn router(&self) -> Router {
        Router::new().fallback(handle).with_state(self.clone())
    }

    /// An object by its path, as `/api/v1/nodes/a`.
    pub fn get(&self, path: &str) -> Option<Value> {
        self.0.state.lock().objects.get(path).cloned()
    }

    /// Creates or replaces an object.
    pub fn put(&self, path: &str, mut object: Value) -> Value {
        let mut state = self.0.state.lock();
        state.version += 1;
        let meta = object["metadata"].as_object_mut().expect("metadata");
        meta.insert("resourceVersion".into(), json!(state.version.to_string()));
        meta.entry("uid")
            .or_insert_with(|| json!(format!("uid-{}", state.version)));
        meta.entry("creationTimestamp")
            .or_insert_with(|| json!("2026-01-01T00:00:00Z"));
        let kind = if state.objects.contains_key(path) {
            "MODIFIED"
        } else {
            "ADDED"
        };
        state.objects.insert(path.into(), object.clone());
        self.tell(kind, path, &object);
        object
    }

    pub fn remove(&self, path: &str) -> Option<Value> {
        let mut state = self.0.state.lock();
        state.version += 1;
        let mut object = state.objects.remove(path)?;
        object["metadata"]["resourceVersion"] = json!(state.version.to_string());
        self.tell("DELETED", path, &object);
        Some(object)
    }

    fn tell(&self, kind: &str, path: &str, object: &Value) {
        let _ = self
            .0
            .events
            .send((path.to_owned(), json!({ "type": kind, "object": object })));
        self.0.changed.notify_waiters();
    }

    /// Waits until `check` holds of the object at `path` (null if there is none).
    pub async fn wait(&self, what: &str, path: &str, check: impl Fn(&Value) -> bool) -> Value {
        let waiting = async {
            loop {
                let changed = self.0.changed.notified();
                let object = self.get(path).unwrap_or(Value::Null);
                if check(&object) {
                    return object;
                }
                changed.await;
            }
        };
        match tokio::time::timeout(std::time::Duration::from_secs(60), waiting).await {
            Ok(object) => object,
            Err(_) => panic!(
                "{what}: did not happen; {path} is {:#}",
                self.get(path).unwrap_or(Value::Null)
            ),
        }
    }
}

fn status(code: StatusCode, reason: &str) -> Response {
    let body = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason,
                       "code": code.as_u16(), "message": reason });
    (code, Json(body)).into_response()
}

async fn handle(State(api): State<Api>, request: Request) -> Response {
    let path = request.uri().path().trim_end_matches('/').to_owned();
    let query = request.uri().query().unwrap_or_default().to_owned();
    let method = request.method().clone();
    let bytes = request
        .into_body()
        .collect()
        .await
        .map(|b| b.to_bytes())
        .unwrap_or_default();
    let body: Value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    match method {
        Method::GET if query.contains("watch=true") => watch(&api, &path, &query),
        Method::GET => match api.get(&path) {
            Some(object) => Json(object).into_response(),
            None if is_collection(&path) => list(&api, &path, &query),
            None => status(StatusCode::NOT_FOUND, "NotFound"),
        },
        Method::POST if path.ends_with("/token") => {
            let expires = jiff::Timestamp::now() + std::time::Duration::from_secs(3600);
            let answer = json!({ "token": "a-token", "expirationTimestamp": expires.strftime("%Y-%m-%dT%H:%M:%SZ").to_string() });
            Json(
                json!({ "kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "metadata": {},
                         "spec": { "audiences": [] }, "status": answer }),
            )
            .into_response()
        }
        Method::POST => {
            let name = body["metadata"]["name"].as_str().unwrap_or("generated").to_owned();
            let target = format!("{path}/{name}");
            if api.get(&target).is_some() {
                return status(StatusCode::CONFLICT, "AlreadyExists");
            }
            (StatusCode::CREATED, Json(api.put(&target, body))).into_response()
        }
        Method::PATCH => {
            let target = path.strip_suffix("/status").unwrap_or(&path);
            let Some(mut object) = api.get(target) else {
                return status(StatusCode::NOT_FOUND, "NotFound");
            };
            if body["metadata"]["uid"].is_string() && body["metadata"]["uid"] != object["metadata"]["uid"] {
                return status(StatusCode::CONFLICT, "Conflict");
            }
            merge(&mut object, &body);
            Json(api.put(target, object)).into_response()
        }
        Method::DELETE => match api.remove(&path) {
            Some(object) => Json(object).into_response(),
            None => status(StatusCode::NOT_FOUND, "NotFound"),
        },
        _ => status(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed"),
    }
}

const COLLECTIONS: &[&str] = &["pods", "nodes", "services", "events", "leases", "configmaps", "secrets"];

fn is_collection(path: &str) -> bool {
    path.rsplit('/').next().is_some_and(|last| COLLECTIONS.contains(&last))
}

/// Whether an object's path is in a collection, which may span all namespaces.
fn is_in(path: &str, collection: &str) -> bool {
    let Some((parent, _)) = path.rsplit_once('/') else {
        return false;
    };
    let resource = collection.rsplit('/').next().unwrap_or_default();
    parent == collection || (!collection.contains("/namespaces/") && parent.ends_with(&format!("/{resource}")))
}

fn selected(object: &Value, query: &str) -> bool {
    let field = query
        .split('&')
        .find_map(|p| p.strip_prefix("fieldSelector=spec.nodeName"));
    field.is_none_or(|f| {
        let wanted = f.trim_start_matches("%3D").trim_start_matches('=');
        object["spec"]["nodeName"] == wanted
    })
}

fn list(api: &Api, path: &str, query: &str) -> Response {
    let state = api.0.state.lock();
    let items: Vec<&Value> = state
        .objects
        .iter()
        .filter(|(p, o)| is_in(p, path) && selected(o, query))
        .map(|(_, o)| o)
        .collect();
    let meta = json!({ "resourceVersion": state.version.to_string() });
    Json(json!({ "kind": "List", "apiVersion": "v1", "metadata": meta, "items": items })).into_response()
}

fn watch(api: &Api, path: &str, query: &str) -> Response {
    let since: u64 = query
        .split('&')
        .find_map(|p| p.strip_prefix("resourceVersion="))
        .and_then(|v| v.parse().ok())
        .unwrap_or(0);
    // Subscribed before looking, so that nothing falls between.
    let state = api.0.state.lock();
    let mut events = api.0.events.subscribe();
    let version = |o: &Value| {
        o["metadata"]["resourceVersion"]
            .as_str()
            .and_then(|v| v.parse().ok())
            .unwrap_or(0u64)
    };
    let missed: Vec<Value> = state
        .objects
        .iter()
        .filter(|(p, o)| is_in(p, path) && selected(o, query) && version(o) > since)
        .map(|(_, o)| json!({ "type": "MODIFIED", "object": o }))
        .collect();
    drop(state);
    let (path, query) = (path.to_owned(), query.to_owned());
    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<String, std::io::Error>>(64);
    tokio::spawn(async move {
        for event in missed {
            let _ = sender.send(Ok(format!("{event}\n"))).await;
        }
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Ok((p, e)) if is_in(&p, &path) && selected(&e["object"], &query) => {
                        if sender.send(Ok(format!("{e}\n"))).await.is_err() {
                            return;
                        }
                    }
                    Ok(_) => {}
                    Err(_) => return,
                },
                () = sender.closed() => return,
            }
        }
    });
    Response::new(Body::from_stream(tokio_stream::wrappers::ReceiverStream::new(receiver)))
}

/// A merge patch; lists of conditions are merged by type, as a strategic one would.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    for (key, value) in patch {
        match value {
            Value::Null => {
                target.as_object_mut().expect("object").remove(key);
            }
            Value::Array(new) if key == "conditions" => {
                let mut list = target[key].as_array().cloned().unwrap_or_default();
                for condition in new {
                    list.retain(|c| c["type"] != condition["type"]);
                    list.push(condition.clone());
                }
                target[key] = Value::Array(list);
            }
            _ => merge(&mut target[key], value),
        }
    }
}
