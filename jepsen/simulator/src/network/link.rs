//! What openraft says to one peer.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, Stream, StreamExt, stream};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{Backoff, RPCOption};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::vote::leader_id_std::CommittedLeaderId;
use openraft::{OptionalSend, RaftNetworkV2, Snapshot};
use proto::raft as wire;
use proto::raft::snapshot_part::Part;
use raftstore::consensus::{
    Peer, SnapshotData, Types, VoteOf, append_request, encode_membership, parse_append_reply, parse_log_id, parse_vote,
    wire_log_id, wire_vote,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::peers::BACKOFF;
use super::{Broken, Door, Network, SILENCE_MAX};
use crate::executor;
use crate::runtime::{Simulated, timeout};

type RaftTypes = Types<Simulated>;
type RpcError = RPCError<RaftTypes>;

/// A way to one peer.
pub struct Link {
    network: Arc<Network>,
    from: u64,
    to: u64,
}

/// Bytes of a snapshot in one message: small, so that there are several.
const CHUNK_BYTES: usize = 4_096;
/// After a stream could not be opened.
const PAUSE: Duration = Duration::from_millis(40);
/// How often a stream looks whether its peer is silent.
const KEEP_ALIVE: Duration = Duration::from_millis(1_000);

fn network_error(text: impl std::fmt::Display) -> RpcError {
    RPCError::Network(NetworkError::from_string(text))
}

fn unreachable(text: impl std::fmt::Display) -> RpcError {
    RPCError::Unreachable(Unreachable::from_string(text))
}

impl From<Broken> for RpcError {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::NotSent => unreachable("not sent"),
            Broken::Unanswered => network_error("no answer"),
        }
    }
}

impl Link {
    /// The way from one member to another.
    pub fn new(network: Arc<Network>, from: u64, to: u64) -> Self {
        Self { network, from, to }
    }

    async fn ask_vote(
        &self,
        request: VoteRequest<RaftTypes>,
        pre_vote: bool,
        option: &RPCOption,
    ) -> Result<VoteResponse<RaftTypes>, RpcError> {
        let message = wire::VoteRequest {
            vote: wire_vote(&request.vote),
            last: wire_log_id(request.last_log_id.as_ref()),
            leadership_transfer: request.leadership_transfer,
            pre_vote,
        };
        let Self { network, from, to } = self;
        if let Some(later) = network.draw_repeated() {
            drop(executor::spawn(self.vote_later(message, later)));
        }
        let sent = network.call(*from, *to, |inbound| async move { inbound.vote(message).await }.boxed());
        let reply = timeout(option.soft_ttl(), sent)
            .await
            .map_err(|_| network_error("no answer in time"))??
            .map_err(network_error)?;
        network.monitor.vote_answered(*from, *to, pre_vote, &message, &reply);
        let vote = parse_vote(reply.vote).map_err(network_error)?;
        Ok(VoteResponse::new(vote, parse_log_id(reply.last), reply.granted))
    }

    /// A copy of a request that comes late; nobody reads the answer.
    fn vote_later(&self, message: wire::VoteRequest, later: Duration) -> impl Future<Output = ()> + Send + 'static {
        let (network, from, to) = (self.network.clone(), self.from, self.to);
        async move {
            executor::sleep(later).await;
            let sent = network.call(from, to, |inbound| async move { inbound.vote(message).await }.boxed());
            if let Ok(Ok(reply)) = sent.await {
                network
                    .monitor
                    .vote_answered(from, to, message.pre_vote, &message, &reply);
            }
        }
    }

    async fn open(&self) -> Result<Door, RpcError> {
        let Self { network, from, to } = self;
        let door = if network.travel(*from, *to).await {
            network.door(*to)
        } else {
            None
        };
        match door {
            Some(door) => Ok(door),
            None => {
                executor::sleep(PAUSE).await;
                Err(unreachable("no stream can be opened"))
            }
        }
    }
}

/// One message on its way, and when it arrives at the earliest.
type Sent<T> = (u64, T);

/// One direction of a connection: in order, each message after its own latency.
struct Lane<T> {
    network: Arc<Network>,
    messages: mpsc::UnboundedSender<Sent<T>>,
    last: u64,
}

impl<T> Lane<T> {
    /// False once nobody receives.
    fn send(&mut self, message: T) -> bool {
        let arrives = executor::now() + self.network.draw_latency().as_nanos() as u64;
        self.last = self.last.max(arrives);
        self.messages.send((self.last, message)).is_ok()
    }
}

fn lane<T>(network: Arc<Network>) -> (Lane<T>, mpsc::UnboundedReceiver<Sent<T>>) {
    let (messages, received) = mpsc::unbounded_channel();
    let lane = Lane {
        network,
        messages,
        last: 0,
    };
    (lane, received)
}

