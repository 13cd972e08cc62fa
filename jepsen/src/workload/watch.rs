//! Writers of a few keys, and watchers that resume whenever their stream breaks; judged by the promises of watches.
//! The first workers, one for each member, only watch.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use checker::watch::{self, Event, Response, Write, Written};
use checker::{Anomaly, History, Verdict};
use proto::etcd::etcdserverpb::{
    WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse, watch_request::RequestUnion,
};
use proto::etcd::mvccpb;
use rand::RngExt;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::Workload;
use crate::client::{Client, Failure, kv};
use crate::limits::{CATCH_UP_TIMEOUT, FINAL_READS, OPERATION_TIMEOUT};
use crate::worker::Worker;

const PREFIX: &str = "watch/";
const KEYS: u32 = 6;
/// How often a watcher asks for progress.
const PROGRESS: Duration = Duration::from_millis(700);

#[derive(Default)]
pub(crate) struct Watch {
    value: AtomicU64,
    seen: Mutex<Seen>,
    /// The last revision that the watchers must reach; 0 while writers are at work.
    target: AtomicI64,
}

/// What is judged beside the writes.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Seen {
    streams: Vec<watch::Watch>,
    /// The members that ran in the end: all but those that were damaged and refused to.
    running: BTreeSet<usize>,
    /// Those that took a last write.
    answering: BTreeSet<usize>,
    /// The members whose watcher did not reach it.
    behind: BTreeSet<usize>,
}

impl Workload for Watch {
    type Call = Write;
    type Return = Written;

    const WORKS_TO_THE_END: bool = true;
    /// One that watches and one that writes.
    const CLIENTS_MIN: usize = 2;

    async fn work(&self, worker: Worker<Write, Written>) {
        if worker.looks_on() {
            self.watch(worker).await;
        } else {
            self.write(worker).await;
        }
    }

    /// One last write; the watchers must reach it.
    async fn finish(&self, mut worker: Worker<Write, Written>) {
        self.seen().running.insert(worker.member());
        for _ in 0..FINAL_READS {
            let revision = self.put(&mut worker, format!("{PREFIX}last")).await;
            if let Some(Some(revision)) = revision {
                self.seen().answering.insert(worker.member());
                self.target.fetch_max(revision, Ordering::Relaxed);
                return;
            }
        }
    }

    fn check(&self, history: &History<Write, Written>, _: Option<u64>) -> Result<Vec<Verdict>, checker::Error> {
        let seen = self.seen();
        let mut verdict = watch::check(&seen.streams, &history.operations()?);
        for member in &seen.behind {
            let late =
                format!("the watcher at member {member} did not reach the last revision in {CATCH_UP_TIMEOUT:?}");
            if seen.answering.contains(member) {
                verdict.broken(Anomaly::new("not-delivered", late, []));
            } else if seen.running.contains(member) {
                verdict.unknown(format!("{late}, and the member took no write"));
            } else {
                verdict.note(format!("{late}: the member did not run"));
            }
        }
        Ok(vec![verdict])
    }

    fn save(&self, directory: &Path) -> anyhow::Result<()> {
        let seen = serde_json::to_vec(&*self.seen())?;
        Ok(std::fs::write(directory.join("watches.json"), seen)?)
    }

    fn load(&self, directory: &Path) -> anyhow::Result<()> {
        *self.seen() = super::read_json(directory, "watches.json")?;
        Ok(())
    }
}

impl Watch {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn write(&self, mut worker: Worker<Write, Written>) {
        while worker.next().await {
            let key = format!("{PREFIX}{}", worker.random.random_range(0..KEYS));
            if worker.random.random_bool(0.8) {
                self.put(&mut worker, key).await;
                continue;
            }
            let (mut client, request) = (worker.client.clone(), kv::delete(&key));
            let delete = async move {
                let answer = client.kv.delete_range(request).await?.into_inner();
                Ok((answer.deleted > 0).then(|| kv::revision(answer.header)))
            };
            worker.write(Write::Delete { key }, delete).await;
        }
    }

    async fn put(&self, worker: &mut Worker<Write, Written>, key: String) -> Option<Written> {
        let value = format!("v{}", self.value.fetch_add(1, Ordering::Relaxed));
        let (mut client, request) = (worker.client.clone(), kv::put(&key, &value));
        let put = async move { Ok(Some(kv::revision(client.kv.put(request).await?.into_inner().header))) };
        worker.write(Write::Put { key, value }, put).await
    }

