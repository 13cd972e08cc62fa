//! What the composition tells the door.

use std::time::Duration;

use crate::limits;

/// Settings of one member's door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EtcdConfig {
    /// This member's name, shown where the store does not know one.
    pub name: String,
    /// Where clients reach this member, shown where the store does not know it.
    pub advertised_client_urls: Vec<String>,
    /// How often an idle watcher that asked for it is told of progress.
    pub watch_progress_interval: Duration,
    /// The store's election timeout; streams that require a leader outlast three of them without one.
    pub election_timeout: Duration,
}

impl EtcdConfig {
    /// The usual settings.
    pub fn new(name: impl Into<String>, advertised_client_urls: Vec<String>) -> Self {
        Self {
            name: name.into(),
            advertised_client_urls,
            watch_progress_interval: limits::WATCH_PROGRESS_INTERVAL,
            election_timeout: Duration::from_millis(500),
        }
    }

    pub(crate) fn leaderless_max(&self) -> Duration {
        self.election_timeout * limits::LEADERLESS_ELECTIONS_MAX
    }
}