/// The next message of a lane once it arrives; `None` when the connection is gone.
async fn arrive<T>(
    network: &Network,
    from: u64,
    to: u64,
    received: &mut mpsc::UnboundedReceiver<Sent<T>>,
) -> Option<T> {
    let (arrives, message) = received.recv().await?;
    let wait = arrives.saturating_sub(executor::now());
    executor::sleep(Duration::from_nanos(wait)).await;
    (!network.draw_lost() && network.passable(from, to).await).then_some(message)
}

enum Frame {
    Reply(io::Result<wire::AppendReply>),
    End,
}

/// The sending end, in the caller's process.
async fn pump(
    mut input: impl Stream<Item = AppendEntriesRequest<RaftTypes>> + Send + Unpin,
    mut lane: Lane<wire::AppendRequest>,
    (from, to): (u64, u64),
    hung_up: CancellationToken,
) {
    while let Some(Some(request)) = hung_up.run_until_cancelled(input.next()).await {
        let Ok(request) = append_request(request) else { return };
        lane.network.monitor.append_sent(from, to, &request);
        if !lane.send(request) {
            return;
        }
    }
}

/// The receiving end, in the peer's process.
async fn serve(
    network: Arc<Network>,
    door: Door,
    (from, to): (u64, u64),
    received: mpsc::UnboundedReceiver<Sent<wire::AppendRequest>>,
    mut replies: Lane<Frame>,
) {
    let (repeating, again) = (network.clone(), door.clone());
    let requests = stream::unfold((network, received), move |(network, mut received)| async move {
        match arrive(&network, from, to, &mut received).await {
            Some(request) => Some((Ok(request), (network, received))),
            // A process that ends takes its connections with it, which is another end than that of what was to be said.
            None if network.door(from).is_none() => {
                received.close();
                Some((Err(io::ErrorKind::ConnectionReset.into()), (network, received)))
            }
            None => None,
        }
    })
    .inspect(move |request: &io::Result<wire::AppendRequest>| {
        if let (Ok(request), Some(later)) = (request, repeating.draw_repeated()) {
            repeat(again.clone(), request.clone(), later);
        }
    });
    let mut answers = door.inbound.append(requests.boxed());
    while let Some(answer) = answers.next().await {
        if !replies.send(Frame::Reply(answer)) {
            return;
        }
    }
    replies.send(Frame::End);
}

/// Delivers a request once more, on its own, as from a connection that was given up.
fn repeat(door: Door, request: wire::AppendRequest, later: Duration) {
    let Door { process, inbound } = door;
    drop(executor::spawn_in(process, async move {
        executor::sleep(later).await;
        let mut answers = inbound.append(stream::iter([Ok(request)]).boxed());
        while answers.next().await.is_some() {}
    }));
}

/// The caller's view of the answers.
struct Answers {
    network: Arc<Network>,
    way: (u64, u64),
    received: mpsc::UnboundedReceiver<Sent<Frame>>,
    silent: Duration,
    over: bool,
    /// Ends the pump when the caller lets go.
    _hang_up: tokio_util::sync::DropGuard,
}

impl Answers {
    async fn next(&mut self) -> Option<Result<wire::AppendReply, RpcError>> {
        if self.over {
            return None;
        }
        let (from, to) = self.way;
        let frame = loop {
            match timeout(KEEP_ALIVE, self.received.recv()).await {
                Ok(frame) => break frame,
                Err(_) if self.network.is_silent(from, to) => self.silent += KEEP_ALIVE,
                Err(_) => self.silent = Duration::ZERO,
            }
            if self.silent >= SILENCE_MAX {
                self.over = true;
                return Some(Err(unreachable("the connection is silent")));
            }
        };
        self.silent = Duration::ZERO;
        let Some((arrives, frame)) = frame else {
            self.over = true;
            return Some(Err(unreachable("the connection is gone")));
        };
        executor::sleep(Duration::from_nanos(arrives.saturating_sub(executor::now()))).await;
        if !self.network.passable(to, from).await {
            self.over = true;
            return Some(Err(network_error("the answer was lost")));
        }
        match frame {
            Frame::Reply(reply) => {
                self.over = reply.is_err();
                Some(reply.map_err(network_error))
            }
            Frame::End => None,
        }
    }
}

