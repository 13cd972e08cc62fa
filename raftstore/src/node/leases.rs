//! Lease timers. Only the leader keeps them, and all they do is *propose* a revocation that carries the leader's term:
//! apply ignores one that comes from another term. A new leader cannot know how much of each TTL had passed, so it starts
//! every timer anew, longer by one election. A leader that lapsed and leads again in the same term does so too, except for
//! leases that it has begun to revoke in that term. What is left of long TTLs is noted now and then (a *checkpoint*), so that a
//! change of leaders does not start those from the whole again; whoever extends such a lease has the note withdrawn first.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use mvcc::{Backend, LeaseChange};
use openraft::{AsyncRuntime, Instant};
use proto::etcd::etcdserverpb::{LeaseCheckpoint, LeaseCheckpointRequest};
use proto::raft::question::Question as Asked;
use proto::raft::reply::Reply as Replied;
use proto::raft::request::Op;
use proto::raft::{KeepAliveQuestion, LeaseRevoke, Request, TimeToLiveQuestion};
use tokio::sync::mpsc;

use super::Core;
use crate::engine::LeaseTime;
use crate::error::Error;
use crate::limits::{
    LEADER_RETRY, LEASE_CHECKPOINT_INTERVAL, LEASE_CHECKPOINTS_PER_REQUEST, LEASE_REVOKES_PER_ROUND, LEASE_TICK,
};
use crate::log::Disk;
use crate::transport::Peers;

/// The timers of a leader; empty on everyone else.
pub struct Timers<R: AsyncRuntime> {
    /// The tenure they belong to; `None` while not leading.
    tenure: Option<u64>,
    /// By id: checkpoints are proposed in this order, and a run must be repeatable from its seed.
    leases: BTreeMap<i64, Timer<R::Instant>>,
    /// The same leases by when they run out.
    order: BTreeSet<(R::Instant, i64)>,
    checkpointed: Option<R::Instant>,
    doomed: Doomed,
}

/// The leases whose revocation was proposed in a term. It may be in the log, or on its way there, when this member stops leading
/// and leads again in the same term: then they end, so nobody may be told that they were extended.
#[derive(Default)]
struct Doomed {
    term: u64,
    leases: BTreeSet<i64>,
}

#[derive(Clone, Copy)]
struct Timer<I> {
    deadline: I,
    ttl_s: i64,
    /// Its revocation is under way: it cannot be kept alive any more.
    revoking: bool,
    /// A checkpoint of it was proposed and may be applied yet, since it was last extended.
    noted: bool,
}

impl<R: AsyncRuntime> Default for Timers<R> {
    fn default() -> Self {
        Self {
            tenure: None,
            leases: BTreeMap::new(),
            order: BTreeSet::new(),
            checkpointed: None,
            doomed: Doomed::default(),
        }
    }
}

fn seconds(seconds: i64) -> Duration {
    Duration::from_secs(seconds.clamp(0, SECONDS_MAX) as u64)
}

/// Longer TTLs are counted as this one: adding more to an instant could overflow.
const SECONDS_MAX: i64 = 100 * 365 * 24 * 3600;

impl<R: AsyncRuntime> Timers<R> {
    /// Starts all timers anew: `leases` are ids, TTLs in seconds, and what is left of them.
    fn begin(&mut self, tenure: u64, term: u64, leases: impl Iterator<Item = (i64, i64, Duration)>) {
        self.end();
        self.tenure = Some(tenure);
        if self.doomed.term != term {
            self.doomed = Doomed::default();
        }
        for (id, ttl_s, left) in leases {
            if self.doomed.leases.contains(&id) {
                // Its revocation may have been lost, so that it is due again.
                self.set(id, ttl_s, Duration::ZERO);
                self.leases.entry(id).and_modify(|timer| timer.revoking = true);
            } else {
                self.set(id, ttl_s, left);
            }
        }
    }

    /// Stops all timers.
    fn end(&mut self) {
        let doomed = std::mem::take(&mut self.doomed);
        *self = Self {
            doomed,
            ..Self::default()
        };
    }

    fn set(&mut self, id: i64, ttl_s: i64, left: Duration) {
        self.remove(id);
        let deadline = R::Instant::now() + left;
        self.leases.insert(
            id,
            Timer {
                deadline,
                ttl_s,
                revoking: false,
                noted: false,
            },
        );
        self.order.insert((deadline, id));
    }

    fn remove(&mut self, id: i64) {
        if let Some(timer) = self.leases.remove(&id) {
            self.order.remove(&(timer.deadline, id));
        }
    }

