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
    #[error("stored object {key} cannot be read: {why}")]
    Corrupt { key: String, why: String },
    /// The object to write has no metadata or is no object.
    #[error("{key}: not an object with metadata")]
    NotAnObject { key: String },
    #[error("the store failed: {0}")]
    Store(Arc<raftstore::Error>),
}

impl From<raftstore::Error> for Error {
    fn from(error: raftstore::Error) -> Error {
        Error::Store(Arc::new(error))
    }
}
