//! Users: they create, scale, roll and delete workloads, and Services with them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use hyper::Method;
use rand::RngExt;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::intent::Has;
use super::{Call, Pods, Return, items, text};
use crate::client::{Api, Failure};
use crate::worker::Worker;

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const STATEFUL_SETS: &str = "/apis/apps/v1/namespaces/default/statefulsets";
const PODS: &str = "/api/v1/namespaces/default/pods";
/// Of the template: its last change.
const ROLL: &str = "jepsen/roll";
const SERVICES: &str = "/api/v1/namespaces/default/services";
/// One of these is a StatefulSet, whose Pods' names come again.
const NAMES: [&str; 4] = ["web-0", "web-1", "web-2", "db"];
const SERVICE_NAMES: u32 = 8;
const REPLICAS_MAX: u64 = 6;

type Shared = Arc<Mutex<Api>>;

pub(super) async fn run(pods: &Pods, mut worker: Worker<Call, Return>) {
    let mut api = worker.api();
    while worker.next().await {
        let name = NAMES[worker.random.random_range(0..NAMES.len())].to_string();
        let service = format!("svc-{}", worker.random.random_range(0..SERVICE_NAMES));
        match worker.random.random_range(0..20) {
            0..=2 => drop(list_pods(pods, &mut worker, &mut api).await),
            3..=5 => drop(list_services(pods, &mut worker, &mut api).await),
            6..=8 => drop(write(&mut worker, &mut api, Call::CreateService { name: service }).await),
            9..=11 => drop(write(&mut worker, &mut api, Call::DeleteService { name: service }).await),
            12 => drop(write(&mut worker, &mut api, Call::Delete { name }).await),
            13 => {
                let to = pods.rolls.fetch_add(1, Ordering::Relaxed);
                drop(write(&mut worker, &mut api, Call::Roll { name, to }).await);
            }
            _ => {
                let replicas = worker.random.random_range(0..=REPLICAS_MAX);
                drop(write(&mut worker, &mut api, Call::Scale { name, replicas }).await);
            }
        }
    }
}

async fn write(worker: &mut Worker<Call, Return>, api: &mut Api, call: Call) -> Option<Return> {
    let shared: Shared = Arc::new(Mutex::new(std::mem::replace(api, worker.api())));
    let (holder, request) = (shared.clone(), call.clone());
    let work = async move { execute(&mut *holder.lock().await, &request).await };
    let answer = worker.write(call, work).await;
    give_back(api, shared, answer.is_some());
    answer
}

/// A connection on which something may still be under way is not used again.
fn give_back(api: &mut Api, shared: Shared, clean: bool) {
    if let (true, Some(connection)) = (clean, Arc::into_inner(shared)) {
        *api = connection.into_inner();
    }
}

/// Makes a read and hands its object to `then` before it is recorded.
async fn read(
    worker: &mut Worker<Call, Return>,
    api: &mut Api,
    call: Call,
    path: &'static str,
    then: impl FnOnce(&Value) -> Return,
) -> Option<Return> {
    let shared: Shared = Arc::new(Mutex::new(std::mem::replace(api, worker.api())));
    let holder = shared.clone();
    let work = async move {
        let answer = holder.lock().await.request(Method::GET, path, None).await?;
        Ok(then(&answer.object()?))
    };
    let answer = worker.read(call, work).await;
    give_back(api, shared, answer.is_some());
    answer
}

pub(super) async fn list_pods(pods: &Pods, worker: &mut Worker<Call, Return>, api: &mut Api) -> Option<Return> {
    let take = |list: &Value| {
        pods.saw_pods(list);
        format!("{} pods", items(list).count())
    };
    read(worker, api, Call::ListPods, PODS, take).await
}

async fn list_services(pods: &Pods, worker: &mut Worker<Call, Return>, api: &mut Api) -> Option<Return> {
    let take = |list: &Value| {
        pods.saw_services(list);
        format!("{} services", items(list).count())
    };
    read(worker, api, Call::ListServices, "/api/v1/services", take).await
}

/// Whether all workloads have what they ask for, and no others have anything; `None` if the API did not say.
pub(super) async fn settled(worker: &mut Worker<Call, Return>, api: &mut Api) -> Option<Result<(), String>> {
    let mut missing = Vec::new();
    let mut wanted: BTreeMap<String, u64> = BTreeMap::new();
    for path in [DEPLOYMENTS, STATEFUL_SETS] {
        let lacking = |list: &Value| {
            wanted.extend(items(list).map(|workload| (text(&workload["metadata"]["name"]), replicas(workload))));
            items(list).filter_map(lacks).collect::<Vec<_>>().join("; ")
        };
        let found = read(worker, api, Call::Settled, path, lacking).await?;
        missing.extend(Some(found).filter(|found| !found.is_empty()));
    }
    let miscounted = |list: &Value| miscounted(&wanted, list).join("; ");
    let found = read(worker, api, Call::Settled, PODS, miscounted).await?;
    missing.extend(Some(found).filter(|found| !found.is_empty()));
    Some(if missing.is_empty() {
        Ok(())
    } else {
        Err(missing.join("; "))
    })
}

