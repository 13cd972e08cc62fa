//! A real API server over a store in memory, in this process, with all controllers running as the user they are in
//! production: what RBAC or validation would refuse them there is refused here.

use std::sync::Arc;
use std::time::{Duration, Instant};

use apiserver::{Config, Server, User};
use client::{Client, Error, Informers};
use controllers::{ControllersConfig, Signing};
use http::Method;
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

/// How long something may take before it counts as never. Nothing is asserted about how long it does take.
const PATIENCE: Duration = Duration::from_secs(180);

/// Ends with the value.
pub struct Cluster {
    pub api: Client,
    server: Arc<Server>,
    _stop: DropGuard,
}

impl Cluster {
    pub async fn start() -> Cluster {
        let store = memory::store().await.unwrap();
        let server = Server::new(
            apiserver::Storage::new(store),
            Config::new("m1", "10.0.0.1".parse().unwrap()),
        );
        server.bootstrap().await.unwrap();
        let stop = CancellationToken::new();
        let local = |user: User| Client::local(server.local(user, None));
        let controlling = local(User::new("system:kube-controller-manager", &[]));
        let informers = Informers::new(controlling.clone(), stop.clone());
        let authority = pki::Ca::generate("kubernetes").unwrap();
        let config = ControllersConfig {
            signing: Some(Arc::new(Signing::new(authority))),
            ..ControllersConfig::new("m1", "a certificate")
        };
        tokio::spawn(controllers::run(config, controlling, informers, stop.clone()));
        Cluster {
            api: local(User::new("kubernetes-admin", &["kubeadm:cluster-admins"])),
            server,
            _stop: stop.drop_guard(),
        }
    }

    /// A cluster in whose namespace `default` Pods can be created.
    pub async fn ready() -> Cluster {
        let cluster = Cluster::start().await;
        cluster
            .appears("/api/v1/namespaces/default/serviceaccounts/default")
            .await;
        cluster
    }

    /// Somebody else's handle on the API.
    pub fn user(&self, name: &str, groups: &[&str]) -> Client {
        Client::local(self.server.local(User::new(name, groups), None))
    }

    pub async fn send(&self, method: Method, path: &str, body: &Value) -> Result<Value, Error> {
        let body = (!body.is_null()).then_some(body);
        self.api.json(method, path, body).await
    }

    pub async fn create(&self, collection: &str, object: Value) -> Value {
        self.send(Method::POST, collection, &object).await.unwrap()
    }

    pub async fn delete(&self, path: &str, policy: &str) {
        let options = json!({ "kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": policy });
        self.send(Method::DELETE, path, &options).await.unwrap();
    }

    /// The object, or null.
    pub async fn get(&self, path: &str) -> Value {
        match self.send(Method::GET, path, &Value::Null).await {
            Ok(object) => object,
            Err(error) if error.is_not_found() => Value::Null,
            Err(error) => panic!("{error}"),
        }
    }

    pub async fn items(&self, path: &str) -> Vec<Value> {
        let list = self.get(path).await;
        list["items"].as_array().cloned().unwrap_or_default()
    }

    /// Replaces part of an object's status, as its kubelet would.
    pub async fn report(&self, path: &str, status: Value) {
        let mut object = self.get(path).await;
        object["status"] = status;
        object["metadata"].as_object_mut().unwrap().remove("resourceVersion");
        self.send(Method::PUT, &format!("{path}/status"), &object)
            .await
            .unwrap();
    }

    pub async fn appears(&self, path: &str) -> Value {
        self.until(path, |object| !object.is_null()).await
    }

    pub async fn goes(&self, path: &str) {
        self.until(path, Value::is_null).await;
    }

    /// Waits until what is at `path` (null if nothing is) fulfils `condition`.
    pub async fn until(&self, path: &str, condition: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let object = self.get(path).await;
            if condition(&object) {
                return object;
            }
            assert!(
                began.elapsed() < PATIENCE,
                "waited in vain at {path}; last seen: {object:#}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until a collection holds this many objects.
    pub async fn count(&self, path: &str, count: usize) -> Vec<Value> {
        let enough = |list: &Value| list["items"].as_array().is_some_and(|items| items.len() == count);
        let list = self.until(path, enough).await;
        list["items"].as_array().cloned().unwrap_or_default()
    }
}
