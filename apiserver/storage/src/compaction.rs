//! Forgetting history: what is older than an interval is compacted, so that the store does not grow without bound and a client that was
//! away for less can still continue its watch or its list.
//!
//! Every member runs this; only the one that leads proposes. A new leader waits one whole interval before its first compaction,
//! because only then does it know a revision that is old enough.

use crate::Storage;
use raftstore::pb::CompactionRequest;
use std::time::Duration;

impl Storage {
    /// Compacts, once an interval, what was already history at the interval before. Never returns; drop it to stop.
    pub async fn compact_history(&self, every: Duration) {
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut known = None;
        loop {
            ticks.tick().await;
            known = self.compact_to(known).await;
        }
    }

    /// Compacts up to a revision that was current an interval ago; returns the one to compact to next time.
    async fn compact_to(&self, known: Option<i64>) -> Option<i64> {
        if !self.store().leadership().borrow().leading {
            return None;
        }
        let view = self.store().view();
        if let Some(revision) = known.filter(|revision| *revision > view.compacted()) {
            let request = CompactionRequest {
                revision,
                physical: false,
            };
            if let Err(error) = self.store().compact(request).await {
                tracing::warn!(revision, %error, "could not compact; trying again at the next interval");
            }
        }
        Some(view.revision())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use raftstore::pb::PutRequest;

    #[tokio::test]
    async fn what_was_current_an_interval_ago_is_compacted() {
        let storage = Storage::new(memory::store().await.unwrap());
        let put = || {
            storage.store().put(PutRequest {
                key: "k".into(),
                ..PutRequest::default()
            })
        };
        put().await.unwrap();
        let known = storage.compact_to(None).await;
        assert_eq!((known, storage.store().view().compacted()), (Some(2), 0));
        put().await.unwrap();
        let next = storage.compact_to(known).await;
        assert_eq!((next, storage.store().view().compacted()), (Some(3), 2));
    }
}
