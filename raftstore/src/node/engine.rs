//! A member as the engine of a [`Store`](crate::Store).

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use mvcc::{Backend, Dump, KvHash, Response, RowSink, View};
use openraft::async_runtime::watch::WatchReceiver;
use openraft::{AsyncRuntime, Instant};
use parking_lot::Mutex;
use proto::etcd::etcdserverpb::{RangeRequest, RangeResponse, TxnRequest, TxnResponse};
use proto::raft::member_question::Change as MemberChange;
use proto::raft::{Identity, Request};
use rand::RngExt;
use tokio::sync::{MutexGuard, watch};

use super::{Core, Node};
use crate::engine::{Engine, LeaseTime};
use crate::error::Error;
use crate::limits::LEADER_RETRY;
use crate::log::Disk;
use crate::metrics::Metrics;
use crate::status::{Leadership, Member, Status};
use crate::transport::Peers;
use crate::watch::Hub;

impl<R: AsyncRuntime, D: Disk, B: Backend, N: Peers<R>> Core<R, D, B, N> {
    /// Waits until this member has seen everything acknowledged before the call.
    pub(super) async fn barrier(&self) -> Result<(), Error> {
        let deadline = self.deadline();
        loop {
            match self.before(deadline, self.read_index(false)).await? {
                Ok(index) => return self.wait_applied(index, deadline).await,
                Err(Error::NotLeader | Error::NoLeader) if self.pause(LEADER_RETRY, deadline).await => {}
                Err(Error::NotLeader) => return Err(Error::NoLeader),
                Err(error) => return Err(error),
            }
        }
    }

    async fn transfer(&self, to: u64) -> Result<(), Error> {
        let deadline = self.deadline();
        let alone = self.before(deadline, self.changing.lock()).await?;
        self.transfer_held(to, deadline, Some(alone)).await
    }

    /// Hands leadership to a voter, while [`Core::changing`] is held by the caller or as `alone`, which is given back once the
    /// decision is made.
    ///
    /// A leader that hands over goes quiet for good: it neither sends heartbeats nor proposes. Somebody else has to be elected,
    /// so there has to be somebody who can be. A change of the membership in between could take that away, up to a leader that
    /// is all that is left, and quiet.
    pub(super) async fn transfer_held(
        &self,
        to: u64,
        deadline: R::Instant,
        alone: Option<MutexGuard<'_, ()>>,
    ) -> Result<(), Error> {
        let mut leadership = self.leadership.subscribe();
        let Leadership { leading, term, .. } = *leadership.borrow();
        if !leading {
            return Err(Error::NotLeader);
        }
        self.check_votes(to).await?;
        if to == self.options.id {
            return Ok(());
        }
        self.await_match(to, deadline).await;
        // Again: a change that its caller gave up may have come to its end only now.
        self.check_votes(to).await?;
        self.raft
            .trigger()
            .transfer_leader(to)
            .await
            .map_err(|_| self.stopped_error())?;
        drop(alone);
        let elected = leadership.wait_for(|known| known.term > term && known.leader.is_some());
        let elected = self
            .before(deadline, async { elected.await.map(|known| known.leader) })
            .await?;
        match elected.map_err(|_| self.stopped_error())? {
            Some(leader) if leader == to => Ok(()),
            _ => Err(Error::LeaderChanged),
        }
    }

    /// Refuses to hand leadership to a member without a vote, by the membership as of everything that Raft was asked to do so far.
    async fn check_votes(&self, member: u64) -> Result<(), Error> {
        let votes = self
            .raft
            .with_raft_state(move |state| state.membership_state.effective().voter_ids().any(|id| id == member))
            .await
            .map_err(|_| self.stopped_error())?;
        if votes {
            return Ok(());
        }
        Err(Error::BadMember {
            member,
            reason: "it has no vote, so it cannot lead".into(),
        })
    }

    /// Gives a peer a moment to hold the whole log: without it, it cannot win the election that follows.
    async fn await_match(&self, peer: u64, deadline: R::Instant) {
        let patience = deadline.min(R::Instant::now() + self.options.timing.election_max);
        loop {
            let matches = {
                let data = self.raft.data_metrics();
                let data = data.borrow_watched();
                let matching = data
                    .replication
                    .as_ref()
                    .and_then(|peers| peers.get(&peer).copied().flatten());
                matching >= data.last_log
            };
            if matches || !self.pause(LEADER_RETRY, patience).await {
                return;
            }
        }
    }

    fn status(&self) -> Status {
        let server = self.raft.server_metrics();
        let data = self.raft.data_metrics();
        let (server, data) = (server.borrow_watched(), data.borrow_watched());
        let view = self.reader.view();
        let leadership = *self.leadership.borrow();
        // Before a cluster is founded, or a member has heard of its founding, nobody is a learner.
        let mut voters = server.membership_config.voter_ids().peekable();
        Status {
            cluster_id: self.options.cluster_id(),
            member_id: self.options.id,
            learner: voters.peek().is_some() && !voters.any(|id| id == self.options.id),
            leader: leadership.leader,
            term: leadership.term,
            first_log_index: self.log.purged().map_or(0, |id| id.index + 1),
            log_index: data.last_log.as_ref().map_or(0, |id| id.index),
            committed_index: data.local_committed.as_ref().map_or(0, |id| id.index),
            applied_index: view.applied().map_or(0, |id| id.index),
            revision: view.revision(),
            compacted: view.compacted(),
            size_bytes: self.reader.backend().size().unwrap_or(0),
            quota_bytes: self.options.space.quota_bytes,
            errors: self.fault.lock().iter().cloned().collect(),
        }
    }

