//! Forgetting old revisions by itself, as etcd's `--auto-compaction-mode` and `--auto-compaction-retention` say. Only the
//! leader does it.

use std::{collections::VecDeque, time::Duration};

use proto::etcd::etcdserverpb::CompactionRequest;
use raftstore::Store;
use tokio::time::Instant;

use crate::limits;

/// What is kept of the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AutoCompaction {
    /// Everything.
    Off,
    /// What is younger than this.
    Periodic(Duration),
    /// So many revisions.
    Revisions(i64),
}

/// Decides, from time to time, which revision to compact.
#[derive(Debug)]
struct Planner {
    keeps: AutoCompaction,
    /// Revisions and when they were the latest, oldest first.
    seen: VecDeque<(Instant, i64)>,
    compacted: i64,
}

impl Planner {
    fn new(keeps: AutoCompaction) -> Self {
        Self {
            keeps,
            seen: VecDeque::new(),
            compacted: 0,
        }
    }

    /// How often to look.
    fn interval(&self) -> Duration {
        match self.keeps {
            AutoCompaction::Periodic(age) => {
                (age / limits::AUTO_COMPACTION_LOOKS).min(limits::AUTO_COMPACTION_INTERVAL)
            }
            _ => limits::AUTO_COMPACTION_INTERVAL,
        }
    }

    /// The revision to compact now, if there is one that was not.
    fn look(&mut self, now: Instant, revision: i64) -> Option<i64> {
        let upto = match self.keeps {
            AutoCompaction::Off => return None,
            AutoCompaction::Revisions(count) => revision - count,
            AutoCompaction::Periodic(age) => {
                self.seen.push_back((now, revision));
                let mut old = 0;
                while let Some((seen, revision)) = self.seen.front().copied()
                    && now.saturating_duration_since(seen) >= age
                {
                    old = revision;
                    self.seen.pop_front();
                }
                old
            }
        };
        (upto > self.compacted).then(|| {
            self.compacted = upto;
            upto
        })
    }
}

/// Compacts whenever it is time to, for as long as it is polled.
pub(super) async fn run(store: Store, keeps: AutoCompaction) {
    if keeps == AutoCompaction::Off {
        return;
    }
    let mut planner = Planner::new(keeps);
    loop {
        tokio::time::sleep(planner.interval()).await;
        // Others look too, so that whoever leads next knows how old what is.
        let upto = planner.look(Instant::now(), store.view().revision());
        let Some(revision) = upto.filter(|_| store.leadership().borrow().leading) else {
            continue;
        };
        let request = CompactionRequest {
            revision,
            physical: false,
        };
        match store.compact(request).await {
            Ok(_) => tracing::info!(revision, "compacted by itself"),
            Err(error) => tracing::info!(revision, %error, "could not compact by itself"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_older_than_the_period_goes() {
        let start = Instant::now();
        let mut planner = Planner::new(AutoCompaction::Periodic(Duration::from_secs(100)));
        assert_eq!(planner.interval(), Duration::from_secs(10));
        let mut looks = |seconds, revision| planner.look(start + Duration::from_secs(seconds), revision);
        assert_eq!(looks(0, 5), None);
        assert_eq!(looks(50, 50), None);
        assert_eq!(looks(99, 60), None);
        assert_eq!(looks(100, 70), Some(5));
        assert_eq!(looks(140, 80), None, "nothing more is that old");
        assert_eq!(looks(200, 90), Some(70), "the latest that was there 100 s ago");
    }

    #[test]
    fn so_many_revisions_stay() {
        let now = Instant::now();
        let mut planner = Planner::new(AutoCompaction::Revisions(10));
        assert_eq!(planner.look(now, 10), None);
        assert_eq!(planner.look(now, 15), Some(5));
        assert_eq!(planner.look(now, 15), None);
        assert_eq!(planner.interval(), limits::AUTO_COMPACTION_INTERVAL);
        assert_eq!(Planner::new(AutoCompaction::Off).look(now, 99), None);
    }
}
