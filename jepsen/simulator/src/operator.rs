//! Whoever changes the membership: adds members, removes them, and puts new ones in the place of old ones under the same
//! name. As a person would, with calls that may fail or never be answered, and with the work done to its end later.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use raftstore::{Member, MembershipRefusal};

use crate::call::{Answer, Call, Outcome};
use crate::clients::ask;
use crate::cluster::{Cluster, Standing, url};
use crate::executor;
use crate::random::Random;

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// A member is added.
    Grow,
    /// One is removed.
    Shrink,
    /// One is removed, and one of the same name takes its place, on another machine.
    Replace,
}

/// The one who does it, once.
pub struct Operator {
    /// Whose members they are.
    pub cluster: Arc<Cluster>,
    /// Its chance.
    pub random: Random,
}

/// How often something is tried before the operator leaves it to the end.
const TRIES: u64 = 12;
/// An unanswered call is given up after this.
const PATIENCE: Duration = Duration::from_secs(5);

impl Operator {
    /// Makes a change; `victim` is the member that goes.
    pub async fn change(mut self, change: Change, victim: u64) {
        if !self.cluster.begin_change() {
            return;
        }
        match change {
            Change::Grow => self.add(&self.new_name()).await,
            Change::Shrink => drop(self.remove(victim).await),
            Change::Replace => {
                let name = self.cluster.name(victim);
                if let Some(name) = name
                    && self.remove(victim).await
                {
                    self.add(&name).await;
                }
            }
        }
        self.cluster.end_change();
    }

    fn new_name(&self) -> String {
        format!("m{}", self.cluster.ids().len() + 1)
    }

    async fn pause(&mut self) {
        executor::sleep(Duration::from_millis(self.random.magnitude(20..1_000))).await;
    }

    /// Asks a member that runs.
    async fn ask(&mut self, call: Call) -> Option<Outcome> {
        let through = self.cluster.draw(&mut self.random)?;
        ask(&self.cluster, through, call, PATIENCE).await
    }

    /// Removes a member; whether it is known to be gone.
    async fn remove(&mut self, id: u64) -> bool {
        self.cluster.set_standing(id, Standing::Leaving);
        for _ in 0..TRIES {
            match self.ask(Call::Remove { id }).await {
                // Not found: an earlier try did it after all.
                Some(Outcome::Answered(_) | Outcome::Unchanged(MembershipRefusal::NotFound)) => {
                    self.removed(id);
                    return true;
                }
                _ => self.pause().await,
            }
        }
        false
    }

    /// It is gone: its machine is switched off, or it has to find out for itself.
    fn removed(&mut self, id: u64) {
        self.cluster.set_standing(id, Standing::Removed);
        if self.random.chance(500_000) {
            self.cluster.retire(id);
        }
    }

    async fn add(&mut self, name: &str) {
        let learner = self.random.chance(250_000);
        for _ in 0..TRIES {
            if !self.cluster.has_place() {
                return;
            }
            let call = Call::Add {
                url: url(name),
                learner,
            };
            let added = match self.ask(call).await {
                Some(Outcome::Answered(Answer::Added(id))) => Some((id, learner)),
                // An earlier try did it after all, which may have been one for a learner.
                Some(Outcome::Unchanged(MembershipRefusal::PeerUrlExists)) => {
                    self.cluster.find(&url(name)).map(|id| (id, true))
                }
                _ => None,
            };
            if let Some((id, learner)) = added {
                self.cluster.install(id, name, learner);
                return self.promote(id, learner).await;
            }
            self.pause().await;
        }
    }

    /// Gives a learner its vote; one that joins gets it by itself.
    async fn promote(&mut self, id: u64, learner: bool) {
        for _ in 0..if learner { TRIES } else { 0 } {
            self.pause().await;
            let done = self.ask(Call::Promote { id }).await;
            if matches!(
                done,
                Some(Outcome::Answered(_) | Outcome::Unchanged(MembershipRefusal::NotLearner))
            ) {
                return;
            }
        }
    }
}

impl Cluster {
    /// The member that is reached there, if some member knows one.
    fn find(&self, url: &str) -> Option<u64> {
        let known = self
            .alive()
            .into_iter()
            .filter_map(|id| Some(self.store(id)?.0.members()));
        let gone = self.gone();
        let mut members = known.flatten().filter(|member| !gone.contains(&member.id));
        members
            .find(|member| member.peer_urls.iter().any(|known| known == url))
            .map(|member| member.id)
    }

    fn gone(&self) -> BTreeSet<u64> {
        let present = self.present();
        self.ids().into_iter().filter(|id| !present.contains(id)).collect()
    }

    /// Does to its end what changes of the membership left undone: takes `members`, which are so, for the truth. Learners
    /// that wait for a promotion get it.
    pub async fn reconcile(self: &Arc<Self>, through: u64, members: Vec<Member>) {
        for id in self.ids() {
            let is_member = members.iter().any(|member| member.id == id);
            match self.standing(id) {
                // What asked for it may still be under way.
                Some(Standing::Leaving) if is_member => {}
                _ if is_member => self.set_standing(id, Standing::Present),
                _ => self.set_standing(id, Standing::Removed),
            }
        }
        for Member {
            id, peer_urls, learner, ..
        } in members
        {
            let names = peer_urls.iter();
            let name = names
                .filter_map(|url| url.strip_prefix("https://")?.strip_suffix(":2380"))
                .next();
            self.install(id, name.unwrap_or("nobody"), true);
            if learner && self.waits(id) {
                ask(self, through, Call::Promote { id }, PATIENCE).await;
            }
            self.restart_if_not_admitted(id);
        }
    }
}
