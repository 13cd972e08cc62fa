//! What can go wrong with the log. All of it is a local fault: the member has to stop.

use std::io;

use thiserror::Error;

/// A local fault of the log.
#[derive(Debug, Error)]
pub enum LogError {
    /// The disk refused.
    #[error("the log could not {action} {what}: {source}")]
    Io {
        /// What was attempted.
        action: &'static str,
        /// On which file or directory.
        what: String,
        /// What the disk said.
        #[source]
        source: io::Error,
    },
    /// Data that was known to be durable is damaged.
    #[error(
        "the log in {directory} is corrupt at byte {offset} of {file}: {reason}. Refusing to start: remove this member \
         from the cluster and add it again under a new id with an empty data directory"
    )]
    Corrupt {
        /// The log's directory.
        directory: String,
        /// The damaged file.
        file: String,
        /// The first damaged byte.
        offset: u64,
        /// How it was noticed.
        reason: &'static str,
    },
    /// An earlier failure stopped the log.
    #[error("the log stopped after an earlier failure: {0}")]
    Stopped(String),
}

impl LogError {
    pub(super) fn io(action: &'static str, what: impl Into<String>, source: io::Error) -> Self {
        LogError::Io {
            action,
            what: what.into(),
            source,
        }
    }
}

impl From<LogError> for io::Error {
    fn from(error: LogError) -> Self {
        io::Error::other(error)
    }
}
