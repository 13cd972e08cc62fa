//! Translation between openraft's types, the log's and the wire's. The only place that knows bincode: memberships are
//! openraft's own types and change only through openraft.

use std::io;

use bytes::Bytes;
use openraft::raft::{AppendEntriesRequest, StreamAppendError, StreamAppendResult};
use openraft::vote::RaftLeaderId;
use openraft::vote::leader_id_std::{CommittedLeaderId, LeaderId};
use openraft::{AsyncRuntime, EntryPayload, Membership};
use proto::raft as wire;
use proto::raft::append_reply::Outcome;

use super::types::{EntryOf, LogIdOf, Peer, Proposal, StoredMembershipOf, Types, VoteOf};
use crate::log::{Entry, EntryKind, LogId, Vote};

const BINCODE: bincode::config::Configuration = bincode::config::standard();

fn malformed(what: &str, error: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what} cannot be read: {error}"))
}

// The log.

pub fn to_log_id(id: LogId) -> LogIdOf {
    LogIdOf {
        leader_id: CommittedLeaderId::new(id.term),
        index: id.index,
    }
}

pub fn from_log_id(id: &LogIdOf) -> LogId {
    LogId {
        term: id.leader_id.term,
        index: id.index,
    }
}

pub fn to_vote(vote: Vote) -> VoteOf {
    VoteOf {
        leader_id: LeaderId::new(vote.term, vote.member),
        committed: vote.committed,
    }
}

pub fn from_vote(vote: &VoteOf) -> Vote {
    Vote {
        term: vote.leader_id.term,
        member: vote.leader_id.voted_for,
        committed: vote.committed,
    }
}

/// An entry as the log keeps it.
pub fn entry_to_log(entry: EntryOf) -> io::Result<Entry> {
    let id = from_log_id(&entry.log_id);
    let (kind, data) = match entry.payload {
        EntryPayload::Blank => (EntryKind::Blank, Bytes::new()),
        EntryPayload::Normal(Proposal(data)) => (EntryKind::Requests, data),
        EntryPayload::Membership(membership) => {
            let encoded = bincode::serde::encode_to_vec(&membership, BINCODE);
            (
                EntryKind::Membership,
                encoded.map_err(|error| malformed("a membership", error))?.into(),
            )
        }
    };
    Ok(Entry { id, kind, data })
}

/// An entry as openraft sees it.
pub fn entry_from_log(entry: Entry) -> io::Result<EntryOf> {
    let payload = match entry.kind {
        EntryKind::Blank => EntryPayload::Blank,
        EntryKind::Requests => EntryPayload::Normal(Proposal(entry.data)),
        EntryKind::Membership => {
            let decoded: Result<(Membership<u64, Peer>, usize), _> =
                bincode::serde::decode_from_slice(&entry.data, BINCODE);
            EntryPayload::Membership(decoded.map_err(|error| malformed("a membership in the log", error))?.0)
        }
    };
    Ok(EntryOf {
        log_id: to_log_id(entry.id),
        payload,
    })
}

/// A stored membership as a record of the tables and of snapshots.
pub fn encode_membership(membership: &StoredMembershipOf) -> io::Result<Bytes> {
    let encoded = bincode::serde::encode_to_vec(membership, BINCODE);
    Ok(encoded.map_err(|error| malformed("a membership", error))?.into())
}

/// The inverse of [`encode_membership`].
pub fn decode_membership(bytes: &[u8]) -> io::Result<StoredMembershipOf> {
    let decoded = bincode::serde::decode_from_slice(bytes, BINCODE);
    Ok(decoded.map_err(|error| malformed("a stored membership", error))?.0)
}

// The wire.

fn to_wire(id: &LogIdOf) -> wire::LogId {
    wire::LogId {
        term: id.leader_id.term,
        index: id.index,
    }
}

/// A log id for the wire.
pub fn wire_log_id(id: Option<&LogIdOf>) -> Option<wire::LogId> {
    id.map(to_wire)
}

