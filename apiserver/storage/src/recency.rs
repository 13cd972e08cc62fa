//! How long this member's copy may be relied on when it has lost the others.
//!
//! What is read without asking anyone (roles and bindings, tokens' pods, `resourceVersion=0`) is normally milliseconds old. A
//! member that is cut off from the quorum would go on with its last state forever, and honour what was revoked long ago. So a
//! member that has not known a leader for [`limits::LEADERLESS_MAX`] has to prove itself with a linearizable read, and refuses
//! when that fails.

use crate::{Error, Storage, limits};
use parking_lot::Mutex;
use raftstore::Leadership;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::watch;

/// See the module. Cheap to clone; clones share what they know.
#[derive(Clone)]
pub(crate) struct Recency {
    leadership: watch::Receiver<Leadership>,
    /// When a leader was last known, or the quorum last answered.
    proven: Arc<Mutex<Instant>>,
}

impl Recency {
    pub(crate) fn new(leadership: watch::Receiver<Leadership>) -> Recency {
        Recency {
            leadership,
            proven: Arc::new(Mutex::new(Instant::now())),
        }
    }

    /// Whether this member's copy is recent without further proof.
    fn known(&self) -> bool {
        let mut proven = self.proven.lock();
        if self.leadership.borrow().leader.is_some() {
            *proven = Instant::now();
        }
        proven.elapsed() < limits::LEADERLESS_MAX
    }

    fn prove(&self) {
        *self.proven.lock() = Instant::now();
    }
}

impl Storage {
    /// Fails when this member is cut off from the quorum for so long that its own copy must not be relied on any more.
    pub async fn check_recent(&self) -> Result<(), Error> {
        if self.recency().known() {
            return Ok(());
        }
        let read = self.store().linearizable_view();
        match tokio::time::timeout(limits::PROOF_TIMEOUT, read).await {
            Ok(Ok(_)) => {
                self.recency().prove();
                Ok(())
            }
            Ok(Err(_)) | Err(_) => Err(Error::CutOff {
                seconds: limits::LEADERLESS_MAX.as_secs(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_copy_ages_only_while_there_is_no_leader() {
        let (change, leadership) = watch::channel(Leadership::default());
        let recency = Recency::new(leadership);
        assert!(recency.known());
        let long_ago = Instant::now()
            .checked_sub(limits::LEADERLESS_MAX + Duration::from_secs(1))
            .unwrap();
        *recency.proven.lock() = long_ago;
        assert!(!recency.known());
        change.send_modify(|leadership| leadership.leader = Some(2));
        assert!(recency.known());
        change.send_modify(|leadership| leadership.leader = None);
        assert!(recency.known(), "a leader was known a moment ago");
        *recency.proven.lock() = long_ago;
        assert!(!recency.known());
        recency.prove();
        assert!(recency.known());
    }
}
