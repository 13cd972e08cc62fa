//! Why storage refused. The API server maps these to Status; nothing of the store below shows through.

use std::sync::Arc;

/// What failed, on what.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    #[error("{key} does not exist")]
    NotFound { key: String },
    #[error("{key} already exists")]
    AlreadyExists { key: String },
    #[error("{key}: {why}")]
    Precondition { key: String, why: String },
    /// Lost every race of [`crate::limits::UPDATE_ATTEMPTS`].
    #[error("{key} was changed by others {attempts} times in a row")]
    Contended { key: String, attempts: usize },
    /// The revision is compacted. `resume` continues the same list inconsistently.
    #[error("revision {revision} has been compacted")]
    Expired { revision: i64, resume: Option<String> },
    #[error("resourceVersion {asked} is in the future, the newest here is {current}")]
    Future { asked: i64, current: i64 },
    #[error("continue token: {why}")]
    InvalidContinue { why: &'static str },
    /// The caller's leadership is over. Never retried.
    #[error("the fence has moved: this component no longer leads, its write was refused")]
    Fenced,
    /// What the write depended on has changed: look at it again before trying again. Nothing was written.
    #[error("{key}, which this write depends on, has changed meanwhile")]
    Moved { key: String },
    #[error(
        "this member has had no leader for more than {seconds} s: what it knows may be out of date; ask another member, or try \
         again once the quorum is back"
    )]
    CutOff { seconds: u64 },
    #[error("stored object {key} cannot be read: {why}")]
    Corrupt { key: String, why: String },
    /// The object to write has no metadata or is no object.
    #[error("{key}: not an object with metadata")]
    NotAnObject { key: String },
    #[error("the store failed: {0}")]
    Store(StoreError),
}

impl From<raftstore::Error> for Error {
    fn from(error: raftstore::Error) -> Error {
        Error::Store(StoreError(Arc::new(error)))
    }
}

/// A failure of the store itself.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct StoreError(Arc<raftstore::Error>);

/// Whether a request that failed may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// It had no effect.
    Safe,
    /// It may have had its effect: look before sending it again.
    MaybeDone,
    /// It would fail again.
    Never,
}

impl StoreError {
    pub fn retry(&self) -> Retry {
        match (self.0.kind(), self.0.had_no_effect()) {
            (raftstore::ErrorKind::Deterministic, _) => Retry::Never,
            (_, true) => Retry::Safe,
            (_, false) => Retry::MaybeDone,
        }
    }

    /// Whether the request was refused for its size.
    pub fn too_large(&self) -> bool {
        matches!(*self.0, raftstore::Error::RequestTooLarge { .. })
    }
}
