//! Node lifecycle: notices nodes that have fallen silent and says by taints what nodes cannot do.
//!
//! A node speaks by renewing its Lease object and by posting its status. How long it has been silent is measured by this
//! process's own clock from the last change it *saw*, never by the node's clock, and begins anew with every term: a new
//! leader must not blame nodes for the time in which nobody listened.
//!
//! If no node at all is ready the fault is more likely the masters' (a partition): then nobody is evicted.

mod health;
mod taints;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use client::election::Lease;
use client::objects::{NODES, Node, PODS, Pod};
use client::{Cache, Change, Error, Index, Key, ObjectReference, Outcome, Patch, WorkQueue};
use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::limits;
use crate::objects::time;
use crate::run::{Context, node_leases};
use health::{Heard, silent_conditions};
use taints::{desired, same};

struct Controller {
    context: Context,
    nodes: Cache<Node>,
    leases: Cache<Lease>,
    pods: Index<Pod>,
    heard: Mutex<HashMap<String, Heard>>,
}

/// Pods by the node they are on.
pub(crate) fn by_node(pods: &Cache<Pod>) -> Index<Pod> {
    pods.index("node", |pod| match pod.spec.node_name.as_str() {
        "" => Vec::new(),
        name => vec![name.to_owned()],
    })
}

/// Runs the controller.
pub(crate) async fn run(context: Context) -> Result<(), Error> {
    let informers = &context.informers;
    let nodes = informers.watch::<Node>();
    let queue = Arc::new(WorkQueue::new());
    let to = queue.clone();
    let _subscription = nodes.subscribe(move |change: &Change<Node>| to.add(change.key()));
    let controller = Controller {
        leases: informers.watch_scope(node_leases()),
        pods: by_node(&informers.watch()),
        heard: Mutex::default(),
        context: context.clone(),
        nodes,
    };
    client::work("node-lifecycle", queue, limits::WORKERS, context.stop, |key| {
        controller.reconcile(key)
    })
    .await
}

impl Controller {
    async fn reconcile(&self, key: Key) -> Result<Outcome, Error> {
        let Some(node) = self.nodes.get_key(&key) else {
            self.heard.lock().remove(&key.name);
            return Ok(Outcome::Done);
        };
        let about = ObjectReference::of(&NODES, &node.metadata);
        let lease = self.leases.get("kube-node-lease", &key.name);
        let (silent, new) = self.listen(&node, lease.as_deref());
        if new {
            let message = format!("Node {0} event: Registered Node {0} in Controller", key.name);
            self.context.recorder.normal(&about, "RegisteredNode", message);
        }
        if silent && let Some(conditions) = silent_conditions(&node, Timestamp::now()) {
            self.declare_silent(&key, &about, &conditions).await?;
            // The change of the status leads back here, with the taints' turn.
            return Ok(Outcome::Done);
        }
        if node.condition("Ready").is_some_and(|c| c.status == "Unknown") {
            self.unready_pods(&key.name).await?;
        }
        self.taint(&node).await?;
        Ok(Outcome::After(limits::NODE_MONITOR_INTERVAL))
    }

    /// Whether the node has been silent for too long, and whether it is new here.
    fn listen(&self, node: &Node, lease: Option<&Lease>) -> (bool, bool) {
        let now = Instant::now();
        let mut heard = self.heard.lock();
        let new = !heard.contains_key(&node.metadata.name);
        let known = heard
            .entry(node.metadata.name.clone())
            .or_insert_with(|| Heard::new(now));
        known.listen(node, lease, now);
        (known.is_silent(now), new)
    }

    async fn declare_silent(&self, key: &Key, about: &ObjectReference, conditions: &Value) -> Result<(), Error> {
        tracing::warn!(node = key.name, "node has fallen silent");
        let message = format!("Node {} status is now: NodeNotReady", key.name);
        self.context.recorder.normal(about, "NodeNotReady", message);
        let body = json!({ "status": { "conditions": conditions } });
        let patched = self
            .context
            .client
            .patch::<Value>(&NODES, key, Some("status"), Patch::Strategic, &body)
            .await;
        match patched {
            Err(error) if error.is_not_found() => Ok(()),
            result => result.map(|_| ()),
        }
    }

    /// Pods on a node nobody hears from take no traffic.
    async fn unready_pods(&self, node: &str) -> Result<(), Error> {
        for pod in self.pods.get(node).iter().filter(|p| p.is_ready()) {
            let condition = json!({
                "type": "Ready",
                "status": "False",
                "reason": "NodeNotReady",
                "lastTransitionTime": time(Timestamp::now()),
            });
            let body = json!({ "status": { "conditions": [condition] } });
            let key = pod.metadata.key();
            let patched = self
                .context
                .client
                .patch::<Value>(&PODS, &key, Some("status"), Patch::Strategic, &body)
                .await;
            match patched {
                Err(error) if !error.is_not_found() && !error.is_conflict() => return Err(error),
                _ => {}
            }
            let about = ObjectReference::of(&PODS, &pod.metadata);
            self.context
                .recorder
                .warning(&about, "NodeNotReady", "Node is not ready");
        }
        Ok(())
    }

    async fn taint(&self, node: &Node) -> Result<(), Error> {
        let may_evict = self.nodes.list().iter().any(|n| n.is_ready());
        let now = Timestamp::now();
        let taints = desired(node, may_evict, now.round(jiff::Unit::Second).unwrap_or(now));
        if same(&taints, &node.spec.taints) {
            return Ok(());
        }
        // As observed: a taint that somebody else just set must not be lost.
        let metadata = json!({ "resourceVersion": node.metadata.resource_version });
        let body = json!({ "metadata": metadata, "spec": { "taints": taints } });
        match self
            .context
            .client
            .patch::<Value>(&NODES, &node.metadata.key(), None, Patch::Merge, &body)
            .await
        {
            Err(error) if error.is_not_found() => Ok(()),
            result => result.map(|_| ()),
        }
    }
}
