//! Deployment: rolls Pods from one template to the next by growing one ReplicaSet and shrinking the others.
//!
//! One ReplicaSet stands for one template; which one, its name says (a hash of the template). A rollout has no state of
//! its own: how far it is, the ReplicaSets' sizes tell, and each look takes one step. `plan` is that step, pure; here it is
//! carried out.

mod conditions;
mod history;
mod percent;
mod plan;
mod revision;
mod rolling;
mod scale;
#[cfg(test)]
mod simulation;
mod status;

use std::collections::BTreeMap;
use std::sync::Arc;

use client::objects::Pod;
use client::{
    Cache, Change, DeleteOptions, Error, Index, Key, ObjectReference, Outcome, OwnerReference, Patch, Subscription,
    WorkQueue,
};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::claim::{self, Claim, claim, controller_key};
use crate::limits;
use crate::objects::{DEPLOYMENTS, Deployment, DeploymentStatus, REPLICA_SETS, ReplicaSet};
use crate::pods::by_controller;
use crate::run::Context;
use plan::{Action, Observed, plan};

struct Controller {
    context: Context,
    deployments: Cache<Deployment>,
    sets: Cache<ReplicaSet>,
    pods: Index<Pod>,
    queue: Arc<WorkQueue<Key>>,
}

/// Whether the rest of a plan is still good.
#[derive(Debug, PartialEq, Eq)]
enum Acted {
    AsPlanned,
    /// The world is not what the plan was made for; its next change leads to a new one.
    OnAnotherState,
}

/// Runs the controller.
pub(crate) async fn run(context: Context) -> Result<(), Error> {
    let informers = &context.informers;
    let (deployments, sets, pods) = (
        informers.watch::<Deployment>(),
        informers.watch::<ReplicaSet>(),
        informers.watch::<Pod>(),
    );
    let queue = Arc::new(WorkQueue::new());
    let _subscriptions = subscribe(&deployments, &sets, &pods, &queue);
    let controller = Controller {
        pods: by_controller(&pods),
        context: context.clone(),
        deployments,
        sets,
        queue: queue.clone(),
    };
    client::work("deployment", queue, limits::WORKERS, context.stop, |key| {
        controller.reconcile(key)
    })
    .await
}

fn subscribe(
    deployments: &Cache<Deployment>,
    sets: &Cache<ReplicaSet>,
    pods: &Cache<Pod>,
    queue: &Arc<WorkQueue<Key>>,
) -> [Subscription; 3] {
    let to = queue.clone();
    let on_deployment = move |change: &Change<Deployment>| to.add(change.key());
    let (to, all) = (queue.clone(), deployments.clone());
    let on_set = move |change: &Change<ReplicaSet>| {
        let meta = &change.object().metadata;
        let old = change.old().and_then(|old| controller_key(&DEPLOYMENTS, &old.metadata));
        controller_key(&DEPLOYMENTS, meta)
            .into_iter()
            .chain(old)
            .for_each(|key| to.add(key));
        if meta.controller().is_none() {
            let selecting = all.list_namespace(&meta.namespace);
            selecting
                .iter()
                .filter(|d| d.spec.selector.matches(&meta.labels))
                .for_each(|d| to.add(d.metadata.key()));
        }
    };
    let (to, sets_of) = (queue.clone(), sets.clone());
    // A Recreate rollout waits for the last old Pod to be gone.
    let on_pod = move |change: &Change<Pod>| {
        if let Change::Deleted(pod) = change
            && let Some(set) = controller_key(&REPLICA_SETS, &pod.metadata).and_then(|key| sets_of.get_key(&key))
            && let Some(key) = controller_key(&DEPLOYMENTS, &set.metadata)
        {
            to.add(key);
        }
    };
    [
        deployments.subscribe(on_deployment),
        sets.subscribe(on_set),
        pods.subscribe(on_pod),
    ]
}