    fn change(&mut self, change: LeaseChange) {
        if let LeaseChange::Revoked { id } = change {
            self.doomed.leases.remove(&id);
        }
        if self.tenure.is_none() {
            return;
        }
        match change {
            LeaseChange::Granted { id, ttl_s } => self.set(id, ttl_s, seconds(ttl_s)),
            LeaseChange::Revoked { id } => self.remove(id),
            LeaseChange::Checkpointed { .. } => {}
        }
    }

    /// Takes the leases that ran out, to be revoked in `term`. They come up again later, in case their revocation is lost.
    fn expired(&mut self, term: u64, again: Duration) -> Vec<i64> {
        let now = R::Instant::now();
        let due: Vec<_> = self
            .order
            .iter()
            .take_while(|(deadline, _)| *deadline <= now)
            .take(LEASE_REVOKES_PER_ROUND)
            .copied()
            .collect();
        if self.doomed.term != term {
            self.doomed = Doomed {
                term,
                leases: BTreeSet::new(),
            };
        }
        for (deadline, id) in &due {
            self.doomed.leases.insert(*id);
            self.order.remove(&(*deadline, *id));
            if let Some(timer) = self.leases.get_mut(id) {
                timer.deadline = now + again;
                timer.revoking = true;
                self.order.insert((timer.deadline, *id));
            }
        }
        due.into_iter().map(|(_, id)| id).collect()
    }

    fn keep_alive(&mut self, id: i64) -> Option<LeaseTime> {
        let timer = self.leases.get(&id).copied().filter(|timer| !timer.revoking)?;
        self.set(id, timer.ttl_s, seconds(timer.ttl_s));
        Some(LeaseTime {
            granted_s: timer.ttl_s,
            remaining_s: timer.ttl_s,
        })
    }

    fn time(&self, id: i64) -> Option<LeaseTime> {
        let timer = self.leases.get(&id).filter(|timer| !timer.revoking)?;
        let left = timer.deadline.saturating_duration_since(R::Instant::now());
        Some(LeaseTime {
            granted_s: timer.ttl_s,
            remaining_s: left.as_secs() as i64,
        })
    }

    /// What is left of leases that live long enough for it to matter, when it is time to note it.
    fn checkpoints(&mut self) -> Vec<LeaseCheckpoint> {
        let now = R::Instant::now();
        let interval = LEASE_CHECKPOINT_INTERVAL;
        let last = *self.checkpointed.get_or_insert(now);
        if now.saturating_duration_since(last) < interval {
            return Vec::new();
        }
        self.checkpointed = Some(now);
        let left = |timer: &Timer<R::Instant>| timer.deadline.saturating_duration_since(now).as_secs() as i64;
        let long = self
            .leases
            .iter_mut()
            .filter(|(_, timer)| !timer.revoking && seconds(timer.ttl_s) > interval);
        long.map(|(id, timer)| {
            timer.noted = true;
            LeaseCheckpoint {
                id: *id,
                remaining_ttl: left(timer).max(1),
            }
        })
        .collect()
    }
}

/// Keeps the timers while this member leads.
pub async fn run<R: AsyncRuntime, D: Disk, B: Backend, N: Peers<R>>(
    core: Arc<Core<R, D, B, N>>,
    mut changes: mpsc::UnboundedReceiver<LeaseChange>,
) {
    let mut leadership = core.leadership.subscribe();
    loop {
        let known = *leadership.borrow_and_update();
        if known.leading {
            core.begin_tenure(known.tenure, known.term).await;
            core.revoke_expired(known.term);
        } else if !core.revokes_although_deposed() {
            core.timers.lock().end();
        }
        let tick = R::timeout(LEASE_TICK, async {
            loop {
                tokio::select! {
                    biased;
                    _ = leadership.changed() => return,
                    change = changes.recv() => match change {
                        Some(change) => core.timers.lock().change(change),
                        None => std::future::pending().await,
                    },
                }
            }
        });
        // The end of the tick or news of the leadership: look again either way.
        let _ = tick.await;
    }
}

impl<R: AsyncRuntime, D: Disk, B: Backend, N: Peers<R>> Core<R, D, B, N> {
    /// Starts the timers of a tenure, once this member is known to lead and has applied all that came before.
    async fn begin_tenure(&self, tenure: u64, term: u64) {
        if self.timers.lock().tenure == Some(tenure) {
            return;
        }
        let Ok(index) = self.read_index(true).await else { return };
        if self.wait_applied(index, self.deadline()).await.is_err() {
            return;
        }
        let view = self.reader.view();
        let leases = view.leases().map(|lease| {
            let left = seconds(lease.effective_ttl_s()) + self.options.timing.election_max;
            (lease.id, lease.ttl_s, left)
        });
        self.timers.lock().begin(tenure, term, leases);
    }

