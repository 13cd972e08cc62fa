//! The membership. Every change is the leader's; whoever is asked passes it on.
//!
//! A member that is added starts as a learner: it gets the log and does not count. It gets its vote by itself once it holds
//! nearly all of the log, or when somebody promotes it, as whoever added it wished. One that takes nothing for long is
//! dropped. A member that was removed may not hear of it (its leader stops talking to it), so a member that has lost its
//! leader asks the others, and stops once it is told that the cluster goes on without it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mvcc::Backend;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{ChangeMembershipError, ClientWriteError, RaftError};
use openraft::{AsyncRuntime, ChangeMembers, Instant};
use proto::raft::member_question::Change;
use proto::raft::question::Question as Asked;
use proto::raft::reply::Reply as Replied;
use proto::raft::{MemberAdd, MemberPublish, MemberQuestion, MemberReply, MembershipQuestion, MembershipReply};
use rand::RngExt;

use super::{Core, ask};
use crate::consensus::{LogIdOf, Peer, StoredMembershipOf, parse_log_id, wire_log_id};
use crate::error::{Error, MembershipRefusal};
use crate::limits::{JOIN_LAG_ENTRIES, JOIN_STALL, JOINERS_MAX, LEADER_RETRY, LEARNERS_MAX, MEMBERSHIP_TICK};
use crate::log::Disk;
use crate::transport::Peers;

/// How far a joining member has come, and since when.
type Joiners<I> = BTreeMap<u64, (Option<u64>, I)>;

/// Looks after the membership as far as this member is concerned.
pub async fn run<R: AsyncRuntime, D: Disk, B: Backend, N: Peers<R>>(core: Arc<Core<R, D, B, N>>) {
    let mut joiners = Joiners::new();
    let mut leaderless = 0;
    let mut was_member = false;
    loop {
        let applied = core.shared.members.borrow().clone();
        let is_member = applied.membership().get_node(&core.options.id).is_some();
        if was_member && !is_member {
            return core.report_removal();
        }
        was_member = is_member;
        // As the log has it: what is applied may be lost in a crash and come back only with a leader.
        let known = core.membership();
        for (id, peer) in known.membership().nodes() {
            core.peers.learn(*id, peer);
        }
        let leadership = *core.leadership.borrow();
        leaderless = if leadership.leader.is_some() { 0 } else { leaderless + 1 };
        if leadership.leading {
            core.tend(&mut joiners).await;
        } else {
            joiners.clear();
        }
        if leadership.leader.is_some() {
            core.publish().await;
        } else if leaderless >= TICKS_BEFORE_ASKING && core.was_removed(&known, is_member).await {
            return core.report_removal();
        }
        R::sleep(MEMBERSHIP_TICK).await;
    }
}

/// Without a leader for so many looks, a member asks whether it still is one.
const TICKS_BEFORE_ASKING: u32 = 8;

impl<R: AsyncRuntime, D: Disk, B: Backend, N: Peers<R>> Core<R, D, B, N> {
    /// Changes the membership, here or at the leader, and returns the member's id once the change is applied here.
    pub(super) async fn change_members(&self, change: Change) -> Result<u64, Error> {
        let deadline = self.deadline();
        loop {
            let attempt = async {
                match self.leader() {
                    Some((leader, _)) if leader == self.options.id => self.change_members_here(change.clone()).await,
                    Some((leader, peer)) => self.change_members_at(leader, &peer, change.clone()).await,
                    None => Err(Error::NoLeader),
                }
            };
            match self.before(deadline, attempt).await? {
                Ok(MemberReply { id, index }) => {
                    let _ = self.wait_applied(index, deadline).await;
                    return Ok(id);
                }
                Err(Error::NotLeader | Error::NoLeader) if self.pause(LEADER_RETRY, deadline).await => {}
                Err(Error::NotLeader) => return Err(Error::NoLeader),
                Err(error) => return Err(error),
            }
        }
    }

    async fn change_members_at(&self, leader: u64, peer: &Peer, change: Change) -> Result<MemberReply, Error> {
        let asked = MemberQuestion { change: Some(change) };
        match self.question(leader, peer, Asked::Member(asked)).await? {
            Replied::Member(reply) => Ok(reply),
            other => Err(ask::unexpected(&other)),
        }
    }

    /// Changes the membership on this member, which has to lead.
    pub(super) async fn change_members_here(&self, change: Change) -> Result<MemberReply, Error> {
        let index = self.read_index(true).await?;
        self.wait_applied(index, self.deadline()).await?;
        // One at a time: openraft makes a change in two steps, and another in between would leave it half done.
        let _alone = self.changing.lock().await;
        let (id, change) = self.plan(change).await?;
        let index = self.submit_membership(change).await?;
        Ok(MemberReply { id, index })
    }

