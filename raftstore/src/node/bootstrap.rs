//! Founding a cluster.
//!
//! Every member of a new cluster is started with the same list; the one with the lowest id founds it. It must not do so
//! because it *lost* its log: the others would take it back, and it could vote twice in a term it already voted in. So it
//! first asks the others, and founds only once a majority (itself included) says that it holds nothing either.

use std::collections::BTreeMap;
use std::time::Duration;

use mvcc::Backend;
use openraft::AsyncRuntime;
use openraft::errors::{InitializeError, RaftError};
use proto::raft::HelloQuestion;
use proto::raft::question::Question as Asked;
use proto::raft::reply::Reply as Replied;

use super::Core;
use crate::consensus::Peer;
use crate::error::Error;
use crate::log::Disk;
use crate::status::Member;
use crate::transport::Peers;

const ASK_AGAIN: Duration = Duration::from_millis(200);

/// Founds the cluster if that is this member's to do.
pub async fn run<R: AsyncRuntime, D: Disk, B: Backend, N: Peers<R>>(core: &Core<R, D, B, N>) -> Result<(), Error> {
    let initialized = core.raft.is_initialized().await.map_err(|_| core.stopped_error())?;
    let founder = core.options.members.iter().map(|member| member.id).min();
    if initialized || founder != Some(core.options.id) {
        return Ok(());
    }
    while !nobody_has_state(core).await? {
        if core.stop.run_until_cancelled(R::sleep(ASK_AGAIN)).await.is_none() {
            return Err(core.stopped_error());
        }
    }
    let members: BTreeMap<u64, Peer> = core
        .options
        .members
        .iter()
        .map(|member| (member.id, peer(member)))
        .collect();
    match core.raft.initialize(members).await {
        Ok(()) => Ok(()),
        // A leader was faster: the cluster exists.
        Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
        Err(RaftError::APIError(error)) => Err(Error::fault(format!("the cluster cannot be founded: {error}"))),
        Err(RaftError::Fatal(_)) => Err(core.stopped_error()),
    }
}

/// Whether a majority is known to hold nothing. A member that holds something ends this one.
async fn nobody_has_state<R: AsyncRuntime, D: Disk, B: Backend, N: Peers<R>>(
    core: &Core<R, D, B, N>,
) -> Result<bool, Error> {
    let others = core
        .options
        .members
        .iter()
        .filter(|member| member.id != core.options.id);
    let asked = others.map(async |member| {
        let reply = core
            .question(member.id, &peer(member), Asked::Hello(HelloQuestion {}))
            .await;
        (member, reply)
    });
    let mut empty = 1;
    for (member, reply) in futures::future::join_all(asked).await {
        match reply {
            Ok(Replied::Hello(hello)) if hello.initialized => {
                return Err(Error::BadMember {
                    member: core.options.id,
                    reason: format!(
                        "its log is empty, but member {:x} ({}) already is part of this cluster. If this member lost its \
                         data, remove it from the cluster and add it again under a new id",
                        member.id, member.name
                    ),
                });
            }
            Ok(Replied::Hello(_)) => empty += 1,
            _ => {}
        }
    }
    Ok(empty > core.options.members.len() / 2)
}

fn peer(member: &Member) -> Peer {
    Peer {
        name: member.name.clone(),
        peer_urls: member.peer_urls.clone(),
        client_urls: member.client_urls.clone(),
    }
}
