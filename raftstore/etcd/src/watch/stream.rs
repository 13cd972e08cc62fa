//! One stream's loop: the client's requests and the watchers' reports in, ordered responses out.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use proto::etcd::etcdserverpb::{WatchCreateRequest, WatchRequest, WatchResponse, watch_request::RequestUnion};
use raftstore::WatchSpec;
use tokio::{
    sync::{mpsc, watch},
    task::AbortHandle,
};
use tonic::{Status, Streaming};

use super::{
    response::Wishes,
    watcher::{Report, Task, What},
};
use crate::{Refusal, client::Client, door::Door, error::status, limits};

/// The watch id of responses that concern no single watcher.
const NO_WATCHER: i64 = -1;

pub struct WatchStream {
    door: Arc<Door>,
    /// Who watches.
    who: Client,
    client: mpsc::Sender<Result<WatchResponse, Status>>,
    reports: (mpsc::Sender<Report>, mpsc::Receiver<Report>),
    /// Tells all watchers of the number of the latest progress request.
    asked: watch::Sender<u64>,
    watchers: HashMap<i64, Active>,
    /// The next id to try for a watcher whose client did not choose one.
    next_id: i64,
    next_generation: u64,
    /// The latest progress request that was answered, or dropped for want of watchers. At most `asked`.
    answered: u64,
}

/// A watcher that has not ended.
struct Active {
    door: Arc<Door>,
    generation: u64,
    task: AbortHandle,
    /// The latest progress request it answered, and up to where.
    synced: (u64, i64),
}

impl Drop for Active {
    fn drop(&mut self) {
        self.task.abort();
        self.door.calls.watchers.sub(1);
    }
}

/// Why the loop ends.
enum End {
    /// The client is gone or has finished.
    Client,
    /// The client is told why.
    Told(Status),
}

impl WatchStream {
    pub fn new(who: Client, client: mpsc::Sender<Result<WatchResponse, Status>>) -> Self {
        Self {
            door: who.door.clone(),
            who,
            client,
            reports: mpsc::channel(limits::WATCH_RESPONSES_QUEUED_MAX),
            asked: watch::channel(0).0,
            watchers: HashMap::new(),
            next_id: 0,
            next_generation: 0,
            answered: 0,
        }
    }

    pub async fn run(mut self, mut requests: Streaming<WatchRequest>, requires_leader: bool) {
        let door = self.door.clone();
        door.calls.watch_streams.one();
        let leader_lost = door.leader_lost(requires_leader);
        tokio::pin!(leader_lost);
        let mut asks = true;
        let end = loop {
            let step = tokio::select! {
                request = requests.message(), if asks => match request {
                    Ok(Some(request)) => self.request(request).await,
                    // Nothing more to ask; what was asked for goes on.
                    Ok(None) => {
                        asks = false;
                        Ok(())
                    }
                    Err(_) => Err(End::Client),
                },
                Some(report) = self.reports.1.recv() => self.report(report).await,
                () = self.client.closed() => Err(End::Client),
                () = &mut leader_lost => Err(End::Told(Refusal::NoLeader.into())),
                () = door.stop.cancelled() => Err(End::Told(Refusal::Stopped.into())),
            };
            if let Err(end) = step {
                break end;
            }
        };
        self.watchers.clear();
        door.calls.watch_streams.sub(1);
        if let End::Told(status) = end {
            let _ = self.client.send(Err(status)).await;
        }
    }

    async fn request(&mut self, request: WatchRequest) -> Result<(), End> {
        match request.request_union {
            Some(RequestUnion::CreateRequest(request)) => self.create(request).await,
            Some(RequestUnion::CancelRequest(request)) => self.cancel(request.watch_id).await,
            Some(RequestUnion::ProgressRequest(_)) => {
                self.asked.send_modify(|number| *number += 1);
                self.answer_progress().await
            }
            None => Ok(()),
        }
    }

    async fn create(&mut self, request: WatchCreateRequest) -> Result<(), End> {
        let wishes = Wishes::of(&request);
        // The revision is read first and watched from explicitly, so that the header tells exactly what comes next.
        let revision = self.door.store.view().revision();
        let (watch_id, spec) = match self.check(request, revision) {
            Ok(checked) => checked,
            Err(reason) => return self.send(refused(&self.door, revision, reason)).await,
        };
        let permitted = self.who.store().and_then(|store| {
            store.judge_watch(&spec).map_err(status)?;
            Ok(store)
        });
        let store = match permitted {
            Ok(store) => store,
            Err(denied) => return self.send(refused(&self.door, revision, reason(&denied))).await,
        };
        let compact_revision = self.door.store.view().compacted();
        if spec.start_revision < compact_revision {
            return self.created_compacted(watch_id, revision, compact_revision).await;
        }
        let watcher = match store.watch(spec).await {
            Ok(watcher) => watcher,
            // Changed since it was judged a moment ago.
            Err(error @ raftstore::Error::Refused(_)) => {
                let reason = reason(&status(error));
                return self.send(refused(&self.door, revision, reason)).await;
            }
            Err(error) => return Err(End::Told(status(error))),
        };
        let header = self.door.header(revision);
        self.send(WatchResponse {
            header,
            watch_id,
            created: true,
            ..Default::default()
        })
        .await?;
        let generation = self.next_generation;
        self.next_generation += 1;
        let task = Task {
            door: self.door.clone(),
            watcher,
            watch_id,
            generation,
            wishes,
            reports: self.reports.0.clone(),
            asked: self.asked.subscribe(),
        };
        let task = tokio::spawn(task.run()).abort_handle();
        self.door.calls.watchers.one();
        self.watchers.insert(
            watch_id,
            Active {
                door: self.door.clone(),
                generation,
                task,
                synced: (0, 0),
            },
        );
        Ok(())
    }

