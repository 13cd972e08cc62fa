//! How a member is set up.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use openraft::{Config, SnapshotPolicy};

use crate::claim::Owner;
use crate::error::Error;
use crate::limits::{
    APPEND_ENTRIES, FLUSH_BYTES, LOG_KEEP_BYTES, LOG_KEEP_ENTRIES, QUOTA_BYTES, REQUEST_TIMEOUT, RESERVE_BYTES,
};
use crate::log::LogOptions;
use crate::metrics::Metrics;
use crate::status::Member;
use crate::transport::{Listen, Tls};

/// Where a member lives: everything of it that is not the same in memory.
pub struct Setup {
    /// The rest.
    pub options: Options,
    /// Where its log goes; the tables are the caller's.
    pub data_directory: PathBuf,
    /// Where it listens for peers.
    pub listen: Listen,
    /// Its certificates; without, members trust whoever reaches them.
    pub tls: Option<Tls>,
}

/// How a member is set up.
#[derive(Debug, Clone)]
pub struct Options {
    /// This member's id.
    pub id: u64,
    /// Names the cluster; members of different clusters never talk to each other.
    pub cluster_token: String,
    /// The cluster's id, where it does not come from the token: this member was told it when it joined.
    pub cluster: Option<u64>,
    /// The members the cluster starts with, the same list on each. Read only while the log is empty.
    pub members: Vec<Member>,
    /// Clocks of the protocol.
    pub timing: Timing,
    /// How the log is kept.
    pub log: LogOptions,
    /// How much of the log is kept.
    pub retention: Retention,
    /// How much room the store may take.
    pub space: Space,
    /// Whether this member takes part in founding the cluster. False for one that was added to a cluster that exists: it
    /// waits for that cluster's leader, whatever its id.
    pub founds: bool,
    /// What the member counts.
    pub metrics: Arc<Metrics>,
    /// Called once when this member is broken and must stop.
    pub on_fault: FaultHandler,
}

/// Clocks of the protocol.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// A leader sends heartbeats this often, and does not count one that is answered later than this. Has to exceed the
    /// disk's slowest usual sync, and how long a member may wait for a processor.
    pub heartbeat: Duration,
    /// The shortest a follower waits before it stands for election.
    pub election_min: Duration,
    /// The longest; also the leader's lease.
    pub election_max: Duration,
    /// How long a request may take.
    pub request: Duration,
}

/// How much of the log is kept behind what is applied.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    /// Log applied since the last flush of the tables after which the next one starts; it bounds the replay at a restart.
    pub flush_bytes: u64,
    /// Entries kept for peers that lag.
    pub entries: u64,
    /// Bytes of entries kept for peers that lag, if that is less.
    pub bytes: u64,
}

/// How much room the store may take before it raises NOSPACE.
#[derive(Debug, Clone)]
pub struct Space {
    /// Bytes of the tables.
    pub quota_bytes: u64,
    /// Bytes that must stay free on the disk.
    pub reserve_bytes: u64,
    /// Tells the bytes that are free on the disk; without it only the quota counts.
    pub free: FreeSpace,
}

impl Default for Space {
    fn default() -> Self {
        Self {
            quota_bytes: QUOTA_BYTES,
            reserve_bytes: RESERVE_BYTES,
            free: FreeSpace::default(),
        }
    }
}

/// A look at how many bytes a disk has left.
type Look = dyn Fn() -> std::io::Result<u64> + Send + Sync;

/// Tells the bytes that are free on a disk.
#[derive(Clone, Default)]
pub struct FreeSpace(pub Option<Arc<Look>>);

impl FreeSpace {
    /// Of the disk that a directory is on.
    pub fn of(directory: PathBuf) -> Self {
        Self(Some(Arc::new(move || {
            let disk = nix::sys::statvfs::statvfs(&directory)?;
            Ok(disk.blocks_available() as u64 * disk.fragment_size() as u64)
        })))
    }
}

impl fmt::Debug for FreeSpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FreeSpace")
    }
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            flush_bytes: FLUSH_BYTES,
            entries: LOG_KEEP_ENTRIES,
            bytes: LOG_KEEP_BYTES,
        }
    }
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(150),
            election_min: Duration::from_millis(500),
            election_max: Duration::from_millis(1_000),
            request: REQUEST_TIMEOUT,
        }
    }
}

/// What to do when this member is broken: its log or its tables failed, or Raft stopped on an error.
#[derive(Clone)]
pub struct FaultHandler(pub Arc<dyn Fn(&str) + Send + Sync>);

