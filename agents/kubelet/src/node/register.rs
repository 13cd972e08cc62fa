//! Registering the node and keeping its status current.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerImage, Node, NodeStatus};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::conditions::{Health, conditions};
use super::facts::Machine;
use super::object::{self, RuntimeFacts};
use crate::cri::Runtime;
use crate::{Config, Error, limits};

/// What the node's status is made from.
pub struct Registration {
    /// The agent's configuration.
    pub config: Config,
    /// The machine.
    pub machine: Machine,
    /// The runtime.
    pub runtime: Arc<dyn Runtime>,
    /// The port the node's API really listens on.
    pub port: u16,
    /// What keeps the node from being ready, besides what the runtime says.
    pub problems: Box<dyn Fn() -> Vec<String> + Send + Sync>,
    /// Makes the status be looked at again at once.
    pub changed: Arc<Notify>,
}

/// Registers the node and reports its status until `stop`.
pub async fn run(client: kube::Client, registration: Registration, stop: CancellationToken) {
    let api: Api<Node> = Api::all(client);
    let mut known: Option<NodeStatus> = None;
    let mut written_at = Instant::now();
    loop {
        let mut pause = limits::NODE_STATUS_INTERVAL;
        match report(&api, &registration, &mut known, &mut written_at).await {
            Ok(()) => {}
            Err(error) => {
                warn!(%error, "cannot report the node's status");
                if error.is_not_found() {
                    // Somebody deleted the object: register again.
                    known = None;
                }
                pause = std::time::Duration::from_secs(1);
            }
        }
        tokio::select! {
            () = sleep(pause) => {}
            () = registration.changed.notified() => {}
            () = stop.cancelled() => return,
        }
    }
}

async fn report(
    api: &Api<Node>,
    r: &Registration,
    known: &mut Option<NodeStatus>,
    written_at: &mut Instant,
) -> Result<(), Error> {
    let now = Timestamp::now();
    let before = known.as_ref().and_then(|s| s.conditions.clone()).unwrap_or_default();
    let (facts, mut problems) = look_at_runtime(&*r.runtime).await;
    problems.extend((r.problems)());
    let health = Health::measure(problems, &r.config.root_dir);
    if known.is_none() {
        let fresh = object::status(&r.config, &r.machine, &facts, r.port, conditions(&health, &before, now));
        let status = register(api, r, fresh).await?;
        *known = Some(status);
    }
    let before = known.as_ref().and_then(|s| s.conditions.clone()).unwrap_or_default();
    let status = object::status(&r.config, &r.machine, &facts, r.port, conditions(&health, &before, now));
    let due = written_at.elapsed() >= limits::NODE_STATUS_REPORT_INTERVAL;
    if !due && known.as_ref().is_some_and(|k| same(k, &status)) {
        return Ok(());
    }
    let patch = json!({ "status": status });
    let params = PatchParams::default();
    let patch = Patch::Strategic(&patch);
    let call = api.patch_status(&r.config.node_name, &params, &patch);
    within(call, "write the node's status").await?;
    *known = Some(status);
    *written_at = Instant::now();
    Ok(())
}

/// Whether nothing but the heartbeat differs.
fn same(a: &NodeStatus, b: &NodeStatus) -> bool {
    let plain = |s: &NodeStatus| {
        let mut s = s.clone();
        s.conditions
            .iter_mut()
            .flatten()
            .for_each(|c| c.last_heartbeat_time = None);
        s
    };
    plain(a) == plain(b)
}

/// Creates the object, or brings the labels of the one that is there up to date. Returns the status to go on from.
async fn register(api: &Api<Node>, r: &Registration, status: NodeStatus) -> Result<NodeStatus, Error> {
    let name = &r.config.node_name;
    let node = object::node(&r.config, &r.machine, status);
    let params = PostParams::default();
    match within(api.create(&params, &node), "register the node").await {
        Ok(created) => {
            info!(node = name, "registered");
            Ok(created.status.unwrap_or_default())
        }
        Err(error) if error.is_conflict() => {
            let patch = json!({ "metadata": { "labels": object::labels(&r.config, &r.machine) } });
            let params = PatchParams::default();
            let patch = Patch::Strategic(&patch);
            let old = within(api.patch(name, &params, &patch), "update the node's labels").await?;
            info!(node = name, "registered already");
            Ok(old.status.unwrap_or_default())
        }
        Err(error) => Err(error),
    }
}

async fn within<T>(call: impl Future<Output = Result<T, kube::Error>>, what: &str) -> Result<T, Error> {
    match timeout(limits::API_CALL_TIMEOUT, call).await {
        Ok(result) => result.map_err(Error::api(what)),
        Err(_) => Err(Error::Pod(format!("{what}: no answer in time"))),
    }
}

/// What the runtime says of itself, and what is wrong with it.
async fn look_at_runtime(runtime: &dyn Runtime) -> (RuntimeFacts, Vec<String>) {
    let mut facts = RuntimeFacts::default();
    let status = match (runtime.version().await, runtime.status().await) {
        (Ok(version), Ok(status)) => {
            facts.version = format!("{}://{}", version.runtime_name, version.runtime_version);
            status
        }
        (Err(error), _) | (_, Err(error)) => return (facts, vec![error.to_string()]),
    };
    if let Ok(images) = runtime.list_images().await {
        facts.images = images
            .into_iter()
            .map(|i| ContainerImage {
                names: Some(i.repo_digests.into_iter().chain(i.repo_tags).collect()),
                size_bytes: i64::try_from(i.size).ok(),
            })
            .collect();
        facts.images.sort_by_key(|i| std::cmp::Reverse(i.size_bytes));
        facts.images.truncate(limits::NODE_IMAGES_MAX);
    }
    let problem = |c: &k8s_cri::v1::RuntimeCondition| match c.r#type.as_str() {
        "NetworkReady" => format!("container runtime network not ready: {} {}", c.reason, c.message),
        kind => format!("container runtime: {kind} is false: {} {}", c.reason, c.message),
    };
    let problems = status.conditions.iter().filter(|c| !c.status).map(problem).collect();
    (facts, problems)
}
