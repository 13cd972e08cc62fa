//! Every bound of the door, by name. Those that clients know are etcd's defaults.

use std::time::Duration;

/// The largest request.
pub const REQUEST_BYTES_MAX: usize = raftstore::limits::REQUEST_BYTES;
/// What gRPC may add to a request before it is refused unread.
pub const GRPC_OVERHEAD_BYTES: usize = 512 << 10;
/// The largest message read from a client.
pub const MESSAGE_BYTES_MAX: usize = REQUEST_BYTES_MAX + GRPC_OVERHEAD_BYTES;
/// The largest request as JSON: bytes are four thirds of themselves there, and keys have names.
pub const JSON_BYTES_MAX: usize = 2 * MESSAGE_BYTES_MAX;
/// Operations in one transaction, nested ones included.
pub const TXN_OPERATIONS_MAX: usize = 128;

/// Events of several revisions are joined into one watch response up to this size; a fragment is no larger either.
pub const WATCH_RESPONSE_BYTES: usize = REQUEST_BYTES_MAX;
/// Watch responses waiting for one slow client.
pub const WATCH_RESPONSES_QUEUED_MAX: usize = 16;
/// Watchers on one stream.
pub const WATCHERS_PER_STREAM_MAX: usize = 100_000;
/// How often an idle watcher that asked for it is told of progress.
pub const WATCH_PROGRESS_INTERVAL: Duration = Duration::from_secs(600);

/// A stream that requires a leader ends after this many election timeouts without one.
pub const LEADERLESS_ELECTIONS_MAX: u32 = 3;

/// Keys in one message of a streamed range.
pub const RANGE_STREAM_KEYS: usize = 1_000;

/// Bytes of a snapshot in one message, as etcd's.
pub const SNAPSHOT_CHUNK_BYTES: usize = 32 << 10;
/// Messages of a snapshot read ahead of what the client took.
pub const SNAPSHOT_CHUNKS_QUEUED_MAX: usize = 8;

/// The lease of a lock or candidate that came without one, as etcd's.
pub const SESSION_TTL_SECONDS: i64 = 60;

/// How long a token lives, as etcd's.
pub const TOKEN_TTL: Duration = Duration::from_secs(300);
/// Tokens whose last use is remembered; others end by their own time.
pub const TOKENS_TRACKED_MAX: usize = 65_536;
/// What signs tokens.
pub const TOKEN_SECRET_BYTES: usize = 32;
/// What hashing a password costs, as etcd's.
pub const BCRYPT_COST: u32 = 10;
/// Passwords hashed at a time; more would starve everything else.
pub const HASHES_AT_A_TIME: usize = 2;

/// Snapshots made at a time; more are refused, for a client that stalls must not make others wait.
pub const SNAPSHOTS_AT_A_TIME: usize = 2;

/// Connections of one listener.
pub const CONNECTIONS_MAX: usize = 16_384;
/// A TLS handshake must be finished within this time.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// After a failure to accept (no file descriptors left) the next attempt waits this long.
pub const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// At a stop, connections get this long to finish what they are answering.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// Requests under way on one connection.
pub const STREAMS_PER_CONNECTION_MAX: u32 = 65_536;
/// Streams a client may cancel before they were looked at; beyond it the connection is an attack.
pub const CANCELLED_STREAMS_MAX: usize = 1_024;
/// HTTP/2 flow control windows.
pub const STREAM_WINDOW_BYTES: u32 = 1 << 20;
/// See [`STREAM_WINDOW_BYTES`].
pub const CONNECTION_WINDOW_BYTES: u32 = 8 << 20;
/// An idle connection is asked for a sign of life this often.
pub const PING_INTERVAL: Duration = Duration::from_secs(60);
/// And is given up without an answer after this time.
pub const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// The longest election timeout, as etcd's.
pub const ELECTION_TIMEOUT_MAX: Duration = Duration::from_secs(50);
/// How often automatic compaction looks at the revision, at the least.
pub const AUTO_COMPACTION_INTERVAL: Duration = Duration::from_secs(300);
/// Looks within the period that is kept.
pub const AUTO_COMPACTION_LOOKS: u32 = 10;

/// `/health` and the health service give up on the store after this time.
pub const HEALTH_TIMEOUT: Duration = Duration::from_secs(5);
/// How often the health service's watch looks.
pub const HEALTH_INTERVAL: Duration = Duration::from_secs(1);

const _: () = assert!(REQUEST_BYTES_MAX < MESSAGE_BYTES_MAX);
const _: () = assert!(STREAM_WINDOW_BYTES <= CONNECTION_WINDOW_BYTES);
const _: () = assert!(TXN_OPERATIONS_MAX <= mvcc::limits::TXN_OPERATIONS_MAX);
