//! Every bound of storage, named.

/// A write that keeps losing races gives up after this many attempts; the caller sees a conflict.
pub const UPDATE_ATTEMPTS: usize = 64;
/// Entries read at once from an old revision while a selector filters them.
pub const HISTORY_PAGE: i64 = 1000;
/// Seconds a client waits before it asks again for a resourceVersion that this member has not seen yet.
pub const FUTURE_VERSION_RETRY_SECONDS: u32 = 1;
/// How long a read waits for a resourceVersion that is not here yet before it fails.
pub const FUTURE_VERSION_WAIT: std::time::Duration = std::time::Duration::from_secs(3);
/// How often a read that waits for a resourceVersion looks again.
pub const FUTURE_VERSION_POLL: std::time::Duration = std::time::Duration::from_millis(50);
/// A member that has known no leader for this long asks the quorum before it relies on its own copy. Many times an election.
pub const LEADERLESS_MAX: std::time::Duration = std::time::Duration::from_secs(5);
/// How long it waits for the quorum's answer.
pub const PROOF_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(1);
/// A continue token longer than this is not ours.
pub const CONTINUE_BYTES_MAX: usize = 4096;

const _: () = assert!(HISTORY_PAGE > 0 && UPDATE_ATTEMPTS > 1);
