//! Streams of entries to peers, which end when what they were to send is gone from the log.
//!
//! Theory. openraft lets the log be purged behind a peer once it has decided to send that peer a snapshot. A stream to the
//! peer that is under way then goes on: it reads a range whose first entries are gone and sends what is left, as if it
//! followed on what the peer has; or it reads nothing and sends that every 10 ms, which the peer takes for a heartbeat and
//! does not elect. So each request is looked at before it is sent: if it follows on an entry below what was purged, the
//! stream ends with an error, of which openraft's core hears, and the core decides anew what the peer gets.
//!
//! Heartbeats carry no entries and may follow on what was purged.

use std::future::Future;
use std::marker::PhantomData;

use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, Stream, StreamExt};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError};
use openraft::network::{Backoff, NetBackoff, NetSnapshot, NetStreamAppend, NetTransferLeader, NetVote, RPCOption};
use openraft::raft::{
    AppendEntriesRequest, SnapshotResponse, StreamAppendResult, TransferLeaderRequest, TransferLeaderResponse,
    VoteRequest, VoteResponse,
};
use openraft::{AsyncRuntime, OptionalSend, RaftNetworkFactory};
use tokio::sync::oneshot;

use super::snapshot::{SnapshotData, SnapshotOf};
use super::types::{LogIdOf, Peer, Types, VoteOf};
use crate::log::{Disk, Log};
use crate::transport::Peers;

/// Ways to peers whose streams end when what they were to send is gone.
pub struct Streams<R, D: Disk, N> {
    peers: N,
    log: Log<D>,
    runtime: PhantomData<fn() -> R>,
}

impl<R, D: Disk, N> Streams<R, D, N> {
    /// Streams from `log` over `peers`.
    pub fn new(peers: N, log: Log<D>) -> Self {
        Self {
            peers,
            log,
            runtime: PhantomData,
        }
    }
}

impl<R: AsyncRuntime, D: Disk, N: Peers<R>> RaftNetworkFactory<Types<R>> for Streams<R, D, N> {
    type Network = Way<D, N::Network>;

    async fn new_client(&mut self, target: u64, node: &Peer) -> Self::Network {
        Way {
            target,
            log: Some(self.log.clone()),
            network: self.peers.new_client(target, node).await,
        }
    }

    async fn new_heartbeat_client(&mut self, target: u64, node: &Peer) -> Self::Network {
        Way {
            target,
            log: None,
            network: self.peers.new_heartbeat_client(target, node).await,
        }
    }
}

/// A way to one peer.
pub struct Way<D: Disk, W> {
    target: u64,
    /// Where entries come from; heartbeats come from nowhere.
    log: Option<Log<D>>,
    network: W,
}

/// Passes requests on up to one that follows on an entry that was purged. Then it ends, and tells `gone` of that entry.
fn until_gone<R: AsyncRuntime, D: Disk>(
    input: impl Stream<Item = AppendEntriesRequest<Types<R>>>,
    log: Log<D>,
    gone: oneshot::Sender<Option<LogIdOf>>,
) -> impl Stream<Item = AppendEntriesRequest<Types<R>>> {
    let mut gone = Some(gone);
    input.take_while(move |request| {
        let before = request.prev_log_id.as_ref().map(|before| before.index);
        let kept = log.purged().is_none_or(|purged| before >= Some(purged.index));
        if !kept && let Some(gone) = gone.take() {
            // The other end is gone when nobody waits for answers any more.
            let _ = gone.send(request.prev_log_id);
        }
        std::future::ready(kept)
    })
}

type Answer<R> = Result<StreamAppendResult<Types<R>>, RPCError<Types<R>>>;

/// The answers of a peer, cut short by an error once `gone` tells of an entry.
fn until_told<R: AsyncRuntime>(
    answers: BoxStream<'_, Answer<R>>,
    target: u64,
    gone: oneshot::Receiver<Option<LogIdOf>>,
) -> BoxStream<'_, Answer<R>> {
    // Fused: requests that merely end tell of nothing, and the answers to them are still to come.
    stream::unfold(Some((answers, gone.fuse())), move |state| async move {
        let (mut answers, mut gone) = state?;
        let told = tokio::select! {
            biased;
            Ok(before) = &mut gone => Some(before),
            answer = answers.next() => match answer {
                Some(answer) => return Some((answer, Some((answers, gone)))),
                // It may have ended because the requests did.
                None => (&mut gone).now_or_never().and_then(Result::ok),
            },
        };
        let before = told?.map_or_else(|| "nothing".to_owned(), |before| format!("entry {}", before.index));
        let text = format!("what follows on {before} is no longer in the log to be sent to member {target:x}");
        Some((Err(RPCError::Network(NetworkError::from_string(text))), None))
    })
    .boxed()
}

impl<R: AsyncRuntime, D: Disk, W: NetStreamAppend<Types<R>>> NetStreamAppend<Types<R>> for Way<D, W> {
    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, Answer<R>>, RPCError<Types<R>>>>
    where
        S: Stream<Item = AppendEntriesRequest<Types<R>>> + OptionalSend + Unpin + 'static,
    {
        let Some(log) = self.log.clone() else {
            return self.network.stream_append(input, option);
        };
        let (tell, told) = oneshot::channel();
        let opened = self.network.stream_append(until_gone::<R, D>(input, log, tell), option);
        let target = self.target;
        async move { Ok(until_told::<R>(opened.await?, target, told)) }.boxed()
    }
}

