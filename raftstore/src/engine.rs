//! The seam between the type-erased [`Store`](crate::Store) and the generic member behind it.

use std::sync::Arc;

use futures::future::BoxFuture;
use mvcc::{Dump, KvHash, Response, RowSink, View};
use parking_lot::Mutex;
use proto::etcd::etcdserverpb::{RangeRequest, RangeResponse, TxnRequest, TxnResponse};
use proto::raft::member_question::Change as MemberChange;
use proto::raft::{Identity, Request};
use tokio::sync::watch;

use crate::error::Error;
use crate::metrics::Metrics;
use crate::status::{Leadership, Member, Status};
use crate::watch::Hub;

/// A lease's time, as its leader counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseTime {
    /// Seconds granted.
    pub granted_s: i64,
    /// Seconds left.
    pub remaining_s: i64,
}

/// What a store does, without the types of its parts.
pub trait Engine: Send + Sync + 'static {
    /// Has a request replicated and applied, here or through the leader, and answers once this member applied it too.
    fn propose(&self, request: Request) -> BoxFuture<'_, Result<Response, Error>>;
    /// Returns once this member's state reflects everything that was acknowledged before the call.
    fn barrier(&self) -> BoxFuture<'_, Result<(), Error>>;
    /// The latest state here.
    fn view(&self) -> View;
    /// A range at an old revision, if who asks may read it.
    fn range_at(
        &self,
        identity: Option<Arc<Identity>>,
        request: RangeRequest,
    ) -> BoxFuture<'_, Result<RangeResponse, Error>>;
    /// A transaction that writes in neither branch, at the latest state here.
    fn read_txn(
        &self,
        identity: Option<Arc<Identity>>,
        request: TxnRequest,
    ) -> BoxFuture<'_, Result<TxnResponse, Error>>;
    /// The hash of the keys at a revision, 0 for the latest.
    fn hash_kv(&self, revision: i64) -> BoxFuture<'_, Result<KvHash, Error>>;
    /// The hash of everything that members must agree on.
    fn hash(&self) -> BoxFuture<'_, Result<KvHash, Error>>;
    /// Gives all rows of one moment to a sink.
    fn dump(&self, sink: Arc<Mutex<dyn RowSink>>) -> BoxFuture<'_, Result<Dump, Error>>;
    /// Where watchers register.
    fn hub(&self) -> &Hub;
    /// Extends a lease on the leader; its TTL, or `None` if there is no such lease.
    fn keep_alive(&self, id: i64) -> BoxFuture<'_, Result<Option<i64>, Error>>;
    /// A lease's time on the leader.
    fn time_to_live(&self, id: i64) -> BoxFuture<'_, Result<Option<LeaseTime>, Error>>;
    /// Returns once no row of a revision compacted before the call is left.
    fn compacted(&self) -> BoxFuture<'_, Result<(), Error>>;
    /// A positive random number for a new lease.
    fn new_lease_id(&self) -> i64;
    /// What this member counts.
    fn metrics(&self) -> &Arc<Metrics>;
    /// How this member is.
    fn status(&self) -> Status;
    /// The members of the cluster.
    fn members(&self) -> Vec<Member>;
    /// Changes the membership; the member it is about.
    fn change_members(&self, change: MemberChange) -> BoxFuture<'_, Result<u64, Error>>;
    /// Who leads, as it changes.
    fn leadership(&self) -> watch::Receiver<Leadership>;
    /// Hands leadership to another voter.
    fn transfer(&self, to: u64) -> BoxFuture<'_, Result<(), Error>>;
    /// Stops this member.
    fn shutdown(&self) -> BoxFuture<'_, ()>;
}
