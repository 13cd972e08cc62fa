//! Deployments, a StatefulSet (where the API has them) and Services under faults, on fake nodes: the first workers are nodes, the others are users.
//! Judged by placement, by addresses, and by what is there in the end.

mod node;
mod user;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use checker::cluster::PodState;
use checker::cluster::addresses::{self, Claim, Space};
use checker::cluster::pods::{Run, bound_once, one_live_pod_of_a_name};
use checker::{Anomaly, History, Verdict};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Workload;
use crate::limits::{CATCH_UP_TIMEOUT, FINAL_READS};
use crate::worker::Worker;

pub(super) const NODES: usize = 3;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Call {
    /// Creates the workload or sets its number of Pods.
    Scale {
        name: String,
        replicas: u64,
    },
    /// Changes the template: all Pods are replaced.
    Roll {
        name: String,
        to: u64,
    },
    Delete {
        name: String,
    },
    CreateService {
        name: String,
    },
    DeleteService {
        name: String,
    },
    ListPods,
    ListServices,
    /// In the end: whether each workload has the Pods it asks for, all running.
    Settled,
}

/// What the API said, in a few words; lists are kept apart.
pub(crate) type Return = String;

/// What nodes and lists showed.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Seen {
    /// By uid and resource version: lists tell most states more than once.
    states: BTreeMap<String, BTreeMap<u64, PodState>>,
    runs: Vec<Run>,
    claims: Vec<Claim>,
    /// A member said in the end that all workloads had what they asked for.
    settled: bool,
    /// Why the cluster was not settled in the end.
    unsettled: Option<String>,
}

pub(crate) struct Pods {
    start: Instant,
    pub(super) seen: Mutex<Seen>,
    /// How often a template was changed.
    pub(super) rolls: AtomicU64,
    over: AtomicBool,
}

impl Default for Pods {
    fn default() -> Pods {
        Pods {
            start: Instant::now(),
            seen: Mutex::default(),
            rolls: AtomicU64::new(0),
            over: AtomicBool::new(false),
        }
    }
}

impl Workload for Pods {
    type Call = Call;
    type Return = Return;

    const WORKS_TO_THE_END: bool = true;
    /// As many users as nodes.
    const CLIENTS_MIN: usize = 2 * NODES;

    async fn work(&self, worker: Worker<Call, Return>) {
        if worker.index < NODES {
            node::run(self, worker).await;
        } else {
            user::run(self, worker).await;
        }
    }

    async fn finish(&self, mut worker: Worker<Call, Return>) {
        let mut api = worker.api();
        let until = Instant::now() + CATCH_UP_TIMEOUT;
        loop {
            let settled = user::settled(&mut worker, &mut api).await;
            let over = Instant::now() > until;
            match settled {
                Some(Ok(())) => {
                    self.with(|seen| seen.settled = true);
                    break;
                }
                Some(Err(why)) if over => {
                    self.with(|seen| seen.unsettled = Some(why));
                    break;
                }
                _ if over => break,
                _ => tokio::time::sleep(Duration::from_millis(500)).await,
            }
        }
        for _ in 0..FINAL_READS {
            if user::list_pods(self, &mut worker, &mut api).await.is_some() {
                break;
            }
        }
        self.over.store(true, Ordering::Relaxed);
    }

    fn check(&self, _: &History<Call, Return>, _: Option<u64>) -> Result<Vec<Verdict>, checker::Error> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let states: Vec<PodState> = seen
            .states
            .values()
            .flat_map(|states| states.values().cloned())
            .collect();
        let mut settled = Verdict::valid("settled");
        if let Some(why) = &seen.unsettled {
            settled.broken(Anomaly::new(
                "not-settled",
                format!("{CATCH_UP_TIMEOUT:?} after the faults: {why}"),
                [],
            ));
        }
        if !seen.settled && seen.unsettled.is_none() {
            settled.unknown("no member said in the end what the workloads have");
        }
        if states.is_empty() {
            settled.unknown("no Pod was seen");
        }
        Ok(vec![
            bound_once(&states),
            one_live_pod_of_a_name(&seen.runs),
            addresses::given_once(&seen.claims),
            settled,
        ])
    }

    fn save(&self, directory: &Path) -> anyhow::Result<()> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(std::fs::write(
            directory.join("pods.json"),
            serde_json::to_vec(&*seen)?,
        )?)
    }

    fn load(&self, directory: &Path) -> anyhow::Result<()> {
        let seen = super::read_json(directory, "pods.json")?;
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = seen;
        Ok(())
    }

    fn needs_api() -> bool {
        true
    }
}

impl Pods {
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Seen) -> T) -> T {
        work(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The nodes may stop.
    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    pub(super) fn now_ns(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    /// Takes in the Pods of a list.
    pub(super) fn saw_pods(&self, list: &Value) {
        self.with(|seen| {
            for pod in items(list) {
                let state = state(pod);
                seen.states
                    .entry(state.uid.clone())
                    .or_default()
                    .insert(state.resource_version, state);
            }
        });
    }

    /// Takes in the addresses of the Services of one list: one moment of the cluster.
    pub(super) fn saw_services(&self, list: &Value) {
        let Some(from) = text(&list["metadata"]["resourceVersion"]).parse().ok() else {
            return;
        };
        let claim = |space, address: String, service: &Value| Claim {
            space,
            address,
            owner: text(&service["metadata"]["uid"]),
            from,
            until: Some(from + 1),
        };
        self.with(|seen| {
            for service in items(list) {
                seen.claims
                    .push(claim(Space::ClusterIp, text(&service["spec"]["clusterIP"]), service));
                let ports = service["spec"]["ports"].as_array().into_iter().flatten();
                let ports = ports.filter_map(|port| port["nodePort"].as_u64());
                seen.claims
                    .extend(ports.map(|port| claim(Space::NodePort, port.to_string(), service)));
            }
        });
    }
}

pub(super) fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list["items"].as_array().into_iter().flatten()
}

pub(super) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_string()
}

fn state(pod: &Value) -> PodState {
    let some = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(String::from);
    PodState {
        resource_version: text(&pod["metadata"]["resourceVersion"]).parse().unwrap_or_default(),
        namespace: text(&pod["metadata"]["namespace"]),
        name: text(&pod["metadata"]["name"]),
        uid: text(&pod["metadata"]["uid"]),
        node: some(&pod["spec"]["nodeName"]),
        address: some(&pod["status"]["podIP"]),
        ended: matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed")),
    }
}
