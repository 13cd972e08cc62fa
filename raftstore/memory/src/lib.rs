//! Stores that live in memory, for the tests of whatever stands on a store.
//!
//! A crate of its own because `raftstore` is generic over disk, tables and network: whoever starts a member compiles all of
//! consensus for the types it chose, which takes minutes. Here that is done once, and tests only link it.
//!
//! Left out: losing members (`raftstore/tests`, and the simulator).

use std::sync::Arc;

use futures::future::LocalBoxFuture;
use mvcc::Memory;
use openraft::impls::TokioRuntime;
use raftstore::log::MemoryDisk;
use raftstore::transport::{Dialer, Identity, serve};
use raftstore::{Error, FaultHandler, Listen, Member, Node, Options, Parts, Setup, Store};
use tokio::net::TcpListener;

/// Starts the store of a cluster of one. Ready once it leads, which is at once.
///
/// # Errors
///
/// Those of [`Store::single_memory`].
// Boxed, so that the code is generated here and not in each caller.
pub fn store() -> LocalBoxFuture<'static, Result<Store, Error>> {
    Box::pin(Store::single_memory())
}

/// Starts the stores of a cluster whose members talk over loopback. Ready once one leads and all know it.
///
/// # Errors
///
/// Those of starting a member.
pub fn cluster(members: u64) -> LocalBoxFuture<'static, Result<Vec<Store>, Error>> {
    Box::pin(start(members))
}

/// Opens a member with its log in files, as [`Store::open`] does, and its tables in memory.
///
/// # Errors
///
/// Those of [`Store::open`].
pub fn open(setup: Setup) -> LocalBoxFuture<'static, Result<Store, Error>> {
    open_over(setup, Memory::new())
}

/// As [`open`], with tables that are there already.
///
/// # Errors
///
/// Those of [`Store::open`].
pub fn open_over(setup: Setup, tables: Memory) -> LocalBoxFuture<'static, Result<Store, Error>> {
    Box::pin(Store::open(setup, Arc::new(tables)))
}

async fn start(members: u64) -> Result<Vec<Store>, Error> {
    let (mut listeners, mut list) = (Vec::new(), Vec::new());
    for id in 1..=members {
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(Error::fault)?;
        let address = listener.local_addr().map_err(Error::fault)?;
        list.push(Member {
            id,
            name: format!("m{id}"),
            peer_urls: vec![format!("http://{address}")],
            client_urls: vec![],
            learner: false,
        });
        listeners.push(listener);
    }
    let mut stores = Vec::new();
    for (member, listener) in list.iter().zip(listeners) {
        let mut options = Options::new(member.id, "memory", list.clone());
        options.log.segment_bytes = raftstore::limits::LOG_SEGMENT_BYTES_MEMORY;
        options.on_fault = FaultHandler::told();
        let identity = Identity {
            cluster: options.cluster_id(),
            member: options.id,
        };
        let peers = Dialer::new(identity, None, options.metrics.clone());
        let parts = Parts {
            disk: MemoryDisk::new(),
            backend: Arc::new(Memory::new()),
            peers,
        };
        let node = Node::<TokioRuntime, _, _, _>::start(options, parts).await?;
        let served = serve(Listen::Bound(listener), None, identity, node.inbound(), node.stopped());
        served.await.map_err(Error::fault)?;
        node.found_in_background();
        stores.push(Store::of(node));
    }
    for store in &stores {
        store.wait_for_leadership(|known| known.leader.is_some()).await?;
    }
    Ok(stores)
}