/// The workloads that have other numbers of Pods than they want, whatever their status says.
fn miscounted(wanted: &BTreeMap<String, u64>, pods: &Value) -> Vec<String> {
    let mut counts: BTreeMap<String, (u64, u64)> =
        wanted.iter().map(|(name, want)| (name.clone(), (*want, 0))).collect();
    for pod in items(pods) {
        let lives = pod["metadata"].get("deletionTimestamp").is_none() && pod["status"]["phase"] == "Running";
        if let (true, Some(app)) = (lives, pod["metadata"]["labels"]["app"].as_str()) {
            counts.entry(app.into()).or_default().1 += 1;
        }
    }
    let wrong = counts.into_iter().filter(|(_, (want, have))| want != have);
    wrong
        .map(|(name, (want, have))| format!("{name} wants {want} pods and {have} live"))
        .collect()
}

/// What each workload asks for, in one answer; `None` if the API did not say.
pub(super) async fn last_state(worker: &mut Worker<Call, Return>, api: &mut Api) -> Option<Return> {
    let shared: Shared = Arc::new(Mutex::new(std::mem::replace(api, worker.api())));
    let holder = shared.clone();
    let work = async move {
        let mut there: BTreeMap<String, Has> = BTreeMap::new();
        for path in [DEPLOYMENTS, STATEFUL_SETS] {
            let list = holder.lock().await.request(Method::GET, path, None).await?.object()?;
            there.extend(items(&list).map(|workload| (text(&workload["metadata"]["name"]), has(workload))));
        }
        serde_json::to_string(&there).map_err(|error| Failure::Unknown(error.to_string()))
    };
    let answer = worker.read(Call::Final, work).await;
    give_back(api, shared, answer.is_some());
    answer
}

fn replicas(workload: &Value) -> u64 {
    workload["spec"]["replicas"].as_u64().unwrap_or(1)
}

fn has(workload: &Value) -> Has {
    let roll = workload["spec"]["template"]["metadata"]["annotations"][ROLL].as_str();
    Has {
        replicas: replicas(workload),
        // What is no number was written by nobody.
        roll: roll.map(|roll| roll.parse().unwrap_or(u64::MAX)),
    }
}

fn lacks(workload: &Value) -> Option<String> {
    let wanted = replicas(workload);
    let number = |field: &str| workload["status"][field].as_u64().unwrap_or(0);
    let (all, ready, updated) = (number("replicas"), number("readyReplicas"), number("updatedReplicas"));
    let observed = workload["status"]["observedGeneration"] == workload["metadata"]["generation"];
    let settled = observed && all == wanted && ready == wanted && updated == wanted;
    let name = text(&workload["metadata"]["name"]);
    let status = format!("{all} pods, {ready} ready, {updated} updated, observed {observed}");
    (!settled).then(|| format!("{name} wants {wanted} and has {status}"))
}

fn path_of(name: &str) -> &'static str {
    if name == "db" { STATEFUL_SETS } else { DEPLOYMENTS }
}

async fn execute(api: &mut Api, call: &Call) -> Result<Return, Failure> {
    let answer = match call {
        Call::Scale { name, replicas } => {
            let path = path_of(name);
            let body = json!({"spec": {"replicas": replicas}});
            let scaled = api
                .request(Method::PATCH, &format!("{path}/{name}"), Some(&body))
                .await?;
            match scaled.status {
                404 => {
                    api.request(Method::POST, path, Some(&workload(name, *replicas)))
                        .await?
                }
                _ => scaled,
            }
        }
        Call::Roll { name, to } => {
            let body = json!({"spec": {"template": {"metadata": {"annotations": {ROLL: to.to_string()}}}}});
            api.request(Method::PATCH, &format!("{}/{name}", path_of(name)), Some(&body))
                .await?
        }
        Call::Delete { name } => {
            api.request(Method::DELETE, &format!("{}/{name}", path_of(name)), None)
                .await?
        }
        Call::CreateService { name } => api.request(Method::POST, SERVICES, Some(&service(name))).await?,
        Call::DeleteService { name } => api.request(Method::DELETE, &format!("{SERVICES}/{name}"), None).await?,
        Call::ListPods | Call::ListServices | Call::Settled | Call::Final => {
            return Err(Failure::Definite("lists are made elsewhere".into()));
        }
    };
    let status = answer.status;
    answer.object().map(|_| status.to_string())
}

fn workload(name: &str, replicas: u64) -> Value {
    let kind = if name == "db" { "StatefulSet" } else { "Deployment" };
    let mut spec = json!({"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": {
        "metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "main", "image": "none"}]}}});
    if kind == "StatefulSet" {
        spec["serviceName"] = name.into();
    }
    json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

fn service(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"type": "NodePort", "selector": {"app": name}, "ports": [{"port": 80}]}})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_are_counted_whatever_a_status_says() {
        let pod = |app: &str, phase: &str| json!({"metadata": {"labels": {"app": app}}, "status": {"phase": phase}});
        let mut leaving = pod("web", "Running");
        leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        let list = json!({"items": [pod("web", "Running"), pod("web", "Failed"), leaving, pod("db", "Running")]});
        let wanted = |web: u64, db: Option<u64>| {
            let web = ("web".to_string(), web);
            std::iter::once(web)
                .chain(db.map(|db| ("db".to_string(), db)))
                .collect::<BTreeMap<_, _>>()
        };
        assert!(miscounted(&wanted(1, Some(1)), &list).is_empty());
        assert_eq!(miscounted(&wanted(2, Some(1)), &list), ["web wants 2 pods and 1 live"]);
        // Of a workload that is gone.
        assert_eq!(miscounted(&wanted(1, None), &list), ["db wants 0 pods and 1 live"]);
    }
}