impl FaultHandler {
    /// Tells stderr and lets the process live: for members that end with their runtime, as those of tests do. A runtime
    /// that goes takes a member's tasks one by one, and one that outlives another for a moment reports a fault.
    pub fn told() -> Self {
        Self(Arc::new(|reason| eprintln!("fault: {reason}")))
    }
}

impl fmt::Debug for FaultHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FaultHandler")
    }
}

impl Default for FaultHandler {
    /// Ends the process: a member that goes on after a failed sync may acknowledge what it lost.
    fn default() -> Self {
        Self(Arc::new(|reason| {
            tracing::error!(reason, "this member is broken; ending the process");
            std::process::exit(FAULT_EXIT_CODE);
        }))
    }
}

const FAULT_EXIT_CODE: i32 = 70;

impl Options {
    /// The setup of member `id` of a cluster that starts with `members`.
    pub fn new(id: u64, cluster_token: impl Into<String>, members: Vec<Member>) -> Self {
        Self {
            id,
            cluster_token: cluster_token.into(),
            cluster: None,
            members,
            timing: Timing::default(),
            log: LogOptions::default(),
            retention: Retention::default(),
            space: Space::default(),
            founds: true,
            metrics: Arc::default(),
            on_fault: FaultHandler::default(),
        }
    }

    /// The id of the cluster.
    pub fn cluster_id(&self) -> u64 {
        self.cluster.unwrap_or_else(|| self.token_id())
    }

    /// The id of a cluster that is founded under this token.
    pub(crate) fn token_id(&self) -> u64 {
        identity(&["cluster", &self.cluster_token])
    }

    /// Makes these the options of the cluster that a data directory was restored for, if it was restored for this member
    /// and under this token.
    pub fn resume(&mut self, owner: &Owner) {
        if owner.member == self.id && owner.token == Some(self.token_id()) {
            // It is there already; an empty log among its members is not theirs to fill.
            (self.cluster, self.founds) = (Some(owner.cluster), false);
        }
    }

    /// Makes these the options of the member that a data directory belongs to, whatever ids they had.
    pub fn belong_to(&mut self, owner: &Owner) {
        let own = self.members.iter().position(|member| member.id == self.id);
        if let Some(own) = own {
            self.members[own].id = owner.member;
            if !owner.peers.is_empty() {
                self.members = [&[self.members.swap_remove(own)], &owner.peers[..]].concat();
            }
        }
        self.founds &= owner.peers.is_empty();
        (self.id, self.cluster) = (owner.member, Some(owner.cluster));
    }

    /// openraft's configuration.
    pub(crate) fn raft_config(&self) -> Result<Config, Error> {
        let milliseconds = |duration: Duration| duration.as_millis() as u64;
        let Timing {
            heartbeat,
            election_min,
            election_max,
            ..
        } = self.timing;
        let config = Config {
            cluster_name: self.cluster_token.clone(),
            heartbeat_interval: milliseconds(heartbeat),
            election_timeout_min: milliseconds(election_min),
            election_timeout_max: milliseconds(election_max),
            max_payload_entries: APPEND_ENTRIES,
            // Snapshots and purges are ours: only behind what the tables made durable.
            snapshot_policy: SnapshotPolicy::Never,
            max_in_snapshot_log_to_keep: u64::MAX,
            enable_pre_vote: Some(true),
            // A restored leader could answer a read with what it knew before it restarted.
            enable_leader_restore: Some(false),
            // A leader that lost its quorum goes quiet now and then, so that the others can elect.
            quorum_loss_probe_interval: Some(2 * milliseconds(election_max)),
            // Replicate as soon as the entry is queued for our own disk.
            broadcast_submitted_on_append: Some(true),
            install_snapshot_timeout: milliseconds(Duration::from_secs(600)),
            ..Config::default()
        };
        config
            .validate()
            .map_err(|error| Error::fault(format!("the timing of the store is not usable: {error}")))
    }
}

/// The id of a member of a new cluster, from what names it.
pub fn member_id(cluster_token: &str, name: &str) -> u64 {
    identity(&["member", cluster_token, name])
}

/// 64 bits of FNV-1a over the parts; never 0. Ids are stored, so this must never change.
pub(crate) fn identity(parts: &[&str]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for part in parts {
        // The terminator keeps ("ab", "c") and ("a", "bc") apart.
        for byte in part.bytes().chain([0]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_stable_and_distinct() {
        assert_eq!(member_id("c", "a"), 0xc4c296c3f055af63);
        assert_ne!(member_id("c", "a"), member_id("c", "b"));
        assert_ne!(member_id("ca", ""), member_id("c", "a"));
    }

    #[test]
    fn the_default_timing_is_usable() {
        assert!(Options::new(1, "token", Vec::new()).raft_config().is_ok());
    }
}