    /// What a change means, or why it is refused.
    async fn plan(&self, change: Change) -> Result<(u64, ChangeMembers<u64, Peer>), Error> {
        let stored = self.membership();
        let membership = stored.membership();
        let node = |id: &u64| membership.get_node(id).cloned().ok_or(MembershipRefusal::NotFound);
        let is_voter = |id: &u64| membership.voter_ids().any(|voter| voter == *id);
        match change {
            Change::Add(add) => {
                let (id, peer) = self.new_member(add)?;
                Ok((id, ChangeMembers::AddNodes(BTreeMap::from([(id, peer)]))))
            }
            Change::Remove(id) => {
                node(&id)?;
                if !is_voter(&id) {
                    return Ok((id, ChangeMembers::RemoveNodes(BTreeSet::from([id]))));
                }
                let heir = self.check_remaining(id)?;
                if id == self.options.id {
                    // A leader does not remove itself: its successor does.
                    self.transfer_held(heir, self.deadline(), None).await?;
                    return Err(Error::NotLeader);
                }
                Ok((id, ChangeMembers::RemoveVoters(BTreeSet::from([id]))))
            }
            Change::Update(update) => {
                let id = update.id;
                let peer = Peer {
                    peer_urls: self.usable(update.peer_urls, Some(id))?,
                    ..node(&id)?
                };
                Ok((id, ChangeMembers::SetNodes(BTreeMap::from([(id, peer)]))))
            }
            Change::Promote(id) => {
                node(&id)?;
                if is_voter(&id) {
                    return Err(MembershipRefusal::NotLearner.into());
                }
                if !self.is_in_sync(id) {
                    return Err(MembershipRefusal::LearnerNotReady.into());
                }
                Ok((id, ChangeMembers::AddVoterIds(BTreeSet::from([id]))))
            }
            Change::Publish(MemberPublish { id, name, client_urls }) => {
                let peer = Peer {
                    name,
                    client_urls,
                    ..node(&id)?
                };
                Ok((id, ChangeMembers::SetNodes(BTreeMap::from([(id, peer)]))))
            }
        }
    }

    fn new_member(&self, add: MemberAdd) -> Result<(u64, Peer), Error> {
        let MemberAdd { peer_urls, learner } = add;
        let peer_urls = self.usable(peer_urls, None)?;
        let stored = self.membership();
        let membership = stored.membership();
        let learners = || membership.learner_ids().filter_map(|id| membership.get_node(&id));
        let waiting = learners().filter(|peer| !peer.joins).count();
        if learners().count() >= JOINERS_MAX || (learner && waiting >= LEARNERS_MAX) {
            return Err(MembershipRefusal::TooManyLearners.into());
        }
        let id = loop {
            let id: u64 = R::thread_rng().random();
            if id != 0 && membership.get_node(&id).is_none() && self.log.claim(id).is_none() {
                break id;
            }
        };
        let peer = Peer {
            peer_urls,
            joins: !learner,
            ..Peer::default()
        };
        Ok((id, peer))
    }

    /// Checks URLs that a member is to be reached at.
    fn usable(&self, urls: Vec<String>, of: Option<u64>) -> Result<Vec<String>, Error> {
        if urls.is_empty() || !urls.iter().all(|url| is_peer_url(url)) {
            return Err(MembershipRefusal::BadUrls.into());
        }
        let stored = self.membership();
        let mut others = stored.membership().nodes().filter(|(id, _)| Some(**id) != of);
        if others.any(|(_, peer)| peer.peer_urls.iter().any(|url| urls.contains(url))) {
            return Err(MembershipRefusal::PeerUrlExists.into());
        }
        Ok(urls)
    }

    /// Whether a quorum of the voters that remain without `leaving` is there; one of them, not this one if possible.
    fn check_remaining(&self, leaving: u64) -> Result<u64, Error> {
        let stored = self.membership();
        let remaining: BTreeSet<u64> = stored.membership().voter_ids().filter(|id| *id != leaving).collect();
        let data = self.raft.data_metrics();
        let data = data.borrow_watched();
        let patience = self.options.timing.election_max * 2;
        let answers = |id: &u64| {
            let acked = data
                .heartbeat
                .as_ref()
                .and_then(|peers| peers.get(id).copied().flatten());
            *id == self.options.id || acked.is_some_and(|acked| acked.elapsed() < patience)
        };
        let active: Vec<u64> = remaining.iter().copied().filter(answers).collect();
        let heir = active
            .iter()
            .copied()
            .find(|id| *id != self.options.id)
            .or(active.first().copied());
        match heir {
            Some(heir) if active.len() > remaining.len() / 2 => Ok(heir),
            _ => Err(MembershipRefusal::NotEnoughStarted.into()),
        }
    }

