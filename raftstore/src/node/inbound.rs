//! What this member does with what peers send.

use std::io;
use std::sync::Arc;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use mvcc::{Backend, Installer, encode_answer};
use openraft::alias::SnapshotMetaOf;
use openraft::raft::{TransferLeaderRequest, VoteRequest};
use openraft::{AsyncRuntime, SnapshotMeta};
use proto::raft as wire;
use proto::raft::question::Question as Asked;
use proto::raft::reply::Reply as Replied;
use proto::raft::snapshot_part::Part;

use super::{Committed, Core, ask};
use crate::consensus::{
    SnapshotData, SnapshotOf, Types, append_reply, decode_membership, parse_append_request, parse_log_id, parse_vote,
    to_log_id, wire_log_id, wire_vote,
};
use crate::error::Error;
use crate::log::{Disk, LogId};
use crate::transport::{Inbound, Peers};

/// The receiving end of a member.
pub struct Receiver<R: AsyncRuntime, D: Disk, B: Backend, N: Peers<R>> {
    pub(super) core: Arc<Core<R, D, B, N>>,
}

fn invalid(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

impl<R: AsyncRuntime, D: Disk, B: Backend, N: Peers<R>> Inbound for Receiver<R, D, B, N> {
    fn append(
        &self,
        requests: BoxStream<'static, io::Result<wire::AppendRequest>>,
    ) -> BoxStream<'static, io::Result<wire::AppendReply>> {
        if let Err(error) = self.core.check_admitted() {
            return futures::stream::iter([Err(error)]).boxed();
        }
        let (core, replying, left) = (self.core.clone(), self.core.clone(), self.core.clone());
        // Heartbeats come each on a stream of its own, which says nothing when it ends.
        let mut heartbeat = true;
        let mut carried = 0_u64;
        // The first request that cannot be read ends the stream: what follows would leave a hole.
        let parsed = requests
            .map(|request| Some(request.and_then(parse_append_request::<R>)))
            .chain(futures::stream::once(async { None }))
            .take_while(move |request| {
                match request {
                    Some(Ok(request)) => {
                        carried += 1;
                        heartbeat = carried == 1 && request.entries.is_empty();
                    }
                    Some(Err(error)) => {
                        tracing::debug!(%error, "a stream of appends broke");
                        left.broken_off.notify_one();
                    }
                    None if !heartbeat => left.broken_off.notify_one(),
                    None => {}
                }
                futures::future::ready(matches!(request, Some(Ok(_))))
            })
            .filter_map(async |request| request?.ok())
            .inspect(move |_| core.hear());
        // A refused leader was heard, too. That is harmless: `current_leader` names only one that was accepted.
        let replies = replying.raft.stream_append(parsed);
        replies
            .map(|reply| match reply {
                Ok(result) => Ok(append_reply::<R>(result)),
                Err(fatal) => Err(io::Error::other(fatal.to_string())),
            })
            .boxed()
    }

    fn vote(&self, request: wire::VoteRequest) -> BoxFuture<'_, io::Result<wire::VoteReply>> {
        async move {
            self.core.check_admitted()?;
            let parsed = VoteRequest {
                vote: parse_vote(request.vote)?,
                last_log_id: parse_log_id(request.last),
                leadership_transfer: request.leadership_transfer,
            };
            let raft = &self.core.raft;
            let reply = if request.pre_vote {
                raft.pre_vote(parsed).await
            } else {
                raft.vote(parsed).await
            };
            let reply = reply.map_err(|error| io::Error::other(error.to_string()))?;
            let last = wire_log_id(reply.last_log_id.as_ref());
            Ok(wire::VoteReply {
                vote: wire_vote(&reply.vote),
                granted: reply.vote_granted,
                last,
            })
        }
        .boxed()
    }

    fn snapshot<'a>(
        &'a self,
        parts: BoxStream<'static, io::Result<wire::SnapshotPart>>,
    ) -> BoxFuture<'a, io::Result<wire::SnapshotReply>> {
        self.core.receive_snapshot(parts).boxed()
    }

    fn transfer_leader(
        &self,
        request: wire::TransferLeaderRequest,
    ) -> BoxFuture<'_, io::Result<wire::TransferLeaderReply>> {
        async move {
            self.core.check_admitted()?;
            let parsed = TransferLeaderRequest::new(parse_vote(request.from)?, request.to, parse_log_id(request.last));
            let outcome = self.core.raft.handle_transfer_leader(parsed).await;
            let refusal = match outcome.map_err(|error| io::Error::other(error.to_string()))? {
                Ok(()) => String::new(),
                Err(refusal) => refusal.to_string(),
            };
            Ok(wire::TransferLeaderReply { refusal })
        }
        .boxed()
    }

    fn ask(&self, question: wire::Question) -> BoxFuture<'_, wire::Reply> {
        async move {
            let deadline = self.core.deadline();
            match self.core.before(deadline, self.core.answer(question)).await {
                Ok(Ok(reply)) => wire::Reply { reply: Some(reply) },
                Ok(Err(error)) | Err(error) => ask::failure(&error),
            }
        }
        .boxed()
    }

    fn describe(&self) -> BoxFuture<'_, wire::Description> {
        self.core.describe().boxed()
    }
}

