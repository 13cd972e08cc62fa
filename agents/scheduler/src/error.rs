//! Why the scheduler ended.

/// Anything else (an unreachable API, a refused binding) is retried inside.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another member leads: stop at once, whoever leads schedules.
    #[error("the scheduler stopped: {0}")]
    FenceLost(client::Error),
}
