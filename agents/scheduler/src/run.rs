//! The thin loop: informer events change queue and nodes; cycles place Pods; bindings are requests made beside them.

use std::sync::Arc;
use std::time::Instant;

use client::objects::{NODES, Namespace, Node, PODS, Pod};
use client::{Change, Client, Informers, Key, ObjectReference, Recorder, Subscription, election};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::limits::BINDINGS_MAX;
use crate::{Config, Error, Nodes, Queue, Unplaced, place};

/// Where kube-scheduler's Lease object is looked for.
const LEASE: &str = "kube-scheduler";

/// Queue and nodes change together: a Pod leaves the one when it enters the other.
#[derive(Default)]
struct State {
    queue: Queue,
    nodes: Nodes,
}

struct Scheduler {
    config: Config,
    client: Client,
    recorder: Recorder,
    state: Mutex<State>,
    changed: Notify,
    bindings: Arc<Semaphore>,
}

/// Places Pods until `stop`, or until the fence is lost.
pub async fn run(config: Config, client: Client, informers: Informers, stop: CancellationToken) -> Result<(), Error> {
    let (pods, nodes) = (informers.watch::<Pod>(), informers.watch::<Node>());
    let namespaces = informers.watch::<Namespace>();
    tokio::select! {
        () = stop.cancelled() => return Ok(()),
        () = async { pods.synced().await; nodes.synced().await; namespaces.synced().await } => {}
    }
    let scheduler = Arc::new(Scheduler {
        recorder: Recorder::new(client.clone(), config.scheduler_name.clone(), ""),
        bindings: Arc::new(Semaphore::new(BINDINGS_MAX)),
        state: Mutex::default(),
        changed: Notify::new(),
        client: client.clone(),
        config,
    });
    // Nodes first, so that the first Pod already finds them all.
    let (on_node, on_pod, on_namespace) = (scheduler.clone(), scheduler.clone(), scheduler.clone());
    let _subscriptions: [Subscription; 3] = [
        namespaces.subscribe(move |change| on_namespace.namespace_changed(change)),
        nodes.subscribe(move |change| on_node.node_changed(change)),
        pods.subscribe(move |change| on_pod.pod_changed(change)),
    ];
    tokio::select! {
        () = stop.cancelled() => Ok(()),
        result = election::hold(&client, LEASE, &scheduler.config.identity, &stop) => result,
        result = scheduler.clone().cycles() => result,
    }
}

impl Scheduler {
    fn node_changed(&self, change: &Change<Node>) {
        let mut state = self.state.lock();
        match change {
            Change::Deleted(node) => state.nodes.remove_node(&node.metadata.name),
            Change::Added(node) => state.nodes.set_node(node.clone()),
            Change::Modified { old, new } => {
                state.nodes.set_node(new.clone());
                if !makes_room(old, new) {
                    return;
                }
            }
        }
        state.queue.cluster_changed();
        self.changed.notify_one();
    }

    fn namespace_changed(&self, change: &Change<Namespace>) {
        let mut state = self.state.lock();
        let namespace = &change.object().metadata;
        match change {
            Change::Deleted(_) => state.nodes.remove_namespace(&namespace.name),
            _ => state.nodes.set_namespace(&namespace.name, namespace.labels.clone()),
        }
        if change.old().is_some_and(|old| old.metadata.labels != namespace.labels) {
            state.queue.cluster_changed();
            self.changed.notify_one();
        }
    }

    fn pod_changed(&self, change: &Change<Pod>) {
        let mut state = self.state.lock();
        let pod = change.object();
        let uid = &pod.metadata.uid;
        // A Pod deleted and made again under its name between two lists: the old one is gone too.
        let replaced = change
            .old()
            .filter(|old| old.metadata.uid != *uid)
            .map(|old| old.metadata.uid.clone());
        let gone = matches!(change, Change::Deleted(_)) || pod.is_terminal();
        for uid in replaced.iter().chain(gone.then_some(uid)) {
            let counted = state.nodes.counts(uid);
            state.queue.remove(uid);
            state.nodes.remove_pod(uid);
            if counted {
                state.queue.cluster_changed();
            }
        }
        if !gone && !pod.spec.node_name.is_empty() {
            state.queue.remove(uid);
            let same = |old: &Pod| old.metadata.labels == pod.metadata.labels && !old.spec.node_name.is_empty();
            if !change.old().is_some_and(|old| same(old)) {
                state.queue.neighbours_changed();
            }
            state.nodes.set_pod(pod.clone());
        } else if !gone && self.is_ours(pod) && !state.nodes.counts(uid) {
            state.queue.set(pod.clone());
        } else if pod.metadata.is_deleting() && pod.spec.node_name.is_empty() {
            state.queue.remove(uid);
        }
        self.changed.notify_one();
    }

