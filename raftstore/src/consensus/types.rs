//! The types Raft is instantiated with.

use std::fmt;
use std::marker::PhantomData;

use bytes::Bytes;
use mvcc::{DeterministicError, Response};
use openraft::impls::{BoxedErrorSource, InlineBatch, ProgressResponder};
use openraft::vote::leader_id_std::{CommittedLeaderId, LeaderId};
use openraft::{AsyncRuntime, EntryPayload, OptionalSend, RaftTypeConfig};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

/// Raft's types over a runtime. One leader a term: the stored log ids rely on it.
pub struct Types<R>(PhantomData<fn() -> R>);

/// A place in the log, as openraft sees it.
pub type LogIdOf = openraft::LogId<CommittedLeaderId<u64>>;
/// A vote, as openraft sees it.
pub type VoteOf = openraft::Vote<LeaderId<u64, u64>>;
/// A log entry, as openraft sees it.
pub type EntryOf = openraft::Entry<CommittedLeaderId<u64>, EntryPayload<Proposal, u64, Peer>>;
/// A membership and the entry it came with.
pub type StoredMembershipOf = openraft::StoredMembership<CommittedLeaderId<u64>, u64, Peer>;
/// A running Raft.
pub type RaftOf<R, D, B> = openraft::Raft<Types<R>, super::Applier<D, B>>;

impl<R: AsyncRuntime> RaftTypeConfig for Types<R> {
    type D = Proposal;
    type R = Answers;
    type NodeId = u64;
    type Node = Peer;
    type Term = u64;
    type LeaderId = LeaderId<u64, u64>;
    type Vote = VoteOf;
    type Payload = EntryPayload<Proposal, u64, Peer>;
    type Entry = EntryOf;
    type AsyncRuntime = R;
    type Responder<T>
        = ProgressResponder<Self, T>
    where
        T: OptionalSend + 'static;
    type Batch<T>
        = InlineBatch<T>
    where
        T: OptionalSend + 'static;
    type ErrorSource = BoxedErrorSource;
}

/// Requests of one log entry: an encoded `proto::raft::Batch`. The same bytes go to the log and to the peers.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal(pub Bytes);

impl fmt::Debug for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proposal({} bytes)", self.0.len())
    }
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// Where a member is reached, as the replicated membership keeps it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Its name.
    pub name: String,
    /// Where its peers reach it.
    pub peer_urls: Vec<String>,
    /// Where clients reach it.
    pub client_urls: Vec<String>,
    /// Gets its vote by itself once it holds the log.
    pub joins: bool,
}

/// The answers to the requests of one entry, in order. Empty for entries without requests.
#[derive(Debug, Default)]
pub struct Answers(pub Vec<Result<Response, DeterministicError>>);

// openraft asks for serde because *its* response messages may be sent. Ours never leave the process: a forwarded request is
// answered by `mvcc::encode_answer`, one by one.
impl Serialize for Answers {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(ser::Error::custom(
            "answers are sent one by one, not as openraft's response",
        ))
    }
}

impl<'de> Deserialize<'de> for Answers {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(de::Error::custom(
            "answers are sent one by one, not as openraft's response",
        ))
    }
}

// Written out because derive would ask the same of `R`.
impl<R> Clone for Types<R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R> Copy for Types<R> {}

impl<R> Default for Types<R> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<R> fmt::Debug for Types<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Types")
    }
}

impl<R> PartialEq for Types<R> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<R> Eq for Types<R> {}

impl<R> PartialOrd for Types<R> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<R> Ord for Types<R> {
    fn cmp(&self, _: &Self) -> std::cmp::Ordering {
        std::cmp::Ordering::Equal
    }
}
