//! What can go wrong between the desired ruleset and the kernel.

/// An error of the service proxy.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The nft program could not be started.
    #[error("cannot run `{command}`: {source}; install nftables or run the proxy as root")]
    Start {
        /// The command line.
        command: String,
        /// Why.
        source: std::io::Error,
    },
    /// nft refused the transaction; the kernel still has the previous ruleset.
    #[error("`{command}` refused the transaction (status {status}): {message}")]
    Refused {
        /// The command line.
        command: String,
        /// Its exit status.
        status: String,
        /// What it printed.
        message: String,
    },
    /// nft did not finish in time.
    #[error("`{command}` did not finish within {seconds} s and was killed")]
    Timeout {
        /// The command line.
        command: String,
        /// How long it was given.
        seconds: u64,
    },
    /// A configuration value cannot be used.
    #[error("proxy configuration: {field}: {reason}")]
    Config {
        /// The field.
        field: &'static str,
        /// What is wrong with it and what to write instead.
        reason: String,
    },
}
