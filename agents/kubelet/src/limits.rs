//! Every timeout, interval, queue and retry of the agent, by name.

use std::time::Duration;

/// How long an ordinary call to the runtime may take.
pub const CRI_CALL_TIMEOUT: Duration = Duration::from_secs(120);
/// How long creating or starting something may take.
pub const CRI_START_TIMEOUT: Duration = Duration::from_secs(240);
/// How long pulling one image may take.
pub const IMAGE_PULL_TIMEOUT: Duration = Duration::from_secs(30 * 60);
/// The largest answer of the runtime.
pub const CRI_MESSAGE_BYTES_MAX: usize = 16 << 20;

/// How often the runtime's containers are listed.
pub const RELIST_INTERVAL: Duration = Duration::from_secs(1);
/// How long the last list may be old before the node counts as not ready.
pub const RELIST_AGE_MAX: Duration = Duration::from_secs(180);
/// How many pods start or stop at the same time. More only makes each slower.
pub const POD_STARTS_MAX: usize = 4;
/// How many times one wake-up of a pod's worker decides and acts before it yields.
pub const STEPS_PER_SYNC_MAX: usize = 64;
/// How often a pod without changes is looked at again: its configuration files follow the API this fast.
pub const POD_RESYNC_INTERVAL: Duration = Duration::from_secs(60);
/// How long a worker waits after a failed action.
pub const POD_RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// First wait before a container that ended is started again.
pub const RESTART_BACKOFF_MIN: Duration = Duration::from_secs(10);
/// Longest wait before a container that ended is started again.
pub const RESTART_BACKOFF_MAX: Duration = Duration::from_secs(300);
/// A container that ran this long starts over with the shortest wait.
pub const RESTART_BACKOFF_RESET: Duration = Duration::from_secs(600);
/// First wait before an image is pulled again.
pub const PULL_BACKOFF_MIN: Duration = Duration::from_secs(10);
/// Longest wait before an image is pulled again.
pub const PULL_BACKOFF_MAX: Duration = Duration::from_secs(300);

/// How often the node's status is looked at, and written when it changed.
pub const NODE_STATUS_INTERVAL: Duration = Duration::from_secs(10);
/// How often an unchanged node status is written all the same.
pub const NODE_STATUS_REPORT_INTERVAL: Duration = Duration::from_secs(300);
/// How often the node's Lease object is renewed.
pub const LEASE_RENEW_INTERVAL: Duration = Duration::from_secs(10);
/// What the Lease object promises.
pub const LEASE_DURATION_SECONDS: i32 = 40;
/// How many images the node's status lists.
pub const NODE_IMAGES_MAX: usize = 50;
/// How long one API request of a background loop may take.
pub const API_CALL_TIMEOUT: Duration = Duration::from_secs(15);

/// How old a cached configMap or secret may be when it is mounted.
pub const OBJECT_AGE_MAX: Duration = Duration::from_secs(15);
/// How many configMaps and secrets are cached.
pub const OBJECTS_MAX: usize = 1024;

/// How large a volume that may hold secrets can be: it lives in memory, and twice while it is replaced.
pub const SECRET_VOLUME_BYTES_MAX: u64 = 128 << 20;
/// How many times a subPath is resolved while somebody keeps renaming its parts.
pub const SUBPATH_TRIES_MAX: usize = 16;

/// A container's log is rotated at this size.
pub const LOG_BYTES_MAX: u64 = 10 << 20;
/// How many log files a container has, the current one included.
pub const LOG_FILES_MAX: usize = 5;
/// How often log sizes are looked at.
pub const LOG_ROTATE_INTERVAL: Duration = Duration::from_secs(10);
/// How often a followed log is looked at.
pub const LOG_POLL_INTERVAL: Duration = Duration::from_millis(200);
/// How much of a log is read at once.
pub const LOG_CHUNK_BYTES: usize = 64 << 10;
/// The longest last words of a container.
pub const TERMINATION_MESSAGE_BYTES_MAX: u64 = 4096;
/// How much of the log stands in for last words.
pub const TERMINATION_LOG_BYTES_MAX: u64 = 2048;
/// How many lines of the log stand in for last words.
pub const TERMINATION_LOG_LINES_MAX: usize = 80;

/// How much of a probe's or hook's answer is kept for messages.
pub const PROBE_OUTPUT_BYTES_MAX: usize = 1024;
/// How many times one question is asked when it could not be put to the container.
pub const PROBE_TRIES_MAX: usize = 3;

/// How long the runtime may take to become healthy after its start.
pub const RUNTIME_START_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the runtime may take to stop before it is killed.
pub const RUNTIME_STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// First wait before a runtime that died is started again; it doubles up to [`RUNTIME_RESTART_MAX`].
pub const RUNTIME_RESTART_MIN: Duration = Duration::from_millis(200);
/// Longest wait before a runtime that died is started again.
pub const RUNTIME_RESTART_MAX: Duration = Duration::from_secs(10);

/// How long the runtime's streaming server may take to answer.
pub const STREAM_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client may take for its TLS handshake.
pub const TLS_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How many connections the node's API serves at once.
pub const SERVER_CONNECTIONS_MAX: usize = 1024;

/// A service-account token is renewed once this much of its life is over, in percent.
pub const TOKEN_RENEW_PERCENT: i64 = 80;
/// A service-account token is never older than this.
pub const TOKEN_AGE_MAX: Duration = Duration::from_secs(24 * 3600);

const _: () = assert!(RESTART_BACKOFF_MIN.as_secs() < RESTART_BACKOFF_MAX.as_secs());
const _: () = assert!(NODE_STATUS_INTERVAL.as_secs() <= NODE_STATUS_REPORT_INTERVAL.as_secs());
const _: () = assert!((LEASE_RENEW_INTERVAL.as_secs() as i32) * 2 < LEASE_DURATION_SECONDS);
const _: () = assert!(LOG_FILES_MAX >= 2);