impl Controller {
    async fn reconcile(&self, key: Key) -> Result<Outcome, Error> {
        let Some(deployment) = self.deployments.get_key(&key) else {
            return Ok(Outcome::Done);
        };
        if deployment.spec.selector.is_empty() {
            let about = ObjectReference::of(&DEPLOYMENTS, &deployment.metadata);
            let message = "This deployment is selecting all pods. A non-empty selector is required.";
            self.context.recorder.warning(&about, "SelectingAll", message);
            return Ok(Outcome::Done);
        }
        let Some(sets) = self.claim(&deployment).await? else {
            return Ok(Outcome::Done);
        };
        let pods = sets.iter().flat_map(|s| {
            self.pods
                .get(&s.metadata.uid)
                .into_iter()
                .map(|p| (s.metadata.uid.clone(), p))
        });
        let running: Vec<String> = pods.filter(|(_, p)| !p.is_terminal()).map(|(uid, _)| uid).collect();
        let plan = plan(&Observed {
            deployment: &deployment,
            sets: &sets,
            running: &running,
            now: Timestamp::now(),
        });
        for action in &plan.actions {
            if self.act(&deployment, action).await? == Acted::OnAnotherState {
                return Ok(Outcome::Done);
            }
        }
        self.write_status(&deployment, plan.status).await?;
        Ok(plan.look_again.map_or(Outcome::Done, Outcome::After))
    }

    /// The Deployment's ReplicaSets; `None` if some had to be adopted or released, whose changes lead back here.
    async fn claim(&self, deployment: &Deployment) -> Result<Option<Vec<Arc<ReplicaSet>>>, Error> {
        let (meta, selector) = (&deployment.metadata, &deployment.spec.selector);
        let (mut mine, mut settled) = (Vec::new(), true);
        for set in self.sets.list_namespace(&meta.namespace) {
            match claim(meta, selector, &set.metadata) {
                Claim::Mine => mine.push(set),
                Claim::Foreign => {}
                Claim::Adopt => {
                    settled = false;
                    let (owner, object) = ((&DEPLOYMENTS, meta), (&REPLICA_SETS, &set.metadata));
                    claim::adopt(&self.context.client, owner, object).await?;
                }
                Claim::Release => {
                    settled = false;
                    claim::release(&self.context.client, &meta.uid, &REPLICA_SETS, &set.metadata).await?;
                }
            }
        }
        Ok(settled.then_some(mine))
    }

    async fn act(&self, deployment: &Deployment, action: &Action) -> Result<Acted, Error> {
        match action {
            Action::Create {
                name,
                hash,
                replicas,
                annotations,
            } => return self.create(deployment, name, hash, *replicas, annotations).await,
            Action::Scale {
                set,
                replicas,
                annotations,
            } => self.scale(deployment, set, *replicas, annotations).await?,
            Action::Annotate {
                set,
                annotations,
                min_ready_seconds,
            } => {
                let spec = json!({ "minReadySeconds": min_ready_seconds });
                self.patch_set(set, annotations, spec).await?;
            }
            Action::Revision(revision) => self.set_revision(deployment, revision).await?,
            Action::Delete(set) => self.delete(set).await?,
        }
        Ok(Acted::AsPlanned)
    }

    async fn create(
        &self,
        deployment: &Deployment,
        name: &str,
        hash: &str,
        replicas: i32,
        annotations: &BTreeMap<String, String>,
    ) -> Result<Acted, Error> {
        let set = revision::new_set(deployment, name, hash, replicas, annotations);
        let namespace = &deployment.metadata.namespace;
        match self
            .context
            .client
            .create::<Value>(&REPLICA_SETS, Some(namespace), &set)
            .await
        {
            Ok(_) => {
                if replicas > 0 {
                    self.tell_scaled(deployment, name, 0, replicas);
                }
                Ok(Acted::AsPlanned)
            }
            Err(error) if error.is_already_exists() => self.resolve_collision(deployment, name).await,
            Err(error) if error.is_namespace_terminating() => Ok(Acted::AsPlanned),
            Err(error) => {
                let about = ObjectReference::of(&DEPLOYMENTS, &deployment.metadata);
                let message = format!("Failed to create new replica set {name:?}: {error}");
                self.context.recorder.warning(&about, "ReplicaSetCreateError", message);
                Err(error)
            }
        }
    }