    /// Streams one after another, each resuming where the one before ended, until the last revision is reached.
    async fn watch(&self, mut worker: Worker<Write, Written>) {
        let (process, mut from_revision) = (worker.process, 1);
        let mut until: Option<Instant> = None;
        loop {
            let mut stream = watch::Watch {
                process,
                from_revision,
                prefix: PREFIX.into(),
                previous_values: true,
                responses: Vec::new(),
                revision_after: None,
                compacted_after: None,
            };
            let broken = self.stream(&mut worker.client, &mut stream, &mut until).await;
            if broken.is_ok() {
                stream.revision_after = revision_now(&mut worker.client).await;
                // The member has caught up by that, so that it knows of every compaction there was.
                if stream.revision_after.is_some() {
                    stream.compacted_after = compacted_now(&mut worker.client).await;
                }
            }
            from_revision = resume_at(&stream);
            if !stream.responses.is_empty() {
                self.seen().streams.push(stream);
            }
            let Err(_why) = broken else { return };
            if self.over(&mut until) {
                self.seen().behind.insert(worker.member());
                return;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
            worker.reconnect();
        }
    }

    /// Whether the time to catch up is over.
    fn over(&self, until: &mut Option<Instant>) -> bool {
        if self.target.load(Ordering::Relaxed) == 0 {
            return false;
        }
        Instant::now() > *until.get_or_insert_with(|| Instant::now() + CATCH_UP_TIMEOUT)
    }

    /// Ends well once the last revision is reached.
    async fn stream(
        &self,
        client: &mut Client,
        watch: &mut watch::Watch,
        until: &mut Option<Instant>,
    ) -> Result<(), Failure> {
        let (sender, receiver) = mpsc::channel(4);
        let request = |union| WatchRequest {
            request_union: Some(union),
        };
        let create = WatchCreateRequest {
            key: PREFIX.into(),
            range_end: kv::end_of(PREFIX).into(),
            start_revision: watch.from_revision,
            prev_kv: true,
            progress_notify: true,
            ..WatchCreateRequest::default()
        };
        let closed = || Failure::Definite("the stream ended".into());
        sender
            .send(request(RequestUnion::CreateRequest(create)))
            .await
            .map_err(|_| closed())?;
        let opening = tokio::time::timeout(OPERATION_TIMEOUT, client.watch.watch(ReceiverStream::new(receiver)));
        let mut answers = opening.await.map_err(|_| closed())??.into_inner();
        let mut ticks = tokio::time::interval(PROGRESS);
        let mut heard = Instant::now();
        loop {
            let answer = tokio::select! {
                answer = answers.message() => answer?.ok_or_else(closed)?,
                _ = ticks.tick() => {
                    if self.over(until) || heard.elapsed() > OPERATION_TIMEOUT {
                        return Err(closed());
                    }
                    let _ = sender.try_send(request(RequestUnion::ProgressRequest(WatchProgressRequest {})));
                    continue;
                }
            };
            heard = Instant::now();
            if take(watch, answer).is_err() {
                return Err(closed());
            }
            let target = self.target.load(Ordering::Relaxed);
            if target > 0 && resume_at(watch) > target {
                return Ok(());
            }
        }
    }
}

/// The store's revision, unless the member does not answer in time.
async fn revision_now(client: &mut Client) -> Option<i64> {
    let answer = tokio::time::timeout(OPERATION_TIMEOUT, client.kv.range(kv::get(PREFIX))).await;
    Some(kv::revision(answer.ok()?.ok()?.into_inner().header))
}

/// What the member has compacted, unless it does not answer in time: who watches from the first revision on is told.
async fn compacted_now(client: &mut Client) -> Option<i64> {
    let create = WatchCreateRequest {
        key: PREFIX.into(),
        range_end: kv::end_of(PREFIX).into(),
        start_revision: 1,
        ..WatchCreateRequest::default()
    };
    let request = WatchRequest {
        request_union: Some(RequestUnion::CreateRequest(create)),
    };
    let (sender, receiver) = mpsc::channel(1);
    let ask = async {
        sender.send(request).await.ok()?;
        let mut answers = client
            .watch
            .watch(ReceiverStream::new(receiver))
            .await
            .ok()?
            .into_inner();
        loop {
            let answer = answers.message().await.ok()??;
            if answer.canceled {
                return Some(answer.compact_revision).filter(|revision| *revision > 0);
            }
            if !answer.events.is_empty() {
                return Some(1);
            }
        }
    };
    tokio::time::timeout(OPERATION_TIMEOUT, ask).await.ok()?
}

/// Adds what an answer says; an error ends the stream.
fn take(watch: &mut watch::Watch, answer: WatchResponse) -> Result<(), ()> {
    if answer.canceled {
        if answer.compact_revision > 0 {
            watch.responses.push(Response::Compacted(answer.compact_revision));
        }
        return Err(());
    }
    if !answer.events.is_empty() {
        watch
            .responses
            .push(Response::Events(answer.events.into_iter().map(event).collect()));
    } else if !answer.created {
        watch.responses.push(Response::Progress(kv::revision(answer.header)));
    }
    Ok(())
}

fn event(event: mvccpb::Event) -> Event {
    let deleted = event.r#type == i32::from(mvccpb::event::EventType::Delete);
    let kv = event.kv.unwrap_or_default();
    Event {
        revision: kv.mod_revision,
        key: kv::text(&kv.key),
        value: (!deleted).then(|| kv::text(&kv.value)),
        create_revision: kv.create_revision,
        version: kv.version,
        previous: event
            .prev_kv
            .map(|before| (kv::text(&before.value), before.mod_revision)),
    }
}

/// The first revision that a stream did not speak of, or the first that is left after a compaction.
fn resume_at(watch: &watch::Watch) -> i64 {
    let told = watch.responses.iter().map(|response| match response {
        Response::Events(events) => events.last().map_or(0, |event| event.revision + 1),
        Response::Progress(revision) => revision + 1,
        Response::Compacted(revision) => *revision,
    });
    told.max().unwrap_or(0).max(watch.from_revision)
}
