//! Takes every pod off the node and leaves no process, mount, cgroup or bridge of theirs behind. Images, volumes' data
//! and logs stay: the next start goes on with them.

use futures::future::join_all;
use futures::stream::{StreamExt, iter};
use k8s_cri::v1::PodSandbox;
use tracing::{info, warn};

use crate::config::Network;
use crate::cri::Runtime;
use crate::pod::cgroup;
use crate::volume::mounts;
use crate::{Config, network};

/// Stops and removes all sandboxes and what was made for them. What fails is said and skipped.
pub async fn pods(config: &Config, runtime: &dyn Runtime) {
    let sandboxes = match runtime.list_pod_sandbox(None).await {
        Ok(sandboxes) => sandboxes,
        Err(error) => return warn!(%error, "cannot list pods; they stay"),
    };
    info!(pods = sandboxes.len(), "stopping all pods");
    let containers = runtime.list_containers(None).await.unwrap_or_default();
    // Their grace is cut short: the whole node goes down.
    join_all(containers.iter().map(|c| runtime.stop_container(&c.id, GRACE_SECONDS))).await;
    let remove = async |sandbox: &PodSandbox| {
        let stopped = runtime.stop_pod_sandbox(&sandbox.id).await;
        if let Err(error) = stopped.and(runtime.remove_pod_sandbox(&sandbox.id).await) {
            warn!(sandbox = sandbox.id, %error, "cannot remove a pod");
        }
    };
    iter(&sandboxes).for_each_concurrent(AT_A_TIME, remove).await;
    if let Err(error) = mounts::unmount_below(&config.root_dir.join("pods")) {
        warn!(%error, "cannot unmount volumes");
    }
    cgroup::remove_parent(&config.cgroup_parent);
    if config.network == Network::HostGateway {
        network::remove_bridge().await;
    }
}

/// How long containers get when the node goes down.
const GRACE_SECONDS: i64 = 2;

/// How many pods are removed at a time. Each runs a few programs of CNI and runc.
const AT_A_TIME: usize = 8;