    /// The name is taken: by this Deployment's own set, which the cache does not show yet, or by a stranger, in which case
    /// the next name is tried.
    async fn resolve_collision(&self, deployment: &Deployment, name: &str) -> Result<Acted, Error> {
        let key = Key::new(&deployment.metadata.namespace, name);
        let Some(existing) = self.context.client.find::<ReplicaSet>(&REPLICA_SETS, &key).await? else {
            return Ok(Acted::AsPlanned);
        };
        let ours = existing
            .metadata
            .controller()
            .is_some_and(|c| c.uid == deployment.metadata.uid);
        if ours && revision::same_template(&existing.spec.template, &deployment.spec.template) {
            return Ok(Acted::AsPlanned);
        }
        let mut status = deployment.status.clone();
        status.collision_count = Some(status.collision_count.unwrap_or(0) + 1);
        self.write_status(deployment, status).await?;
        Ok(Acted::OnAnotherState)
    }

    async fn scale(
        &self,
        deployment: &Deployment,
        set: &ReplicaSet,
        replicas: i32,
        annotations: &BTreeMap<String, String>,
    ) -> Result<(), Error> {
        self.patch_set(set, annotations, json!({ "replicas": replicas }))
            .await?;
        if set.replicas() != replicas {
            self.tell_scaled(deployment, &set.metadata.name, set.replicas(), replicas);
        }
        Ok(())
    }

    fn tell_scaled(&self, deployment: &Deployment, set: &str, from: i32, to: i32) {
        let about = ObjectReference::of(&DEPLOYMENTS, &deployment.metadata);
        let direction = if to > from { "up" } else { "down" };
        let message = format!("Scaled {direction} replica set {set} from {from} to {to}");
        self.context.recorder.normal(&about, "ScalingReplicaSet", message);
    }

    /// Patches a set as it was observed: a step decided on an outdated size must not be taken.
    async fn patch_set(
        &self,
        set: &ReplicaSet,
        annotations: &BTreeMap<String, String>,
        spec: Value,
    ) -> Result<(), Error> {
        let metadata = json!({ "resourceVersion": set.metadata.resource_version, "annotations": annotations });
        let body = json!({ "metadata": metadata, "spec": spec });
        let key = set.metadata.key();
        self.context
            .client
            .patch::<Value>(&REPLICA_SETS, &key, None, Patch::Merge, &body)
            .await
            .map(|_| ())
    }

    async fn set_revision(&self, deployment: &Deployment, revision: &str) -> Result<(), Error> {
        let body = json!({ "metadata": { "annotations": { revision::REVISION: revision } } });
        let key = deployment.metadata.key();
        self.context
            .client
            .patch::<Value>(&DEPLOYMENTS, &key, None, Patch::Merge, &body)
            .await
            .map(|_| ())
    }

    async fn delete(&self, set: &ReplicaSet) -> Result<(), Error> {
        let options = DeleteOptions::uid(&set.metadata.uid);
        match self
            .context
            .client
            .delete(&REPLICA_SETS, &set.metadata.key(), &options)
            .await
        {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }

    async fn write_status(&self, deployment: &Deployment, status: DeploymentStatus) -> Result<(), Error> {
        if status == deployment.status {
            return Ok(());
        }
        let key = deployment.metadata.key();
        match self
            .context
            .client
            .patch_status::<Value>(&DEPLOYMENTS, &key, &status)
            .await
        {
            Err(error) if error.is_not_found() => {
                self.queue.forget(&key);
                Ok(())
            }
            result => result.map(|_| ()),
        }
    }
}

/// The reference with which a Deployment owns a ReplicaSet.
fn owner(deployment: &Deployment) -> OwnerReference {
    OwnerReference::controlled_by(&DEPLOYMENTS, &deployment.metadata)
}
