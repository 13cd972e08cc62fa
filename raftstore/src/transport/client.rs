//! Calling peers over gRPC.

use std::collections::{HashMap, VecDeque};
use std::error::Error as _;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, Stream, StreamExt};
use mvcc::Checkpoint;
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{Backoff, RPCOption};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{AsyncRuntime, OptionalSend, RaftNetworkFactory, RaftNetworkV2, Snapshot};
use parking_lot::Mutex;
use proto::raft as wire;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataValue;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Request, Status};

use super::connect::{Tls, channel, refuses};
use super::generated::transport_client::TransportClient;
use super::{AskError, CLUSTER_HEADER, Identity, MEMBER_HEADER, Peers};
use crate::consensus::{
    Peer, SnapshotData, Types, VoteOf, append_request, encode_membership, parse_append_reply, parse_log_id, parse_vote,
    wire_log_id, wire_vote,
};
use crate::limits::{ASK_TIMEOUT, MESSAGE_BYTES, SNAPSHOT_CHUNK_BYTES, SNAPSHOT_CHUNKS_IN_FLIGHT};
use crate::metrics::Metrics;

type Client = TransportClient<InterceptedService<Channel, Address>>;

/// Calls peers over gRPC: one connection a peer, shared by everything that is said to it.
#[derive(Clone)]
pub struct Dialer {
    shared: Arc<Shared>,
}

struct Shared {
    identity: Identity,
    tls: Option<Tls>,
    metrics: Arc<Metrics>,
    channels: Mutex<HashMap<u64, (String, Channel)>>,
    /// Where peers are reached now, by the membership.
    known: Mutex<HashMap<u64, Peer>>,
}

/// Writes on every call whom it is meant for.
#[derive(Clone)]
pub struct Address {
    cluster: u64,
    member: u64,
}

impl Interceptor for Address {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        for (header, value) in [(CLUSTER_HEADER, self.cluster), (MEMBER_HEADER, self.member)] {
            let value =
                MetadataValue::try_from(format!("{value:x}")).map_err(|error| Status::internal(error.to_string()))?;
            request.metadata_mut().insert(header, value);
        }
        Ok(request)
    }
}

impl Dialer {
    /// A dialer of the member `identity`.
    pub fn new(identity: Identity, tls: Option<Tls>, metrics: Arc<Metrics>) -> Self {
        Self {
            shared: Arc::new(Shared {
                identity,
                tls,
                metrics,
                channels: Mutex::new(HashMap::new()),
                known: Mutex::new(HashMap::new()),
            }),
        }
    }

    /// Where a peer is reached now.
    fn url(&self, target: u64, peer: &Peer) -> Option<String> {
        let known = self.shared.known.lock().get(&target).cloned();
        known.as_ref().unwrap_or(peer).peer_urls.first().cloned()
    }

    fn client(&self, target: u64, peer: &Peer) -> Result<Client, String> {
        let url = self.url(target, peer);
        let url = url.ok_or_else(|| format!("member {target:x} has no peer url"))?;
        let mut channels = self.shared.channels.lock();
        let channel = match channels.get(&target) {
            Some((known, channel)) if *known == url => channel.clone(),
            _ => {
                let channel = channel(&url, self.shared.tls.as_ref().map(|tls| tls.client.clone()))?;
                channels.insert(target, (url, channel.clone()));
                channel
            }
        };
        let address = Address {
            cluster: self.shared.identity.cluster,
            member: target,
        };
        Ok(TransportClient::with_interceptor(channel, address)
            .max_decoding_message_size(MESSAGE_BYTES)
            .max_encoding_message_size(MESSAGE_BYTES))
    }
}

impl<R: AsyncRuntime> Peers<R> for Dialer {
    fn refuses(&self, target: u64, peer: &Peer) -> BoxFuture<'static, bool> {
        let url = self.url(target, peer);
        async move {
            match url {
                Some(url) => refuses(&url).await,
                None => false,
            }
        }
        .boxed()
    }

    fn learn(&self, target: u64, peer: &Peer) {
        self.shared.known.lock().insert(target, peer.clone());
    }

    fn ask(
        &self,
        member: u64,
        peer: &Peer,
        question: wire::Question,
    ) -> BoxFuture<'static, Result<wire::Reply, AskError>> {
        let client = self.client(member, peer);
        async move {
            let mut client = client.map_err(|reason| AskError::NotSent { member, reason })?;
            match tokio::time::timeout(ASK_TIMEOUT, client.ask(question)).await {
                Ok(Ok(reply)) => Ok(reply.into_inner()),
                Ok(Err(status)) if never_sent(&status) => Err(AskError::NotSent {
                    member,
                    reason: status.message().to_owned(),
                }),
                Ok(Err(status)) => Err(AskError::Unanswered {
                    member,
                    reason: status.to_string(),
                }),
                Err(_) => Err(AskError::Unanswered {
                    member,
                    reason: format!("no answer within {ASK_TIMEOUT:?}"),
                }),
            }
        }
        .boxed()
    }
}

