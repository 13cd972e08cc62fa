//! All pods of the node: starts a worker for each pod of the API, wakes the workers whose containers changed, and
//! removes what the runtime holds of pods that no longer exist.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, PodSpec};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::node::Node;
use super::spec;
use super::view::PodId;
use super::worker::{Desired, Worker};
use crate::limits;

/// The workers, by the pods' uids.
pub struct Pods {
    node: Arc<Node>,
    workers: Mutex<HashMap<String, Handle>>,
}

struct Handle {
    desired: watch::Sender<Desired>,
    wake: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Pods {
    /// No workers yet.
    pub fn new(node: Arc<Node>) -> Arc<Self> {
        Arc::new(Pods {
            node,
            workers: Mutex::default(),
        })
    }

    /// The API has this pod, for this node, in this state.
    pub fn apply(&self, pod: Arc<Pod>) {
        self.set(Desired { pod, gone: false });
    }

    /// The API no longer has this pod; this is the last it was.
    pub fn delete(&self, pod: Arc<Pod>) {
        if self.workers.lock().contains_key(spec::uid(&pod)) {
            self.set(Desired { pod, gone: true });
        }
    }

    fn set(&self, desired: Desired) {
        let uid = spec::uid(&desired.pod).to_owned();
        let mut workers = self.workers.lock();
        if let Some(handle) = workers.get(&uid).filter(|h| !h.task.is_finished()) {
            handle.desired.send_if_modified(|now| {
                // What is gone does not come back: a late update must not revive it.
                let changes = !now.gone;
                if changes {
                    *now = desired;
                }
                changes
            });
            return;
        }
        let (sender, receiver) = watch::channel(desired);
        let wake = Arc::new(Notify::new());
        let worker = Worker::new(self.node.clone(), receiver, wake.clone());
        let task = tokio::spawn(worker.run());
        workers.insert(
            uid,
            Handle {
                desired: sender,
                wake,
                task,
            },
        );
    }

    /// The pods known from the API, in their newest state.
    pub fn list(&self) -> Vec<Arc<Pod>> {
        self.workers
            .lock()
            .values()
            .map(|h| h.desired.borrow().pod.clone())
            .collect()
    }

    /// A pod by name.
    pub fn find(&self, namespace: &str, name: &str) -> Option<Arc<Pod>> {
        let pods = self
            .list()
            .into_iter()
            .filter(|p| spec::namespace(p) == namespace && spec::name(p) == name);
        // A namesake that is being deleted may still be there: the newer one is meant.
        pods.max_by_key(|p| p.metadata.creation_timestamp.as_ref().map(|t| t.0))
    }

    fn wake(&self, uids: &[String]) {
        let workers = self.workers.lock();
        uids.iter()
            .filter_map(|uid| workers.get(uid))
            .for_each(|h| h.wake.notify_one());
    }

    /// Follows the runtime until `stop`. Once `synced` (the API's list is complete), what the runtime holds of unknown
    /// pods is removed.
    pub async fn follow_runtime(&self, synced: impl Fn() -> bool, stop: CancellationToken) {
        let mut ticks = interval(limits::RELIST_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failing = false;
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = stop.cancelled() => return,
            }
            match self.node.relist.refresh_all().await {
                Ok(changed) => {
                    failing = false;
                    self.wake(&changed);
                }
                Err(error) => {
                    // Said once per outage, not once a second.
                    if !std::mem::replace(&mut failing, true) {
                        warn!(%error, "cannot list the runtime's containers");
                    }
                    continue;
                }
            }
            self.workers.lock().retain(|_, h| !h.task.is_finished());
            if synced() {
                self.remove_orphans();
            }
        }
    }

    fn remove_orphans(&self) {
        let known: HashSet<String> = self.workers.lock().keys().cloned().collect();
        for id in self
            .node
            .relist
            .pods()
            .into_iter()
            .filter(|id| !known.contains(&id.uid))
        {
            info!(
                pod = id.name,
                namespace = id.namespace,
                "removing a pod that no longer exists"
            );
            self.set(Desired {
                pod: Arc::new(orphan(&id)),
                gone: true,
            });
        }
    }

    /// Removes the directories of pods that neither the API nor the runtime knows: a crash may leave some.
    pub fn remove_stale_directories(&self) {
        let mut known: HashSet<String> = self.workers.lock().keys().cloned().collect();
        known.extend(self.node.relist.pods().into_iter().map(|id| id.uid));
        let dir = self.node.config.root_dir.join("pods");
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            let uid = entry.file_name().to_string_lossy().into_owned();
            if known.contains(&uid) {
                continue;
            }
            let paths = crate::volume::PodPaths { root: entry.path() };
            let removed = crate::volume::remove(&paths)
                .and_then(|()| super::cgroup::remove(&self.node.config.cgroup_parent, &uid));
            if let Err(error) = removed {
                warn!(%error, "cannot remove what is left of a pod");
            }
        }
    }

    /// Ends every worker where it stands. Pods go on.
    pub async fn abandon(&self) {
        let handles: Vec<Handle> = self.workers.lock().drain().map(|(_, h)| h).collect();
        for handle in handles {
            handle.task.abort();
            let _ = handle.task.await;
        }
    }
}

/// As much of a pod as the runtime's labels tell.
fn orphan(id: &PodId) -> Pod {
    let mut pod = Pod {
        spec: Some(PodSpec::default()),
        ..Pod::default()
    };
    pod.metadata.name = Some(id.name.clone());
    pod.metadata.namespace = Some(id.namespace.clone());
    pod.metadata.uid = Some(id.uid.clone());
    pod
}
