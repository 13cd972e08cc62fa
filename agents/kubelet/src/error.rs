//! What can go wrong on a node. Each error says what failed, on what; most are retried by the loop that met them.

use std::path::{Path, PathBuf};

/// An error of the node agent.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The container runtime refused or did not answer a call.
    #[error("container runtime: {call}: {message}")]
    Runtime {
        /// The CRI call.
        call: &'static str,
        /// The gRPC code.
        code: tonic::Code,
        /// What the runtime said.
        message: String,
    },
    /// A file operation failed.
    #[error("{what} {}: {source}", path.display())]
    File {
        /// What was being done.
        what: &'static str,
        /// To which file.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A request to the API failed.
    #[error("{what}: {source}")]
    Api {
        /// What was being asked.
        what: String,
        /// Why it failed.
        source: Box<kube::Error>,
    },
    /// A program that the agent depends on failed or is missing.
    #[error("{program}: {message}")]
    Program {
        /// The program.
        program: String,
        /// What it said.
        message: String,
    },
    /// A value of the configuration cannot be used.
    #[error("configuration: {field}: {message}")]
    Config {
        /// The field of [`crate::Config`].
        field: &'static str,
        /// What is wrong with it, and what would be right.
        message: String,
    },
    /// TLS could not be set up.
    #[error(transparent)]
    Tls(#[from] pki::Error),
    /// A pod asks for something that cannot be given to it.
    #[error("{0}")]
    Pod(String),
}

impl Error {
    pub(crate) fn file(what: &'static str, path: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.as_ref().to_path_buf();
        move |source| Error::File { what, path, source }
    }

    pub(crate) fn api(what: impl Into<String>) -> impl FnOnce(kube::Error) -> Error {
        let what = what.into();
        move |source| Error::Api {
            what,
            source: Box::new(source),
        }
    }

    /// Whether the runtime says that the object does not exist.
    pub fn is_runtime_not_found(&self) -> bool {
        matches!(
            self,
            Error::Runtime {
                code: tonic::Code::NotFound,
                ..
            }
        )
    }

    /// Whether the runtime, or a command it ran, did not end in time.
    pub fn is_runtime_timeout(&self) -> bool {
        matches!(
            self,
            Error::Runtime {
                code: tonic::Code::DeadlineExceeded,
                ..
            }
        )
    }

    /// Whether the API says that the object does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Error::Api { source, .. } if matches!(&**source, kube::Error::Api(s) if s.code == 404))
    }

    /// Whether the API says that the object is another one now.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Error::Api { source, .. } if matches!(&**source, kube::Error::Api(s) if s.code == 409))
    }
}
