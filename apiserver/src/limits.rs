//! Every bound of the server, named.

use std::time::Duration;

/// A request body larger than this is refused with 413, as upstream does.
pub const BODY_BYTES_MAX: usize = 3 * 1024 * 1024;
/// Requests that may change something, running at once.
pub const MUTATING_IN_FLIGHT_MAX: usize = 200;
/// Requests that only read, running at once. Watches and streams are not counted once they are answered.
pub const READONLY_IN_FLIGHT_MAX: usize = 400;
/// What a client turned away by either limit is told to wait.
pub const RETRY_AFTER_SECONDS: u32 = 1;
/// A request that is neither a watch nor a stream ends with 504 after this.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// The length of a watch whose client did not say: between this and twice this, so that reconnects spread out.
pub const WATCH_TIMEOUT_MIN: Duration = Duration::from_secs(1800);
/// How often an idle watch that asked for bookmarks gets one.
pub const BOOKMARK_INTERVAL: Duration = Duration::from_secs(60);
/// Answers smaller than this are not worth compressing.
pub const GZIP_BYTES_MIN: usize = 128 * 1024;
/// A generated name keeps at most this much of `generateName`.
pub const GENERATED_NAME_BASE_MAX: usize = 63 - 5;
/// How often a generated name is tried again when it is taken.
pub const GENERATED_NAME_ATTEMPTS: usize = 8;
/// Warnings of one request together, in bytes; more are cut off, as proxies refuse huge headers.
pub const WARNING_BYTES_MAX: usize = 4 * 1024;
/// How long open requests may finish after a stop was asked for.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// Objects a `deletecollection` deletes at once.
pub const DELETE_COLLECTION_CONCURRENCY: usize = 16;

const _: () = assert!(RETRY_AFTER_SECONDS > 0);
const _: () = assert!(MUTATING_IN_FLIGHT_MAX <= READONLY_IN_FLIGHT_MAX);