    /// Proposes what the timers call for. Nobody waits for the outcome: a lost proposal is made again.
    fn revoke_expired(&self, term: u64) {
        let (expired, checkpoints) = {
            let mut timers = self.timers.lock();
            (timers.expired(term, self.options.timing.request), timers.checkpoints())
        };
        for id in expired {
            let revoke = Op::LeaseRevoke(LeaseRevoke {
                id,
                expired_in_term: term,
            });
            self.propose_unwatched(Request {
                op: Some(revoke),
                identity: None,
            });
        }
        for checkpoints in checkpoints.chunks(LEASE_CHECKPOINTS_PER_REQUEST) {
            self.propose_unwatched(checkpoint_request(checkpoints.to_vec()));
        }
    }

    fn propose_unwatched(&self, request: Request) {
        // Held until it is answered: a request that nobody waits for is not proposed.
        if let Ok(outcome) = self.proposals.submit(request) {
            self.spawn(async move { drop(outcome.await) });
        }
    }

    #[cfg(not(feature = "planted"))]
    fn revokes_although_deposed(&self) -> bool {
        false
    }

    /// The planted fault: what ran out is revoked in a client's name, through whoever leads now.
    #[cfg(feature = "planted")]
    fn revokes_although_deposed(self: &Arc<Self>) -> bool {
        if !crate::planted::is(crate::planted::Planted::DeposedRevoke) {
            return false;
        }
        let expired = self.timers.lock().expired(0, self.options.timing.request);
        for id in expired {
            let revoke = Op::LeaseRevoke(LeaseRevoke { id, expired_in_term: 0 });
            let core = self.clone();
            self.spawn(async move {
                drop(
                    core.commit(Request {
                        op: Some(revoke),
                        identity: None,
                    })
                    .await,
                )
            });
        }
        true
    }

    /// Extends a lease on this member, which first proves that it leads.
    pub(super) async fn keep_alive_here(&self, id: i64) -> Result<Option<LeaseTime>, Error> {
        let mut noted = false;
        let extended = self
            .with_timers(id, |timers| {
                noted = timers.leases.get(&id).is_some_and(|timer| timer.noted);
                timers.keep_alive(id)
            })
            .await?;
        noted |= self
            .reader
            .view()
            .lease(id)
            .is_some_and(|lease| lease.remaining_ttl_s > 0);
        if extended.is_some() && noted {
            // The next leader would start from the note, however often the lease was extended since.
            let withdrawn = checkpoint_request(vec![LeaseCheckpoint { id, remaining_ttl: 0 }]);
            self.commit_here(withdrawn).await?;
        }
        Ok(extended)
    }

    /// A lease's time on this member, which first proves that it leads.
    pub(super) async fn time_to_live_here(&self, id: i64) -> Result<Option<LeaseTime>, Error> {
        self.with_timers(id, |timers| timers.time(id)).await
    }

    /// Asks the timers about a lease, on this member, which first proves that it leads. `None` only if the lease is gone: one
    /// that ran out is still there, with its keys, until its revocation is applied, and lives on if that is lost with its
    /// leader. Its end is waited for, as etcd does it.
    async fn with_timers(
        &self,
        id: i64,
        mut act: impl FnMut(&mut Timers<R>) -> Option<LeaseTime> + Send,
    ) -> Result<Option<LeaseTime>, Error> {
        let deadline = self.deadline();
        let index = self.read_index(true).await?;
        self.wait_applied(index, deadline).await?;
        loop {
            if let Some(known) = self.look_at_timers(id, &mut act)? {
                return Ok(known);
            }
            #[cfg(feature = "planted")]
            if crate::planted::is(crate::planted::Planted::HastyExpiry) {
                return Ok(None);
            }
            if !self.pause(LEADER_RETRY, deadline).await {
                return Err(Error::Timeout);
            }
        }
    }

    /// What the timers say of a lease; `None` if it is being revoked.
    fn look_at_timers(
        &self,
        id: i64,
        act: &mut impl FnMut(&mut Timers<R>) -> Option<LeaseTime>,
    ) -> Result<Option<Option<LeaseTime>>, Error> {
        let mut timers = self.timers.lock();
        if timers.tenure != Some(self.leadership.borrow().tenure) {
            // Leading, but the timers are not set up yet.
            return Err(Error::NotLeader);
        }
        let Some(ttl_s) = self.reader.view().lease(id).map(|lease| lease.ttl_s) else {
            return Ok(Some(None));
        };
        if !timers.leases.contains_key(&id) {
            // Applied, but its change has not reached the timers yet.
            timers.set(id, ttl_s, seconds(ttl_s));
        }
        Ok(act(&mut timers).map(Some))
    }

