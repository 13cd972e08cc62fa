//! A whole control plane in this process without sockets: store in memory, API server, scheduler, controllers, and nodes
//! that only pretend to run Pods.

use std::future::Future;
use std::time::{Duration, Instant};

use apiserver::{Config, Fence, Server, Storage, User};
use client::objects::{NODES, PODS, Pod};
use client::{Client, DeleteOptions, Informers, Key, Patch, Resource};
use raftstore::Store;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub const DEPLOYMENTS: Resource = Resource::namespaced("apps", "v1", "Deployment", "deployments");
pub const REPLICA_SETS: Resource = Resource::namespaced("apps", "v1", "ReplicaSet", "replicasets");
pub const SLICES: Resource = Resource::namespaced("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices");
pub const ENDPOINTS: Resource = Resource::namespaced("", "v1", "Endpoints", "endpoints");
pub const SERVICES: Resource = Resource::namespaced("", "v1", "Service", "services");
pub const NAMESPACES: Resource = Resource::cluster("", "v1", "Namespace", "namespaces");
pub const ACCOUNTS: Resource = Resource::namespaced("", "v1", "ServiceAccount", "serviceaccounts");
pub const CONFIG_MAPS: Resource = Resource::namespaced("", "v1", "ConfigMap", "configmaps");
pub const EVENTS: Resource = Resource::namespaced("", "v1", "Event", "events");
pub const LEASES: Resource = Resource::namespaced("coordination.k8s.io", "v1", "Lease", "leases");

/// How long a test waits for the world to become as it should. Only a failing test ever waits that long.
const PATIENCE: Duration = Duration::from_secs(180);

const FENCE_KEY: &[u8] = b"/proreus/fence";

pub struct World {
    /// As an administrator.
    pub admin: Client,
    pub scheduler: JoinHandle<Result<(), scheduler::Error>>,
    pub controllers: JoinHandle<Result<(), controllers::Error>>,
    pub stop: CancellationToken,
    store: Store,
}

impl World {
    /// A control plane that leads, with these nodes.
    pub async fn new(nodes: &[&str]) -> World {
        let _ = tracing_subscriber::fmt()
            .with_test_writer()
            .with_env_filter(filter())
            .try_init();
        let store = memory::store().await.unwrap();
        let config = Config::new("test", [127, 0, 0, 1].into());
        let server = Server::new(Storage::new(store.clone()), config);
        server.bootstrap().await.unwrap();
        let fence = raise_fence(&store).await;
        let stop = CancellationToken::new();
        let local = |name: &str, fence: Option<Fence>| Client::local(server.local(User::new(name, &[]), fence));
        let informers = Informers::new(local("system:kube-controller-manager", None), stop.clone());
        let scheduler = tokio::spawn(scheduler::run(
            scheduler::Config::new("test"),
            local("system:kube-scheduler", Some(fence.clone())),
            informers.clone(),
            stop.clone(),
        ));
        let controllers = tokio::spawn(controllers::run(
            controllers::ControllersConfig::new("test", "the root certificate"),
            local("system:kube-controller-manager", Some(fence)),
            informers,
            stop.clone(),
        ));
        let admin = Client::local(server.local(User::new("admin", &["system:masters"]), None));
        let world = World {
            admin,
            scheduler,
            controllers,
            stop,
            store,
        };
        for node in nodes {
            world.add_node(node).await;
        }
        world.become_kubelets();
        let accounts = || async { world.exists(&ACCOUNTS, "default", "default").await };
        eventually("the service account of the namespace default", accounts).await;
        world
    }

    pub async fn add_node(&self, name: &str) {
        let node = json!({ "metadata": { "name": name, "labels": { "kubernetes.io/hostname": name } } });
        self.admin.create::<Value>(&NODES, None, &node).await.unwrap();
        let status = json!({
            "allocatable": { "cpu": "4", "memory": "8Gi", "pods": "110", "ephemeral-storage": "10Gi" },
            "capacity": { "cpu": "4", "memory": "8Gi", "pods": "110", "ephemeral-storage": "10Gi" },
            "conditions": [{ "type": "Ready", "status": "True", "reason": "KubeletReady", "message": "",
                "lastHeartbeatTime": "2026-01-01T00:00:00Z", "lastTransitionTime": "2026-01-01T00:00:00Z" }],
        });
        self.admin
            .patch_status::<Value>(&NODES, &Key::cluster(name), &status)
            .await
            .unwrap();
    }

