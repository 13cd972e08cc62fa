//! What can go wrong between an agent and the API.

use kube::core::Status;

/// The reason of the Status with which the API server refuses a write whose fence is not the current one.
const REASON_FENCE_LOST: &str = "FenceLost";

/// Every variant says which request failed and why.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API answered with a failure.
    #[error("{action}: {} ({} {})", status.message, status.code, status.reason)]
    Api {
        /// The request, as `GET /api/v1/...`.
        action: String,
        /// The answer.
        status: Box<Status>,
    },
    /// The API refused a leader's write because another member leads by now. Never retried: the component stops.
    #[error("{action}: refused, this process no longer leads")]
    FenceLost {
        /// The request.
        action: String,
    },
    /// No master could be reached, or the connection broke before the answer. A write may or may not have happened.
    #[error("{action}: cannot reach the API: {reason}")]
    Transport {
        /// The request.
        action: String,
        /// The innermost cause known.
        reason: String,
    },
    /// The answer is not what this agent understands.
    #[error("{action}: cannot decode the answer: {reason}")]
    Decode {
        /// The request.
        action: String,
        /// Serde's message.
        reason: String,
    },
    /// The caller's object cannot be encoded, or its name cannot be part of a URL.
    #[error("{action}: cannot build the request: {reason}")]
    Encode {
        /// The request.
        action: String,
        /// Why.
        reason: String,
    },
    /// A certificate that could not be had or put in place.
    #[error("{certificate}: {reason}")]
    Certificate {
        /// Its file.
        certificate: String,
        /// Why.
        reason: String,
    },
    /// Connection options, certificates or a kubeconfig that cannot be used.
    #[error("client configuration: {0}")]
    Config(String),
}

impl Error {
    /// The failure of `action` as the API's Status tells it.
    pub fn from_status(action: impl Into<String>, status: Status) -> Self {
        let action = action.into();
        if status.code == 409 && status.reason == REASON_FENCE_LOST {
            return Error::FenceLost { action };
        }
        Error::Api {
            action,
            status: Box::new(status),
        }
    }

    /// The API's Status, if it answered at all.
    pub fn status(&self) -> Option<&Status> {
        match self {
            Error::Api { status, .. } => Some(status),
            _ => None,
        }
    }

    fn code(&self) -> u16 {
        self.status().map_or(0, |s| s.code)
    }

    fn reason(&self) -> &str {
        self.status().map_or("", |s| s.reason.as_str())
    }

    /// 404.
    pub fn is_not_found(&self) -> bool {
        self.code() == 404
    }

    /// 409 because the object exists.
    pub fn is_already_exists(&self) -> bool {
        self.code() == 409 && self.reason() == "AlreadyExists"
    }

    /// 409 because the object changed in between (or a precondition failed).
    pub fn is_conflict(&self) -> bool {
        self.code() == 409 && self.reason() != "AlreadyExists"
    }

    /// 410: the resourceVersion is compacted; list again.
    pub fn is_gone(&self) -> bool {
        self.code() == 410 || matches!(self.reason(), "Expired" | "Gone")
    }

    /// 403.
    pub fn is_forbidden(&self) -> bool {
        self.code() == 403
    }

    /// 422.
    pub fn is_invalid(&self) -> bool {
        self.code() == 422
    }

    /// 403 or 409 on a create because the namespace is being deleted.
    pub fn is_namespace_terminating(&self) -> bool {
        let causes = self
            .status()
            .and_then(|s| s.details.as_ref())
            .map(|d| d.causes.as_slice())
            .unwrap_or_default();
        causes.iter().any(|c| c.reason == "NamespaceTerminating")
            || (self.is_forbidden() && self.status().is_some_and(|s| s.message.contains("being terminated")))
    }

    /// Whether the fence of a leader was refused.
    pub fn is_fence_lost(&self) -> bool {
        matches!(self, Error::FenceLost { .. })
    }

    /// Whether the same request may succeed later without anybody changing anything.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Error::Transport { .. }) || matches!(self.code(), 429 | 500 | 502 | 503 | 504)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: u16, reason: &str) -> Status {
        Status::failure("no", reason).with_code(code)
    }

    #[test]
    fn a_failed_fence_is_not_an_ordinary_conflict() {
        let fence = Error::from_status("PUT /x", status(409, "FenceLost"));
        assert!(fence.is_fence_lost() && !fence.is_conflict() && !fence.is_retryable());
        let conflict = Error::from_status("PUT /x", status(409, "Conflict"));
        assert!(conflict.is_conflict() && !conflict.is_already_exists());
        let exists = Error::from_status("POST /x", status(409, "AlreadyExists"));
        assert!(exists.is_already_exists() && !exists.is_conflict());
    }

    #[test]
    fn an_expired_watch_is_gone() {
        assert!(Error::from_status("GET /x", status(410, "Expired")).is_gone());
        assert!(!Error::from_status("GET /x", status(404, "NotFound")).is_gone());
    }
}
