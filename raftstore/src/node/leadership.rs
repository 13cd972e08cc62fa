//! Who leads. Not what Raft's state says, but what can be known now: a leader leads while its quorum's last
//! acknowledgement is younger than its lease, and a follower has a leader while it heard from one within a lease.

use std::sync::Arc;

use mvcc::Backend;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::{AsyncRuntime, Instant, ServerState};

use super::Core;
use crate::log::Disk;
use crate::status::Leadership;
use crate::transport::Peers;

/// Keeps [`Leadership`] up to date. Ticks well within a heartbeat, so a lapse is noticed soon after it happens.
pub async fn run<R: AsyncRuntime, D: Disk, B: Backend, N: Peers<R>>(core: Arc<Core<R, D, B, N>>) {
    let mut server = core.raft.server_metrics();
    let tick = core.options.timing.heartbeat / 4;
    let mut last_leader = None;
    loop {
        let now = core.observe();
        core.leadership.send_if_modified(|known| {
            if now.leader.is_some() && now.leader != last_leader {
                last_leader = now.leader;
                core.options.metrics.leader_changes.one();
            }
            update(known, now)
        });
        // A change of state is looked at at once, the passing of time at the tick.
        let changed = R::timeout(tick, async { server.changed().await.is_ok() }).await;
        if matches!(changed, Ok(false)) {
            return;
        }
    }
}

/// Takes over what was observed; whether that is news.
fn update(known: &mut Leadership, mut now: Leadership) -> bool {
    let begins = now.leading && (!known.leading || known.term != now.term);
    now.tenure = known.tenure + u64::from(begins);
    let news = *known != now;
    *known = now;
    news
}

/// Reports a fault of Raft, the log or the tables, once.
pub async fn watch_faults<R: AsyncRuntime, D: Disk, B: Backend, N: Peers<R>>(core: Arc<Core<R, D, B, N>>) {
    // The metrics that have the reason change with every entry; these change with the leader, and end when Raft does.
    let mut server = core.raft.server_metrics();
    loop {
        let ended = server.changed().await.is_err();
        let state = core.raft.metrics().borrow_watched().running_state.clone();
        match state {
            Err(fatal) => return core.report_fault(&fatal.to_string()),
            Ok(()) if ended => return core.report_fault("raft ended without a reason"),
            Ok(()) => {}
        }
    }
}

/// Reports that the log stopped. Raft would notice when it next writes; a member that has nothing to write, because the
/// cluster is not founded, would go on forever refusing what its peers need of it.
pub async fn watch_log<R: AsyncRuntime, D: Disk, B: Backend, N: Peers<R>>(core: Arc<Core<R, D, B, N>>) {
    let reason = core.log.wait_stopped().await;
    core.report_fault(&format!("the log stopped: {reason}"));
}

/// Reports tables that are damaged, which shows when they are read to be sent.
pub async fn watch_tables<R: AsyncRuntime, D: Disk, B: Backend, N: Peers<R>>(core: Arc<Core<R, D, B, N>>) {
    let mut broken = core.shared.broken.subscribe();
    let reason = match broken.wait_for(Option::is_some).await {
        Ok(reason) => reason.clone(),
        Err(_) => return,
    };
    core.report_fault(&reason.unwrap_or_default());
}

impl<R: AsyncRuntime, D: Disk, B: Backend, N: Peers<R>> Core<R, D, B, N> {
    fn observe(&self) -> Leadership {
        let (term, state, current_leader, alone) = {
            let server = self.raft.server_metrics();
            let server = server.borrow_watched();
            let alone = server.membership_config.voter_ids().eq([self.options.id]);
            (server.vote.leader_id.term, server.state, server.current_leader, alone)
        };
        let lease = self.options.timing.election_max;
        if state == ServerState::Leader {
            let acked = self.raft.data_metrics().borrow_watched().last_quorum_acked;
            let leading = alone || acked.is_some_and(|acked| acked.elapsed() < lease);
            return Leadership {
                leading,
                term,
                leader: leading.then_some(self.options.id),
                tenure: 0,
            };
        }
        let heard = self.heard.lock().is_some_and(|heard| heard.elapsed() < lease);
        let leader = current_leader.filter(|leader| heard && *leader != self.options.id);
        Leadership {
            leading: false,
            term,
            leader,
            tenure: 0,
        }
    }

    /// Notes that a leader spoke to this member.
    pub(super) fn hear(&self) {
        *self.heard.lock() = Some(R::Instant::now());
    }

    /// Whether Raft's state says so; what follows from it has to be confirmed by a quorum.
    pub(super) fn is_raft_leader(&self) -> bool {
        self.raft.server_metrics().borrow_watched().state == ServerState::Leader
    }

    /// Ends this member because of a fault.
    pub(super) fn report_fault(&self, reason: &str) {
        if self.stop.is_cancelled() {
            return;
        }
        *self.fault.lock() = Some(reason.to_owned());
        self.leadership.send_modify(|known| {
            *known = Leadership {
                leading: false,
                leader: None,
                ..*known
            }
        });
        self.shared.hub.stop();
        self.stop.cancel();
        (self.options.on_fault.0)(reason);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leading_again_is_a_new_tenure() {
        let mut known = Leadership::default();
        let leading = Leadership {
            leading: true,
            term: 3,
            leader: Some(1),
            tenure: 0,
        };
        let lapsed = Leadership {
            leading: false,
            leader: None,
            ..leading
        };
        assert!(update(&mut known, leading) && known.tenure == 1);
        assert!(!update(&mut known, leading), "no news");
        assert!(update(&mut known, lapsed) && known.tenure == 1);
        assert!(
            update(&mut known, leading) && known.tenure == 2,
            "the same term, but a new tenure"
        );
        assert!(update(&mut known, Leadership { term: 4, ..leading }) && known.tenure == 3);
    }
}
