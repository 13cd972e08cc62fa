//! What the server itself puts into the cluster: the system namespaces, the default roles and bindings, and the service
//! `kubernetes` with the addresses of the live masters; and the upkeep of what only it can keep.
//!
//! **Promise.** Everything here is idempotent and done by every member: objects are created if absent and otherwise left as
//! administrators have made them; default roles and bindings get back what they lack of their defaults.

mod masters;
mod objects;
mod reconcile;
mod repair;
mod roles;

use crate::extensions::{self, Follower};
use crate::registry::{Registry, RequestContext, recount};
use crate::{ApiError, Server};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often the cluster's own services are tried at the start before they are left to the upkeep.
const SERVICE_ATTEMPTS: usize = 20;
const SERVICE_RETRY: Duration = Duration::from_millis(50);
/// How often a member says that it lives and looks who else does.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);
/// How long history is kept at least, for clients that continue a watch or a list.
const COMPACTION_INTERVAL: Duration = Duration::from_secs(300);
/// How many heartbeats pass between two repairs.
const HEARTBEATS_PER_REPAIR: u64 = 12;

impl Server {
    /// Creates what a cluster starts with. Ready to be called again at any time, by any member.
    pub async fn bootstrap(&self) -> Result<(), ApiError> {
        let registry = self.registry();
        for (resource, object) in objects::all() {
            create_if_absent(registry, resource, object).await?;
        }
        for (resource, object) in roles::all() {
            create_or_complete(registry, resource, object).await?;
        }
        // Before anything is served that depends on them.
        extensions::load(registry.reader()).await?;
        if !self.following.swap(true, Ordering::Relaxed) {
            tokio::spawn(Follower::new(registry).run(self.stopping.clone()));
            recount::spawn(registry, self.stopping.clone());
        }
        // Another member may be between taking an address and writing its service, or have died there: then the repair makes
        // way for a later heartbeat.
        for _ in 0..SERVICE_ATTEMPTS {
            match ensure_services(registry).await {
                Ok(()) => break,
                Err(_) => tokio::time::sleep(SERVICE_RETRY).await,
            }
        }
        masters::Masters::new(registry.clone()).beat().await
    }

    /// Keeps the endpoints of the service `kubernetes` equal to the live masters, cleans up, and lets history go, until `stop`.
    pub async fn maintain(&self, stop: CancellationToken) {
        let storage = self.registry().reader().storage();
        tokio::select! {
            () = self.keep_up(stop) => {}
            () = storage.compact_history(COMPACTION_INTERVAL) => {}
        }
    }

    async fn keep_up(&self, stop: CancellationToken) {
        let mut masters = masters::Masters::new(self.registry().clone());
        let mut ticks = tokio::time::interval(HEARTBEAT_INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut repair = repair::Repair::new(self.registry().clone());
        let mut count = 0_u64;
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = ticks.tick() => {}
            }
            logged(
                "create the services of the cluster",
                ensure_services(self.registry()).await,
            );
            logged("refresh the endpoints of the service kubernetes", masters.beat().await);
            if count.is_multiple_of(HEARTBEATS_PER_REPAIR) {
                logged("repair allocations and old events", repair.run().await);
            }
            count += 1;
        }
        logged("leave the endpoints of the service kubernetes", masters.leave().await);
    }
}

/// The services `kubernetes` and `kube-dns` come back when somebody deletes them.
async fn ensure_services(registry: &Arc<Registry>) -> Result<(), ApiError> {
    create_if_absent(registry, "services", objects::kubernetes_service(registry.config())).await?;
    match registry.config().cluster_dns {
        Some(address) => create_if_absent(registry, "services", objects::dns_service(address)).await,
        None => Ok(()),
    }
}

fn logged(what: &str, result: Result<(), ApiError>) {
    if let Err(error) = result {
        tracing::warn!(%error, "could not {what}; trying again later");
    }
}

/// A default role or binding: made if it is absent, completed if it lacks something.
async fn create_or_complete(registry: &Arc<Registry>, resource: &str, wanted: Value) -> Result<(), ApiError> {
    let text = |field: &str| wanted["metadata"][field].as_str().unwrap_or_default().to_owned();
    let (namespace, name) = (text("namespace"), text("name"));
    match registry.reader().local(resource, &namespace, &name).await? {
        None => create_if_absent(registry, resource, wanted).await,
        Some(stored) if reconcile::completed(&stored, &wanted).is_none() => Ok(()),
        Some(_) => {
            let complete = |object: &mut Value| {
                if let Some(whole) = reconcile::completed(object, &wanted) {
                    *object = whole;
                }
                Ok(())
            };
            let context = RequestContext::system();
            let updated = registry
                .update(&context, resource, "", &namespace, &name, complete)
                .await;
            match updated {
                // Somebody removed it meanwhile: another start, or member, makes it again.
                Err(error) if !error.is_not_found() => Err(error),
                _ => Ok(()),
            }
        }
    }
}

/// Two members may start at once: that the other was first is no error.
async fn create_if_absent(registry: &Arc<Registry>, resource: &str, object: Value) -> Result<(), ApiError> {
    let metadata = &object["metadata"];
    let text = |field: &str| metadata[field].as_str().unwrap_or_default().to_owned();
    let (namespace, name) = (text("namespace"), text("name"));
    if registry.reader().local(resource, &namespace, &name).await?.is_some() {
        return Ok(());
    }
    match registry
        .create(&RequestContext::system(), resource, &namespace, object)
        .await
    {
        Err(error) if error.reason != "AlreadyExists" => Err(error),
        _ => Ok(()),
    }
}
