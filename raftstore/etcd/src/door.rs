//! What all services share: the store, the identity on every answer, and who is let in.

use std::sync::{Arc, OnceLock};

use proto::etcd::etcdserverpb::ResponseHeader;
use raftstore::{Leadership, Store};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tonic::{Status, metadata::MetadataMap};

use crate::{EtcdConfig, Refusal, calls::Calls, limits, token::Tokens};

/// Clients set this header to `true` to be refused, rather than wait, where there is no leader.
pub(crate) const REQUIRE_LEADER: &str = "hasleader";

/// Shared by all services of a listener.
pub(crate) struct Door {
    /// The member's own: judges nobody. What is a client's goes through [`Client`](crate::client::Client).
    pub store: Store,
    /// The same for somebody unknown.
    pub nobodys_store: Store,
    pub tokens: Tokens,
    pub calls: Calls,
    /// Turns of hashing passwords.
    pub hashing: Semaphore,
    /// Turns of making a snapshot.
    pub snapshots: Arc<Semaphore>,
    pub config: EtcdConfig,
    pub stop: CancellationToken,
    leadership: watch::Receiver<Leadership>,
    /// Cluster and member id, once the store knows them; they never change then.
    identity: OnceLock<(u64, u64)>,
    /// Set once this member was seen to have a vote.
    is_voter: OnceLock<()>,
}

impl Door {
    pub fn new(store: Store, config: EtcdConfig, stop: CancellationToken) -> Arc<Self> {
        let leadership = store.leadership();
        Arc::new(Self {
            nobodys_store: store.on_behalf_of(Arc::default()),
            store,
            calls: Calls::new(),
            tokens: Tokens::new(config.token_ttl),
            hashing: Semaphore::new(limits::HASHES_AT_A_TIME),
            snapshots: Arc::new(Semaphore::new(limits::SNAPSHOTS_AT_A_TIME)),
            config,
            stop,
            leadership,
            identity: OnceLock::new(),
            is_voter: OnceLock::new(),
        })
    }

    fn identity(&self) -> (u64, u64) {
        if let Some(identity) = self.identity.get() {
            return *identity;
        }
        let status = self.store.status();
        let identity = (status.cluster_id, status.member_id);
        if status.cluster_id != 0 && status.member_id != 0 {
            let _ = self.identity.set(identity);
        }
        identity
    }

    pub fn member_id(&self) -> u64 {
        self.identity().1
    }

    pub fn has_leader(&self) -> bool {
        self.leadership.borrow().leader.is_some()
    }

    pub fn is_leading(&self) -> bool {
        self.leadership.borrow().leading
    }

    /// A header at a revision.
    pub fn header(&self, revision: i64) -> Option<ResponseHeader> {
        let (cluster_id, member_id) = self.identity();
        Some(ResponseHeader {
            cluster_id,
            member_id,
            revision,
            raft_term: self.leadership.borrow().term,
        })
    }

    /// A header at this member's revision.
    pub fn header_now(&self) -> Option<ResponseHeader> {
        self.header(self.store.view().revision())
    }

    /// Completes the header of an answer of the store, which knows only the revision.
    pub fn stamp(&self, header: &mut Option<ResponseHeader>) {
        let revision = header
            .as_ref()
            .map_or_else(|| self.store.view().revision(), |header| header.revision);
        *header = self.header(revision);
    }

    /// Refuses what a learner does not answer. A voter stays one for as long as it runs, so only a learner is looked up
    /// again.
    pub fn require_voter(&self) -> Result<(), Status> {
        if self.is_voter.get().is_some() {
            return Ok(());
        }
        let status = self.store.status();
        if status.learner {
            return Err(Refusal::NotSupportedForLearner.into());
        }
        // One with an empty log does not know yet.
        if status.log_index > 0 {
            let _ = self.is_voter.set(());
        }
        Ok(())
    }

    /// Returns once a stream that requires a leader has been without one for too long; never, if it requires none.
    pub async fn leader_lost(&self, required: bool) {
        if !required {
            return std::future::pending().await;
        }
        let mut leadership = self.leadership.clone();
        loop {
            if leadership
                .wait_for(|leadership| leadership.leader.is_none())
                .await
                .is_err()
            {
                return;
            }
            let back = leadership.wait_for(|leadership| leadership.leader.is_some());
            if !matches!(
                tokio::time::timeout(self.config.leaderless_max(), back).await,
                Ok(Ok(_))
            ) {
                return;
            }
        }
    }
}

/// Whether the client asked to be refused where there is no leader.
pub(crate) fn requires_leader(metadata: &MetadataMap) -> bool {
    metadata
        .get(REQUIRE_LEADER)
        .is_some_and(|value| value.as_bytes() == b"true")
}
