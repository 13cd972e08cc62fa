//! Errors. What a client sees comes from one table: clients map errors by their text, so the texts are the contract.

use std::net::SocketAddr;

use mvcc::{AuthRefusal, DeterministicError};
use tonic::{Code, Status};

/// An error of serving the door, for the operator.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The listener is broken.
    #[error("the etcd listener on {address} failed: {source}")]
    Listener {
        /// Where it listens.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}

macro_rules! refusals {
    ($($name:ident $code:ident $text:literal)*) => {
        /// Every error text that etcd's clients know.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[allow(missing_docs)]
        pub enum Refusal {
            $($name),*
        }

        impl Refusal {
            /// All of them.
            pub const ALL: &'static [Refusal] = &[$(Refusal::$name),*];

            /// The gRPC code.
            pub fn code(self) -> Code {
                match self {
                    $(Refusal::$name => Code::$code),*
                }
            }

            /// The text, byte for byte etcd's.
            pub fn text(self) -> &'static str {
                match self {
                    $(Refusal::$name => concat!("etcdserver: ", $text)),*
                }
            }
        }
    };
}

refusals! {
    EmptyKey InvalidArgument "key is not provided"
    KeyNotFound InvalidArgument "key not found"
    ValueProvided InvalidArgument "value is provided"
    LeaseProvided InvalidArgument "lease is provided"
    TooManyOps InvalidArgument "too many operations in txn request"
    DuplicateKey InvalidArgument "duplicate key given in txn request"
    InvalidClientApiVersion InvalidArgument "invalid client api version"
    InvalidSortOption InvalidArgument "invalid sort option"
    Compacted OutOfRange "mvcc: required revision has been compacted"
    FutureRevision OutOfRange "mvcc: required revision is a future revision"
    NoSpace ResourceExhausted "mvcc: database space exceeded"
    LeaseNotFound NotFound "requested lease not found"
    LeaseExists FailedPrecondition "lease already exists"
    LeaseTtlTooLarge OutOfRange "too large lease TTL"
    WatchCanceled Cancelled "watch canceled"
    MemberExists FailedPrecondition "member ID already exist"
    PeerUrlExists FailedPrecondition "Peer URLs already exists"
    MemberNotEnoughStarted FailedPrecondition "re-configuration failed due to not enough started members"
    MemberBadUrls InvalidArgument "given member URLs are invalid"
    MemberNotFound NotFound "member not found"
    MemberNotLearner FailedPrecondition "can only promote a learner member"
    LearnerNotReady FailedPrecondition "can only promote a learner member which is in sync with leader"
    TooManyLearners FailedPrecondition "too many learner members in cluster"
    ClusterIdMismatch FailedPrecondition "cluster ID mismatch"
    RequestTooLarge InvalidArgument "request is too large"
    TooManyRequests ResourceExhausted "too many requests"
    RootUserNotExist FailedPrecondition "root user does not exist"
    RootRoleNotExist FailedPrecondition "root user does not have root role"
    UserAlreadyExists FailedPrecondition "user name already exists"
    UserEmpty InvalidArgument "user name is empty"
    UserNotFound FailedPrecondition "user name not found"
    RoleAlreadyExists FailedPrecondition "role name already exists"
    RoleNotFound FailedPrecondition "role name not found"
    RoleEmpty InvalidArgument "role name is empty"
    AuthFailed InvalidArgument "authentication failed, invalid user ID or password"
    PermissionNotGiven InvalidArgument "permission not given"
    PermissionDenied PermissionDenied "permission denied"
    RoleNotGranted FailedPrecondition "role is not granted to the user"
    PermissionNotGranted FailedPrecondition "permission is not granted to the role"
    AuthNotEnabled FailedPrecondition "authentication is not enabled"
    InvalidAuthToken Unauthenticated "invalid auth token"
    InvalidAuthManagement InvalidArgument "invalid auth management"
    AuthOldRevision InvalidArgument "revision of auth store is old"
    NoLeader Unavailable "no leader"
    NotLeader FailedPrecondition "not leader"
    LeaderChanged Unavailable "leader changed"
    NotCapable FailedPrecondition "not capable"
    Stopped Unavailable "server stopped"
    Timeout Unavailable "request timed out"
    TimeoutLeaderFail Unavailable "request timed out, possibly due to previous leader failure"
    TimeoutConnectionLost Unavailable "request timed out, possibly due to connection lost"
    TimeoutAppliedIndex Unavailable "request timed out, waiting for the applied index took too long"
    Unhealthy Unavailable "unhealthy cluster"
    Corrupt DataLoss "corrupt cluster"
    NotSupportedForLearner FailedPrecondition "rpc not supported for learner"
    BadLeaderTransferee FailedPrecondition "bad leader transferee"
    WrongDowngradeVersionFormat InvalidArgument "wrong downgrade target version format"
    InvalidDowngradeTargetVersion InvalidArgument "invalid downgrade target version"
    ClusterVersionUnavailable FailedPrecondition "cluster version not found during downgrade"
    DowngradeInProcess FailedPrecondition "cluster has a downgrade job in progress"
    NoInflightDowngrade FailedPrecondition "no inflight downgrade job"
    Canceled Cancelled "request canceled"
    DeadlineExceeded DeadlineExceeded "context deadline exceeded"
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        Status::new(refusal.code(), refusal.text())
    }
}

