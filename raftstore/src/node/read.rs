//! Which entry a linearizable read must have seen: one question to the leader, and one round of the leader to its quorum,
//! for all reads that wait.

use std::sync::Arc;

use mvcc::Backend;
use openraft::errors::{LinearizableReadError, RaftError};
use openraft::{AsyncRuntime, ReadPolicy};
use tokio::sync::{mpsc, oneshot};

use super::Core;
use crate::error::Error;
use crate::limits::READS_PER_ROUND;
use crate::log::Disk;
use crate::transport::Peers;

/// A read that waits for its index.
pub struct Waiting {
    answer: oneshot::Sender<Result<u64, Error>>,
    /// Asked by a peer that takes this member for the leader: never passed on.
    as_leader: bool,
}

/// Where reads queue.
pub type Queue = mpsc::UnboundedSender<Waiting>;
/// The other end.
pub type Work = mpsc::UnboundedReceiver<Waiting>;

/// An empty queue.
pub fn queue() -> (Queue, Work) {
    mpsc::unbounded_channel()
}

/// Serves reads, a round at a time. Those that come during a round wait for the next: its answer may be older than they.
pub async fn run<R: AsyncRuntime, D: Disk, B: Backend, N: Peers<R>>(core: Arc<Core<R, D, B, N>>, mut work: Work) {
    while let Some(first) = work.recv().await {
        let mut waiting = vec![first];
        while waiting.len() < READS_PER_ROUND
            && let Ok(next) = work.try_recv()
        {
            waiting.push(next);
        }
        let leads = core.is_raft_leader();
        let result = if leads {
            core.index_from_quorum().await
        } else {
            core.index_from_leader().await
        };
        for Waiting { answer, as_leader } in waiting {
            let result = if as_leader && !leads {
                Err(Error::NotLeader)
            } else {
                result.clone()
            };
            let _ = answer.send(result);
        }
    }
}

impl<R: AsyncRuntime, D: Disk, B: Backend, N: Peers<R>> Core<R, D, B, N> {
    /// The index that a read which starts now must have seen.
    pub(super) async fn read_index(&self, as_leader: bool) -> Result<u64, Error> {
        // Before it queues: two members that take each other for the leader would wait for each other's round.
        if as_leader && !self.is_raft_leader() {
            return Err(Error::NotLeader);
        }
        let (answer, index) = oneshot::channel();
        self.reads
            .send(Waiting { answer, as_leader })
            .map_err(|_| self.stopped_error())?;
        index.await.map_err(|_| self.stopped_error())?
    }

    async fn index_from_quorum(&self) -> Result<u64, Error> {
        match self.raft.get_read_log_id(ReadPolicy::ReadIndex).await {
            Ok((read, _)) => Ok(read.index()),
            Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(_))) => Err(Error::NotLeader),
            Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_))) => Err(Error::NoLeader),
            Err(RaftError::Fatal(_)) => Err(self.stopped_error()),
        }
    }
}
