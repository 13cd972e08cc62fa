//! Founding a cluster.
//!
//! Every member of a new cluster is started with the same list; the one with the lowest id founds it. It must not do so
//! because it *lost* its log: see [`admission`](super::admission), which comes first.

use std::collections::BTreeMap;

use mvcc::Backend;
use openraft::AsyncRuntime;
use openraft::errors::{InitializeError, RaftError};

use super::Core;
use super::admission::peer;
use crate::consensus::Peer;
use crate::error::Error;
use crate::log::Disk;
use crate::transport::Peers;

/// Founds the cluster if that is this member's to do.
pub async fn run<R: AsyncRuntime, D: Disk, B: Backend, N: Peers<R>>(core: &Core<R, D, B, N>) -> Result<(), Error> {
    let initialized = core.raft.is_initialized().await.map_err(|_| core.stopped_error())?;
    if initialized || core.founder() != Some(core.options.id) {
        return Ok(());
    }
    core.wait_admitted().await?;
    let members = core.options.members.iter();
    let members: BTreeMap<u64, Peer> = members.map(|member| (member.id, peer(member))).collect();
    match core.raft.initialize(members).await {
        Ok(()) => Ok(()),
        // A leader was faster: the cluster exists.
        Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
        Err(RaftError::APIError(error)) => Err(Error::fault(format!("the cluster cannot be founded: {error}"))),
        Err(RaftError::Fatal(_)) => Err(core.stopped_error()),
    }
}