impl<R: AsyncRuntime, D: Disk, W: NetBackoff<Types<R>>> NetBackoff<Types<R>> for Way<D, W> {
    fn backoff(&self) -> Option<Backoff> {
        self.network.backoff()
    }
}

impl<R: AsyncRuntime, D: Disk, W: NetVote<Types<R>>> NetVote<Types<R>> for Way<D, W> {
    async fn vote(
        &mut self,
        request: VoteRequest<Types<R>>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types<R>>, RPCError<Types<R>>> {
        self.network.vote(request, option).await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<Types<R>>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types<R>>, RPCError<Types<R>>> {
        self.network.pre_vote(request, option).await
    }
}

impl<R: AsyncRuntime, D: Disk, W> NetSnapshot<Types<R>> for Way<D, W>
where
    W: NetSnapshot<Types<R>, SnapshotData = SnapshotData>,
{
    type SnapshotData = SnapshotData;

    async fn full_snapshot(
        &mut self,
        vote: VoteOf,
        snapshot: SnapshotOf,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<Types<R>>, StreamingError<Types<R>>> {
        self.network.full_snapshot(vote, snapshot, cancel, option).await
    }
}

impl<R: AsyncRuntime, D: Disk, W: NetTransferLeader<Types<R>>> NetTransferLeader<Types<R>> for Way<D, W> {
    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types<R>>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types<R>>, RPCError<Types<R>>> {
        self.network.transfer_leader(request, option).await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use openraft::impls::TokioRuntime;

    use super::*;
    use crate::consensus::codec::to_log_id;
    use crate::log::{Entry, EntryKind, LogId, LogOptions, MemoryDisk};

    /// A peer that takes whatever is sent to it, and answers nothing until the stream of requests ends.
    struct Silent;

    impl NetStreamAppend<Types<TokioRuntime>> for Silent {
        fn stream_append<'s, S>(
            &'s mut self,
            input: S,
            _option: RPCOption,
        ) -> BoxFuture<'s, Result<BoxStream<'s, Answer<TokioRuntime>>, RPCError<Types<TokioRuntime>>>>
        where
            S: Stream<Item = AppendEntriesRequest<Types<TokioRuntime>>> + OptionalSend + Unpin + 'static,
        {
            let answers = input.map(|request| Ok(Ok(request.prev_log_id)));
            async move { Ok(answers.boxed()) }.boxed()
        }
    }

    fn id(index: u64) -> LogId {
        LogId { term: 1, index }
    }

    fn request(after: u64) -> AppendEntriesRequest<Types<TokioRuntime>> {
        AppendEntriesRequest {
            vote: VoteOf::new_committed(1, 1),
            prev_log_id: Some(to_log_id(id(after))),
            entries: Vec::new(),
            leader_commit: None,
        }
    }

    async fn purged_to(index: u64) -> Log<MemoryDisk> {
        let log = Log::open::<TokioRuntime>(MemoryDisk::new(), LogOptions::default())
            .await
            .expect("opens");
        let entry = |index| Entry {
            id: id(index),
            kind: EntryKind::Requests,
            data: bytes::Bytes::from_static(b"x"),
        };
        log.append((0..20).map(entry).collect(), Box::new(|_| ()))
            .expect("taken");
        log.wait_durable(19).await.expect("durable");
        log.purge(id(index)).expect("purged");
        log
    }

    async fn answered(log: Option<Log<MemoryDisk>>, after: &[u64]) -> Vec<Result<Option<u64>, String>> {
        let mut way = Way {
            target: 7,
            log,
            network: Silent,
        };
        let requests: Vec<_> = after.iter().map(|after| request(*after)).collect();
        // Requests stay open, as openraft's do.
        let input =
            stream::iter(requests).chain(stream::pending().take_until(tokio::time::sleep(Duration::from_millis(1))));
        let option = RPCOption::new(Duration::from_secs(1));
        let answers = way.stream_append(Box::pin(input), option).await.expect("opens");
        answers
            .map(|answer| match answer {
                Ok(Ok(matched)) => Ok(matched.map(|matched| matched.index)),
                Ok(Err(refused)) => Err(refused.to_string()),
                Err(error) => Err(error.to_string()),
            })
            .collect()
            .await
    }

    #[tokio::test]
    async fn a_stream_ends_with_an_error_where_it_follows_on_what_was_purged() {
        let got = answered(Some(purged_to(10).await), &[12, 10, 9, 13]).await;
        assert_eq!(got[..2], [Ok(Some(12)), Ok(Some(10))]);
        assert_eq!(got.len(), 3, "nothing follows the error: {got:?}");
        let error = got[2].as_ref().expect_err("an error");
        assert!(
            error.contains("entry 9 is no longer in the log") && error.contains("member 7"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn requests_that_merely_end_are_answered_to_the_last() {
        assert_eq!(
            answered(Some(purged_to(10).await), &[10, 12]).await,
            [Ok(Some(10)), Ok(Some(12))]
        );
    }

    #[tokio::test]
    async fn heartbeats_may_follow_on_what_was_purged() {
        assert_eq!(answered(None, &[3]).await, [Ok(Some(3))]);
    }
}
