//! Raft: openraft, fitted to our log, our state machine and our network.
//!
//! Theory. openraft decides and sends commands; the parts here carry them out. The log answers an append at once and calls
//! back when it is durable, so that replication and the local sync overlap. openraft applies an entry once a quorum has
//! it, which may be before *this* member has it durable; apply waits for that, or the tables could get ahead of the log.
//! Purges and snapshots are driven by us (`housekeeping`), only behind what the tables made durable.
//!
//! Everything is generic over openraft's runtime `R` (clock, sleep, spawn, randomness), so a simulator can run it.

mod apply;
mod codec;
mod log_store;
mod snapshot;
mod streams;
mod types;

pub use apply::{Applier, Shared};
pub use codec::{
    append_reply, append_request, decode_membership, encode_membership, parse_append_reply, parse_append_request,
    parse_log_id, parse_vote, to_log_id, wire_log_id, wire_vote,
};
pub use log_store::LogStore;
pub use snapshot::{MEMBERSHIP_RECORD, SnapshotData, SnapshotOf};
pub use streams::Streams;
pub use types::{Answers, EntryOf, LogIdOf, Peer, Proposal, RaftOf, StoredMembershipOf, Types, VoteOf};
