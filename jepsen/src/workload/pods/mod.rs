//! Deployments, a StatefulSet (where the API has them) and Services under faults, on fake nodes: the first workers are nodes, the others are users.
//! Judged by placement, by addresses, and by what is there in the end.

mod intent;
mod node;
mod user;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
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
    /// After that: what each workload asks for.
    Final,
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
    /// States that differ from another of the same Pod and version.
    #[serde(default)]
    others: Vec<PodState>,
    /// A member said in the end that all workloads had what they asked for.
    settled: bool,
    /// The members that were asked for it, and those that said so; in old tests, nobody wrote that down.
    #[serde(default)]
    asked: BTreeSet<usize>,
    #[serde(default)]
    settled_at: BTreeSet<usize>,
    /// Why the cluster was not settled in the end.
    unsettled: Option<String>,
}

pub(crate) struct Pods {
    start: Instant,
    pub(super) seen: Mutex<Seen>,
    /// How often a template was changed.
    pub(super) rolls: AtomicU64,
    /// Last readers that are still at it.
    finishing: AtomicUsize,
    over: AtomicBool,
}

impl Default for Pods {
    fn default() -> Pods {
        Pods {
            start: Instant::now(),
            seen: Mutex::default(),
            rolls: AtomicU64::new(0),
            finishing: AtomicUsize::new(0),
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
        let (member, mut api) = (worker.member(), worker.api());
        self.finishing.fetch_add(1, Ordering::Relaxed);
        self.with(|seen| seen.asked.insert(member));
        let until = Instant::now() + CATCH_UP_TIMEOUT;
        loop {
            let settled = user::settled(&mut worker, &mut api).await;
            let over = Instant::now() > until;
            match settled {
                Some(Ok(())) => {
                    self.with(|seen| {
                        seen.settled = true;
                        seen.settled_at.insert(member)
                    });
                    break;
                }
                Some(Err(why)) if over => {
                    self.with(|seen| seen.unsettled = Some(format!("member {member} says: {why}")));
                    break;
                }
                _ if over => break,
                _ => tokio::time::sleep(Duration::from_millis(500)).await,
            }
        }
        for _ in 0..FINAL_READS {
            if user::last_state(&mut worker, &mut api).await.is_some() {
                break;
            }
        }
        for _ in 0..FINAL_READS {
            if user::list_pods(self, &mut worker, &mut api).await.is_some() {
                break;
            }
        }
        // The nodes go on until the last one has seen enough.
        if self.finishing.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.over.store(true, Ordering::Relaxed);
        }
    }

    fn check(&self, history: &History<Call, Return>, _: Option<u64>) -> Result<Vec<Verdict>, checker::Error> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let states: Vec<PodState> = seen
            .states
            .values()
            .flat_map(|states| states.values().cloned())
            .collect();
        let mut bound = bound_once(&states);
        for other in &seen.others {
            let message = format!("one version has two states; this is one: {other:?}");
            bound.broken(Anomaly::new("two-states", message, []));
        }
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
        for member in seen.asked.difference(&seen.settled_at) {
            if seen.unsettled.is_none() {
                settled.unknown(format!(
                    "member {member} did not say in the end what the workloads have"
                ));
            }
        }
        if states.is_empty() {
            settled.unknown("no Pod was seen");
        }
        Ok(vec![
            bound,
            one_live_pod_of_a_name(&seen.runs),
            addresses::given_once(&seen.claims),
            settled,
            intent::check(&history.operations()?),
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

impl Seen {
    /// Takes in a state of a Pod. Two that differ are both kept.
    fn take(&mut self, state: PodState) {
        let versions = self.states.entry(state.uid.clone()).or_default();
        let known = versions.entry(state.resource_version).or_insert_with(|| state.clone());
        if *known != state && !self.others.contains(&state) {
            self.others.push(state);
        }
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
                seen.take(state(pod));
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

#[cfg(test)]
mod tests {
    use checker::Validity;
    use serde_json::json;

    use super::*;

    fn pod(node: &str) -> Value {
        json!({"items": [{"metadata": {"uid": "u", "name": "p", "namespace": "default", "resourceVersion": "5"},
            "spec": {"nodeName": node}}]})
    }

    fn verdict(pods: &Pods, of: &str) -> Verdict {
        let verdicts = pods.check(&History::new(), None).unwrap();
        verdicts.into_iter().find(|verdict| verdict.checker == of).unwrap()
    }

    #[test]
    fn two_states_of_one_version_are_both_kept() {
        let pods = Pods::default();
        pods.saw_pods(&pod("a"));
        pods.saw_pods(&pod("a"));
        assert!(verdict(&pods, "pods-bound-once").is_valid());
        pods.saw_pods(&pod("b"));
        assert!(verdict(&pods, "pods-bound-once").has("two-states"));
    }

    #[test]
    fn all_who_run_have_to_say_that_all_is_settled() {
        let pods = Pods::default();
        pods.saw_pods(&pod("a"));
        pods.with(|seen| (seen.settled, seen.asked) = (true, BTreeSet::from([0, 1])));
        pods.with(|seen| seen.settled_at.insert(0));
        assert_eq!(verdict(&pods, "settled").validity, Validity::Unknown);
        pods.with(|seen| seen.settled_at.insert(1));
        assert!(verdict(&pods, "settled").is_valid());
    }

    #[test]
    fn what_was_seen_in_a_test_of_before_is_still_read() {
        let old = json!({"states": {}, "runs": [], "claims": [], "settled": true, "unsettled": null});
        let seen: Seen = serde_json::from_value(old).unwrap();
        assert!(seen.settled && seen.asked.is_empty());
    }
}
