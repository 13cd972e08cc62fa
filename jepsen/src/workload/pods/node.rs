//! A fake node: it is ready, and runs Pods by saying so. What it runs, and when, is written down.
//!
//! It goes on to the next member when one does not answer, as a node's balancer does: nobody else ends the Pods of a node whose
//! only member is damaged for good.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use checker::cluster::pods::Run;
use hyper::Method;
use serde_json::{Value, json};

use super::{Call, Pods, Return, items, text};
use crate::client::{Api, Failure};
use crate::limits::OPERATION_TIMEOUT;
use crate::worker::Worker;

/// How often the node looks for Pods, and renews its Lease.
const LOOK: Duration = Duration::from_millis(400);
const RENEW: Duration = Duration::from_secs(5);

struct Node {
    name: String,
    /// Position of each Pod that runs, by uid, in the list of runs.
    running: BTreeMap<String, usize>,
    started: u32,
    index: usize,
}

pub(super) async fn run(pods: &Pods, worker: Worker<Call, Return>) {
    let mut node = Node {
        name: format!("fake-{}", worker.index),
        running: BTreeMap::new(),
        started: 0,
        index: worker.index,
    };
    let mut api = worker.api();
    let mut places = 0;
    let mut renewed: Option<Instant> = None;
    while !pods.is_over() {
        if renewed.is_none_or(|at| at.elapsed() > RENEW) && node.register(&mut api).await.is_ok() {
            renewed = Some(Instant::now());
        }
        if let Ok(Ok(list)) = tokio::time::timeout(OPERATION_TIMEOUT, node.list(&mut api)).await {
            pods.saw_pods(&list);
            let _ = tokio::time::timeout(OPERATION_TIMEOUT * 2, node.sync(pods, &mut api, &list)).await;
        } else {
            places += 1;
            api = worker.api_further(places);
        }
        tokio::time::sleep(LOOK).await;
    }
}

impl Node {
    /// Creates the Node and its Lease, or renews them.
    async fn register(&self, api: &mut Api) -> Result<(), Failure> {
        let name = &self.name;
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}}});
        let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string();
        let seconds = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let resources = json!({"cpu": "64", "memory": "64Gi", "pods": "500", "ephemeral-storage": "100Gi"});
        let status = json!({"status": {"capacity": resources, "allocatable": resources, "conditions": [{
            "type": "Ready", "status": "True", "reason": "KubeletReady", "message": "",
            "lastHeartbeatTime": seconds, "lastTransitionTime": seconds,
        }]}});
        let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name},
            "spec": {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": now}});
        let leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
        let work = async {
            api.request(Method::POST, "/api/v1/nodes", Some(&node)).await?;
            api.request(Method::PATCH, &format!("/api/v1/nodes/{name}/status"), Some(&status))
                .await?
                .object()?;
            let renewal = api
                .request(Method::PATCH, &format!("{leases}/{name}"), Some(&lease))
                .await?;
            if renewal.status == 404 {
                api.request(Method::POST, leases, Some(&lease)).await?;
            }
            Ok(())
        };
        tokio::time::timeout(OPERATION_TIMEOUT, work)
            .await
            .unwrap_or_else(|_| Err(Failure::Unknown("timeout".into())))
    }

    async fn list(&self, api: &mut Api) -> Result<Value, Failure> {
        let path = format!("/api/v1/pods?fieldSelector=spec.nodeName={}", self.name);
        api.request(Method::GET, &path, None).await?.object()
    }

    /// Runs what is bound here, and ends what is to be deleted or is gone.
    async fn sync(&mut self, pods: &Pods, api: &mut Api, list: &Value) -> Result<(), Failure> {
        let bound: BTreeMap<String, &Value> = items(list).map(|pod| (text(&pod["metadata"]["uid"]), pod)).collect();
        let gone: Vec<String> = self
            .running
            .keys()
            .filter(|uid| !bound.contains_key(*uid))
            .cloned()
            .collect();
        gone.iter().for_each(|uid| self.stop(pods, uid));
        for (uid, pod) in bound {
            let path = format!(
                "/api/v1/namespaces/{}/pods/{}",
                text(&pod["metadata"]["namespace"]),
                text(&pod["metadata"]["name"])
            );
            if pod["metadata"].get("deletionTimestamp").is_some() {
                self.stop(pods, &uid);
                let body = json!({"gracePeriodSeconds": 0, "preconditions": {"uid": uid}});
                api.request(Method::DELETE, &path, Some(&body)).await?;
            } else if pod["status"]["phase"] != "Running" {
                self.start(pods, &uid, pod);
                api.request(Method::PATCH, &format!("{path}/status"), Some(&self.status(pod)))
                    .await?;
            }
        }
        Ok(())
    }

    fn start(&mut self, pods: &Pods, uid: &str, pod: &Value) {
        if self.running.contains_key(uid) {
            return;
        }
        self.started += 1;
        let run = Run {
            namespace: text(&pod["metadata"]["namespace"]),
            name: text(&pod["metadata"]["name"]),
            uid: uid.into(),
            node: self.name.clone(),
            started_ns: pods.now_ns(),
            stopped_ns: None,
        };
        let at = pods.with(|seen| {
            seen.runs.push(run);
            seen.runs.len() - 1
        });
        self.running.insert(uid.into(), at);
    }

    fn stop(&mut self, pods: &Pods, uid: &str) {
        if let Some(at) = self.running.remove(uid) {
            let now = pods.now_ns();
            pods.with(|seen| seen.runs[at].stopped_ns = Some(now));
        }
    }

    fn status(&self, pod: &Value) -> Value {
        let address = format!(
            "10.{}.{}.{}",
            200 + self.index,
            self.started / 250,
            self.started % 250 + 1
        );
        let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let conditions = ["PodScheduled", "Initialized", "ContainersReady", "Ready"]
            .map(|kind| json!({"type": kind, "status": "True", "lastTransitionTime": now}));
        let containers = pod["spec"]["containers"].as_array().into_iter().flatten().map(|container| {
            json!({"name": container["name"], "image": container["image"], "imageID": "", "ready": true, "started": true,
                   "restartCount": 0, "state": {"running": {"startedAt": now}}})
        });
        json!({"metadata": {"uid": pod["metadata"]["uid"]}, "status": {"phase": "Running", "podIP": address,
            "podIPs": [{"ip": address}], "startTime": now, "conditions": conditions,
            "containerStatuses": containers.collect::<Vec<_>>()}})
    }
}
