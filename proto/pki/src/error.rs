//! What can go wrong with keys and certificates, always naming the file or subject concerned.

use std::path::PathBuf;

/// A local fault or a bad input file; nothing here is worth retrying unchanged.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        action: &'static str,
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{} holds no usable {what}: {reason}", path.display())]
    Content {
        what: &'static str,
        path: PathBuf,
        reason: String,
    },
    #[error("cannot issue a certificate for {subject:?}: {reason}")]
    Issue { subject: String, reason: String },
    #[error("cannot build a TLS configuration: {0}")]
    Tls(String),
    #[error("cannot sign the token: {0}")]
    Sign(String),
    #[error("the token is not valid: {0}")]
    Token(String),
}

impl Error {
    pub(crate) fn file(action: &'static str, path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Error::File {
            action,
            path: path.into(),
            source,
        }
    }

    pub(crate) fn content(what: &'static str, path: impl Into<PathBuf>, reason: impl ToString) -> Self {
        Error::Content {
            what,
            path: path.into(),
            reason: reason.to_string(),
        }
    }
}
