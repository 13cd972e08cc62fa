//! Logs: text on standard error, filtered by the configuration's `log` or the environment's `PROREUS_LOG`.

use anyhow::Context;
use tracing_subscriber::EnvFilter;

/// Installs the process's log subscriber. `filter` is a level (`info`) or directives (`warn,raftstore=debug`).
pub fn init(filter: &str) -> anyhow::Result<()> {
    let wanted = std::env::var("PROREUS_LOG").unwrap_or_else(|_| filter.to_string());
    let filter = EnvFilter::try_new(&wanted).with_context(|| format!("log: {wanted:?} is not a log filter"))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    Ok(())
}
