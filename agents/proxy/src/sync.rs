//! The thin loop: gather changes, compute the ruleset, hand over the difference.

use std::{sync::Arc, time::Duration};

use client::objects::{EndpointSlice, Service};
use client::{Cache, Informers};
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    Config, Error, limits,
    nft::{Nft, NftCommand},
    rules,
    ruleset::Ruleset,
    sysctl,
};

/// Keeps the kernel's table equal to the desired one.
pub struct Syncer<N> {
    nft: N,
    config: Config,
    /// What the kernel has, as far as we know; `None` makes the next sync load the whole table.
    applied: Option<Ruleset>,
}

impl<N: Nft> Syncer<N> {
    /// A syncer that knows nothing of the kernel's state yet.
    pub fn new(nft: N, config: Config) -> Result<Self, Error> {
        config.validate()?;
        Ok(Self {
            nft,
            config,
            applied: None,
        })
    }

    /// Brings the kernel to the ruleset of these objects; says whether anything had to change.
    pub async fn sync<'a>(
        &mut self,
        services: impl IntoIterator<Item = &'a Service>,
        slices: impl IntoIterator<Item = &'a EndpointSlice>,
    ) -> Result<bool, Error> {
        let desired = rules::build(services, slices, &self.config);
        let Some(transaction) = desired.transaction(&self.config.table, self.applied.as_ref()) else {
            return Ok(false);
        };
        // A refused increment may mean that the table is not what we think it is: the next attempt replaces it.
        self.applied = None;
        self.nft.apply(&transaction).await?;
        self.applied = Some(desired);
        Ok(true)
    }

    /// Looks for the table in the kernel; the next sync loads it anew if it is gone.
    pub async fn check(&mut self) -> Result<(), Error> {
        if self.applied.is_some() && !self.nft.has_table(&self.config.table).await? {
            tracing::warn!(table = %self.config.table, "the table vanished from the kernel; loading it anew");
            self.applied = None;
        }
        Ok(())
    }
}

/// Runs the proxy until `stop`. The table stays in the kernel afterwards, so that a restart of the agent interrupts
/// nothing; see [`cleanup`].
pub async fn run(config: Config, informers: Informers, stop: CancellationToken) -> Result<(), Error> {
    if config.set_sysctls {
        sysctl::apply();
    }
    let syncer = Syncer::new(NftCommand::default(), config)?;
    let services = informers.watch::<Service>();
    let slices = informers.watch::<EndpointSlice>();
    let changed = Arc::new(Notify::new());
    let (on_service, on_slice) = (changed.clone(), changed.clone());
    let _services = services.subscribe(move |_| on_service.notify_one());
    let _slices = slices.subscribe(move |_| on_slice.notify_one());
    tokio::select! {
        () = stop.cancelled() => return Ok(()),
        // Half a picture must never replace the table of an earlier run.
        () = async {
            services.synced().await;
            slices.synced().await;
        } => {}
    }
    tokio::select! {
        () = stop.cancelled() => {}
        () = follow(syncer, services, slices, changed) => {}
    }
    Ok(())
}

async fn follow<N: Nft>(
    mut syncer: Syncer<N>,
    services: Cache<Service>,
    slices: Cache<EndpointSlice>,
    changed: Arc<Notify>,
) {
    let mut delay = limits::RETRY_DELAY_MIN;
    let mut look = false;
    loop {
        match step(&mut syncer, &services, &slices, look).await {
            Ok(()) => {
                delay = limits::RETRY_DELAY_MIN;
                look = !wait_for_change(&changed).await;
            }
            Err(error) => {
                tracing::error!(%error, retry_in = ?delay, "service rules were not updated");
                tokio::time::sleep(delay).await;
                delay = next_delay(delay);
            }
        }
    }
}

async fn step<N: Nft>(
    syncer: &mut Syncer<N>,
    services: &Cache<Service>,
    slices: &Cache<EndpointSlice>,
    look: bool,
) -> Result<(), Error> {
    if look {
        syncer.check().await?;
    }
    let started = Instant::now();
    let (services, slices) = (services.list(), slices.list());
    if syncer
        .sync(services.iter().map(Arc::as_ref), slices.iter().map(Arc::as_ref))
        .await?
    {
        tracing::debug!(services = services.len(), slices = slices.len(), elapsed = ?started.elapsed(), "rules updated");
    }
    Ok(())
}

/// Waits for a change and for the rest of the burst it belongs to; `false` if there was none and the table is due for
/// a look.
async fn wait_for_change(changed: &Notify) -> bool {
    let is_changed = tokio::time::timeout(limits::PRESENCE_CHECK_INTERVAL, changed.notified())
        .await
        .is_ok();
    if is_changed {
        tokio::time::sleep(limits::SYNC_GATHER).await;
    }
    is_changed
}

fn next_delay(delay: Duration) -> Duration {
    (delay * 2).min(limits::RETRY_DELAY_MAX)
}

/// Removes the proxy's table from the network namespace of this process; not having one is fine.
pub async fn cleanup(config: &Config) -> Result<(), Error> {
    config.validate()?;
    remove_table(&NftCommand::default(), &config.table).await
}

/// Removes a table by way of `nft`; not having one is fine.
pub async fn remove_table(nft: &impl Nft, table: &str) -> Result<(), Error> {
    nft.apply(&format!("add table ip {table}\ndelete table ip {table}\n"))
        .await
}
