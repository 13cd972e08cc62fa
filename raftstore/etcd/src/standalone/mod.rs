//! The keyspace and its door alone, under etcd's own flags and environment: what stands behind `proreus store`.
//!
//! # Theory
//! The command line of the `etcd` binary, or the variables that mean the same, become a [`Plan`]: a pure translation, with
//! one table of all flags ([`flags`]). A flag that is not honoured is refused with the reason, unless it asks for what
//! happens anyway; nothing is ever ignored. A member that is added to a cluster asks the others who it is to be
//! ([`join`]). [`run`] then opens the member and its doors and, while the member leads, forgets
//! old revisions as the plan says ([`compaction`]).
//!
//! # Left out
//! Tables: whoever calls [`run`] brings the store. Discovery, and etcd's proxies.

mod compaction;
mod flags;
mod join;
mod plan;

use std::{net::SocketAddr, sync::Arc};

use raftstore::{Setup, Store};
use rustls::ServerConfig;
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;

pub use compaction::AutoCompaction;
pub use plan::{Endpoint, Plan};

use crate::{Error, EtcdConfig, serve, serve_pages};

/// Why there is no member.
#[derive(Debug, thiserror::Error)]
pub enum StandaloneError {
    /// A flag or variable cannot be honoured.
    #[error("{flag}: {reason}")]
    Flag {
        /// Its name on the command line.
        flag: String,
        /// Why, and what to do instead.
        reason: String,
    },
    /// A certificate cannot be used.
    #[error("{flag}: {source}")]
    Tls {
        /// The flag that names it.
        flag: &'static str,
        /// Why.
        source: pki::Error,
    },
    /// The member did not start.
    #[error("the store cannot be opened: {0}")]
    Store(#[from] raftstore::Error),
    /// A listener cannot be opened.
    #[error("cannot listen on {address} (--{flag}): {source}")]
    Listen {
        /// The flag that names it.
        flag: &'static str,
        /// Where.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// A door failed.
    #[error(transparent)]
    Door(#[from] Error),
}

/// Runs a member until `stop`. `open` opens its store, with whatever tables it has.
pub async fn run(
    plan: Plan,
    open: impl AsyncFnOnce(Setup) -> Result<Store, raftstore::Error>,
    stop: CancellationToken,
) -> Result<(), StandaloneError> {
    let tls = plan.client_tls()?;
    // Bound first: what cannot be listened on is said before there is a member.
    let clients = listeners("listen-client-urls", &plan.listen_client).await?;
    let pages = listeners("listen-metrics-urls", &plan.listen_metrics).await?;
    let (mut setup, joins) = plan.setup()?;
    if joins {
        join::find(&mut setup).await?;
    }
    let store = open(setup).await?;
    let mut doors = JoinSet::new();
    for (listener, secure) in clients {
        let (tls, store, config, stop) = given(&tls, secure, &store, &plan.door, &stop);
        doors.spawn(serve(listener, tls, store, config, stop));
    }
    for (listener, secure) in pages {
        let (tls, store, config, stop) = given(&tls, secure, &store, &plan.door, &stop);
        doors.spawn(serve_pages(listener, tls, store, config, stop));
    }
    let compaction = compaction::run(store.clone(), plan.auto_compaction);
    let compacting = stop.child_token();
    let guard = compacting.clone().drop_guard();
    tokio::spawn(async move { compacting.run_until_cancelled(compaction).await });
    let mut outcome = Ok(());
    while let Some(ended) = doors.join_next().await {
        if let Ok(Err(error)) = ended {
            outcome = Err(error.into());
            stop.cancel();
        }
    }
    drop(guard);
    store.shutdown().await;
    outcome
}

type Given = (Option<Arc<ServerConfig>>, Store, EtcdConfig, CancellationToken);

fn given(
    tls: &Option<Arc<ServerConfig>>,
    secure: bool,
    store: &Store,
    config: &EtcdConfig,
    stop: &CancellationToken,
) -> Given {
    let tls = tls.clone().filter(|_| secure);
    (tls, store.clone(), config.clone(), stop.clone())
}

/// Opens listeners, each with whether it speaks TLS.
async fn listeners(flag: &'static str, endpoints: &[Endpoint]) -> Result<Vec<(TcpListener, bool)>, StandaloneError> {
    let mut open = Vec::new();
    for Endpoint { address, secure } in endpoints {
        let address = *address;
        let bound = TcpListener::bind(address).await;
        let listener = bound.map_err(|source| StandaloneError::Listen { flag, address, source })?;
        open.push((listener, *secure));
    }
    Ok(open)
}