/// Whether a call failed before anything of it was sent, or was refused at the door.
fn never_sent(status: &Status) -> bool {
    let mut cause = status.source();
    while let Some(error) = cause {
        if error.is::<tonic::ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    status.code() == tonic::Code::FailedPrecondition
}

impl<R: AsyncRuntime> RaftNetworkFactory<Types<R>> for Dialer {
    type Network = Link;

    async fn new_client(&mut self, target: u64, node: &Peer) -> Link {
        Link {
            target,
            peer: node.clone(),
            dialer: self.clone(),
            failures: 0,
        }
    }
}

/// A way to one peer.
pub struct Link {
    target: u64,
    /// Where it was reached when the link was made.
    peer: Peer,
    dialer: Dialer,
    /// Streams in a row that could not be opened.
    failures: u32,
}

/// The first pause after a stream could not be opened; it doubles from there.
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_DOUBLINGS: u32 = 8;
/// The longest: a peer that restarts must be found again well within an election.
const PAUSE_MAX: Duration = Duration::from_millis(160);

impl Link {
    fn client<R: AsyncRuntime>(&self) -> Result<Client, RPCError<Types<R>>> {
        let client = self.dialer.client(self.target, &self.peer);
        client.map_err(|reason| RPCError::Unreachable(Unreachable::from_string(reason)))
    }
}

fn rpc_error<R: AsyncRuntime>(target: u64, status: &Status) -> RPCError<Types<R>> {
    let text = format!("member {target:x}: {status}");
    match status.code() {
        tonic::Code::Unavailable | tonic::Code::FailedPrecondition => {
            RPCError::Unreachable(Unreachable::from_string(text))
        }
        _ => RPCError::Network(NetworkError::from_string(text)),
    }
}

fn network_error<R: AsyncRuntime>(error: &io::Error) -> RPCError<Types<R>> {
    RPCError::Network(NetworkError::new(error))
}

async fn within<R: AsyncRuntime, T>(
    target: u64,
    limit: Duration,
    call: impl Future<Output = Result<tonic::Response<T>, Status>>,
) -> Result<T, RPCError<Types<R>>> {
    match tokio::time::timeout(limit, call).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(rpc_error(target, &status)),
        Err(_) => {
            let text = format!("member {target:x} did not answer within {limit:?}");
            Err(RPCError::Network(NetworkError::from_string(text)))
        }
    }
}

impl<R: AsyncRuntime> RaftNetworkV2<Types<R>> for Link {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types<R>>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types<R>>, RPCError<Types<R>>> {
        let input = futures::stream::iter([request]);
        let mut replies = RaftNetworkV2::<Types<R>>::stream_append(self, input, option).await?;
        match replies.next().await {
            Some(result) => Ok(result?.into()),
            None => Err(RPCError::Network(NetworkError::from_string(
                "the peer ended the stream without an answer",
            ))),
        }
    }

