//! `Store`: the one handle that everything above the replicated store holds. Not generic; cheap to clone.
//!
//! Every member answers everything: writes go to the leader and come back once this member applied them too, so whoever
//! wrote through a member can read the write there at once. Reads are linearizable unless they say `serializable`.

mod auth;

use std::fmt;
use std::sync::Arc;

use mvcc::{Backend, Caller, DeterministicError, Dump, KvHash, Memory, Response, RowSink, View};
use openraft::AsyncRuntime;
use openraft::impls::TokioRuntime;
use parking_lot::Mutex;
use proto::etcd::etcdserverpb::{
    AlarmRequest, AlarmResponse, CompactionRequest, CompactionResponse, DeleteRangeRequest, DeleteRangeResponse,
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveResponse, LeaseLeasesResponse, LeaseRevokeRequest,
    LeaseRevokeResponse, LeaseStatus, LeaseTimeToLiveRequest, LeaseTimeToLiveResponse, PutRequest, PutResponse,
    RangeRequest, RangeResponse, ResponseHeader, TxnRequest, TxnResponse, request_op,
};
use proto::raft::member_question::Change as MemberChange;
use proto::raft::request::Op;
use proto::raft::{self, LeaseRevoke, MemberAdd, MemberUpdate, Request};
use tokio::sync::watch;

use crate::claim::Owner;
use crate::engine::Engine;
use crate::error::Error;
use crate::limits::LOG_SEGMENT_BYTES_MEMORY;
use crate::log::{Disk, MemoryDisk, RealDisk};
use crate::metrics::Metrics;
use crate::node::{Node, Parts};
use crate::options::{FaultHandler, FreeSpace, Options, Setup};
use crate::status::{Leadership, Member, Status};
use crate::transport::{Dialer, Identity, Peers, serve};
use crate::watch::{WatchSpec, Watcher};

/// Where the log is inside a member's data directory.
pub(crate) const LOG_DIRECTORY: &str = "log";

/// The store of one member. As it is opened, it is the member's own and may do everything; [`Store::on_behalf_of`] gives a
/// handle that may do what somebody may.
#[derive(Clone)]
pub struct Store {
    engine: Arc<dyn Engine>,
    identity: Option<Arc<raft::Identity>>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("status", &self.status()).finish()
    }
}

/// Sends `request` and takes the answer of its own kind out of the response.
macro_rules! proposed {
    ($self:ident, $op:ident($request:expr)) => {
        match $self.propose(Op::$op($request)).await? {
            Response::$op(response) => Ok(response),
            _ => Err(Error::fault(concat!(
                "applying a ",
                stringify!($op),
                " gave an answer of another kind"
            ))),
        }
    };
}

impl Store {
    #[cfg(test)]
    pub(crate) fn hub(&self) -> &crate::watch::Hub {
        self.engine.hub()
    }

    /// Opens the store of a member: recovers its log, loads its tables, and starts to take part. Returns before there is a
    /// leader; requests wait for one.
    pub async fn open<B: Backend>(setup: Setup, backend: Arc<B>) -> Result<Self, Error> {
        let Setup {
            mut options,
            data_directory,
            listen,
            tls,
        } = setup;
        Owner::of(&options).claim(&data_directory)?;
        if options.space.free.0.is_none() {
            options.space.free = FreeSpace::of(data_directory.clone());
        }
        let directory = data_directory.join(LOG_DIRECTORY);
        let disk = RealDisk::new(&directory)
            .map_err(|error| Error::fault(format!("cannot use the log directory {}: {error}", directory.display())))?;
        let identity = Identity {
            cluster: options.cluster_id(),
            member: options.id,
        };
        let peers = Dialer::new(identity, tls.clone(), options.metrics.clone());
        let node = Node::<TokioRuntime, _, _, _>::start(options, Parts { disk, backend, peers }).await?;
        let server_tls = tls.map(|tls| tls.server);
        serve(listen, server_tls, identity, node.inbound(), node.stopped())
            .await
            .map_err(Error::fault)?;
        node.found_in_background();
        Ok(Self::of(node))
    }

    /// The store of a running member.
    pub fn of<R: AsyncRuntime, D: Disk, B: Backend, N: Peers<R>>(node: Node<R, D, B, N>) -> Self {
        Self {
            engine: Arc::new(node),
            identity: None,
        }
    }

    /// The same store for somebody: while authentication is enabled, requests through it are judged by what the user may
    /// do. An identity without a name may do what needs no identity, which is nothing.
    pub fn on_behalf_of(&self, identity: Arc<raft::Identity>) -> Self {
        Self {
            engine: self.engine.clone(),
            identity: Some(identity),
        }
    }

    /// A store of one member that lives in memory, for tests. Returns once it leads.
    pub async fn single_memory() -> Result<Self, Error> {
        let member = Member {
            id: 1,
            name: "memory".into(),
            peer_urls: vec![],
            client_urls: vec![],
            learner: false,
        };
        let mut options = Options::new(member.id, "memory", vec![member]);
        options.log.segment_bytes = LOG_SEGMENT_BYTES_MEMORY;
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
        node.bootstrap().await?;
        let store = Self::of(node);
        store.wait_for_leadership(|known| known.leading).await?;
        Ok(store)
    }

