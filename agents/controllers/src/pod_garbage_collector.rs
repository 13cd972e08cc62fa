//! Pod garbage collection: Pods that nobody else will end. Those on nodes that are gone, those deleted before they had a
//! node, and the oldest of too many that have ended.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use client::objects::{NODES, Node, PODS, Pod};
use client::{Cache, DeleteOptions, Error, Key, MetaOnly, Patch};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::limits;
use crate::objects::time;
use crate::run::Context;

struct Controller {
    context: Context,
    nodes: Cache<Node>,
    pods: Cache<Pod>,
    /// Nodes that Pods name and that are not there, and since when that is known.
    missing: HashMap<String, Instant>,
}

/// Runs the controller.
pub(crate) async fn run(context: Context) -> Result<(), Error> {
    let (nodes, pods) = (context.informers.watch(), context.informers.watch());
    let stop = context.stop.clone();
    let mut controller = Controller {
        context,
        nodes,
        pods,
        missing: HashMap::new(),
    };
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(limits::POD_GC_INTERVAL) => {}
        }
        match controller.collect().await {
            Err(error) if error.is_fence_lost() => return Err(error),
            Err(error) => tracing::warn!(%error, "pod garbage collection failed"),
            Ok(()) => {}
        }
    }
}

impl Controller {
    async fn collect(&mut self) -> Result<(), Error> {
        let pods = self.pods.list();
        for pod in surplus(&pods, limits::TERMINATED_PODS_MAX) {
            passed(&pod, self.delete(&pod).await)?;
        }
        for pod in pods
            .iter()
            .filter(|p| p.metadata.is_deleting() && p.spec.node_name.is_empty())
        {
            passed(pod, self.delete(pod).await)?;
        }
        let gone = self.gone_nodes(&pods).await?;
        for pod in pods.iter().filter(|p| gone.contains(&p.spec.node_name)) {
            passed(pod, self.end(pod).await)?;
        }
        Ok(())
    }

    async fn end(&self, pod: &Pod) -> Result<(), Error> {
        if !pod.is_terminal() {
            self.fail(pod).await?;
        }
        self.delete(pod).await
    }

    /// Nodes that are named by Pods, have been missing for a while, and that the API does not know either.
    async fn gone_nodes(&mut self, pods: &[Arc<Pod>]) -> Result<BTreeSet<String>, Error> {
        let named: BTreeSet<&str> = pods
            .iter()
            .map(|p| p.spec.node_name.as_str())
            .filter(|n| !n.is_empty())
            .collect();
        let missing: Vec<_> = named
            .into_iter()
            .filter(|name| self.nodes.get("", name).is_none())
            .collect();
        self.missing.retain(|name, _| missing.contains(&name.as_str()));
        let now = Instant::now();
        let mut gone = BTreeSet::new();
        for name in missing {
            let since = *self.missing.entry(name.to_owned()).or_insert(now);
            if now.duration_since(since) < limits::POD_GC_QUARANTINE {
                continue;
            }
            if self
                .context
                .client
                .find::<MetaOnly>(&NODES, &Key::cluster(name))
                .await?
                .is_none()
            {
                gone.insert(name.to_owned());
            }
        }
        Ok(gone)
    }

    /// A Pod that ran on a node that is gone did not succeed.
    async fn fail(&self, pod: &Pod) -> Result<(), Error> {
        let condition = json!({
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "DeletionByPodGC",
            "message": "PodGC: node no longer exists",
            "lastTransitionTime": time(Timestamp::now()),
        });
        let status = json!({ "phase": "Failed", "conditions": [condition] });
        let body = json!({ "metadata": { "uid": pod.metadata.uid }, "status": status });
        let key = pod.metadata.key();
        match self
            .context
            .client
            .patch::<Value>(&PODS, &key, Some("status"), Patch::Strategic, &body)
            .await
        {
            Err(error) if !error.is_not_found() && !error.is_conflict() => Err(error),
            _ => Ok(()),
        }
    }

    async fn delete(&self, pod: &Pod) -> Result<(), Error> {
        let options = DeleteOptions::uid(&pod.metadata.uid).grace(0);
        match self.context.client.delete(&PODS, &pod.metadata.key(), &options).await {
            Err(error) if !error.is_not_found() && !error.is_conflict() => Err(error),
            _ => Ok(()),
        }
    }
}

/// One Pod that cannot be deleted must not keep all others; the next pass comes back to it.
fn passed(pod: &Pod, result: Result<(), Error>) -> Result<(), Error> {
    match result {
        Err(error) if !error.is_fence_lost() => {
            tracing::warn!(pod = %pod.metadata.key(), %error, "cannot collect, trying again later");
            Ok(())
        }
        result => result,
    }
}

/// The oldest ended Pods beyond `keep`.
fn surplus(pods: &[Arc<Pod>], keep: usize) -> Vec<Arc<Pod>> {
    let ended = pods.iter().filter(|p| p.is_terminal() && !p.metadata.is_deleting());
    let mut ended: Vec<_> = ended.cloned().collect();
    let count = ended.len().saturating_sub(keep);
    ended.sort_by_key(|p| (p.metadata.creation_timestamp, p.metadata.uid.clone()));
    ended.truncate(count);
    ended
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_first() {
        let pod = |name: &str, phase: &str, hour: u32| -> Arc<Pod> {
            let metadata = json!({ "name": name, "creationTimestamp": format!("2026-01-01T{hour:02}:00:00Z") });
            Arc::new(serde_json::from_value(json!({ "metadata": metadata, "status": { "phase": phase } })).unwrap())
        };
        let pods = [
            pod("c", "Failed", 3),
            pod("a", "Succeeded", 1),
            pod("b", "Failed", 2),
            pod("r", "Running", 0),
        ];
        let names: Vec<_> = surplus(&pods, 1).iter().map(|p| p.metadata.name.clone()).collect();
        assert_eq!(names, ["a", "b"]);
    }
}
