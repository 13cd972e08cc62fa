//! Which errors mean that nothing happened. Whatever is not known to mean that is of unknown outcome.

use tonic::{Code, Status};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The operation took no effect and never will.
    Definite(String),
    Unknown(String),
}

/// Texts of `Unavailable` that are given before anything is proposed.
const BEFORE_ANYTHING: [&str; 4] = [
    "etcdserver: no leader",
    "tcp connect error",
    "Connection refused",
    "dns error",
];

/// How the store's own errors begin.
const STORE: &str = "etcdserver: ";

impl From<Status> for Failure {
    fn from(status: Status) -> Failure {
        let cause = std::error::Error::source(&status)
            .map(|source| format!(" ({source:?})"))
            .unwrap_or_default();
        let text = format!("{:?}: {}{cause}", status.code(), status.message());
        let definite = match status.code() {
            Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::FailedPrecondition
            | Code::Unimplemented
            | Code::Unauthenticated => true,
            // The client's own library says the same, of an answer that it cannot take, or of a connection that the other side is
            // tired of: that may be after the effect.
            Code::ResourceExhausted | Code::OutOfRange => status.message().starts_with(STORE),
            Code::Unavailable => BEFORE_ANYTHING.iter().any(|known| text.contains(known)),
            _ => false,
        };
        if definite {
            Failure::Definite(text)
        } else {
            Failure::Unknown(text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubt_is_never_failure() {
        let unknown = [
            Status::unavailable("etcdserver: leader changed"),
            Status::unavailable("etcdserver: request timed out"),
            Status::deadline_exceeded(""),
            Status::cancelled(""),
            Status::unknown("transport error"),
            Status::internal("stream reset"),
            Status::resource_exhausted("h2 protocol error: enhance your calm"),
            Status::out_of_range("Error, decoded message length too large: found 70 bytes, the limit is: 64 bytes"),
        ];
        for status in unknown {
            assert!(
                matches!(Failure::from(status.clone()), Failure::Unknown(_)),
                "{status:?}"
            );
        }
        for status in [
            Status::resource_exhausted("etcdserver: mvcc: database space exceeded"),
            Status::out_of_range("etcdserver: mvcc: required revision has been compacted"),
        ] {
            assert!(matches!(Failure::from(status), Failure::Definite(_)));
        }
        assert!(matches!(
            Failure::from(Status::invalid_argument("x")),
            Failure::Definite(_)
        ));
        assert!(matches!(
            Failure::from(Status::unavailable("etcdserver: no leader")),
            Failure::Definite(_)
        ));
    }
}