    pub(crate) async fn propose(&self, op: Op) -> Result<Response, Error> {
        let identity = self.identity.as_deref().cloned();
        self.engine.propose(Request { op: Some(op), identity }).await
    }

    /// Judges a read of a view on this handle's behalf.
    fn judge(&self, view: &View, judge: impl FnOnce(Caller<'_>) -> Result<(), mvcc::AuthRefusal>) -> Result<(), Error> {
        judge(view.caller(self.identity.as_deref())).map_err(|refusal| DeterministicError::Auth(refusal).into())
    }

    // Keys.

    /// Reads a range. Linearizable unless `serializable`.
    pub async fn range(&self, request: RangeRequest) -> Result<RangeResponse, Error> {
        mvcc::validate::range(&request)?;
        self.metrics().ranges.one();
        if !request.serializable {
            self.engine.barrier().await?;
        }
        if request.revision > 0 {
            return self.engine.range_at(self.identity.clone(), request).await;
        }
        let view = self.engine.view();
        self.judge(&view, |caller| caller.range(&request.key, &request.range_end))?;
        Ok(view.respond(&request))
    }

    /// Sets a key.
    pub async fn put(&self, request: PutRequest) -> Result<PutResponse, Error> {
        proposed!(self, Put(request))
    }

    /// Deletes a range.
    pub async fn delete_range(&self, request: DeleteRangeRequest) -> Result<DeleteRangeResponse, Error> {
        proposed!(self, DeleteRange(request))
    }

    /// Runs a transaction. One that writes in neither branch is answered like a linearizable read, without the log.
    pub async fn txn(&self, request: TxnRequest) -> Result<TxnResponse, Error> {
        if is_read_only(&request) {
            self.engine.barrier().await?;
            return self.engine.read_txn(self.identity.clone(), request).await;
        }
        proposed!(self, Txn(request))
    }

    /// Forgets what is older than a revision. With `physical` it returns once the rows are gone on this member.
    pub async fn compact(&self, request: CompactionRequest) -> Result<CompactionResponse, Error> {
        let physical = request.physical;
        let response = proposed!(self, Compaction(request))?;
        if physical {
            self.engine.compacted().await?;
        }
        Ok(response)
    }

    /// The latest state of this member, after everything that was acknowledged before the call.
    pub async fn linearizable_view(&self) -> Result<View, Error> {
        self.engine.barrier().await?;
        Ok(self.engine.view())
    }

    /// The latest state of this member; it may lag behind the cluster.
    pub fn view(&self) -> View {
        self.engine.view()
    }

    /// Refuses to let a range be watched that must not be read.
    pub fn judge_watch(&self, spec: &WatchSpec) -> Result<(), Error> {
        self.judge(&self.engine.view(), |caller| caller.range(&spec.key, &spec.range_end))
    }

    /// Watches a range. Never a gap, never a duplicate. Whether somebody may see it is judged now and not again.
    pub async fn watch(&self, spec: WatchSpec) -> Result<Watcher, Error> {
        self.judge_watch(&spec)?;
        Ok(self.engine.hub().watch(spec))
    }

    /// The hash of this member's keys at a revision (0: the latest): etcd's HashKV.
    pub async fn hash_kv(&self, revision: i64) -> Result<KvHash, Error> {
        self.require_root()?;
        self.engine.hash_kv(revision).await
    }

    /// The hash of everything that members must agree on, as this member has it.
    pub async fn hash(&self) -> Result<KvHash, Error> {
        self.require_root()?;
        self.engine.hash().await
    }

    /// Gives all rows of one moment to a sink, once what compaction made superfluous is gone.
    pub async fn dump(&self, sink: Arc<Mutex<dyn RowSink>>) -> Result<Dump, Error> {
        self.require_root()?;
        self.engine.compacted().await?;
        self.engine.dump(sink).await
    }

    // Leases.

    /// Grants a lease; id 0 lets the store choose one.
    pub async fn lease_grant(&self, mut request: LeaseGrantRequest) -> Result<LeaseGrantResponse, Error> {
        if request.id == 0 {
            request.id = self.engine.new_lease_id();
        }
        proposed!(self, LeaseGrant(request))
    }

    /// Revokes a lease and deletes its keys.
    pub async fn lease_revoke(&self, request: LeaseRevokeRequest) -> Result<LeaseRevokeResponse, Error> {
        proposed!(
            self,
            LeaseRevoke(LeaseRevoke {
                id: request.id,
                expired_in_term: 0
            })
        )
    }

    /// Extends a lease. A TTL of 0 in the answer says that there is no such lease.
    pub async fn lease_keep_alive(&self, id: i64) -> Result<LeaseKeepAliveResponse, Error> {
        self.judge(&self.engine.view(), |caller| caller.extend_lease(id))?;
        let ttl = self.engine.keep_alive(id).await?.unwrap_or(0);
        self.metrics().leases_renewed.add(u64::from(ttl > 0));
        Ok(LeaseKeepAliveResponse {
            header: self.header(),
            id,
            ttl,
        })
    }

    /// A lease's time, and its keys if asked for. A TTL of -1 says that there is no such lease.
    pub async fn lease_time_to_live(&self, request: LeaseTimeToLiveRequest) -> Result<LeaseTimeToLiveResponse, Error> {
        let id = request.id;
        self.judge(&self.engine.view(), |caller| caller.somebody())?;
        let time = self.engine.time_to_live(id).await?;
        let mut response = LeaseTimeToLiveResponse {
            header: self.header(),
            id,
            ttl: -1,
            ..Default::default()
        };
        if let Some(time) = time {
            (response.ttl, response.granted_ttl) = (time.remaining_s, time.granted_s);
            if request.keys {
                let view = self.linearizable_view().await?;
                self.judge(&view, |caller| caller.see_lease(id))?;
                response.keys = view
                    .lease(id)
                    .map(|lease| lease.keys.iter().cloned().collect())
                    .unwrap_or_default();
            }
        }
        Ok(response)
    }

    /// All leases.
    pub async fn leases(&self) -> Result<LeaseLeasesResponse, Error> {
        let view = self.linearizable_view().await?;
        self.judge(&view, |caller| caller.see_leases())?;
        let leases = view.leases().map(|lease| LeaseStatus { id: lease.id }).collect();
        Ok(LeaseLeasesResponse {
            header: self.header(),
            leases,
        })
    }

    // The cluster.

    /// Raises, lists or clears alarms.
    pub async fn alarm(&self, request: AlarmRequest) -> Result<AlarmResponse, Error> {
        proposed!(self, Alarm(request))
    }

    /// What this member counts and measures.
    pub fn metrics(&self) -> &Arc<Metrics> {
        self.engine.metrics()
    }

    /// How this member is.
    pub fn status(&self) -> Status {
        self.engine.status()
    }

    /// The members of the cluster, as this member knows them.
    pub fn members(&self) -> Vec<Member> {
        self.engine.members()
    }

    /// Adds a member: a learner that gets its vote by itself once it holds the log or, as `learner`, once somebody
    /// [promotes](Self::promote_member) it. Returns its id, which was never used before.
    pub async fn add_member(&self, peer_urls: Vec<String>, learner: bool) -> Result<u64, Error> {
        self.require_root()?;
        self.engine
            .change_members(MemberChange::Add(MemberAdd { peer_urls, learner }))
            .await
    }

    /// Removes a member for good: its id never comes back.
    pub async fn remove_member(&self, id: u64) -> Result<(), Error> {
        self.require_root()?;
        self.engine.change_members(MemberChange::Remove(id)).await.map(drop)
    }

    /// Says where a member's peers reach it.
    pub async fn update_member(&self, id: u64, peer_urls: Vec<String>) -> Result<(), Error> {
        self.require_root()?;
        let change = MemberChange::Update(MemberUpdate { id, peer_urls });
        self.engine.change_members(change).await.map(drop)
    }

    /// Gives a learner its vote, if it holds nearly all of the log.
    pub async fn promote_member(&self, id: u64) -> Result<(), Error> {
        self.require_root()?;
        self.engine.change_members(MemberChange::Promote(id)).await.map(drop)
    }

    /// Who leads, as it changes.
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.engine.leadership()
    }

