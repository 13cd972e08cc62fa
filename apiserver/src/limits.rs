//! Every bound of the server, named.

use std::time::Duration;

/// A request body larger than this is refused with 413, as upstream does.
pub const BODY_BYTES_MAX: usize = 3 * 1024 * 1024;
/// How much of a body that is too large is read and dropped, so that its sender hears why it was refused.
pub const DRAINED_BYTES_MAX: usize = 64 * 1024 * 1024;
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
/// How often a create is tried again because its namespace or a quota changed while it was being written. Creates under one quota
/// take turns, so this bounds how many of them may be under way at once.
pub const MOVED_GUARD_ATTEMPTS: usize = 64;
/// Warnings of one request together, in bytes; more are cut off, as proxies refuse huge headers.
pub const WARNING_BYTES_MAX: usize = 4 * 1024;
/// How long open requests may finish after a stop was asked for.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// Objects a `deletecollection` deletes at once.
pub const DELETE_COLLECTION_CONCURRENCY: usize = 16;

const _: () = assert!(DRAINED_BYTES_MAX > BODY_BYTES_MAX);
const _: () = assert!(RETRY_AFTER_SECONDS > 0);
const _: () = assert!(MUTATING_IN_FLIGHT_MAX <= READONLY_IN_FLIGHT_MAX);
/// A client that has not finished its TLS handshake by then is dropped.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// A client that has not finished the headers of a request by then is dropped.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// How often an HTTP/2 connection is probed, so that watches of vanished clients end.
pub const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(30);
/// Requests at once on one HTTP/2 connection. Each informer of a client is a long-lived one.
pub const STREAMS_MAX: u32 = 1000;
/// All headers of one request; more is refused with 431.
pub const HEADER_BYTES_MAX: usize = 64 * 1024;
/// All headers of one HTTP/2 request, as far as they are read at all: up to here the refusal is a Status.
pub const HEADER_LIST_BYTES_MAX: u32 = 512 * 1024;
/// How long to wait when no connection can be accepted for want of resources.
pub const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// A health check that takes longer has failed.
pub const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);
/// Lists are sent in pieces of about this size.
pub const LIST_CHUNK_BYTES: usize = 64 * 1024;