impl<R: AsyncRuntime, D: Disk, B: Backend, N: Peers<R>> Core<R, D, B, N> {
    async fn answer(&self, question: wire::Question) -> Result<Replied, Error> {
        match question.question {
            Some(Asked::Propose(request)) => {
                let Committed { answer, index } = self.commit_here(request).await?;
                Ok(Replied::Propose(wire::ProposeReply {
                    answer: Some(encode_answer(&answer)),
                    index,
                }))
            }
            Some(Asked::ReadIndex(_)) => {
                let index = self.read_index(true).await?;
                Ok(Replied::ReadIndex(wire::ReadIndexReply { index }))
            }
            Some(Asked::KeepAlive(asked)) => {
                Ok(Replied::KeepAlive(lease_time(self.keep_alive_here(asked.lease).await?)))
            }
            Some(Asked::TimeToLive(asked)) => Ok(Replied::TimeToLive(lease_time(
                self.time_to_live_here(asked.lease).await?,
            ))),
            Some(Asked::Claim(asked)) => Ok(Replied::Claim(self.take_claim(asked).await?)),
            Some(Asked::Member(asked)) => {
                let change = asked
                    .change
                    .ok_or_else(|| Error::fault("asked for no change of the membership"))?;
                Ok(Replied::Member(self.change_members_here(change).await?))
            }
            Some(Asked::Membership(_)) => Ok(Replied::Membership(self.current_membership().await)),
            None => Err(Error::fault("asked a question this version does not know")),
        }
    }

    /// Receives a snapshot beside the tables, then has Raft put it in their place.
    async fn receive_snapshot(
        &self,
        mut parts: BoxStream<'static, io::Result<wire::SnapshotPart>>,
    ) -> io::Result<wire::SnapshotReply> {
        self.check_admitted()?;
        let first = parts.next().await.ok_or_else(|| invalid("an empty snapshot"))??;
        let Some(Part::Header(header)) = first.part else {
            return Err(invalid("a snapshot that does not start with its header"));
        };
        self.hear();
        let vote = parse_vote(header.vote)?;
        let last_membership = decode_membership(&header.membership)?;
        let meta = SnapshotMeta {
            last_log_id: parse_log_id(header.last),
            last_membership,
        };
        let backend = self.reader.backend().clone();
        let mut installer = self
            .log
            .offload(move || backend.installer().map_err(io::Error::other))
            .await?;
        while let Some(part) = parts.next().await {
            let Some(Part::Chunk(chunk)) = part?.part else {
                return Err(invalid("a snapshot with two headers"));
            };
            check(&chunk, installer.received())?;
            installer = self.log.offload(move || write(installer, &chunk)).await?;
            self.hear();
        }
        if installer.received() != header.length {
            let got = installer.received();
            return Err(invalid(format!(
                "a snapshot that ended at byte {got} of {}",
                header.length
            )));
        }
        let installer = self.check_snapshot(installer, &meta).await?;
        let snapshot = SnapshotOf {
            meta,
            snapshot: SnapshotData::Incoming(installer),
        };
        let installed = self.raft.install_full_snapshot(vote, snapshot).await;
        let installed = installed.map_err(|error| io::Error::other(error.to_string()))?;
        Ok(wire::SnapshotReply {
            vote: wire_vote(&installed.vote),
        })
    }

    /// Reads back what was received while the tables in use are still there: once Raft has it, damage would end this member,
    /// and what it had would be gone.
    async fn check_snapshot(
        &self,
        installer: Box<dyn Installer>,
        meta: &SnapshotMetaOf<Types<R>>,
    ) -> io::Result<Box<dyn Installer>> {
        let checked = self.log.offload(move || {
            let held = installer.check().map_err(io::Error::other)?;
            Ok((installer, held))
        });
        let refused = match checked.await {
            Ok((installer, held)) => {
                let held = held.map(|id| {
                    to_log_id(LogId {
                        term: id.term,
                        index: id.index,
                    })
                });
                if held == meta.last_log_id {
                    return Ok(installer);
                }
                invalid(format!("it holds {held:?} and not {:?}", meta.last_log_id))
            }
            Err(error) => error,
        };
        tracing::warn!(error = %refused, "refused a snapshot that is damaged; the leader sends it again");
        Err(refused)
    }
}

fn check(chunk: &wire::SnapshotChunk, expected: u64) -> io::Result<()> {
    if chunk.offset != expected {
        return Err(invalid(format!(
            "a snapshot chunk at byte {} where {expected} was expected",
            chunk.offset
        )));
    }
    if crc32fast::hash(&chunk.data) != chunk.checksum {
        return Err(invalid(format!(
            "the snapshot chunk at byte {} was damaged on its way",
            chunk.offset
        )));
    }
    Ok(())
}

fn write(mut installer: Box<dyn Installer>, chunk: &wire::SnapshotChunk) -> io::Result<Box<dyn Installer>> {
    installer.write(&chunk.data).map_err(io::Error::other)?;
    Ok(installer)
}

fn lease_time(time: Option<crate::engine::LeaseTime>) -> wire::LeaseTimeReply {
    time.map_or_else(wire::LeaseTimeReply::default, |time| wire::LeaseTimeReply {
        found: true,
        granted_s: time.granted_s,
        remaining_s: time.remaining_s,
    })
}