impl From<DeterministicError> for Refusal {
    fn from(error: DeterministicError) -> Self {
        match error {
            DeterministicError::UnknownRequest => Refusal::NotCapable,
            DeterministicError::KeyEmpty => Refusal::EmptyKey,
            DeterministicError::KeyNotFound => Refusal::KeyNotFound,
            DeterministicError::ValueGiven => Refusal::ValueProvided,
            DeterministicError::LeaseGiven => Refusal::LeaseProvided,
            DeterministicError::TooManyOperations => Refusal::TooManyOps,
            DeterministicError::DuplicateKey => Refusal::DuplicateKey,
            DeterministicError::BadSort => Refusal::InvalidSortOption,
            DeterministicError::Compacted { .. } => Refusal::Compacted,
            DeterministicError::FutureRevision { .. } => Refusal::FutureRevision,
            DeterministicError::LeaseNotFound => Refusal::LeaseNotFound,
            DeterministicError::LeaseExists => Refusal::LeaseExists,
            DeterministicError::LeaseTtlTooLarge => Refusal::LeaseTtlTooLarge,
            DeterministicError::NoSpace => Refusal::NoSpace,
            DeterministicError::Corrupt => Refusal::Corrupt,
            DeterministicError::Auth(refusal) => refusal.into(),
        }
    }
}

impl From<AuthRefusal> for Refusal {
    fn from(refusal: AuthRefusal) -> Self {
        match refusal {
            AuthRefusal::UserEmpty => Refusal::UserEmpty,
            AuthRefusal::UserExists => Refusal::UserAlreadyExists,
            AuthRefusal::UserNotFound => Refusal::UserNotFound,
            AuthRefusal::RoleEmpty => Refusal::RoleEmpty,
            AuthRefusal::RoleExists => Refusal::RoleAlreadyExists,
            AuthRefusal::RoleNotFound => Refusal::RoleNotFound,
            AuthRefusal::RootUserMissing => Refusal::RootUserNotExist,
            AuthRefusal::RootRoleMissing => Refusal::RootRoleNotExist,
            AuthRefusal::PermissionNotGiven => Refusal::PermissionNotGiven,
            AuthRefusal::PermissionDenied => Refusal::PermissionDenied,
            AuthRefusal::RoleNotGranted => Refusal::RoleNotGranted,
            AuthRefusal::PermissionNotGranted => Refusal::PermissionNotGranted,
            AuthRefusal::OldRevision => Refusal::AuthOldRevision,
            AuthRefusal::BadChange => Refusal::InvalidAuthManagement,
        }
    }
}

/// What a client is told of an error of the store.
pub(crate) fn status(error: raftstore::Error) -> Status {
    use raftstore::Error as Store;
    let refusal = match error {
        Store::Refused(refused) => refused.into(),
        Store::RequestTooLarge { .. } => Refusal::RequestTooLarge,
        Store::NoLeader => Refusal::NoLeader,
        Store::LeaderChanged => Refusal::LeaderChanged,
        Store::Timeout => Refusal::Timeout,
        Store::TooManyRequests => Refusal::TooManyRequests,
        Store::NotLeader => Refusal::NotLeader,
        Store::BadMember { .. } => Refusal::BadLeaderTransferee,
        Store::Membership(refused) => membership(refused),
        Store::Stopped => Refusal::Stopped,
        Store::Fault(cause) => {
            // The member is about to stop; its client must go elsewhere, and the cause is the operator's business.
            tracing::error!(%cause, "a request met a local fault");
            Refusal::Stopped
        }
    };
    refusal.into()
}

fn membership(refused: raftstore::MembershipRefusal) -> Refusal {
    use raftstore::MembershipRefusal as Refused;
    match refused {
        Refused::NotFound => Refusal::MemberNotFound,
        Refused::PeerUrlExists => Refusal::PeerUrlExists,
        Refused::BadUrls => Refusal::MemberBadUrls,
        Refused::NotLearner => Refusal::MemberNotLearner,
        Refused::LearnerNotReady => Refusal::LearnerNotReady,
        Refused::TooManyLearners => Refusal::TooManyLearners,
        Refused::NotEnoughStarted => Refusal::MemberNotEnoughStarted,
    }
}

/// What a client is told of something this door does not have.
pub(crate) fn unimplemented(what: &str, instead: &str) -> Status {
    Status::unimplemented(format!("proreus: {what} is not supported; {instead}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_text_is_etcds_and_names_one_error() {
        let texts: BTreeSet<&str> = Refusal::ALL.iter().map(|refusal| refusal.text()).collect();
        assert_eq!(texts.len(), Refusal::ALL.len());
        assert!(texts.iter().all(|text| text.starts_with("etcdserver: ")));
    }

    #[test]
    fn the_texts_clients_act_upon() {
        let cases = [
            (
                Refusal::Compacted,
                Code::OutOfRange,
                "etcdserver: mvcc: required revision has been compacted",
            ),
            (
                Refusal::NoSpace,
                Code::ResourceExhausted,
                "etcdserver: mvcc: database space exceeded",
            ),
            (
                Refusal::LeaseNotFound,
                Code::NotFound,
                "etcdserver: requested lease not found",
            ),
            (Refusal::LeaderChanged, Code::Unavailable, "etcdserver: leader changed"),
            (Refusal::Corrupt, Code::DataLoss, "etcdserver: corrupt cluster"),
        ];
        for (refusal, code, text) in cases {
            let status = Status::from(refusal);
            assert_eq!((status.code(), status.message()), (code, text));
        }
    }
}
