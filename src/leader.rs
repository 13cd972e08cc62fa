//! What runs only while this member leads: scheduler and controllers, in process, behind the fence.
//!
//! On every beginning of leadership the member first changes the fence key; the revision of that write is the token
//! that all writes of this tenure carry. Then the caches, which follow on every master, catch up with a state at least
//! that new, and only then do the components act. A deposed leader's late write fails its compare in the store.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use apiserver::{Fence, Server, User};
use client::{Client, Informers};
use raftstore::pb::PutRequest;
use raftstore::{Leadership, Store};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The key whose revision is the fence token.
const FENCE_KEY: &[u8] = b"/proreus/fence";

/// How long a member waits that still leads when its components have ended.
const PAUSE_BETWEEN_TENURES: Duration = Duration::from_secs(1);

pub struct Leader {
    pub server: Arc<Server>,
    pub store: Store,
    /// This master's name: the holder in the Lease objects.
    pub name: String,
    pub settings: controllers::ControllersConfig,
}

impl Leader {
    /// Runs until `stop`; follows the store's leadership.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let mut leadership = self.store.leadership();
        let standby = self.client("system:kube-controller-manager", None);
        let informers = Informers::new(standby, stop.clone());
        controllers::warm(&informers);
        loop {
            let led = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                led = leadership.wait_for(|l| l.leading) => *led.context("the store has stopped")?,
            };
            tracing::info!(term = led.term, "this member leads");
            let tenure = stop.child_token();
            tokio::select! {
                () = lost(&mut leadership, led.tenure) => tracing::warn!("this member no longer leads"),
                () = self.lead(&informers, &tenure) => {}
            }
            tenure.cancel();
            // A component that ends at once, again and again, must not keep the store busy with new fences.
            if leadership.borrow().leading {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = tokio::time::sleep(PAUSE_BETWEEN_TENURES) => {}
                }
            }
            if stop.is_cancelled() {
                return Ok(());
            }
        }
    }

    /// One tenure. Returns when the components have stopped, be it by a lost fence.
    async fn lead(&self, informers: &Informers, stop: &CancellationToken) {
        let fence = match self.raise_fence().await {
            Ok(fence) => fence,
            Err(error) => return tracing::warn!("cannot raise the fence: {error:#}"),
        };
        let scheduling = self.client("system:kube-scheduler", Some(fence.clone()));
        let controlling = self.client("system:kube-controller-manager", Some(fence));
        // Caches stop with the process: one that is told to stop right after its election must not wait for them.
        tokio::select! {
            () = stop.cancelled() => return,
            () = informers.catch_up() => {}
        }
        let settings = self.settings.clone();
        let (scheduler_stop, controllers_stop) = (stop.child_token(), stop.child_token());
        let scheduler = scheduler::run(
            scheduler::Config::new(&self.name),
            scheduling,
            informers.clone(),
            scheduler_stop,
        );
        let controllers = controllers::run(settings, controlling, informers.clone(), controllers_stop);
        // Both or none: a leader without one of them would look alive and do half its work.
        tokio::select! {
            result = scheduler => ended("scheduler", result),
            result = controllers => ended("controllers", result),
        }
    }

    async fn raise_fence(&self) -> anyhow::Result<Fence> {
        let request = PutRequest {
            key: FENCE_KEY.into(),
            value: self.name.clone().into(),
            ..PutRequest::default()
        };
        let response = self.store.put(request).await?;
        let token = response.header.context("the store's answer has no header")?.revision;
        Ok(Fence {
            key: FENCE_KEY.into(),
            token,
        })
    }

    fn client(&self, user: &str, fence: Option<Fence>) -> Client {
        let user = User {
            name: user.into(),
            ..User::default()
        };
        Client::local(self.server.local(user, fence))
    }
}

/// Returns once the tenure is over: not leading, or leading again after a lapse.
async fn lost(leadership: &mut watch::Receiver<Leadership>, tenure: u64) {
    // An error means that the store has stopped, and with it the tenure.
    let _ = leadership.wait_for(|l| !l.leading || l.tenure != tenure).await;
}

fn ended<E: std::fmt::Display>(component: &str, result: Result<(), E>) {
    match result {
        Ok(()) => tracing::info!(component, "stopped"),
        Err(error) => tracing::warn!(component, %error, "stopped"),
    }
}
