//! Errors of the store, of three kinds and no other: part of the replicated result, retryable by the caller, or a fault
//! of this member.

use mvcc::DeterministicError;
use thiserror::Error;

use crate::log::LogError;

/// Why a request gave no answer.
#[derive(Debug, Clone, Error)]
pub enum Error {
    /// The request was refused; every member would refuse it alike, and repeating it changes nothing.
    #[error(transparent)]
    Refused(#[from] DeterministicError),
    /// The request is larger than a log entry may be.
    #[error("request of {bytes} bytes is too large, the limit is {limit}")]
    RequestTooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// No member leads, or none that this one can reach. The request had no effect.
    #[error("no leader")]
    NoLeader,
    /// The leader changed while the request was under way. Whether it took effect is unknown.
    #[error("leader changed while the request was under way; it may or may not have taken effect")]
    LeaderChanged,
    /// The request was not answered in time. Whether it took effect is unknown.
    #[error("request timed out; it may or may not have taken effect")]
    Timeout,
    /// Too much is under way already. The request had no effect.
    #[error("too many requests")]
    TooManyRequests,
    /// This member does not lead, and the request is for the leader only.
    #[error("this member is not the leader")]
    NotLeader,
    /// The named member cannot take part in what was asked.
    #[error("member {member:x}: {reason}")]
    BadMember {
        /// The member.
        member: u64,
        /// Why it cannot.
        reason: String,
    },
    /// The membership was not changed.
    #[error(transparent)]
    Membership(#[from] MembershipRefusal),
    /// This member is shutting down.
    #[error("the store of this member is stopped")]
    Stopped,
    /// This member is broken and must stop.
    #[error("local fault: {0}")]
    Fault(String),
}

/// Why the membership was not changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum MembershipRefusal {
    /// No member has this id.
    #[error("member not found")]
    NotFound,
    /// Another member is reached there.
    #[error("another member has this peer URL already")]
    PeerUrlExists,
    /// The URLs are not of the form `http://host:port`, or there are none.
    #[error("the given peer URLs are not usable; give one or more of the form https://host:port")]
    BadUrls,
    /// The member has a vote already.
    #[error("the member is no learner")]
    NotLearner,
    /// The learner lacks too much of the log.
    #[error("the learner is not in sync with the leader yet; try again later")]
    LearnerNotReady,
    /// So many learners at a time are not taken.
    #[error("there are too many learners; promote or remove one first")]
    TooManyLearners,
    /// Too few of the voters that would remain can be reached.
    #[error("too few of the members that would remain are reachable")]
    NotEnoughStarted,
}

impl MembershipRefusal {
    const ALL: [Self; 7] = [
        Self::NotFound,
        Self::PeerUrlExists,
        Self::BadUrls,
        Self::NotLearner,
        Self::LearnerNotReady,
        Self::TooManyLearners,
        Self::NotEnoughStarted,
    ];

    /// A number for the wire; never reused.
    pub(crate) fn code(self) -> u32 {
        Self::ALL
            .iter()
            .position(|known| *known == self)
            .map_or(0, |at| at as u32 + 1)
    }

    /// The inverse of [`code`](Self::code).
    pub(crate) fn from_code(code: u32) -> Option<Self> {
        Self::ALL.get((code as usize).checked_sub(1)?).copied()
    }
}

/// What a caller can do about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// Nothing: the answer is final.
    Deterministic,
    /// Try again, here or at another member.
    Retryable,
    /// Go to another member; this one is to be stopped.
    Fault,
}

impl Error {
    /// The kind of this error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Error::Refused(_) | Error::RequestTooLarge { .. } | Error::BadMember { .. } | Error::Membership(_) => {
                ErrorKind::Deterministic
            }
            Error::NoLeader
            | Error::LeaderChanged
            | Error::Timeout
            | Error::TooManyRequests
            | Error::NotLeader
            | Error::Stopped => ErrorKind::Retryable,
            Error::Fault(_) => ErrorKind::Fault,
        }
    }

    /// Whether the request certainly had no effect.
    pub fn had_no_effect(&self) -> bool {
        !matches!(
            self,
            Error::LeaderChanged | Error::Timeout | Error::Stopped | Error::Fault(_)
        )
    }

    /// A fault, from whatever names its cause.
    pub fn fault(cause: impl std::fmt::Display) -> Self {
        Error::Fault(cause.to_string())
    }
}

impl From<LogError> for Error {
    fn from(error: LogError) -> Self {
        Error::fault(error)
    }
}

impl From<mvcc::Fault> for Error {
    fn from(fault: mvcc::Fault) -> Self {
        Error::fault(fault)
    }
}

impl From<mvcc::ReadError> for Error {
    fn from(error: mvcc::ReadError) -> Self {
        match error {
            mvcc::ReadError::Refused(refused) => Error::Refused(refused),
            mvcc::ReadError::Fault(fault) => fault.into(),
        }
    }
}