    /// Waits until what is known of who leads is as wanted.
    ///
    /// # Errors
    /// The fault that ended this member: one that is broken lives on where its process does, and would be waited for for ever.
    pub async fn wait_for_leadership(&self, wanted: impl Fn(&Leadership) -> bool) -> Result<(), Error> {
        let mut leadership = self.leadership();
        loop {
            if wanted(&leadership.borrow_and_update()) {
                return Ok(());
            }
            // A fault is told before the end of leadership is, which wakes us.
            if let Some(fault) = self.status().errors.into_iter().next() {
                return Err(Error::Fault(fault));
            }
            leadership.changed().await.map_err(|_| Error::Stopped)?;
        }
    }

    /// Returns once this member's state reflects everything acknowledged before the call.
    pub async fn barrier(&self) -> Result<(), Error> {
        self.engine.barrier().await
    }

    /// Hands leadership to another voter.
    pub async fn transfer_leadership(&self, to: u64) -> Result<(), Error> {
        self.require_root()?;
        self.engine.transfer(to).await
    }

    /// Stops this member. Requests under way are answered with [`Error::Stopped`].
    pub async fn shutdown(&self) {
        self.engine.shutdown().await;
    }

    fn header(&self) -> Option<ResponseHeader> {
        Some(ResponseHeader {
            revision: self.engine.view().revision(),
            ..ResponseHeader::default()
        })
    }
}

/// Whether a transaction can change nothing.
fn is_read_only(request: &TxnRequest) -> bool {
    let reads = |op: &proto::etcd::etcdserverpb::RequestOp| match &op.request {
        Some(request_op::Request::RequestRange(_)) | None => true,
        Some(request_op::Request::RequestTxn(nested)) => is_read_only(nested),
        Some(request_op::Request::RequestPut(_) | request_op::Request::RequestDeleteRange(_)) => false,
    };
    request.success.iter().chain(&request.failure).all(reads)
}
