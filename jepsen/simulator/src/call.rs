//! What clients ask of a store, and what they were told.

use bytes::Bytes;
use raftstore::MembershipRefusal;
use raftstore::pb::{
    CompactionResponse, DeleteRangeResponse, LeaseGrantResponse, LeaseKeepAliveResponse, LeaseRevokeResponse,
    LeaseTimeToLiveResponse, PutResponse, RangeResponse, TxnResponse,
};

/// The first key after all that begin with `k`.
pub const RANGE_END: &[u8] = b"l";
/// The first key of the range that clients list, watch and clear.
pub const RANGE_START: &[u8] = b"k";

/// Whether a key is in that range.
pub fn in_range(key: &[u8]) -> bool {
    key >= RANGE_START && key < RANGE_END
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// Sets a key; every value is used once.
    Put { key: Bytes, value: Bytes, lease: i64 },
    /// Reads a key, or the whole range without one.
    Get {
        key: Option<Bytes>,
        serializable: bool,
        revision: i64,
    },
    /// Deletes a key, or the whole range without one.
    Delete { key: Option<Bytes> },
    /// Sets a key if it was last changed at a revision (0: never), else reads it.
    Swap { key: Bytes, expected: i64, value: Bytes },
    /// Sets two keys at once.
    Pair { keys: [Bytes; 2], value: Bytes },
    /// Reads two keys at once, in a transaction that writes nothing.
    Look { keys: [Bytes; 2] },
    /// Forgets old revisions.
    Compact { revision: i64 },
    /// Grants a lease.
    Grant { lease: i64, ttl_s: i64 },
    /// Revokes a lease.
    Revoke { lease: i64 },
    /// Extends a lease.
    KeepAlive { lease: i64 },
    /// Asks how long a lease still lives.
    TimeToLive { lease: i64 },
    /// Hands leadership to a member.
    Transfer { to: u64 },
    /// Adds a member that is reached at a URL, and waits for a promotion if it is to be a learner.
    Add { url: String, learner: bool },
    /// Removes a member for good.
    Remove { id: u64 },
    /// Gives a learner its vote.
    Promote { id: u64 },
}

/// What is told.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    Put(PutResponse),
    Range(RangeResponse),
    Delete(DeleteRangeResponse),
    Txn(TxnResponse),
    Compacted(CompactionResponse),
    Granted(LeaseGrantResponse),
    Revoked(LeaseRevokeResponse),
    KeptAlive(LeaseKeepAliveResponse),
    Time(LeaseTimeToLiveResponse),
    Transferred,
    Added(u64),
    Removed,
    Promoted,
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// With an answer.
    Answered(Answer),
    /// Refused, as every member would.
    Refused(mvcc::DeterministicError),
    /// The membership was not changed, for this reason.
    Unchanged(MembershipRefusal),
    /// It certainly had no effect.
    Failed(String),
    /// Nobody can say.
    Unknown(String),
}

/// A call that was begun, and how the world was then.
#[derive(Debug, Clone)]
pub struct Begun {
    /// Which.
    pub call: Call,
    /// The member asked.
    pub member: u64,
    /// The highest revision anybody had been told of.
    pub told: i64,
    /// What all clocks showed.
    pub readings: Vec<u64>,
    /// Whether the lease it names was alive.
    pub lease_lived: bool,
    /// Whether the cluster was out of room.
    pub no_room: bool,
    /// How often alarms had changed.
    pub alarm_changes: u64,
}

impl Call {
    /// The value it writes.
    pub fn value(&self) -> Option<&Bytes> {
        match self {
            Call::Put { value, .. } | Call::Swap { value, .. } | Call::Pair { value, .. } => Some(value),
            _ => None,
        }
    }

    /// The lease it needs.
    pub fn lease(&self) -> Option<i64> {
        match self {
            Call::Put { lease, .. } if *lease != 0 => Some(*lease),
            Call::Revoke { lease } | Call::KeepAlive { lease } | Call::TimeToLive { lease } => Some(*lease),
            _ => None,
        }
    }
}

impl Answer {
    /// The revision in the answer's header; `None` if it carries none.
    pub fn revision(&self) -> Option<i64> {
        let header = match self {
            Answer::Put(answer) => answer.header.as_ref(),
            Answer::Range(answer) => answer.header.as_ref(),
            Answer::Delete(answer) => answer.header.as_ref(),
            Answer::Txn(answer) => answer.header.as_ref(),
            Answer::Compacted(answer) => answer.header.as_ref(),
            Answer::Granted(answer) => answer.header.as_ref(),
            Answer::Revoked(answer) => answer.header.as_ref(),
            // Lease times are the leader's, and their headers only say where the asked member is.
            Answer::KeptAlive(_) | Answer::Time(_) | Answer::Transferred => None,
            Answer::Added(_) | Answer::Removed | Answer::Promoted => None,
        };
        header.map(|header| header.revision)
    }
}