    /// Has a change committed. One at a time: another under way is waited for.
    async fn submit_membership(&self, change: ChangeMembers<u64, Peer>) -> Result<u64, Error> {
        let deadline = self.deadline();
        loop {
            match self.raft.change_membership(change.clone(), false).await {
                Ok(done) => return Ok(done.log_id.index),
                Err(RaftError::APIError(error)) => match error {
                    ClientWriteError::ForwardToLeader(_) => return Err(Error::NotLeader),
                    ClientWriteError::ChangeMembershipError(ChangeMembershipError::InProgress(_)) => {
                        if !self.pause(LEADER_RETRY, deadline).await {
                            return Err(Error::TooManyRequests);
                        }
                    }
                    ClientWriteError::ChangeMembershipError(ChangeMembershipError::LearnerNotFound(_)) => {
                        return Err(MembershipRefusal::NotFound.into());
                    }
                    ClientWriteError::LogEntryDiscarded(_) => return Err(Error::LeaderChanged),
                    other => return Err(Error::fault(other)),
                },
                Err(RaftError::Fatal(_)) => return Err(self.stopped_error()),
            }
        }
    }

    /// Promotes members that joined and hold the log, and drops those that stall.
    async fn tend(&self, joiners: &mut Joiners<R::Instant>) {
        let stored = self.membership();
        let membership = stored.membership();
        if membership.get_joint_config().len() > 1 {
            self.finish_change().await;
            return;
        }
        let joins = |id: &u64| membership.get_node(id).is_some_and(|peer| peer.joins);
        let joining: BTreeSet<u64> = membership.learner_ids().filter(joins).collect();
        joiners.retain(|id, _| joining.contains(id));
        for id in joining {
            let now = R::Instant::now();
            let matching = self.matching(id);
            let progress = joiners.entry(id).or_insert((matching, now));
            if progress.0 != matching {
                *progress = (matching, now);
            }
            let change = if self.is_in_sync(id) {
                Change::Promote(id)
            } else if now.saturating_duration_since(progress.1) > JOIN_STALL {
                tracing::warn!(
                    member = format!("{id:x}"),
                    "a member that joins takes nothing; dropping it"
                );
                Change::Remove(id)
            } else {
                continue;
            };
            // Whatever goes wrong is tried again at the next look.
            if let Err(error) = self.change_members_here(change).await {
                tracing::debug!(%error, member = format!("{id:x}"), "a member that joins could not be dealt with");
            }
        }
    }

    /// Does the second step of a change whose leader was lost after the first.
    async fn finish_change(&self) {
        let Ok(_alone) = self.changing.try_lock() else { return };
        let second = ChangeMembers::AddVoterIds(BTreeSet::new());
        if let Err(error) = self.submit_membership(second).await {
            tracing::debug!(%error, "a change of the membership is still half done");
        }
    }

    /// The last entry that a peer is known to hold.
    fn matching(&self, id: u64) -> Option<u64> {
        let data = self.raft.data_metrics();
        let data = data.borrow_watched();
        let peers = data.replication.as_ref()?;
        peers.get(&id).cloned().flatten().map(|matching| matching.index)
    }

    fn is_in_sync(&self, id: u64) -> bool {
        let last = self.log.last().map_or(0, |id| id.index);
        self.matching(id)
            .is_some_and(|matching| matching + JOIN_LAG_ENTRIES >= last)
    }

    /// Has this member's name and client addresses known, if the others know others.
    async fn publish(&self) {
        let own = self.options.members.iter().find(|member| member.id == self.options.id);
        let stored = self.membership();
        let (Some(own), Some(known)) = (own, stored.membership().get_node(&self.options.id)) else {
            return;
        };
        if (&own.name, &own.client_urls) == (&known.name, &known.client_urls) {
            return;
        }
        let change = Change::Publish(MemberPublish {
            id: own.id,
            name: own.name.clone(),
            client_urls: own.client_urls.clone(),
        });
        if let Err(error) = self.change_members(change).await {
            tracing::debug!(%error, "this member's name and addresses are not known yet");
        }
    }

