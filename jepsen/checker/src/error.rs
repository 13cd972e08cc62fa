//! What can be wrong with a history itself, as opposed to what it shows.

/// A history that no honest recorder can have written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("event {index}: process {process} completes an operation that it never invoked")]
    CompletionWithoutInvocation { index: u64, process: u64 },
    #[error("event {index}: process {process} invokes an operation while another of its own is under way")]
    OverlappingInvocations { index: u64, process: u64 },
    #[error("event {index} comes after event {before}: indexes of events have to grow")]
    IndexBackwards { index: u64, before: u64 },
    #[error("line {line} is not an event of this history: {source}")]
    Line { line: usize, source: serde_json::Error },
    #[error("the history cannot be read or written: {0}")]
    Io(#[from] std::io::Error),
}
