//! Errors: those every replica gives alike, those of a read, and those of this member's tables.

use proto::raft::{Refusal, refusal::Reason};
use thiserror::Error;

use crate::AuthRefusal;

/// A refusal that is part of the replicated result: every member gives the same one for the same log entry.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Error)]
pub enum DeterministicError {
    #[error("the request carries no operation this version knows")]
    UnknownRequest,
    #[error("key is not provided")]
    KeyEmpty,
    #[error("key not found")]
    KeyNotFound,
    #[error("value is provided although it is to be ignored")]
    ValueGiven,
    #[error("lease is provided although it is to be ignored")]
    LeaseGiven,
    #[error("too many operations in txn request")]
    TooManyOperations,
    #[error("duplicate key given in txn request")]
    DuplicateKey,
    #[error("invalid sort option")]
    BadSort,
    #[error("required revision has been compacted (compacted revision {compacted})")]
    Compacted { compacted: i64 },
    #[error("required revision is a future revision (current revision {current})")]
    FutureRevision { current: i64 },
    #[error("requested lease not found")]
    LeaseNotFound,
    #[error("lease already exists")]
    LeaseExists,
    #[error("too large lease TTL")]
    LeaseTtlTooLarge,
    #[error("database space exceeded")]
    NoSpace,
    #[error("corrupt cluster")]
    Corrupt,
    #[error(transparent)]
    Auth(#[from] AuthRefusal),
}

impl DeterministicError {
    /// The form that crosses the wire between members.
    #[must_use]
    pub fn to_refusal(self) -> Refusal {
        let (reason, revision) = match self {
            Self::UnknownRequest => (Reason::UnknownRequest, 0),
            Self::KeyEmpty => (Reason::KeyEmpty, 0),
            Self::KeyNotFound => (Reason::KeyNotFound, 0),
            Self::ValueGiven => (Reason::ValueGiven, 0),
            Self::LeaseGiven => (Reason::LeaseGiven, 0),
            Self::TooManyOperations => (Reason::TooManyOperations, 0),
            Self::DuplicateKey => (Reason::DuplicateKey, 0),
            Self::BadSort => (Reason::BadSort, 0),
            Self::Compacted { compacted } => (Reason::Compacted, compacted),
            Self::FutureRevision { current } => (Reason::FutureRevision, current),
            Self::LeaseNotFound => (Reason::LeaseNotFound, 0),
            Self::LeaseExists => (Reason::LeaseExists, 0),
            Self::LeaseTtlTooLarge => (Reason::LeaseTtlTooLarge, 0),
            Self::NoSpace => (Reason::NoSpace, 0),
            Self::Corrupt => (Reason::Corrupt, 0),
            Self::Auth(refusal) => (refusal.reason(), 0),
        };
        Refusal {
            reason: reason.into(),
            revision,
        }
    }

    /// The inverse of [`to_refusal`](Self::to_refusal). A reason of a newer version reads as an unknown request.
    #[must_use]
    pub fn from_refusal(refusal: &Refusal) -> Self {
        match refusal.reason() {
            Reason::UnknownRequest => Self::UnknownRequest,
            Reason::KeyEmpty => Self::KeyEmpty,
            Reason::KeyNotFound => Self::KeyNotFound,
            Reason::ValueGiven => Self::ValueGiven,
            Reason::LeaseGiven => Self::LeaseGiven,
            Reason::TooManyOperations => Self::TooManyOperations,
            Reason::DuplicateKey => Self::DuplicateKey,
            Reason::BadSort => Self::BadSort,
            Reason::Compacted => Self::Compacted {
                compacted: refusal.revision,
            },
            Reason::FutureRevision => Self::FutureRevision {
                current: refusal.revision,
            },
            Reason::LeaseNotFound => Self::LeaseNotFound,
            Reason::LeaseExists => Self::LeaseExists,
            Reason::LeaseTtlTooLarge => Self::LeaseTtlTooLarge,
            Reason::NoSpace => Self::NoSpace,
            Reason::Corrupt => Self::Corrupt,
            reason => AuthRefusal::from_reason(reason).map_or(Self::UnknownRequest, Self::Auth),
        }
    }
}

/// A failure of this member's tables. The member must stop: what it holds can no longer be trusted to follow the log.
#[derive(Debug, Error)]
pub enum Fault {
    /// The table store failed.
    #[error("{action} {subject}: {source}")]
    Tables {
        action: &'static str,
        subject: String,
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A row is missing or cannot be read.
    #[error(
        "table {table:?} of the state machine is corrupt at key {key:?}: {reason}; remove this member and add it anew, \
         or restore a backup"
    )]
    CorruptRow {
        table: crate::Family,
        key: Vec<u8>,
        reason: String,
    },
    /// A snapshot stream that is not one.
    #[error("snapshot stream is malformed at byte {offset}: {reason}; have it sent again")]
    MalformedSnapshot { offset: u64, reason: String },
    /// An earlier write failed, so memory may be ahead of the tables.
    #[error("the state machine stopped after a failed write; restart this member")]
    Stopped,
}

impl Fault {
    /// A failure of the table store, with what it was doing and to what.
    pub fn tables(
        action: &'static str,
        subject: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Tables {
            action,
            subject: subject.into(),
            source: source.into(),
        }
    }

    pub(crate) fn corrupt(table: crate::Family, key: &[u8], reason: impl Into<String>) -> Self {
        Self::CorruptRow {
            table,
            key: key.to_vec(),
            reason: reason.into(),
        }
    }
}

/// Why a read gave no answer.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The caller asked for something that cannot be answered.
    #[error(transparent)]
    Refused(#[from] DeterministicError),
    /// The tables failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}
