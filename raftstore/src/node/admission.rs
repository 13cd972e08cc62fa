//! Whether a member may take part.
//!
//! A voter that lost its log has forgotten its promises: it could vote twice in a term, or help elect a leader that lacks
//! an entry it had acknowledged. So a data directory carries a random token, made before anything else, and a member
//! *claims* its id at its peers under that token. A peer remembers the first claim in its own log, durably, and refuses
//! any other. A member with an empty log neither votes nor takes entries until more than half of the others granted its
//! claim. Whoever was granted once has its token at that many; two such sets share a peer, and that peer refuses the
//! token of a directory that was lost.
//!
//! Everybody goes on claiming until all know, members that join later included. That costs one question a peer and start.
//!
//! Left out: more than half of the members losing their data at the same time.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use mvcc::Backend;
use openraft::AsyncRuntime;
use openraft::async_runtime::watch::WatchReceiver;
use proto::raft::question::Question as Asked;
use proto::raft::reply::Reply as Replied;
use proto::raft::{ClaimQuestion, ClaimReply};
use rand::RngExt;

use super::Core;
use crate::consensus::Peer;
use crate::error::Error;
use crate::limits::{ADMISSION_PATIENCE, CLAIM_RETRY_MAX, CLAIM_RETRY_MIN};
use crate::log::{Claim, Disk};
use crate::status::Member;
use crate::transport::Peers;

/// Claims this member's id at all peers, and admits it once enough of them agreed.
pub async fn run<R: AsyncRuntime, D: Disk, B: Backend, N: Peers<R>>(core: Arc<Core<R, D, B, N>>) {
    let token = match core.own_token().await {
        Ok(token) => token,
        Err(error) => return core.report_fault(&format!("the log does not take this member's token: {error}")),
    };
    let mut metrics = core.raft.server_metrics();
    let mut granted = BTreeSet::new();
    let mut patience = Box::pin(R::sleep(ADMISSION_PATIENCE));
    loop {
        core.admit_if_enough(&granted);
        let others = core.others();
        let open = others.iter().filter(|(id, _)| !granted.contains(*id));
        let mut asked: FuturesUnordered<_> = open.map(|(id, peer)| core.claim_at(*id, peer, token)).collect();
        loop {
            tokio::select! {
                biased;
                Some((id, reply)) = asked.next(), if !asked.is_empty() => {
                    if let Err(error) = core.accepts(id, &others, &reply) {
                        return core.report_fault(&error.to_string());
                    }
                    granted.insert(id);
                    core.admit_if_enough(&granted);
                }
                changed = metrics.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    if core.others() != others {
                        break;
                    }
                }
                () = &mut patience, if !*core.admitted.borrow() => {
                    core.tell_who_is_waited_for(&granted);
                    patience = Box::pin(R::sleep(ADMISSION_PATIENCE));
                }
            }
        }
    }
}

impl<R: AsyncRuntime, D: Disk, B: Backend, N: Peers<R>> Core<R, D, B, N> {
    /// Refuses what only a member with its promises may answer.
    pub(super) fn check_admitted(&self) -> io::Result<()> {
        if *self.admitted.borrow() {
            return Ok(());
        }
        Err(io::Error::other(format!(
            "member {:x} starts with an empty log and has not yet been admitted by its peers",
            self.options.id
        )))
    }

    /// Waits until this member may take part.
    pub(super) async fn wait_admitted(&self) -> Result<(), Error> {
        let mut admitted = self.admitted.subscribe();
        match self
            .stop
            .run_until_cancelled(admitted.wait_for(|admitted| *admitted))
            .await
        {
            Some(Ok(_)) => Ok(()),
            _ => Err(self.stopped_error()),
        }
    }

    /// Notes a peer's claim, unless its id was claimed under another token.
    pub(super) async fn take_claim(&self, asked: ClaimQuestion) -> Result<ClaimReply, Error> {
        let ClaimQuestion { member, token } = asked;
        let holder = self
            .log
            .save_claim(Claim { member, token })
            .await
            .map_err(Error::fault)?;
        let initialized = self.raft.is_initialized().await.map_err(|_| self.stopped_error())?;
        Ok(ClaimReply {
            granted: holder == token,
            initialized,
        })
    }