    /// Waits until the scheduler takes every one of these nodes for usable: a Pod that fits on no other node gets there.
    pub async fn usable(&self, nodes: &[&str]) {
        for node in nodes {
            let name = format!("probe-{node}");
            let spec = json!({
                "nodeSelector": { "kubernetes.io/hostname": node },
                "containers": [{ "name": "c", "image": "v1" }],
            });
            let probe = json!({ "metadata": { "name": name }, "spec": spec });
            self.admin
                .create::<Value>(&PODS, Some("default"), &probe)
                .await
                .unwrap();
            let placed = || async { self.get(&PODS, "default", &name).await["spec"]["nodeName"].is_string() };
            eventually("the probe is placed", placed).await;
            let key = Key::new("default", &name);
            self.admin.delete(&PODS, &key, &DeleteOptions::default()).await.unwrap();
            let gone = || async { !self.exists(&PODS, "default", &name).await };
            eventually("the probe is gone", gone).await;
        }
    }

    /// Every Pod with a node runs at once, and goes as soon as it is deleted; unless its image is `broken`.
    fn become_kubelets(&self) {
        let informers = Informers::new(self.admin.clone(), self.stop.clone());
        let pods = informers.watch::<Pod>();
        let (sender, mut changed) = tokio::sync::mpsc::unbounded_channel::<Arc<Pod>>();
        let admin = self.admin.clone();
        tokio::spawn(async move {
            let _subscription = pods.subscribe(move |change| {
                let _ = sender.send(change.object().clone());
            });
            let mut addresses = 0_u32;
            while let Some(pod) = changed.recv().await {
                addresses += 1;
                pretend(&admin, &pod, addresses).await;
            }
        });
    }

    pub async fn get(&self, resource: &Resource, namespace: &str, name: &str) -> Value {
        self.admin
            .find(resource, &Key::new(namespace, name))
            .await
            .unwrap()
            .unwrap_or(Value::Null)
    }

    pub async fn exists(&self, resource: &Resource, namespace: &str, name: &str) -> bool {
        !self.get(resource, namespace, name).await.is_null()
    }

    pub async fn list(&self, resource: &Resource, namespace: &str) -> Vec<Value> {
        self.admin
            .list::<Value>(resource, Some(namespace), "")
            .await
            .unwrap()
            .items
    }

    /// Another member takes over.
    pub async fn depose(&self) {
        raise_fence(&self.store).await;
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn filter() -> String {
    std::env::var("RUST_LOG").unwrap_or_else(|_| "error".to_owned())
}

async fn raise_fence(store: &Store) -> Fence {
    let request = raftstore::pb::PutRequest {
        key: FENCE_KEY.into(),
        value: "test".into(),
        ..raftstore::pb::PutRequest::default()
    };
    let token = store.put(request).await.unwrap().header.unwrap().revision;
    Fence {
        key: FENCE_KEY.into(),
        token,
    }
}

async fn pretend(admin: &Client, pod: &Pod, address: u32) {
    let key = pod.metadata.key();
    if pod.spec.node_name.is_empty() {
        return;
    }
    if pod.metadata.is_deleting() {
        let _ = admin
            .delete(&PODS, &key, &DeleteOptions::uid(&pod.metadata.uid).grace(0))
            .await;
    } else if pod.status.phase == "Pending" && !pod.spec.containers.iter().any(|c| c.image == "broken") {
        let ip = format!("10.244.{}.{}", address / 250, address % 250 + 1);
        let status = json!({
            "phase": "Running", "podIP": ip, "podIPs": [{ "ip": ip }],
            "conditions": [{ "type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z" }],
        });
        let body = json!({ "status": status });
        let _ = admin
            .patch::<Value>(&PODS, &key, Some("status"), Patch::Strategic, &body)
            .await;
    }
}

/// Waits until a check holds.
pub async fn eventually<F: Future<Output = bool>>(what: &str, check: impl Fn() -> F) {
    let start = Instant::now();
    while !check().await {
        assert!(start.elapsed() < PATIENCE, "never came true: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
