//! How members reach each other.
//!
//! The seam is above gRPC: [`Peers`] is what a member needs to call out (openraft's network traits and one question-and-
//! answer call of our own), [`Inbound`] what a transport calls when something comes in. The gRPC transport here is one
//! pair; a simulator brings another. Both sides of a connection prove who they are by certificates when TLS is on, and
//! every call names the cluster and the member it is meant for.

mod client;
mod connect;
mod discover;
mod serve;
mod server;

use std::io;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use openraft::network::NetSnapshot;
use openraft::{AsyncRuntime, RaftNetworkFactory};
use proto::raft as wire;
use thiserror::Error;

pub use client::Dialer;
pub use connect::Tls;
pub use discover::{Description, describe};
pub use serve::{Listen, serve};

use crate::consensus::{Peer, SnapshotData, Types};

/// The generated client and server.
#[allow(missing_docs, clippy::all, rustdoc::all)]
mod generated {
    tonic::include_proto!("proreus.raft");
}

/// Who is calling whom, checked on every call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The cluster.
    pub cluster: u64,
    /// This member.
    pub member: u64,
}

const CLUSTER_HEADER: &str = "proreus-cluster";
const MEMBER_HEADER: &str = "proreus-member";

/// Why a question was not answered.
#[derive(Debug, Clone, Error)]
pub enum AskError {
    /// It never left: the peer certainly did nothing.
    #[error("member {member:x} cannot be reached: {reason}")]
    NotSent {
        /// The peer.
        member: u64,
        /// What happened.
        reason: String,
    },
    /// It may have arrived.
    #[error("member {member:x} did not answer: {reason}")]
    Unanswered {
        /// The peer.
        member: u64,
        /// What happened.
        reason: String,
    },
}

/// The peers of a member, as it calls them.
pub trait Peers<R: AsyncRuntime>:
    RaftNetworkFactory<Types<R>, Network: NetSnapshot<Types<R>, SnapshotData = SnapshotData>> + Clone
{
    /// Asks a peer something.
    fn ask(
        &self,
        target: u64,
        peer: &Peer,
        question: wire::Question,
    ) -> BoxFuture<'static, Result<wire::Reply, AskError>>;

    /// Whether nothing listens where a peer is reached: its process is gone, its machine is not. False where that cannot be
    /// told.
    fn refuses(&self, target: u64, peer: &Peer) -> BoxFuture<'static, bool>;

    /// Told where a peer is reached now, also by those who were given another address before.
    fn learn(&self, _target: u64, _peer: &Peer) {}
}

/// What a member does with what peers send.
pub trait Inbound: Send + Sync + 'static {
    /// Entries and heartbeats of a leader, answered in order.
    fn append(
        &self,
        requests: BoxStream<'static, io::Result<wire::AppendRequest>>,
    ) -> BoxStream<'static, io::Result<wire::AppendReply>>;
    /// A candidate's request.
    fn vote(&self, request: wire::VoteRequest) -> BoxFuture<'_, io::Result<wire::VoteReply>>;
    /// A snapshot of a leader.
    fn snapshot<'a>(
        &'a self,
        parts: BoxStream<'static, io::Result<wire::SnapshotPart>>,
    ) -> BoxFuture<'a, io::Result<wire::SnapshotReply>>;
    /// A leader's wish to hand over.
    fn transfer_leader(
        &self,
        request: wire::TransferLeaderRequest,
    ) -> BoxFuture<'_, io::Result<wire::TransferLeaderReply>>;
    /// A question.
    fn ask(&self, question: wire::Question) -> BoxFuture<'_, wire::Reply>;
    /// Which cluster this is, for who knows only an address.
    fn describe(&self) -> BoxFuture<'_, wire::Description>;
}
