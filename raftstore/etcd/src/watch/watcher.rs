//! One watcher's task: waits for the store, reports to its stream's loop.

use std::{sync::Arc, time::Duration};

use proto::etcd::etcdserverpb::WatchResponse;
use raftstore::{Delivery, Watcher};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, Interval, MissedTickBehavior},
};
use tonic::Status;

use super::response::{self, Wishes};
use crate::{door::Door, error::status, limits};

/// What a watcher has to say, in its order.
#[derive(Debug)]
pub struct Report {
    pub watch_id: i64,
    /// Tells this watcher from an earlier one of the same id.
    pub generation: u64,
    pub what: What,
}

#[derive(Debug)]
pub enum What {
    Send(WatchResponse),
    /// Everything up to `revision` was reported; this answers progress request `number` and those before it.
    Synced {
        number: u64,
        revision: i64,
    },
    /// What was still to be seen is compacted. Nothing follows.
    Compacted {
        compact_revision: i64,
    },
    /// The store gave up. Nothing follows.
    Failed(Status),
}

/// Everything the task needs.
pub struct Task {
    pub door: Arc<Door>,
    pub watcher: Watcher,
    pub watch_id: i64,
    pub generation: u64,
    pub wishes: Wishes,
    pub reports: mpsc::Sender<Report>,
    /// The number of the latest manual progress request on the stream; 0 is none.
    pub asked: watch::Receiver<u64>,
}

/// The loop is gone: so is the client.
struct Gone;

impl Task {
    pub async fn run(mut self) {
        let mut notice = Notice::new(self.wishes.progress_notify, self.door.config.watch_progress_interval);
        let mut answered = 0;
        // A request that is under way concerns new watchers too: their history may still be to come.
        let mut wanted = *self.asked.borrow_and_update();
        if wanted > answered {
            self.watcher.request_progress();
        }
        loop {
            tokio::select! {
                changed = self.asked.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    wanted = *self.asked.borrow_and_update();
                    self.watcher.request_progress();
                }
                delivery = self.watcher.next() => {
                    let outcome = match delivery {
                        Ok(Delivery::Blocks { blocks, revision }) => {
                            notice.postpone();
                            self.events(&blocks, revision).await
                        }
                        Ok(Delivery::Progress { revision }) => {
                            self.progress(revision, wanted, &mut answered, &mut notice).await
                        }
                        Ok(Delivery::Compacted { compact_revision }) => {
                            let _ = self.report(What::Compacted { compact_revision }).await;
                            return;
                        }
                        Err(error) => {
                            let _ = self.report(What::Failed(status(error))).await;
                            return;
                        }
                    };
                    if outcome.is_err() {
                        return;
                    }
                }
                () = notice.due() => self.watcher.request_progress(),
            }
        }
    }

    async fn events(&self, blocks: &[Arc<mvcc::Block>], revision: i64) -> Result<(), Gone> {
        let bytes = limits::WATCH_RESPONSE_BYTES;
        for batch in response::batches(blocks, revision, self.watcher.spec(), &self.wishes, bytes) {
            let header = self.door.header(batch.revision);
            for mut part in response::fragments(self.watch_id, batch, self.wishes.fragment, bytes) {
                part.header = header;
                self.report(What::Send(part)).await?;
            }
        }
        Ok(())
    }

    async fn progress(&self, revision: i64, wanted: u64, answered: &mut u64, notice: &mut Notice) -> Result<(), Gone> {
        if wanted > *answered {
            *answered = wanted;
            self.report(What::Synced {
                number: wanted,
                revision,
            })
            .await?;
        }
        if notice.take_due() {
            let header = self.door.header(revision);
            self.report(What::Send(WatchResponse {
                header,
                watch_id: self.watch_id,
                ..Default::default()
            }))
            .await?;
        }
        Ok(())
    }

    async fn report(&self, what: What) -> Result<(), Gone> {
        let report = Report {
            watch_id: self.watch_id,
            generation: self.generation,
            what,
        };
        self.reports.send(report).await.map_err(|_| Gone)
    }
}

/// The periodic progress notice of a watcher that asked for one and has nothing else to hear.
struct Notice {
    interval: Option<Interval>,
    is_due: bool,
}

impl Notice {
    fn new(wanted: bool, period: Duration) -> Self {
        let interval = wanted.then(|| {
            let mut interval = tokio::time::interval_at(Instant::now() + period, period);
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            interval
        });
        Self {
            interval,
            is_due: false,
        }
    }

    /// Events tell of progress as well.
    fn postpone(&mut self) {
        self.is_due = false;
        if let Some(interval) = &mut self.interval {
            interval.reset();
        }
    }

    async fn due(&mut self) {
        match &mut self.interval {
            Some(interval) => {
                interval.tick().await;
                self.is_due = true;
            }
            None => std::future::pending().await,
        }
    }

    fn take_due(&mut self) -> bool {
        std::mem::take(&mut self.is_due)
    }
}
