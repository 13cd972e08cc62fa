//! Proposing: requests queue, and all that queued become one log entry.
//!
//! Nothing waits on purpose. While [`PROPOSALS_IN_FLIGHT`] entries are being synced and replicated, the next one forms.
//! What pushes back is a budget of bytes accepted and not yet answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use mvcc::{Backend, DeterministicError, Response};
use openraft::AsyncRuntime;
use openraft::errors::ClientWriteError;
use openraft::impls::ProgressResponder;
use openraft::raft::ClientWriteResult;
use prost::Message;
use proto::raft::{Batch, Request};
use tokio::sync::{mpsc, oneshot};

use super::Core;
use crate::consensus::{Proposal, Types};
use crate::error::Error;
use crate::limits::{
    PENDING_PROPOSAL_BYTES, PROPOSAL_BYTES, PROPOSALS_IN_FLIGHT, REQUEST_BYTES, REQUEST_OVERHEAD_BYTES,
};
use crate::log::Disk;
use crate::metrics::Metrics;
use crate::transport::Peers;

/// A request that is part of the log, and its answer.
#[derive(Debug)]
pub struct Committed {
    /// The replicated answer.
    pub answer: Result<Response, DeterministicError>,
    /// The entry that holds the request.
    pub index: u64,
}

type Outcome = Result<Committed, Error>;

/// Where requests queue.
pub struct Queue {
    work: mpsc::UnboundedSender<Queued>,
    budget: Arc<AtomicUsize>,
    metrics: Arc<Metrics>,
}

/// The other end.
pub type Work = mpsc::UnboundedReceiver<Queued>;

/// A request that waits for its entry.
pub struct Queued {
    request: Request,
    answer: oneshot::Sender<Outcome>,
    share: Share,
}

/// A request's share of the budget, given back when it is answered.
struct Share {
    budget: Arc<AtomicUsize>,
    bytes: usize,
    metrics: Arc<Metrics>,
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.fetch_sub(self.bytes, Ordering::Relaxed);
        self.metrics.proposals_pending.sub(1);
    }
}

/// An empty queue.
pub fn queue(metrics: Arc<Metrics>) -> (Queue, Work) {
    let (work, receiver) = mpsc::unbounded_channel();
    (
        Queue {
            work,
            budget: Arc::new(AtomicUsize::new(0)),
            metrics,
        },
        receiver,
    )
}

impl Queue {
    /// Queues a request on the leader.
    pub fn submit(&self, request: Request) -> Result<oneshot::Receiver<Outcome>, Error> {
        let encoded = request.encoded_len();
        if encoded > REQUEST_BYTES {
            return Err(Error::RequestTooLarge {
                bytes: encoded,
                limit: REQUEST_BYTES,
            });
        }
        let bytes = encoded + REQUEST_OVERHEAD_BYTES;
        let pending = self.budget.fetch_add(bytes, Ordering::Relaxed);
        let share = Share {
            budget: self.budget.clone(),
            bytes,
            metrics: self.metrics.clone(),
        };
        self.metrics.proposals_pending.one();
        if pending + bytes > PENDING_PROPOSAL_BYTES {
            self.metrics.proposals_failed.one();
            return Err(Error::TooManyRequests);
        }
        let (answer, outcome) = oneshot::channel();
        self.work
            .send(Queued { request, answer, share })
            .map_err(|_| Error::Stopped)?;
        Ok(outcome)
    }
}

/// The proposer.
pub async fn run<R: AsyncRuntime, D: Disk, B: Backend, N: Peers<R>>(core: Arc<Core<R, D, B, N>>, mut work: Work) {
    let mut in_flight = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;
            Some(()) = in_flight.next(), if !in_flight.is_empty() => {}
            first = work.recv(), if in_flight.len() < PROPOSALS_IN_FLIGHT => {
                let Some(first) = first else { return };
                if let Some((batch, waiting)) = form(first, &mut work) {
                    in_flight.push(propose(core.clone(), batch, waiting));
                }
            }
        }
    }
}

/// Who waits for the answers of an entry.
type Waiting = Vec<(oneshot::Sender<Outcome>, Share)>;

/// Takes what queued, up to an entry's worth, leaving out what nobody waits for any more.
fn form(first: Queued, work: &mut Work) -> Option<(Bytes, Waiting)> {
    let mut bytes = 0;
    let mut batch = Batch::default();
    let mut waiting = Waiting::new();
    let mut next = Some(first);
    while let Some(Queued { request, answer, share }) = next.take() {
        if !answer.is_closed() {
            bytes += share.bytes;
            batch.requests.push(request);
            waiting.push((answer, share));
        }
        if bytes < PROPOSAL_BYTES {
            next = work.try_recv().ok();
        }
    }
    (!waiting.is_empty()).then(|| (batch.encode_to_vec().into(), waiting))
}

async fn propose<R: AsyncRuntime, D: Disk, B: Backend, N: Peers<R>>(
    core: Arc<Core<R, D, B, N>>,
    batch: Bytes,
    waiting: Waiting,
) {
    let (responder, result) = ProgressResponder::<Types<R>, ClientWriteResult<Types<R>>>::complete_only();
    let failure = match core.raft.client_write_ff(Proposal(batch), Some(responder)).await {
        Err(_) => core.stopped_error(),
        Ok(()) => match result.await {
            Ok(Ok(response)) => return answer(waiting, response.log_id.index, response.data.0),
            Ok(Err(ClientWriteError::ForwardToLeader(_))) => Error::NotLeader,
            Ok(Err(ClientWriteError::LogEntryDiscarded(_))) => Error::LeaderChanged,
            Ok(Err(error)) => Error::fault(error),
            Err(_) => core.stopped_error(),
        },
    };
    core.options.metrics.proposals_failed.add(waiting.len() as u64);
    for (sender, _) in waiting {
        let _ = sender.send(Err(failure.clone()));
    }
}

fn answer(waiting: Waiting, index: u64, answers: Vec<Result<Response, DeterministicError>>) {
    assert_eq!(
        waiting.len(),
        answers.len(),
        "entry {index} was answered with another number of answers than it asked for"
    );
    for ((sender, _), answer) in waiting.into_iter().zip(answers) {
        // The caller may have given up.
        let _ = sender.send(Ok(Committed { answer, index }));
    }
}
