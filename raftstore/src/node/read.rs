//! Which entry a linearizable read must have seen: one question to the leader, and one round of the leader to its quorum,
//! for all reads that wait.
//!
//! A read shares only a round that starts after the read came: the answer of an earlier one may be older than the read. A
//! few rounds are under way at a time, so a read never waits for a whole round before its own.

use std::sync::Arc;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use mvcc::Backend;
use openraft::errors::{LinearizableReadError, RaftError};
use openraft::{AsyncRuntime, ReadPolicy};
use tokio::sync::{mpsc, oneshot};

use super::Core;
use crate::error::Error;
use crate::limits::{READ_ROUNDS_IN_FLIGHT, READS_PER_ROUND, READS_WAITING_MAX};
use crate::log::Disk;
use crate::transport::Peers;

/// A read that waits for its index.
pub struct Waiting {
    answer: oneshot::Sender<Result<u64, Error>>,
    /// Asked by a peer that takes this member for the leader: never passed on.
    as_leader: bool,
}

/// Where reads queue.
pub type Queue = mpsc::Sender<Waiting>;
/// The other end.
pub type Work = mpsc::Receiver<Waiting>;

/// An empty queue.
pub fn queue() -> (Queue, Work) {
    mpsc::channel(READS_WAITING_MAX)
}

/// Serves reads, all that wait in one round.
pub async fn run<R: AsyncRuntime, D: Disk, B: Backend, N: Peers<R>>(core: Arc<Core<R, D, B, N>>, mut work: Work) {
    let mut rounds = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;
            Some(()) = rounds.next(), if !rounds.is_empty() => {}
            first = work.recv(), if rounds.len() < READ_ROUNDS_IN_FLIGHT => {
                let Some(first) = first else { return };
                rounds.push(round(&core, gather(first, &mut work)));
            }
        }
    }
}

/// Takes what waits, leaving out what nobody waits for any more.
fn gather(first: Waiting, work: &mut Work) -> Vec<Waiting> {
    let mut waiting = vec![first];
    while waiting.len() < READS_PER_ROUND
        && let Ok(next) = work.try_recv()
    {
        if !next.answer.is_closed() {
            waiting.push(next);
        }
    }
    waiting
}

async fn round<R: AsyncRuntime, D: Disk, B: Backend, N: Peers<R>>(core: &Core<R, D, B, N>, waiting: Vec<Waiting>) {
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

impl<R: AsyncRuntime, D: Disk, B: Backend, N: Peers<R>> Core<R, D, B, N> {
    /// The index that a read which starts now must have seen.
    pub(super) async fn read_index(&self, as_leader: bool) -> Result<u64, Error> {
        // Before it queues: two members that take each other for the leader would wait for each other's round.
        if as_leader && !self.is_raft_leader() {
            return Err(Error::NotLeader);
        }
        let (answer, index) = oneshot::channel();
        self.reads
            .try_send(Waiting { answer, as_leader })
            .map_err(|refused| match refused {
                mpsc::error::TrySendError::Full(_) => Error::TooManyRequests,
                mpsc::error::TrySendError::Closed(_) => self.stopped_error(),
            })?;
        index.await.map_err(|_| self.stopped_error())?
    }

    async fn index_from_quorum(&self) -> Result<u64, Error> {
        #[cfg(feature = "planted")]
        if crate::planted::is(crate::planted::Planted::StaleRead) {
            return Ok(self.shared.next_index.borrow().saturating_sub(1));
        }
        match self.raft.get_read_log_id(ReadPolicy::ReadIndex).await {
            Ok((read, _)) => Ok(read.index()),
            Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(_))) => Err(Error::NotLeader),
            Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_))) => Err(Error::NoLeader),
            Err(RaftError::Fatal(_)) => Err(self.stopped_error()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_waits_shares_a_round_and_what_was_given_up_costs_none() {
        let (queue, mut work) = queue();
        let (answers, answered): (Vec<_>, Vec<_>) = (0..4).map(|_| oneshot::channel()).unzip();
        for answer in answers {
            let as_leader = false;
            queue.try_send(Waiting { answer, as_leader }).map_err(drop).unwrap();
        }
        let mut kept: Vec<_> = answered.into_iter().collect();
        drop(kept.remove(2));
        let first = work.try_recv().unwrap();
        assert_eq!(gather(first, &mut work).len(), 3);
    }
}