    /// One stream for all requests of a session: the next is sent while earlier ones are unanswered. A peer that goes
    /// silent is noticed by the connection's keep-alive.
    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        _option: RPCOption,
    ) -> BoxFuture<
        's,
        Result<BoxStream<'s, Result<StreamAppendResult<Types<R>>, RPCError<Types<R>>>>, RPCError<Types<R>>>,
    >
    where
        S: Stream<Item = AppendEntriesRequest<Types<R>>> + OptionalSend + Unpin + 'static,
    {
        let target = self.target;
        async move {
            let mut client = self.client::<R>()?;
            // Answers come in the order of the requests.
            let sent = Arc::new(Mutex::new(VecDeque::new()));
            let answered = (sent.clone(), self.dialer.shared.metrics.round_trip(target));
            let requests = input.filter_map(move |request| {
                let request = match append_request(request) {
                    Ok(request) => {
                        sent.lock().push_back(Instant::now());
                        Some(request)
                    }
                    Err(error) => {
                        tracing::error!(%error, "an append could not be encoded");
                        None
                    }
                };
                std::future::ready(request)
            });
            let replies = match client.append(requests).await {
                Ok(replies) => replies.into_inner(),
                Err(status) => {
                    if self.failures == 0 {
                        tracing::warn!(
                            member = format!("{target:x}"),
                            reason = status.message(),
                            "cannot replicate to a member, trying on"
                        );
                    }
                    // openraft's own backoff only slows a stream that was opened.
                    self.pause().await;
                    return Err(rpc_error::<R>(target, &status));
                }
            };
            if self.failures > 0 {
                tracing::info!(member = format!("{target:x}"), "a member takes the log again");
                self.failures = 0;
            }
            let parse = move |reply: Result<wire::AppendReply, Status>| match reply {
                Ok(reply) => {
                    let (sent, round_trip) = &answered;
                    if let Some(sent) = sent.lock().pop_front() {
                        round_trip.observe(sent.elapsed());
                    }
                    parse_append_reply::<R>(reply).map_err(|error| network_error(&error))
                }
                Err(status) => Err(rpc_error(target, &status)),
            };
            Ok(replies.map(parse).boxed())
        }
        .boxed()
    }

    async fn vote(
        &mut self,
        request: VoteRequest<Types<R>>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types<R>>, RPCError<Types<R>>> {
        self.ask_vote(request, false, option).await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<Types<R>>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types<R>>, RPCError<Types<R>>> {
        self.ask_vote(request, true, option).await
    }

    async fn full_snapshot(
        &mut self,
        vote: VoteOf,
        snapshot: Snapshot<openraft::vote::leader_id_std::CommittedLeaderId<u64>, u64, Peer, SnapshotData>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types<R>>, StreamingError<Types<R>>> {
        let mut client = self.client::<R>()?;
        let SnapshotData::Outgoing(checkpoint) = snapshot.snapshot else {
            return Err(StreamingError::Network(NetworkError::from_string(
                "the snapshot has no content to send",
            )));
        };
        let membership = encode_membership(&snapshot.meta.last_membership);
        let header = wire::SnapshotHeader {
            vote: wire_vote(&vote),
            last: wire_log_id(snapshot.meta.last_log_id.as_ref()),
            membership: membership.map_err(|error| StreamingError::Network(NetworkError::new(&error)))?,
            length: checkpoint.len(),
        };
        let (parts, outgoing) = mpsc::channel(SNAPSHOT_CHUNKS_IN_FLIGHT);
        let reader = tokio::task::spawn_blocking(move || send_parts(&*checkpoint, header, &parts));
        let sent = client.snapshot(ReceiverStream::new(outgoing));
        let target = self.target;
        tokio::select! {
            closed = cancel => Err(StreamingError::Closed(closed)),
            reply = sent => {
                if let Ok(Err(error)) = reader.await {
                    return Err(StreamingError::Network(NetworkError::new(&error)));
                }
                let reply = reply.map_err(|status| rpc_error::<R>(target, &status))?.into_inner();
                let vote = parse_vote(reply.vote).map_err(|error| StreamingError::Network(NetworkError::new(&error)))?;
                Ok(SnapshotResponse::new(vote))
            }
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types<R>>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types<R>>, RPCError<Types<R>>> {
        let mut client = self.client::<R>()?;
        let message = wire::TransferLeaderRequest {
            from: wire_vote(request.from_leader()),
            to: *request.to_node_id(),
            last: wire_log_id(request.last_log_id()),
        };
        let reply = within::<R, _>(self.target, option.soft_ttl(), client.transfer_leader(message)).await?;
        if reply.refusal.is_empty() {
            return Ok(Ok(()));
        }
        Err(RPCError::Network(NetworkError::from_string(reply.refusal)))
    }

    fn backoff(&self) -> Option<Backoff> {
        // Short: a peer that restarts must be found again well within an election.
        const STEPS_MS: [u64; 4] = [20, 50, 100, 200];
        let longest = STEPS_MS[STEPS_MS.len() - 1];
        let steps = STEPS_MS.into_iter().chain(std::iter::repeat(longest));
        Some(Backoff::new(steps.map(Duration::from_millis)))
    }
}

impl Link {
    async fn pause(&mut self) {
        let pause = PAUSE_MIN * (1 << self.failures.min(PAUSE_DOUBLINGS));
        self.failures = self.failures.saturating_add(1);
        tokio::time::sleep(pause.min(PAUSE_MAX)).await;
    }

    async fn ask_vote<R: AsyncRuntime>(
        &mut self,
        request: VoteRequest<Types<R>>,
        pre_vote: bool,
        option: RPCOption,
    ) -> Result<VoteResponse<Types<R>>, RPCError<Types<R>>> {
        let mut client = self.client::<R>()?;
        let message = wire::VoteRequest {
            vote: wire_vote(&request.vote),
            last: wire_log_id(request.last_log_id.as_ref()),
            leadership_transfer: request.leadership_transfer,
            pre_vote,
        };
        let reply = within::<R, _>(self.target, option.soft_ttl(), client.vote(message)).await?;
        let vote = parse_vote(reply.vote).map_err(|error| network_error(&error))?;
        Ok(VoteResponse::new(vote, parse_log_id(reply.last), reply.granted))
    }
}

/// Reads a checkpoint and queues its parts; the queue's length holds the reader back. Nothing is sent of a damaged one.
fn send_parts(
    checkpoint: &dyn Checkpoint,
    header: wire::SnapshotHeader,
    parts: &mpsc::Sender<wire::SnapshotPart>,
) -> io::Result<()> {
    use wire::snapshot_part::Part;
    let queue = |part| parts.blocking_send(wire::SnapshotPart { part: Some(part) }).is_ok();
    checkpoint.check().map_err(io::Error::other)?;
    let length = header.length;
    let mut open = queue(Part::Header(header));
    let mut offset = 0;
    while open && offset < length {
        let data = checkpoint
            .read_at(offset, SNAPSHOT_CHUNK_BYTES)
            .map_err(io::Error::other)?;
        if data.is_empty() {
            return Err(io::Error::other(format!(
                "the checkpoint ended at byte {offset} of {length}"
            )));
        }
        let size = data.len() as u64;
        open = queue(Part::Chunk(wire::SnapshotChunk {
            offset,
            checksum: crc32fast::hash(&data),
            data,
        }));
        offset += size;
    }
    Ok(())
}