    /// The member that founds a new cluster.
    pub(super) fn founder(&self) -> Option<u64> {
        let members = self.options.members.iter().filter(|_| self.options.founds);
        members.map(|member| member.id).min()
    }

    async fn own_token(&self) -> io::Result<u64> {
        let member = self.options.id;
        let token = match self.log.claim(member) {
            Some(token) => token,
            None => R::thread_rng().random(),
        };
        self.log.save_claim(Claim { member, token }).await
    }

    /// Every other member that this one has heard of.
    pub(super) fn others(&self) -> BTreeMap<u64, Peer> {
        let configured = self.options.members.iter().map(|member| (member.id, peer(member)));
        let mut others: BTreeMap<u64, Peer> = configured.collect();
        let membership = {
            let server = self.raft.server_metrics();
            let server = server.borrow_watched();
            server.membership_config.clone()
        };
        let present = membership.membership().nodes();
        others.extend(present.map(|(id, peer)| (*id, peer.clone())));
        others.remove(&self.options.id);
        others
    }

    /// Asks a peer until it answers.
    async fn claim_at(&self, id: u64, peer: &Peer, token: u64) -> (u64, ClaimReply) {
        let mut pause = CLAIM_RETRY_MIN;
        loop {
            let member = self.options.id;
            let asked = Asked::Claim(ClaimQuestion { member, token });
            match self.question_any(id, peer, asked).await {
                Ok(Replied::Claim(reply)) => return (id, reply),
                Ok(_) | Err(_) => R::sleep(pause).await,
            }
            pause = CLAIM_RETRY_MAX.min(pause * 2);
        }
    }

    /// The other members that this one was started with: it is they who admit it.
    fn admitting(&self) -> impl Iterator<Item = &Member> {
        let members = self.options.members.iter();
        members.filter(|member| member.id != self.options.id)
    }

    fn admit_if_enough(&self, granted: &BTreeSet<u64>) {
        let others = self.admitting().count();
        let count = self.admitting().filter(|member| granted.contains(&member.id)).count();
        // Alone, there is nobody to be misled.
        let enough = others == 0 || count > others / 2;
        self.admitted
            .send_if_modified(|admitted| !std::mem::replace(admitted, *admitted || enough) && enough);
    }

    fn tell_who_is_waited_for(&self, granted: &BTreeSet<u64>) {
        let silent = self.admitting().filter(|member| !granted.contains(&member.id));
        let silent: Vec<String> = silent
            .map(|member| format!("{:x} ({})", member.id, member.name))
            .collect();
        tracing::warn!(
            member = format!("{:x}", self.options.id),
            silent = silent.join(", "),
            "this member takes part only once more than half of the others that it was started with know it. If one of \
             those that are silent was removed, start this member again with the members as they are now"
        );
    }

    /// Whether a peer's answer lets this member go on.
    fn accepts(&self, peer: u64, others: &BTreeMap<u64, Peer>, reply: &ClaimReply) -> Result<(), Error> {
        let founds = !*self.admitted.borrow() && self.founder() == Some(self.options.id);
        if reply.granted && !(founds && reply.initialized) {
            return Ok(());
        }
        let name = others.get(&peer).map_or("", |peer| peer.name.as_str());
        Err(Error::BadMember {
            member: self.options.id,
            reason: format!(
                "its data directory is new, but member {peer:x} ({name}) knows this member with another one. If it lost \
                 its data, remove it from the cluster (`member remove`) and add it again, which gives it a new id",
            ),
        })
    }
}

/// A member as consensus knows it.
pub fn peer(member: &Member) -> Peer {
    Peer {
        name: member.name.clone(),
        peer_urls: member.peer_urls.clone(),
        client_urls: member.client_urls.clone(),
        joins: false,
    }
}
