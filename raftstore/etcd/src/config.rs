//! What the composition tells the door.

use std::path::PathBuf;
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
    /// Whether a client with a certificate and without a token is the user that the certificate's common name names.
    pub client_cert_auth: bool,
    /// How long a token lives; where it is used, from its last use.
    pub token_ttl: Duration,
    /// What hashing a password costs: the logarithm of the rounds, 4 to 31.
    pub bcrypt_cost: u32,
    /// Where snapshots are put together; each takes as much room as the store has content.
    pub spool_directory: PathBuf,
    /// The largest request in bytes; at most [`limits::REQUEST_BYTES_MAX`].
    pub request_bytes_max: usize,
    /// Operations in one transaction; at most [`limits::TXN_OPERATIONS_MAX`].
    pub txn_operations_max: usize,
}

impl EtcdConfig {
    /// The usual settings.
    pub fn new(name: impl Into<String>, advertised_client_urls: Vec<String>) -> Self {
        Self {
            name: name.into(),
            advertised_client_urls,
            watch_progress_interval: limits::WATCH_PROGRESS_INTERVAL,
            election_timeout: Duration::from_millis(500),
            client_cert_auth: true,
            token_ttl: limits::TOKEN_TTL,
            bcrypt_cost: limits::BCRYPT_COST,
            spool_directory: std::env::temp_dir(),
            request_bytes_max: limits::REQUEST_BYTES_MAX,
            txn_operations_max: limits::TXN_OPERATIONS_MAX,
        }
    }

    pub(crate) fn leaderless_max(&self) -> Duration {
        self.election_timeout * limits::LEADERLESS_ELECTIONS_MAX
    }
}
