//! Taking over from a leader whose process is gone, without waiting until its lease has run out.
//!
//! Theory. A silent leader may only be slow, so that nobody votes for another within its lease. But when a process ends, its
//! machine ends its connections at once and refuses new ones: a follower whose stream from the leader ends looks whether
//! anything listens there. If nothing does, that leader can neither heartbeat nor propose any more, and the follower calls an
//! election that is marked as a handed-over leadership is, so that voters do not hold it to the lease.
//!
//! Only one of the followers should, as two share the votes between them: the one with the longest log, which alone is sure to
//! get them, and of several the one with the lowest id. They ask each other by a pre-vote, which tells the log's end and
//! changes nothing. Each gives everyone who comes before it [`HEIR_TIME`].
//!
//! Bounds. Votes are as safe as ever: a leader that was taken for gone and is not is deposed as by any election. A
//! machine that is gone, or cut off, refuses nothing: then it takes the lease and an election timeout, as without this.

use std::sync::Arc;

use futures::future::join_all;
use mvcc::Backend;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::network::{NetVote, RPCOption};
use openraft::raft::{TransferLeaderRequest, VoteRequest};
use openraft::{AsyncRuntime, Instant, ServerState};

use super::Core;
use crate::consensus::{LogIdOf, Peer, VoteOf, to_log_id};
use crate::limits::{HEIR_TIME, PROBE_PAUSE, PROBE_TIMEOUT, PROBES};
use crate::log::Disk;
use crate::transport::Peers;

/// Looks after the leader whenever a stream of entries from one ended, and while heartbeats are missing.
pub async fn run<R: AsyncRuntime, D: Disk, B: Backend, N: Peers<R>>(core: Arc<Core<R, D, B, N>>) {
    loop {
        let told = R::timeout(core.options.timing.heartbeat, core.broken_off.notified()).await;
        if told.is_ok() || core.misses_heartbeats() {
            core.succeed().await;
        }
    }
}

/// A leader as this follower knows it.
struct Known {
    vote: VoteOf,
    leader: u64,
    peer: Peer,
    /// The other voters but this member.
    rivals: Vec<(u64, Peer)>,
}

/// Whether the owner of a log that ends at `ours` should leave the election to one whose log ends at `theirs`.
fn comes_first(theirs: (Option<LogIdOf>, u64), ours: (Option<LogIdOf>, u64)) -> bool {
    theirs.0 > ours.0 || (theirs.0 == ours.0 && theirs.1 < ours.1)
}

impl<R: AsyncRuntime, D: Disk, B: Backend, N: Peers<R>> Core<R, D, B, N> {
    /// Whom this member follows, if it has a vote itself.
    fn followed(&self) -> Option<Known> {
        let server = self.raft.server_metrics();
        let server = server.borrow_watched();
        let leader = server.current_leader.filter(|leader| *leader != self.options.id)?;
        if server.state != ServerState::Follower {
            return None;
        }
        let membership = server.membership_config.membership();
        let votes = |id: &u64| membership.voter_ids().any(|voter| voter == *id);
        let rivals = membership
            .nodes()
            .filter(|(id, _)| votes(id) && ![leader, self.options.id].contains(id));
        Some(Known {
            vote: server.vote,
            leader,
            peer: membership.get_node(&leader)?.clone(),
            rivals: rivals.map(|(id, peer)| (*id, peer.clone())).collect(),
        })
    }

    /// Whether this member still follows the same leader.
    fn still_follows(&self, vote: &VoteOf) -> bool {
        self.raft.server_metrics().borrow_watched().vote == *vote
    }

    fn misses_heartbeats(&self) -> bool {
        let patience = 2 * self.options.timing.heartbeat;
        self.heard.lock().is_none_or(|heard| heard.elapsed() > patience)
    }

    async fn succeed(&self) {
        let Some(known) = self.followed() else { return };
        if !self.is_gone(&known).await {
            return;
        }
        R::sleep(HEIR_TIME * self.rank(&known).await).await;
        if !self.still_follows(&known.vote) {
            return;
        }
        tracing::info!(
            leader = format!("{:x}", known.leader),
            "nothing listens where the leader was: calling an election"
        );
        // The log is this member's own, so it holds whatever it has to.
        let request = TransferLeaderRequest::new(known.vote, self.options.id, None);
        if let Ok(Err(refusal)) = self.raft.handle_transfer_leader(request).await {
            tracing::debug!(%refusal, "the leader was not succeeded");
        }
    }

    /// Whether nothing listens where the leader was. A process that ends does not close everything in one moment, so that it is
    /// asked a few times, unless the leader is heard of meanwhile.
    async fn is_gone(&self, known: &Known) -> bool {
        let since = R::Instant::now();
        for probe in 0..PROBES {
            if probe > 0 {
                R::sleep(PROBE_PAUSE * (1 << (probe - 1))).await;
            }
            let heard = self.heard.lock().is_some_and(|heard| heard > since);
            if heard || !self.still_follows(&known.vote) {
                return false;
            }
            let refuses = R::timeout(PROBE_TIMEOUT, self.peers.refuses(known.leader, &known.peer));
            if matches!(refuses.await, Ok(true)) {
                return true;
            }
        }
        false
    }

    /// How many of the other voters come first, as far as they answer.
    async fn rank(&self, known: &Known) -> u32 {
        let last = self.log.last().map(to_log_id);
        let vote = VoteOf::new(known.vote.leader_id().term + 1, self.options.id);
        let ask = async |(id, peer): &(u64, Peer)| {
            let mut way = self.peers.clone().new_client(*id, peer).await;
            let request = VoteRequest::new(vote, last);
            let asked = R::timeout(PROBE_TIMEOUT, way.pre_vote(request, RPCOption::new(PROBE_TIMEOUT)));
            let reply = asked.await.ok()?.ok()?;
            Some((reply.last_log_id, *id))
        };
        let theirs = join_all(known.rivals.iter().map(ask)).await;
        let first = |theirs: &(Option<LogIdOf>, u64)| comes_first(*theirs, (last, self.options.id));
        theirs.into_iter().flatten().filter(first).count() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::LogId;

    #[test]
    fn the_longest_log_comes_first_and_of_equal_ones_the_lowest_id() {
        let at = |term, index| Some(to_log_id(LogId { term, index }));
        assert!(comes_first((at(2, 7), 3), (at(2, 6), 1)));
        assert!(
            comes_first((at(3, 5), 3), (at(2, 6), 1)),
            "a later term is more than a longer log"
        );
        assert!(comes_first((at(2, 6), 1), (at(2, 6), 3)));
        assert!(!comes_first((at(2, 6), 3), (at(2, 6), 1)));
        assert!(!comes_first((None, 1), (at(1, 0), 3)));
        assert!(comes_first((None, 1), (None, 3)));
    }
}