    fn is_ours(&self, pod: &Pod) -> bool {
        let name = &pod.spec.scheduler_name;
        (name.is_empty() || *name == self.config.scheduler_name) && !pod.metadata.is_deleting()
    }

    /// Runs cycle after cycle. Ends only with an error that ends the leadership.
    async fn cycles(self: Arc<Self>) -> Result<(), Error> {
        let mut bindings: JoinSet<Result<(), Error>> = JoinSet::new();
        loop {
            let (next, wake) = {
                let mut state = self.state.lock();
                (state.queue.pop(Instant::now()), state.queue.wake())
            };
            match next {
                Some(pod) => self.cycle(pod, &mut bindings).await?,
                None => tokio::select! {
                    () = self.changed.notified() => {}
                    () = until(wake) => {}
                    Some(result) = bindings.join_next() => joined(result)?,
                },
            }
        }
    }

    async fn cycle(self: &Arc<Self>, pod: Arc<Pod>, bindings: &mut JoinSet<Result<(), Error>>) -> Result<(), Error> {
        let placed = {
            let mut state = self.state.lock();
            let placed = place(&pod, &state.nodes, rand::random());
            match &placed {
                Ok(node) => state.nodes.assume(pod.clone(), node),
                Err(_) => state.queue.unschedulable(&pod.metadata.uid, Instant::now()),
            }
            placed
        };
        let permit = self.bindings.clone().acquire_owned().await;
        let scheduler = self.clone();
        bindings.spawn(async move {
            let _permit = permit;
            match placed {
                Ok(node) => scheduler.bind(&pod, &node).await,
                Err(unplaced) => scheduler.report(&pod, &unplaced).await,
            }
        });
        while let Some(result) = bindings.try_join_next() {
            joined(result)?;
        }
        Ok(())
    }

    async fn bind(&self, pod: &Pod, node: &str) -> Result<(), Error> {
        let key = pod.metadata.key();
        let binding = json!({
            "apiVersion": "v1", "kind": "Binding",
            "metadata": {"name": key.name, "namespace": key.namespace, "uid": pod.metadata.uid},
            "target": {"apiVersion": NODES.api_version(), "kind": NODES.kind, "name": node},
        });
        match self
            .client
            .create_subresource::<Value>(&PODS, &key, "binding", &binding)
            .await
        {
            Ok(_) => {
                let about = ObjectReference::of(&PODS, &pod.metadata);
                self.recorder
                    .normal(&about, "Scheduled", format!("Successfully assigned {key} to {node}"));
                Ok(())
            }
            Err(error) if error.is_fence_lost() => Err(error),
            Err(error) => {
                self.binding_failed(pod, &key, &error);
                Ok(())
            }
        }
    }

    /// Forgets the assumption. A Pod that is gone or bound meanwhile leaves the queue by its own event.
    fn binding_failed(&self, pod: &Pod, key: &Key, error: &Error) {
        tracing::warn!(pod = %key, %error, "binding failed");
        let mut state = self.state.lock();
        let uid = &pod.metadata.uid;
        let bound = state
            .nodes
            .iter()
            .any(|(_, info)| info.pods.get(uid).is_some_and(|p| !p.spec.node_name.is_empty()));
        if !bound {
            state.nodes.remove_pod(uid);
        }
        if error.is_not_found() {
            state.queue.remove(uid);
        } else {
            state.queue.retry(uid, Instant::now());
        }
        self.changed.notify_one();
    }

    async fn report(&self, pod: &Pod, unplaced: &Unplaced) -> Result<(), Error> {
        let message = unplaced.to_string();
        let about = ObjectReference::of(&PODS, &pod.metadata);
        self.recorder.warning(&about, "FailedScheduling", message.clone());
        let known = pod
            .condition("PodScheduled")
            .is_some_and(|c| c.status == "False" && c.message == message);
        if known {
            return Ok(());
        }
        let condition = json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message,
            "lastTransitionTime": jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()});
        let body = json!({"status": {"conditions": [condition]}});
        let key = pod.metadata.key();
        match self
            .client
            .patch::<Value>(&PODS, &key, Some("status"), client::Patch::Strategic, &body)
            .await
        {
            Err(error) if error.is_fence_lost() => Err(error),
            Err(error) if !error.is_not_found() => {
                tracing::debug!(pod = %key, %error, "cannot write the PodScheduled condition");
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// Whether a node's change may let a Pod fit that did not fit before. Heartbeats do not.
fn makes_room(old: &Node, new: &Node) -> bool {
    old.status.allocatable != new.status.allocatable
        || old.metadata.labels != new.metadata.labels
        || old.spec.taints != new.spec.taints
        || old.spec.unschedulable != new.spec.unschedulable
}

async fn until(wake: Option<Instant>) {
    match wake {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// A binding's own failure is handled where it happens; what comes out here ends the leadership.
fn joined(result: Result<Result<(), Error>, tokio::task::JoinError>) -> Result<(), Error> {
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}