    /// Extends a lease wherever the leader is.
    pub(super) async fn keep_alive(&self, id: i64) -> Result<Option<i64>, Error> {
        let asked = Asked::KeepAlive(KeepAliveQuestion { lease: id });
        let time = self
            .lease_question(asked, async || self.keep_alive_here(id).await)
            .await?;
        Ok(time.map(|time| time.granted_s))
    }

    /// A lease's time wherever the leader is.
    pub(super) async fn time_to_live(&self, id: i64) -> Result<Option<LeaseTime>, Error> {
        let asked = Asked::TimeToLive(TimeToLiveQuestion { lease: id });
        self.lease_question(asked, async || self.time_to_live_here(id).await)
            .await
    }

    /// Asks the leader until one answers: extending a lease twice does no harm.
    async fn lease_question<F: Future<Output = Result<Option<LeaseTime>, Error>> + Send>(
        &self,
        asked: Asked,
        here: impl Fn() -> F + Send + Sync,
    ) -> Result<Option<LeaseTime>, Error> {
        let deadline = self.deadline();
        loop {
            let attempt = async {
                match self.leader() {
                    Some((leader, _)) if leader == self.options.id => here().await,
                    Some((leader, peer)) => self.question(leader, &peer, asked.clone()).await.and_then(lease_time),
                    None => Err(Error::NoLeader),
                }
            };
            match self.before(deadline, attempt).await? {
                Err(Error::NotLeader | Error::NoLeader | Error::LeaderChanged)
                    if self.pause(LEADER_RETRY, deadline).await => {}
                Err(Error::NotLeader | Error::LeaderChanged) => return Err(Error::NoLeader),
                done => return done,
            }
        }
    }
}

fn checkpoint_request(checkpoints: Vec<LeaseCheckpoint>) -> Request {
    Request {
        op: Some(Op::LeaseCheckpoint(LeaseCheckpointRequest { checkpoints })),
        identity: None,
    }
}

fn lease_time(reply: Replied) -> Result<Option<LeaseTime>, Error> {
    match reply {
        Replied::KeepAlive(time) | Replied::TimeToLive(time) => {
            let lease = LeaseTime {
                granted_s: time.granted_s,
                remaining_s: time.remaining_s,
            };
            Ok(time.found.then_some(lease))
        }
        other => Err(Error::fault(format!("asked for a lease, a peer answered {other:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use proto::etcd::etcdserverpb::LeaseGrantRequest;

    use openraft::impls::TokioRuntime;

    use super::*;
    use crate::Store;

    #[tokio::test]
    async fn what_is_being_revoked_is_lost_for_the_rest_of_the_term() {
        let again = Duration::from_secs(60);
        let leases = |left| [(7, 1, left), (8, 1, seconds(60))].into_iter();
        let mut timers = Timers::<TokioRuntime>::default();
        timers.begin(1, 5, leases(Duration::ZERO));
        assert_eq!(timers.expired(5, again), [7]);
        // It lapses, and leads again in the same term.
        timers.end();
        timers.begin(2, 5, leases(seconds(60)));
        assert!(timers.keep_alive(7).is_none() && timers.keep_alive(8).is_some());
        assert_eq!(timers.expired(5, again), [7], "its revocation may have been lost");
        // In another term the old revocations count for nothing.
        timers.end();
        timers.begin(3, 6, leases(seconds(60)));
        assert!(timers.keep_alive(7).is_some());
        // One that ended is forgotten: another of its id may be granted.
        assert!(timers.expired(6, again).is_empty());
        timers.begin(4, 6, leases(Duration::ZERO));
        assert_eq!(timers.expired(6, again), [7]);
        timers.change(LeaseChange::Revoked { id: 7 });
        timers.end();
        timers.begin(5, 6, leases(seconds(60)));
        assert!(timers.keep_alive(7).is_some());
    }

    #[tokio::test]
    async fn extending_a_lease_withdraws_its_checkpoint() {
        let store = Store::single_memory().await.unwrap();
        store
            .lease_grant(LeaseGrantRequest { ttl: 1_000, id: 7 })
            .await
            .unwrap();
        let noted = checkpoint_request(vec![LeaseCheckpoint {
            id: 7,
            remaining_ttl: 5,
        }]);
        store.propose(noted.op.unwrap()).await.unwrap();
        let left = |store: &Store| store.view().lease(7).unwrap().effective_ttl_s();
        assert_eq!(left(&store), 5);
        assert_eq!(store.lease_keep_alive(7).await.unwrap().ttl, 1_000);
        assert_eq!(left(&store), 1_000, "what the next leader starts from");
    }
}
