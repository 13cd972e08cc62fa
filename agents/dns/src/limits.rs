//! Every bound of this crate, by name.

use std::time::Duration;

/// How long an answer about the cluster may be remembered, positive or negative.
pub const TTL_SECONDS: u32 = 5;

/// Changes are gathered this long before the zone is rebuilt.
pub const REBUILD_GATHER: Duration = Duration::from_millis(50);

/// The largest UDP message sent or asked for: what passes every path unfragmented.
pub const UDP_PAYLOAD_BYTES_MAX: u16 = 1232;
/// What a client that says nothing can take.
pub const UDP_PAYLOAD_BYTES_MIN: u16 = 512;

/// One upstream server is given this long for one attempt.
pub const UPSTREAM_TIMEOUT: Duration = Duration::from_secs(2);
/// Rounds over all upstream servers before giving up.
pub const UPSTREAM_ROUNDS: usize = 2;
/// Queries waiting for upstream at once; more are answered SERVFAIL so that a dead upstream cannot eat the memory.
pub const UPSTREAM_QUERIES_MAX: usize = 1024;
/// Servers taken from a resolv.conf, as resolvers do.
pub const UPSTREAM_SERVERS_MAX: usize = 3;

/// A TCP client may be silent this long.
pub const TCP_IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// Answers waiting for one slow TCP client.
pub const TCP_ANSWERS_QUEUED_MAX: usize = 32;

/// Aliases followed within one answer.
pub const ALIASES_MAX: usize = 8;

/// `ip` must answer within this time.
pub const IP_COMMAND_TIMEOUT: Duration = Duration::from_secs(10);

const _: () = assert!(UDP_PAYLOAD_BYTES_MIN <= UDP_PAYLOAD_BYTES_MAX);
