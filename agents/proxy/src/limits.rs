//! Every bound of this crate, by name.

use std::time::Duration;

/// Elements in one `add element` statement; longer lists are split so that one statement stays readable in an error.
pub const ELEMENTS_PER_STATEMENT_MAX: usize = 256;

/// Changes are gathered this long before a sync: a rollout changes a slice many times a second.
pub const SYNC_GATHER: Duration = Duration::from_millis(50);

/// How often the table is looked for in the kernel, in case somebody flushed the ruleset.
pub const PRESENCE_CHECK_INTERVAL: Duration = Duration::from_secs(30);

/// After a refused transaction the next attempt waits this long, doubling up to the maximum.
pub const RETRY_DELAY_MIN: Duration = Duration::from_millis(200);
/// See [`RETRY_DELAY_MIN`].
pub const RETRY_DELAY_MAX: Duration = Duration::from_secs(10);

/// `nft` must answer within this time; it is killed otherwise.
pub const NFT_TIMEOUT: Duration = Duration::from_secs(30);

/// Kubernetes' own default for `sessionAffinityConfig.clientIP.timeoutSeconds`.
pub const AFFINITY_SECONDS_DEFAULT: u32 = 10_800;

/// nft identifiers end here (the kernel's NFT_NAME_MAXLEN less its terminator).
pub const IDENTIFIER_BYTES_MAX: usize = 255;

const _: () = assert!(RETRY_DELAY_MIN.as_millis() < RETRY_DELAY_MAX.as_millis());
const _: () = assert!(SYNC_GATHER.as_millis() < PRESENCE_CHECK_INTERVAL.as_millis());