    fn members(&self) -> Vec<Member> {
        let server = self.raft.server_metrics();
        let server = server.borrow_watched();
        let membership = server.membership_config.membership();
        let voters: Vec<u64> = membership.voter_ids().collect();
        let nodes = membership.nodes();
        nodes
            .map(|(id, peer)| Member {
                id: *id,
                name: peer.name.clone(),
                peer_urls: peer.peer_urls.clone(),
                client_urls: peer.client_urls.clone(),
                learner: !voters.contains(id),
            })
            .collect()
    }

    async fn shutdown(&self) {
        self.shared.hub.stop();
        self.stop.cancel();
        // What was answered is durable already; this only shortens the next start.
        let _ = self.raft.shutdown().await;
        let _ = self.log.flush().await;
        let none = Leadership {
            leading: false,
            leader: None,
            ..*self.leadership.borrow()
        };
        self.leadership.send_replace(none);
    }
}

impl<R: AsyncRuntime, D: Disk, B: Backend, N: Peers<R>> Engine for Node<R, D, B, N> {
    fn propose(&self, request: Request) -> BoxFuture<'_, Result<Response, Error>> {
        self.core.commit(request).boxed()
    }

    fn barrier(&self) -> BoxFuture<'_, Result<(), Error>> {
        self.core.barrier().boxed()
    }

    fn view(&self) -> View {
        self.core.reader.view()
    }

    fn range_at(
        &self,
        identity: Option<Arc<Identity>>,
        request: RangeRequest,
    ) -> BoxFuture<'_, Result<RangeResponse, Error>> {
        let (core, reader) = (Arc::clone(&self.core), self.core.reader.clone());
        async move {
            let read = core
                .log
                .offload(move || Ok(reader.range(identity.as_deref(), &request)))
                .await;
            Ok(read.map_err(Error::fault)??)
        }
        .boxed()
    }

    fn read_txn(
        &self,
        identity: Option<Arc<Identity>>,
        request: TxnRequest,
    ) -> BoxFuture<'_, Result<TxnResponse, Error>> {
        let (core, reader) = (Arc::clone(&self.core), self.core.reader.clone());
        async move {
            let read = core
                .log
                .offload(move || Ok(reader.txn(identity.as_deref(), &request)))
                .await;
            Ok(read.map_err(Error::fault)??)
        }
        .boxed()
    }

    fn hash_kv(&self, revision: i64) -> BoxFuture<'_, Result<KvHash, Error>> {
        let (core, reader) = (Arc::clone(&self.core), self.core.reader.clone());
        async move {
            let read = core.log.offload(move || Ok(reader.hash_kv(revision))).await;
            Ok(read.map_err(Error::fault)??)
        }
        .boxed()
    }

    fn hash(&self) -> BoxFuture<'_, Result<KvHash, Error>> {
        let (core, reader) = (Arc::clone(&self.core), self.core.reader.clone());
        async move {
            let read = core.log.offload(move || Ok(reader.hash())).await;
            Ok(read.map_err(Error::fault)??)
        }
        .boxed()
    }

    fn dump(&self, sink: Arc<Mutex<dyn RowSink>>) -> BoxFuture<'_, Result<Dump, Error>> {
        let (core, reader) = (Arc::clone(&self.core), self.core.reader.clone());
        async move {
            let read = core.log.offload(move || Ok(reader.dump(&mut *sink.lock()))).await;
            Ok(read.map_err(Error::fault)??)
        }
        .boxed()
    }

    fn hub(&self) -> &Hub {
        &self.core.shared.hub
    }

    fn keep_alive(&self, id: i64) -> BoxFuture<'_, Result<Option<i64>, Error>> {
        self.core.keep_alive(id).boxed()
    }

    fn time_to_live(&self, id: i64) -> BoxFuture<'_, Result<Option<LeaseTime>, Error>> {
        self.core.time_to_live(id).boxed()
    }

    fn compacted(&self) -> BoxFuture<'_, Result<(), Error>> {
        self.core.wait_swept().boxed()
    }

    fn new_lease_id(&self) -> i64 {
        R::thread_rng().random_range(1..i64::MAX)
    }

    fn metrics(&self) -> &Arc<Metrics> {
        &self.core.options.metrics
    }

    fn status(&self) -> Status {
        self.core.status()
    }

    fn members(&self) -> Vec<Member> {
        self.core.members()
    }

    fn change_members(&self, change: MemberChange) -> BoxFuture<'_, Result<u64, Error>> {
        self.core.change_members(change).boxed()
    }

    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.core.leadership.subscribe()
    }

    fn transfer(&self, to: u64) -> BoxFuture<'_, Result<(), Error>> {
        self.core.transfer(to).boxed()
    }

    fn shutdown(&self) -> BoxFuture<'_, ()> {
        self.core.shutdown().boxed()
    }
}
