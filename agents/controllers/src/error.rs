//! Why the controllers ended.

/// Anything else is retried inside.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another member leads: stop at once.
    #[error("the controllers stopped: {0}")]
    FenceLost(client::Error),
    /// A controller panicked; its member should hand leadership on.
    #[error("a controller panicked: {0}")]
    Panicked(String),
}
