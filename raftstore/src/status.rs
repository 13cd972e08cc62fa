//! How a member and its cluster are, as seen from outside.

/// A member of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its id; never reused.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Where its peers reach it.
    pub peer_urls: Vec<String>,
    /// Where clients reach it.
    pub client_urls: Vec<String>,
    /// Whether it has no vote.
    pub learner: bool,
}

/// Who leads, in the sense that counts: a quorum acknowledged the leader within its lease. A member that is leader in
/// name only does not lead; a follower that heard from no leader for one lease has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Leadership {
    /// Whether this member leads.
    pub leading: bool,
    /// The term it leads in, or the latest it knows.
    pub term: u64,
    /// The leader, if there is one.
    pub leader: Option<u64>,
    /// Counts the times this member began to lead. Leading again after a lapse counts, even in the same term.
    pub tenure: u64,
}

/// How a member is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Status {
    /// The cluster.
    pub cluster_id: u64,
    /// This member.
    pub member_id: u64,
    /// Whether this member has no vote.
    pub learner: bool,
    /// The leader, if there is one.
    pub leader: Option<u64>,
    /// The latest term.
    pub term: u64,
    /// The first log entry still kept.
    pub first_log_index: u64,
    /// The last log entry.
    pub log_index: u64,
    /// The last entry known to be committed.
    pub committed_index: u64,
    /// The last entry applied.
    pub applied_index: u64,
    /// The store's revision.
    pub revision: i64,
    /// The compacted revision.
    pub compacted: i64,
    /// Bytes of the tables.
    pub size_bytes: u64,
    /// Bytes of the tables from which on writes are refused.
    pub quota_bytes: u64,
    /// What is wrong with this member, in words.
    pub errors: Vec<String>,
}
