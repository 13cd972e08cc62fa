//! Every bound of the crate, in one place.

use std::time::Duration;

/// Bytes of a log segment.
pub const LOG_SEGMENT_BYTES: u64 = 16 << 20;
/// Segment size of stores that live in memory only.
pub const LOG_SEGMENT_BYTES_MEMORY: u64 = 8 << 20;
/// A batch of the log is closed when it would grow beyond this.
pub const LOG_BATCH_BYTES: usize = 2 << 20;
/// A round of the log's writer takes no further queued work beyond this.
pub const LOG_ROUND_BYTES: usize = 8 << 20;
/// Purged segments kept for reuse.
pub const LOG_SPARE_SEGMENTS: usize = 2;
/// Payload bytes of the newest entries kept in memory.
pub const LOG_CACHE_BYTES: usize = 64 << 20;

/// Member ids whose owner a member remembers, past members included.
pub const CLAIMS_MAX: usize = 4_096;
/// The first pause before a peer that did not answer a claim is asked again; it doubles from there.
pub const CLAIM_RETRY_MIN: Duration = Duration::from_millis(25);
/// The longest such pause.
pub const CLAIM_RETRY_MAX: Duration = Duration::from_secs(1);
/// A member that is not admitted says so this often.
pub const ADMISSION_PATIENCE: Duration = Duration::from_secs(10);

/// Largest request, as etcd's default.
pub const REQUEST_BYTES: usize = 3 << 19;
/// A batch of requests is proposed when it reaches this size, whatever is still queued.
pub const PROPOSAL_BYTES: usize = 1 << 20;
/// Requests accepted but not yet answered, in bytes; beyond it callers are told `too many requests`.
pub const PENDING_PROPOSAL_BYTES: usize = 64 << 20;
/// Batches proposed but not yet applied; the next one forms meanwhile.
pub const PROPOSALS_IN_FLIGHT: usize = 4;
/// What a request is accounted with beyond its own bytes.
pub const REQUEST_OVERHEAD_BYTES: usize = 128;

/// Entries in one message to a peer.
pub const APPEND_ENTRIES: u64 = 512;
/// Payload bytes in one message to a peer (one entry may exceed it).
pub const APPEND_BYTES: usize = 2 << 20;
/// Largest message between members.
pub const MESSAGE_BYTES: usize = 16 << 20;
/// Bytes of a snapshot in one message.
pub const SNAPSHOT_CHUNK_BYTES: usize = 1 << 20;
/// Messages of a snapshot read ahead of what the peer took.
pub const SNAPSHOT_CHUNKS_IN_FLIGHT: usize = 4;
/// A question to a peer is given up after this.
pub const ASK_TIMEOUT: Duration = Duration::from_secs(5);
/// A member whose stream from the leader ended looks so often whether anything listens there.
pub const PROBES: u32 = 7;
/// The pause before it looks for the second time; each is twice as long as the one before.
pub const PROBE_PAUSE: Duration = Duration::from_millis(20);
/// Looking is given up after this: whoever is gone refuses at once.
pub const PROBE_TIMEOUT: Duration = Duration::from_millis(200);
/// A member gives each one that should call an election before it this much time.
pub const HEIR_TIME: Duration = Duration::from_millis(100);

/// Connecting to a peer is given up after this.
pub const CONNECT_TIMEOUT: Duration = Duration::from_millis(1_000);

/// Log entries kept behind the applied one for peers that lag.
pub const LOG_KEEP_ENTRIES: u64 = 100_000;
/// Log bytes kept behind the applied entry for peers that lag.
pub const LOG_KEEP_BYTES: u64 = 256 << 20;
/// Log applied since the last flush of the state after which the next flush starts; it bounds the replay at a restart.
pub const FLUSH_BYTES: u64 = 32 << 20;

/// Entries applied in a row before other tasks get their turn.
pub const APPLIES_BEFORE_YIELD: u64 = 64;

/// Bytes of events kept in memory for watchers.
pub const WATCH_RING_BYTES: usize = 64 << 20;
/// Blocks kept in memory for watchers.
pub const WATCH_RING_BLOCKS: usize = 100_000;
/// Blocks scanned for one watcher before it yields to the others.
pub const WATCH_SCAN_BLOCKS: usize = 1_024;
/// Revisions noted for a watcher that does not take them, before it has to read for itself.
pub const WATCH_INBOX_REVISIONS: usize = 65_536;
/// Blocks handed to a watcher at once.
pub const WATCH_DELIVERY_BLOCKS: usize = 256;
/// Bytes a lagging watcher reads back from the tables at once.
pub const WATCH_CATCH_UP_BYTES: usize = 4 << 20;

/// A request without an own deadline is given up after this.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(7);
/// Pause before a request looks for a leader again.
pub const LEADER_RETRY: Duration = Duration::from_millis(20);
/// Reads that share one round to the quorum at most.
pub const READS_PER_ROUND: usize = 65_536;
/// Rounds under way at a time; reads that come meanwhile share the next one.
pub const READ_ROUNDS_IN_FLIGHT: usize = 4;
/// Reads that wait for a round; beyond it callers are told `too many requests`.
pub const READS_WAITING_MAX: usize = 262_144;

/// Leases proposed for revocation in one go.
pub const LEASE_REVOKES_PER_ROUND: usize = 1_000;
/// Leases whose remaining time is noted in one request.
pub const LEASE_CHECKPOINTS_PER_REQUEST: usize = 1_000;
/// How often the leader looks for expired leases.
pub const LEASE_TICK: Duration = Duration::from_millis(200);
/// How often what is left of long TTLs is written down.
pub const LEASE_CHECKPOINT_INTERVAL: Duration = Duration::from_secs(300);

/// Bytes of the tables from which on writes are refused, unless told otherwise.
pub const QUOTA_BYTES: u64 = 8 << 30;
/// Bytes that must stay free on the disk: several segments of the log and what compaction of the tables needs.
pub const RESERVE_BYTES: u64 = 256 << 20;
/// How often a member looks how much room is left.
pub const SPACE_INTERVAL: Duration = Duration::from_millis(500);

/// How often a member looks after the membership.
pub const MEMBERSHIP_TICK: Duration = Duration::from_millis(250);
/// A joining member that takes no entry for this long is dropped.
pub const JOIN_STALL: Duration = Duration::from_secs(600);
/// A joining member gets its vote once at most this many entries are missing.
pub const JOIN_LAG_ENTRIES: u64 = 100;
/// Learners at a time that wait for somebody to promote them, as etcd's default.
pub const LEARNERS_MAX: usize = 1;
/// Members that join at a time.
pub const JOINERS_MAX: usize = 4;

/// Keys that one step of physical compaction visits.
pub const COMPACTION_STEP_REVISIONS: usize = 1_000;
/// Pause between two steps.
pub const COMPACTION_PAUSE: Duration = Duration::from_millis(10);

const _: () = assert!(PROPOSAL_BYTES + REQUEST_BYTES < (LOG_SEGMENT_BYTES_MEMORY / 2) as usize);
const _: () = assert!(PROPOSAL_BYTES + REQUEST_BYTES + APPEND_BYTES < MESSAGE_BYTES);
const _: () = assert!(LOG_BATCH_BYTES < (LOG_SEGMENT_BYTES_MEMORY / 2) as usize);
