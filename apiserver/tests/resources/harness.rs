//! One server over a store in memory, and requests to it in one line.

use apiserver::{Body, Config, Local, Server, User};
use http::{Method, Request};
use http_body_util::BodyExt;
use serde_json::Value;
use std::sync::Arc;
use tower::ServiceExt;

/// A bootstrapped server with keys for service-account tokens.
pub struct Cluster {
    pub server: Arc<Server>,
    store: raftstore::Store,
    _keys: tempfile::TempDir,
}

/// Somebody who sends requests.
#[derive(Clone)]
pub struct Client(Local);

impl Cluster {
    pub async fn start() -> Cluster {
        Cluster::with(Config::new("m1", "10.0.0.1".parse().unwrap())).await
    }

    pub async fn with(mut config: Config) -> Cluster {
        let keys = tempfile::tempdir().unwrap();
        let (key, public) = (keys.path().join("sa.key"), keys.path().join("sa.pub"));
        pki::jwt::ensure_key_pair(&key, &public).unwrap();
        config.service_account_signing_key = Some(key);
        config.service_account_keys = vec![public];
        let store = memory::store().await.unwrap();
        let server = Server::new(storage::Storage::new(store.clone()), config);
        server.bootstrap().await.unwrap();
        Cluster {
            server,
            store,
            _keys: keys,
        }
    }

    /// The admin at another server over the same store, as on another master.
    pub async fn elsewhere(&self) -> Client {
        let config = Config::new("m2", "10.0.0.2".parse().unwrap());
        let server = Server::new(storage::Storage::new(self.store.clone()), config);
        server.bootstrap().await.unwrap();
        Client(server.local(User::new("kubernetes-admin", &["kubeadm:cluster-admins"]), None))
    }

    /// Somebody who may do everything.
    pub fn admin(&self) -> Client {
        self.user("kubernetes-admin", &["kubeadm:cluster-admins"])
    }

    pub fn user(&self, name: &str, groups: &[&str]) -> Client {
        Client(self.server.local(User::new(name, groups), None))
    }

    /// The admin, in a cluster where pods can be created: what the controllers would have made by now is there.
    pub async fn ready() -> (Cluster, Client) {
        let cluster = Cluster::start().await;
        let admin = cluster.admin();
        let account =
            serde_json::json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
        admin
            .post("/api/v1/namespaces/default/serviceaccounts", account)
            .await
            .expect(201);
        (cluster, admin)
    }
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub code: u16,
    pub body: Value,
}

impl Answer {
    /// The body, if the code is the expected one.
    #[track_caller]
    pub fn expect(self, code: u16) -> Value {
        assert_eq!(self.code, code, "{}", self.body);
        self.body
    }

    /// The message of the Status, if the code is the expected one.
    #[track_caller]
    pub fn message(self, code: u16) -> String {
        self.expect(code)["message"].as_str().unwrap_or_default().to_owned()
    }
}

impl Client {
    pub async fn send(&self, method: Method, path: &str, content_type: &str, body: Value) -> Answer {
        let body = if body.is_null() {
            Body::empty()
        } else {
            Body::from(body.to_string())
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", content_type);
        let request = request.header("accept", "application/json").body(body).unwrap();
        let response = self.0.clone().oneshot(request).await.unwrap();
        let code = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let body = serde_json::from_slice(&bytes).unwrap_or_else(|_| String::from_utf8_lossy(&bytes).into());
        Answer { code, body }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, "application/json", Value::Null).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(Method::POST, path, "application/json", body).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Answer {
        self.send(Method::PUT, path, "application/json", body).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Answer {
        self.send(Method::PATCH, path, "application/strategic-merge-patch+json", body)
            .await
    }

    pub async fn merge(&self, path: &str, body: Value) -> Answer {
        self.send(Method::PATCH, path, "application/merge-patch+json", body)
            .await
    }

    /// Asks for an object until it is as wanted; the time it takes is nobody's promise, that it comes is.
    pub async fn until(&self, path: &str, wanted: impl Fn(&Answer) -> bool) -> Value {
        let asking = async {
            loop {
                let answer = self.get(path).await;
                if wanted(&answer) {
                    return answer.body;
                }
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        };
        let patience = std::time::Duration::from_secs(60);
        match tokio::time::timeout(patience, asking).await {
            Ok(body) => body,
            Err(_) => panic!("{path} never came to be as wanted: {}", self.get(path).await.body),
        }
    }

    pub async fn delete(&self, path: &str, options: Value) -> Answer {
        self.send(Method::DELETE, path, "application/json", options).await
    }

    /// The rows of the Table that kubectl would print.
    pub async fn table(&self, path: &str) -> Vec<Vec<Value>> {
        let table = self.whole_table(path).await;
        let rows = table["rows"].as_array().unwrap_or_else(|| panic!("no table: {table}"));
        rows.iter()
            .map(|row| row["cells"].as_array().unwrap().clone())
            .collect()
    }

    /// The names of its columns.
    pub async fn columns(&self, path: &str) -> Vec<Value> {
        let table = self.whole_table(path).await;
        let columns = table["columnDefinitions"].as_array().unwrap();
        columns.iter().map(|column| column["name"].clone()).collect()
    }

    async fn whole_table(&self, path: &str) -> Value {
        let accept = "application/json;as=Table;v=v1;g=meta.k8s.io";
        let request = Request::builder()
            .uri(path)
            .header("accept", accept)
            .body(Body::empty())
            .unwrap();
        let response = self.0.clone().oneshot(request).await.unwrap();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        serde_json::from_slice(&bytes).unwrap()
    }
}