impl RaftNetworkV2<RaftTypes> for Link {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<RaftTypes>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<RaftTypes>, RpcError> {
        let input = stream::iter([request]);
        let mut replies = RaftNetworkV2::<RaftTypes>::stream_append(self, input, option).await?;
        match replies.next().await {
            Some(result) => Ok(result?.into()),
            None => Err(network_error("the peer ended the stream without an answer")),
        }
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        _option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, Result<StreamAppendResult<RaftTypes>, RpcError>>, RpcError>>
    where
        S: Stream<Item = AppendEntriesRequest<RaftTypes>> + OptionalSend + Unpin + 'static,
    {
        async move {
            let door = self.open().await?;
            let (network, way) = (self.network.clone(), (self.from, self.to));
            let (requests, incoming) = lane(network.clone());
            let (replies, received) = lane(network.clone());
            let hung_up = CancellationToken::new();
            drop(executor::spawn(pump(input, requests, way, hung_up.clone())));
            let process = door.process;
            drop(executor::spawn_in(
                process,
                serve(network.clone(), door, way, incoming, replies),
            ));
            let answers = Answers {
                network,
                way,
                received,
                silent: Duration::ZERO,
                over: false,
                _hang_up: hung_up.drop_guard(),
            };
            let replies = stream::unfold(answers, |mut answers| async move {
                let answer = answers.next().await?;
                let parsed = answer.and_then(|reply| parse_append_reply::<Simulated>(reply).map_err(network_error));
                Some((parsed, answers))
            });
            Ok(replies.boxed())
        }
        .boxed()
    }

    async fn vote(
        &mut self,
        request: VoteRequest<RaftTypes>,
        option: RPCOption,
    ) -> Result<VoteResponse<RaftTypes>, RpcError> {
        self.ask_vote(request, false, &option).await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<RaftTypes>,
        option: RPCOption,
    ) -> Result<VoteResponse<RaftTypes>, RpcError> {
        self.ask_vote(request, true, &option).await
    }

    async fn full_snapshot(
        &mut self,
        vote: VoteOf,
        snapshot: Snapshot<CommittedLeaderId<u64>, u64, Peer, SnapshotData>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<RaftTypes>, StreamingError<RaftTypes>> {
        let parts = parts(&vote, &snapshot).map_err(|error| StreamingError::Network(NetworkError::new(&error)))?;
        let network = self.network.clone();
        let (from, to) = (self.from, self.to);
        let slow = stream::iter(parts).then(move |part| {
            let network = network.clone();
            async move {
                match network.travel(from, to).await {
                    true => Ok(part),
                    false => Err(io::Error::other("the connection broke")),
                }
            }
        });
        let sent = self.network.call(from, to, |inbound| {
            async move { inbound.snapshot(slow.boxed()).await }.boxed()
        });
        tokio::select! {
            biased;
            closed = cancel => Err(StreamingError::Closed(closed)),
            reply = sent => {
                let reply = reply.map_err(RpcError::from)?.map_err(network_error)?;
                let vote = parse_vote(reply.vote).map_err(network_error)?;
                Ok(SnapshotResponse::new(vote))
            }
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<RaftTypes>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<RaftTypes>, RpcError> {
        let message = wire::TransferLeaderRequest {
            from: wire_vote(request.from_leader()),
            to: *request.to_node_id(),
            last: wire_log_id(request.last_log_id()),
        };
        let sent = self.network.call(self.from, self.to, |inbound| {
            async move { inbound.transfer_leader(message).await }.boxed()
        });
        let reply = timeout(option.soft_ttl(), sent)
            .await
            .map_err(|_| network_error("no answer in time"))??
            .map_err(network_error)?;
        if reply.refusal.is_empty() {
            Ok(Ok(()))
        } else {
            Err(network_error(reply.refusal))
        }
    }

    fn backoff(&self) -> Option<Backoff> {
        let longest = BACKOFF[BACKOFF.len() - 1];
        Some(Backoff::new(BACKOFF.into_iter().chain(std::iter::repeat(longest))))
    }
}

/// A snapshot as messages.
fn parts(
    vote: &VoteOf,
    snapshot: &Snapshot<CommittedLeaderId<u64>, u64, Peer, SnapshotData>,
) -> io::Result<Vec<wire::SnapshotPart>> {
    let SnapshotData::Outgoing(checkpoint) = &snapshot.snapshot else {
        return Err(io::Error::other("the snapshot has no content to send"));
    };
    checkpoint.check().map_err(io::Error::other)?;
    let header = wire::SnapshotHeader {
        vote: wire_vote(vote),
        last: wire_log_id(snapshot.meta.last_log_id.as_ref()),
        membership: encode_membership(&snapshot.meta.last_membership)?,
        length: checkpoint.len(),
    };
    let mut parts = vec![Part::Header(header)];
    let mut offset = 0;
    while offset < checkpoint.len() {
        let data = checkpoint.read_at(offset, CHUNK_BYTES).map_err(io::Error::other)?;
        if data.is_empty() {
            return Err(io::Error::other("the checkpoint ended early"));
        }
        let length = data.len() as u64;
        parts.push(Part::Chunk(wire::SnapshotChunk {
            offset,
            checksum: crc32fast::hash(&data),
            data,
        }));
        offset += length;
    }
    Ok(parts
        .into_iter()
        .map(|part| wire::SnapshotPart { part: Some(part) })
        .collect())
}