    /// Memory may still hold what was compacted, but a client must not depend on how lately.
    async fn created_compacted(&mut self, watch_id: i64, revision: i64, compact_revision: i64) -> Result<(), End> {
        let header = self.door.header(revision);
        self.send(WatchResponse {
            header,
            watch_id,
            created: true,
            ..Default::default()
        })
        .await?;
        self.send(WatchResponse {
            header,
            watch_id,
            canceled: true,
            compact_revision,
            ..Default::default()
        })
        .await
    }

    /// The id and range of a new watcher, or why there is to be none.
    fn check(&mut self, request: WatchCreateRequest, revision: i64) -> Result<(i64, WatchSpec), String> {
        let key = if request.key.is_empty() {
            Bytes::from_static(b"\0")
        } else {
            request.key
        };
        let end = request.range_end;
        if !end.is_empty() && end[..] != *b"\0" && key >= end {
            return Err("mvcc: watcher range is empty".into());
        }
        if request.start_revision < 0 {
            return Err(format!("mvcc: invalid start revision {}", request.start_revision));
        }
        if self.watchers.len() >= limits::WATCHERS_PER_STREAM_MAX {
            return Err(format!(
                "too many watchers on one stream (limit {})",
                limits::WATCHERS_PER_STREAM_MAX
            ));
        }
        let watch_id = match request.watch_id {
            0 => self.free_id(),
            id if self.watchers.contains_key(&id) => {
                return Err("mvcc: duplicate watch ID provided on the WatchStream".into());
            }
            id => id,
        };
        let start_revision = if request.start_revision == 0 {
            revision + 1
        } else {
            request.start_revision
        };
        Ok((
            watch_id,
            WatchSpec {
                key,
                range_end: end,
                start_revision,
            },
        ))
    }

    fn free_id(&mut self) -> i64 {
        while self.watchers.contains_key(&self.next_id) {
            self.next_id += 1;
        }
        let id = self.next_id;
        self.next_id += 1;
        id
    }

    async fn cancel(&mut self, watch_id: i64) -> Result<(), End> {
        if self.watchers.remove(&watch_id).is_none() {
            return Ok(());
        }
        let header = self.door.header_now();
        self.send(WatchResponse {
            header,
            watch_id,
            canceled: true,
            ..Default::default()
        })
        .await?;
        self.answer_progress().await
    }

    async fn report(&mut self, report: Report) -> Result<(), End> {
        let Report {
            watch_id,
            generation,
            what,
        } = report;
        // A report that was under way while its watcher was cancelled is nobody's any more.
        let Some(active) = self
            .watchers
            .get_mut(&watch_id)
            .filter(|active| active.generation == generation)
        else {
            return Ok(());
        };
        match what {
            What::Send(response) => {
                self.door.calls.events.add(response.events.len() as u64);
                self.send(response).await
            }
            What::Synced { number, revision } => {
                active.synced = (number, revision);
                self.answer_progress().await
            }
            What::Compacted { compact_revision } => {
                self.watchers.remove(&watch_id);
                let header = self.door.header_now();
                let gone = WatchResponse {
                    header,
                    watch_id,
                    canceled: true,
                    compact_revision,
                    ..Default::default()
                };
                self.send(gone).await?;
                self.answer_progress().await
            }
            What::Failed(status) => Err(End::Told(status)),
        }
    }

    /// Answers the progress requests that every watcher has answered. Without a watcher there is no progress to tell.
    async fn answer_progress(&mut self) -> Result<(), End> {
        let asked = *self.asked.borrow();
        let all = progress(self.watchers.values().map(|active| active.synced));
        let (number, revision) = all.unwrap_or((asked, 0));
        if number <= self.answered {
            return Ok(());
        }
        self.answered = number;
        if revision == 0 {
            return Ok(());
        }
        let header = self.door.header(revision);
        self.send(WatchResponse {
            header,
            watch_id: NO_WATCHER,
            ..Default::default()
        })
        .await
    }

    async fn send(&self, response: WatchResponse) -> Result<(), End> {
        self.client.send(Ok(response)).await.map_err(|_| End::Client)
    }
}

/// The request that all have answered, and the revision that all have reached; `None` without watchers.
fn progress(watchers: impl Iterator<Item = (u64, i64)>) -> Option<(u64, i64)> {
    watchers.reduce(|one, other| (one.0.min(other.0), one.1.min(other.1)))
}

/// A refusal as etcd says it where there is only room for a text.
fn reason(status: &Status) -> String {
    format!("rpc error: code = {:?} desc = {}", status.code(), status.message())
}

/// A watch that never comes to be is created and cancelled in one response.
fn refused(door: &Door, revision: i64, cancel_reason: String) -> WatchResponse {
    let header = door.header(revision);
    WatchResponse {
        header,
        watch_id: NO_WATCHER,
        created: true,
        canceled: true,
        cancel_reason,
        ..Default::default()
    }
}