/// A log id from the wire.
pub fn parse_log_id(id: Option<wire::LogId>) -> Option<LogIdOf> {
    id.map(|id| {
        to_log_id(LogId {
            term: id.term,
            index: id.index,
        })
    })
}

/// A vote for the wire.
pub fn wire_vote(vote: &VoteOf) -> Option<wire::Vote> {
    let Vote {
        term,
        member,
        committed,
    } = from_vote(vote);
    Some(wire::Vote {
        term,
        member,
        committed,
    })
}

/// A vote from the wire.
pub fn parse_vote(vote: Option<wire::Vote>) -> io::Result<VoteOf> {
    let vote = vote.ok_or_else(|| malformed("a message", "it carries no vote"))?;
    Ok(to_vote(Vote {
        term: vote.term,
        member: vote.member,
        committed: vote.committed,
    }))
}

/// An append for the wire. Payloads are shared, not copied.
pub fn append_request<R: AsyncRuntime>(request: AppendEntriesRequest<Types<R>>) -> io::Result<wire::AppendRequest> {
    let entry = |entry: EntryOf| {
        let Entry { id, kind, data } = entry_to_log(entry)?;
        Ok(wire::Entry {
            term: id.term,
            index: id.index,
            kind: u32::from(kind.code()),
            data,
        })
    };
    Ok(wire::AppendRequest {
        vote: wire_vote(&request.vote),
        previous: wire_log_id(request.prev_log_id.as_ref()),
        entries: request.entries.into_iter().map(entry).collect::<io::Result<_>>()?,
        committed: wire_log_id(request.leader_commit.as_ref()),
    })
}

/// An append from the wire.
pub fn parse_append_request<R: AsyncRuntime>(
    request: wire::AppendRequest,
) -> io::Result<AppendEntriesRequest<Types<R>>> {
    let entry = |entry: wire::Entry| {
        let kind = u8::try_from(entry.kind).ok().and_then(EntryKind::from_code);
        let kind = kind.ok_or_else(|| malformed("an entry", format!("its kind {} is unknown", entry.kind)))?;
        entry_from_log(Entry {
            id: LogId {
                term: entry.term,
                index: entry.index,
            },
            kind,
            data: entry.data,
        })
    };
    Ok(AppendEntriesRequest {
        vote: parse_vote(request.vote)?,
        prev_log_id: parse_log_id(request.previous),
        entries: request.entries.into_iter().map(entry).collect::<io::Result<_>>()?,
        leader_commit: parse_log_id(request.committed),
    })
}

/// An append's answer for the wire.
pub fn append_reply<R: AsyncRuntime>(result: StreamAppendResult<Types<R>>) -> wire::AppendReply {
    let outcome = match result {
        Ok(matching) => Outcome::Matching(wire::Matching {
            log_id: wire_log_id(matching.as_ref()),
        }),
        Err(StreamAppendError::Conflict(at)) => Outcome::Conflict(to_wire(&at)),
        Err(StreamAppendError::HigherVote(higher)) => {
            let Vote {
                term,
                member,
                committed,
            } = from_vote(&higher);
            Outcome::HigherVote(wire::Vote {
                term,
                member,
                committed,
            })
        }
    };
    wire::AppendReply { outcome: Some(outcome) }
}

/// An append's answer from the wire.
pub fn parse_append_reply<R: AsyncRuntime>(reply: wire::AppendReply) -> io::Result<StreamAppendResult<Types<R>>> {
    Ok(match reply.outcome {
        Some(Outcome::Matching(matching)) => Ok(parse_log_id(matching.log_id)),
        Some(Outcome::Conflict(at)) => Err(StreamAppendError::Conflict(to_log_id(LogId {
            term: at.term,
            index: at.index,
        }))),
        Some(Outcome::HigherVote(higher)) => Err(StreamAppendError::HigherVote(parse_vote(Some(higher))?)),
        None => return Err(malformed("an append's answer", "it is of an unknown kind")),
    })
}