    /// The membership as of the last applied entry, for a peer that asks; as of now, if this member leads.
    pub(super) async fn current_membership(&self) -> MembershipReply {
        let confirmed = match self.read_index(true).await {
            Ok(index) => self.wait_applied(index, self.deadline()).await.is_ok(),
            Err(_) => false,
        };
        let applied = self.shared.members.borrow();
        MembershipReply {
            log_id: wire_log_id(applied.log_id().as_ref()),
            members: applied.membership().nodes().map(|(id, _)| *id).collect(),
            confirmed,
        }
    }

    /// Whether a peer says that this member was removed. Those that this member was started with are asked too: it may have been
    /// removed before it took anything of the log.
    async fn was_removed(&self, known: &StoredMembershipOf, is_member: bool) -> bool {
        let me = self.options.id;
        // A member that joins hears of the past first, in which it was not there yet.
        let was_told = is_member || known.membership().get_node(&me).is_some();
        let others = self.others();
        let asked = others.iter();
        let asked = asked.map(|(id, peer)| self.question_any(*id, peer, Asked::Membership(MembershipQuestion {})));
        let replies = futures::future::join_all(asked).await;
        replies.into_iter().any(|reply| match reply {
            Ok(Replied::Membership(reply)) => is_told_of_removal(me, was_told.then_some(*known.log_id()), &reply),
            _ => false,
        })
    }

    fn report_removal(&self) {
        self.report_fault(&format!(
            "member {:x} was removed from the cluster and stops; its data directory is of no use any more. To take part \
             again it has to be added again, which gives it a new id",
            self.options.id
        ));
    }

    fn membership(&self) -> Arc<StoredMembershipOf> {
        self.raft.server_metrics().borrow_watched().membership_config.clone()
    }
}

/// Whether a peer's answer says that `me` was removed. `known` is the entry with the membership that this member knows, if it is or
/// was one of it.
///
/// Members are added before they are started, so the membership as of now has every one that may go on. One that a follower has
/// applied may be from before this member was added, unless it is not older than `known`. It may be `known` itself: the end of this
/// member can be in its log without its knowing that it was committed.
fn is_told_of_removal(me: u64, known: Option<Option<LogIdOf>>, reply: &MembershipReply) -> bool {
    let is_late_enough = reply.confirmed || known.is_some_and(|known| parse_log_id(reply.log_id) >= known);
    is_late_enough && !reply.members.is_empty() && !reply.members.contains(&me)
}

/// Whether a URL is one that peers can be reached at: scheme, host and port, nothing else.
fn is_peer_url(url: &str) -> bool {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    let Some((host, port)) = rest.and_then(|rest| rest.rsplit_once(':')) else {
        return false;
    };
    let is_host = !host.is_empty()
        && host
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b));
    is_host && port.parse::<u16>().is_ok_and(|port| port != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_removed_only_by_a_membership_that_is_late_enough() {
        let at = |index| parse_log_id(Some(proto::raft::LogId { term: 1, index }));
        let reply = |index, members: &[u64], confirmed| MembershipReply {
            log_id: wire_log_id(at(index).as_ref()),
            members: members.to_vec(),
            confirmed,
        };
        // It knew itself as of entry 5.
        assert!(is_told_of_removal(3, Some(at(5)), &reply(6, &[1, 2], false)));
        assert!(is_told_of_removal(3, Some(at(5)), &reply(5, &[1, 2], false)));
        assert!(!is_told_of_removal(3, Some(at(5)), &reply(4, &[1, 2], false)));
        assert!(!is_told_of_removal(3, Some(at(5)), &reply(6, &[1, 2, 3], false)));
        // It never heard of itself: only who leads now can tell.
        assert!(!is_told_of_removal(3, None, &reply(6, &[1, 2], false)));
        assert!(is_told_of_removal(3, None, &reply(6, &[1, 2], true)));
        assert!(!is_told_of_removal(3, None, &reply(6, &[1, 2, 3], true)));
        // Nothing is founded yet.
        assert!(!is_told_of_removal(3, Some(None), &MembershipReply::default()));
    }

    #[test]
    fn a_peer_url_is_scheme_host_and_port() {
        for good in ["http://10.0.0.1:2380", "https://a-b.example:1", "https://[::1]:2380"] {
            assert!(is_peer_url(good), "{good}");
        }
        for bad in [
            "",
            "a:1",
            "http://a",
            "http://:1",
            "http://a:0",
            "http://a:1/x",
            "ftp://a:1",
            "http://a b:1",
        ] {
            assert!(!is_peer_url(bad), "{bad}");
        }
    }
}
