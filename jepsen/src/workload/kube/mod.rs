//! ConfigMaps behind the Kubernetes API: created, updated and deleted under preconditions, read, listed and watched.
//! The first workers, one for each member, only watch.

mod watcher;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use checker::cluster::objects::{Call, Object, Return, check};
use checker::{History, Verdict};
use hyper::Method;
use rand::RngExt;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::Workload;
use crate::client::{Api, Failure};
use crate::limits::FINAL_READS;
use crate::worker::Worker;

const PATH: &str = "/api/v1/namespaces/default/configmaps";
const OBJECTS: u32 = 5;
const LABEL: &str = "jepsen";

#[derive(Default)]
pub(crate) struct Kube {
    value: AtomicU64,
    /// The version that the watchers must reach; 0 while writers are at work.
    target: AtomicU64,
}

impl Workload for Kube {
    type Call = Call;
    type Return = Return;

    const WORKS_TO_THE_END: bool = true;
    /// One that watches and one that writes.
    const CLIENTS_MIN: usize = 2;

    async fn work(&self, mut worker: Worker<Call, Return>) {
        if worker.looks_on() {
            return watcher::run(self, worker).await;
        }
        let mut api = Arc::new(Mutex::new(worker.api()));
        // What this worker last saw of each object: its resource version and uid.
        let mut seen: BTreeMap<String, (u64, String)> = BTreeMap::new();
        while worker.next().await {
            let call = self.call(&mut worker, &seen);
            let answer = perform(&mut worker, &mut api, call.clone()).await;
            remember(&mut seen, &call, answer.as_ref());
        }
    }

    async fn finish(&self, mut worker: Worker<Call, Return>) {
        let mut api = Arc::new(Mutex::new(worker.api()));
        for _ in 0..FINAL_READS {
            if let Some(listed) = perform(&mut worker, &mut api, Call::List).await {
                let newest = listed.objects.iter().map(|object| object.resource_version).max();
                // Without objects, nothing is left to wait for.
                self.target.fetch_max(newest.unwrap_or(0).max(1), Ordering::Relaxed);
                return;
            }
        }
    }

    fn check(&self, history: &History<Call, Return>, _: Option<u64>) -> Result<Vec<Verdict>, checker::Error> {
        let operations = history.operations()?;
        Ok(vec![
            check(&watcher::as_observations(&operations)),
            watcher::check(&operations),
        ])
    }

    fn needs_api() -> bool {
        true
    }
}

impl Kube {
    fn target(&self) -> u64 {
        self.target.load(Ordering::Relaxed)
    }

    fn call(&self, worker: &mut Worker<Call, Return>, seen: &BTreeMap<String, (u64, String)>) -> Call {
        let key = format!("cm-{}", worker.random.random_range(0..OBJECTS));
        let value = format!("v{}", self.value.fetch_add(1, Ordering::Relaxed));
        match (worker.random.random_range(0..10), seen.get(&key).cloned()) {
            (0, _) => Call::List,
            (1..=3, _) | (_, None) if worker.random.random_bool(0.5) => Call::Get { key },
            (1 | 2, Some((_, uid))) => Call::Delete { key, uid },
            (_, Some((resource_version, _))) => Call::Update {
                key,
                resource_version,
                value,
            },
            (_, None) => Call::Create { key, value },
        }
    }
}

fn remember(seen: &mut BTreeMap<String, (u64, String)>, call: &Call, answer: Option<&Return>) {
    match (call, answer) {
        (Call::List, Some(answer)) => {
            seen.clear();
            seen.extend(
                answer
                    .objects
                    .iter()
                    .map(|o| (o.key.clone(), (o.resource_version, o.uid.clone()))),
            );
        }
        (Call::List, None) => {}
        (
            Call::Create { key, .. } | Call::Update { key, .. } | Call::Delete { key, .. } | Call::Get { key },
            answer,
        ) => {
            seen.remove(key);
            let object = answer.and_then(|answer| answer.objects.first());
            seen.extend(object.map(|o| (key.clone(), (o.resource_version, o.uid.clone()))));
        }
    }
}

async fn perform(worker: &mut Worker<Call, Return>, api: &mut Arc<Mutex<Api>>, call: Call) -> Option<Return> {
    let (shared, request) = (api.clone(), call.clone());
    let work = async move { execute(&mut *shared.lock().await, &request).await };
    let answer = match call {
        Call::Get { .. } | Call::List => worker.read(call, work).await,
        _ => worker.write(call, work).await,
    };
    if answer.is_none() {
        // Whatever is still under way on the old connection must not answer the next request.
        *api = Arc::new(Mutex::new(worker.api()));
    }
    answer
}

async fn execute(api: &mut Api, call: &Call) -> Result<Return, Failure> {
    let one = |object: &Value| Return {
        resource_version: version(object),
        objects: vec![shown(object)],
    };
    match call {
        Call::Create { key, value } => {
            let created = api
                .request(Method::POST, PATH, Some(&config_map(key, value, None)))
                .await?
                .object()?;
            Ok(one(&created))
        }
        Call::Update {
            key,
            resource_version,
            value,
        } => {
            let body = config_map(key, value, Some(*resource_version));
            Ok(one(&api
                .request(Method::PUT, &format!("{PATH}/{key}"), Some(&body))
                .await?
                .object()?))
        }
        Call::Delete { key, uid } => {
            let body = json!({"preconditions": {"uid": uid}});
            api.request(Method::DELETE, &format!("{PATH}/{key}"), Some(&body))
                .await?
                .object()?;
            Ok(Return::default())
        }
        Call::Get { key } => {
            let answer = api.request(Method::GET, &format!("{PATH}/{key}"), None).await?;
            if answer.status == 404 {
                return Ok(Return::default());
            }
            Ok(one(&answer.object()?))
        }
        Call::List => list(api).await,
    }
}

async fn list(api: &mut Api) -> Result<Return, Failure> {
    let list = api
        .request(Method::GET, &format!("{PATH}?labelSelector={LABEL}"), None)
        .await?
        .object()?;
    let items = list["items"].as_array().cloned().unwrap_or_default();
    Ok(Return {
        resource_version: version(&list),
        objects: items.iter().map(shown).collect(),
    })
}

fn config_map(key: &str, value: &str, resource_version: Option<u64>) -> Value {
    let mut metadata = json!({"name": key, "labels": {LABEL: ""}});
    if let Some(version) = resource_version {
        metadata["resourceVersion"] = version.to_string().into();
    }
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"value": value}})
}

fn version(object: &Value) -> Option<u64> {
    object["metadata"]["resourceVersion"].as_str()?.parse().ok()
}

fn shown(object: &Value) -> Object {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    Object {
        key: text(&object["metadata"]["name"]),
        uid: text(&object["metadata"]["uid"]),
        resource_version: version(object).unwrap_or_default(),
        value: text(&object["data"]["value"]),
    }
}
