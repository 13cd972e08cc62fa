//! Asking the leader, wherever it is.

use mvcc::{Backend, Response, decode_answer};
use openraft::async_runtime::watch::WatchReceiver;
use openraft::{AsyncRuntime, ServerState};
use proto::raft::failure::Kind;
use proto::raft::question::Question as Asked;
use proto::raft::reply::Reply as Replied;
use proto::raft::{Failure, Question, ReadIndexQuestion, Reply, Request};

use super::{Committed, Core};
use crate::consensus::Peer;
use crate::error::{Error, MembershipRefusal};
use crate::limits::LEADER_RETRY;
use crate::log::Disk;
use crate::transport::{AskError, Peers};

/// A failure as it crosses the wire.
pub fn failure(error: &Error) -> Reply {
    let (kind, bytes, limit) = match error {
        Error::NoLeader | Error::NotLeader => (Kind::NotLeader, 0, 0),
        Error::TooManyRequests => (Kind::TooManyRequests, 0, 0),
        Error::RequestTooLarge { bytes, limit } => (Kind::RequestTooLarge, *bytes as u64, *limit as u64),
        Error::LeaderChanged => (Kind::LeaderChanged, 0, 0),
        Error::Timeout => (Kind::Timeout, 0, 0),
        Error::Stopped => (Kind::Stopped, 0, 0),
        Error::Membership(_) => (Kind::Membership, 0, 0),
        Error::Refused(_) | Error::BadMember { .. } | Error::Fault(_) => (Kind::Fault, 0, 0),
    };
    let failure = Failure {
        kind: kind.into(),
        detail: error.to_string(),
        bytes,
        limit,
        membership: match error {
            Error::Membership(refusal) => refusal.code(),
            _ => 0,
        },
    };
    Reply {
        reply: Some(Replied::Failure(failure)),
    }
}

/// What a peer's failure means here: its faults and its end are not ours.
fn from_failure(failure: &Failure) -> Error {
    match failure.kind() {
        Kind::NotLeader => Error::NotLeader,
        Kind::TooManyRequests => Error::TooManyRequests,
        Kind::RequestTooLarge => Error::RequestTooLarge {
            bytes: failure.bytes as usize,
            limit: failure.limit as usize,
        },
        Kind::Membership => match MembershipRefusal::from_code(failure.membership) {
            Some(refusal) => refusal.into(),
            None => Error::fault(&failure.detail),
        },
        Kind::LeaderChanged | Kind::Stopped | Kind::Fault => Error::LeaderChanged,
        Kind::Timeout => Error::Timeout,
    }
}

impl<R: AsyncRuntime, D: Disk, B: Backend, N: Peers<R>> Core<R, D, B, N> {
    /// Has a request committed, here or through the leader, and applied here.
    ///
    /// Tries again only where the request certainly was not proposed.
    pub(super) async fn commit(&self, request: Request) -> Result<Response, Error> {
        let deadline = self.deadline();
        loop {
            let attempt = async {
                match self.leader() {
                    Some((leader, _)) if leader == self.options.id => self.commit_here(request.clone()).await,
                    Some((leader, peer)) => self.commit_at(leader, &peer, request.clone()).await,
                    None => Err(Error::NoLeader),
                }
            };
            match self.before(deadline, attempt).await? {
                Ok(Committed { answer, index }) => {
                    // It is committed either way; a deadline that passes now must not turn it into a failure.
                    let _ = self.wait_applied(index, deadline).await;
                    return Ok(answer?);
                }
                Err(Error::NotLeader | Error::NoLeader) if self.pause(LEADER_RETRY, deadline).await => {}
                Err(Error::NotLeader) => return Err(Error::NoLeader),
                Err(error) => return Err(error),
            }
        }
    }

    /// Has a request committed by this member, which has to lead.
    pub(super) async fn commit_here(&self, request: Request) -> Result<Committed, Error> {
        self.proposals
            .submit(request)?
            .await
            .map_err(|_| self.stopped_error())?
    }

    async fn commit_at(&self, leader: u64, peer: &Peer, request: Request) -> Result<Committed, Error> {
        let reply = match self.question(leader, peer, Asked::Propose(request)).await? {
            Replied::Propose(reply) => reply,
            other => return Err(unexpected(&other)),
        };
        let answer = reply.answer.and_then(decode_answer);
        let answer = answer.ok_or_else(|| Error::fault("the leader gave an answer this version does not know"))?;
        Ok(Committed {
            answer,
            index: reply.index,
        })
    }

    /// Asks the leader which entry a read must have seen.
    pub(super) async fn index_from_leader(&self) -> Result<u64, Error> {
        let (leader, peer) = self
            .leader()
            .filter(|(leader, _)| *leader != self.options.id)
            .ok_or(Error::NoLeader)?;
        match self
            .question(leader, &peer, Asked::ReadIndex(ReadIndexQuestion {}))
            .await
        {
            Ok(Replied::ReadIndex(reply)) => Ok(reply.index),
            Ok(other) => Err(unexpected(&other)),
            // A read has no effect: whatever went wrong, asking again is safe.
            Err(Error::LeaderChanged | Error::Timeout) => Err(Error::NotLeader),
            Err(error) => Err(error),
        }
    }

    /// Asks the leader, for as long as it is the leader.
    pub(super) async fn question(&self, leader: u64, peer: &Peer, asked: Asked) -> Result<Replied, Error> {
        let mut leadership = self.leadership.subscribe();
        tokio::select! {
            biased;
            reply = self.question_any(leader, peer, asked) => reply,
            // It may be gone without a word; whoever leads now will know.
            _ = leadership.wait_for(|known| known.leader.is_some_and(|now| now != leader)) => Err(Error::LeaderChanged),
        }
    }

    /// Asks a peer, and tells failures apart by whether it may have acted.
    pub(super) async fn question_any(&self, target: u64, peer: &Peer, asked: Asked) -> Result<Replied, Error> {
        match self.peers.ask(target, peer, Question { question: Some(asked) }).await {
            Ok(Reply {
                reply: Some(Replied::Failure(failure)),
            }) => Err(from_failure(&failure)),
            Ok(Reply { reply: Some(reply) }) => Ok(reply),
            Ok(Reply { reply: None }) => Err(Error::fault(format!("member {target:x} gave an answer of no kind"))),
            Err(AskError::NotSent { .. }) => Err(Error::NoLeader),
            Err(AskError::Unanswered { .. }) => Err(Error::LeaderChanged),
        }
    }

    /// The leader as far as this member knows, and where it is.
    pub(super) fn leader(&self) -> Option<(u64, Peer)> {
        // Never two borrows of one channel at a time: a writer between them would block both for good.
        let (leads, membership) = {
            let server = self.raft.server_metrics();
            let server = server.borrow_watched();
            (server.state == ServerState::Leader, server.membership_config.clone())
        };
        let leader = if leads {
            self.options.id
        } else {
            self.leadership.borrow().leader?
        };
        let peer = membership.membership().get_node(&leader)?.clone();
        Some((leader, peer))
    }
}

pub(super) fn unexpected(reply: &Replied) -> Error {
    Error::fault(format!("a peer answered another question than it was asked: {reply:?}"))
}
