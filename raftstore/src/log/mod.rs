//! The Raft log: our own segment files.
//!
//! Theory. The log is one stream of records (entries, truncations, purges, votes, committed ids) in numbered segments of
//! fixed size that are filled with zeros ahead of time and recycled: overwriting blocks that exist makes the sync about
//! twice as cheap as appending. One writer takes everything that queued up during the last sync, writes it as a batch and
//! syncs once. Batches are chained by checksums; each says how far the log was synced before it.
//!
//! Promises. What a caller was told is durable is there after any crash, or the member refuses to start and says which
//! file is damaged at which byte. What was not yet durable is there whole or not at all, batch by batch, in order. An
//! entry is readable as soon as `append` returned. A failed sync stops the log for good: what the kernel dropped cannot
//! be known.
//!
//! Left out. Compression, encryption, more than one directory.

mod batch;
mod disk;
mod error;
mod index;
mod memory;
mod read_only;
mod record;
mod recover;
mod segment;
mod volatile;
mod writer;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use openraft::AsyncRuntime;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};

pub use disk::{Disk, DiskFile, RealDisk};
pub use error::LogError;
pub use memory::{MemoryDisk, MemoryFile, PAGE_BYTES};
pub use read_only::ReadOnlyDisk;
pub use record::{Claim, Entry, EntryKind, LogId, Record, Vote};
pub use recover::{Survey, survey};
pub use volatile::Volatile;

use crate::limits::{CLAIMS_MAX, LOG_CACHE_BYTES, LOG_ROUND_BYTES, LOG_SEGMENT_BYTES};
use crate::metrics::Metrics;
use index::{Found, Index, Stored};
use writer::{Round, Writer};

/// Told once the records are durable, or why they never will be.
pub type Done = Box<dyn FnOnce(io::Result<()>) + Send>;

/// How a log is kept.
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// Bytes of a segment.
    pub segment_bytes: u64,
    /// Payload bytes of the newest entries kept in memory.
    pub cache_bytes: usize,
    /// Where it counts what it writes and how long it takes.
    pub metrics: Arc<Metrics>,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            segment_bytes: LOG_SEGMENT_BYTES,
            cache_bytes: LOG_CACHE_BYTES,
            metrics: Arc::default(),
        }
    }
}

/// The log. Clones share it; all changes must come from one task, as openraft's do.
pub struct Log<D: Disk> {
    shared: Arc<Shared<D>>,
    queue: mpsc::UnboundedSender<Work>,
}

impl<D: Disk> std::fmt::Debug for Log<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log")
            .field("directory", &self.shared.disk.describe())
            .field("last", &self.last())
            .finish()
    }
}

impl<D: Disk> Clone for Log<D> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
            queue: self.queue.clone(),
        }
    }
}

struct Shared<D: Disk> {
    disk: Arc<D>,
    cache_bytes: usize,
    index: Mutex<Index>,
    files: Mutex<BTreeMap<u64, Arc<D::File>>>,
    /// Counts durable rounds; `Err` once the log stopped.
    rounds: watch::Sender<Result<u64, String>>,
}

/// What the writer is asked to do.
struct Work {
    records: Vec<Record>,
    bytes: usize,
    durable: bool,
    done: Option<Done>,
}

impl<D: Disk> Log<D> {
    /// Recovers the log of `disk` and starts its writer on the current runtime `R`.
    pub async fn open<R: AsyncRuntime>(disk: D, options: LogOptions) -> Result<Self, LogError> {
        let disk = Arc::new(disk);
        let (scanned, cache_bytes) = (disk.clone(), options.cache_bytes);
        let mut recovered = disk
            .offload(move || recover::recover(&*scanned, cache_bytes).map_err(io::Error::from))
            .await
            .map_err(unwrap_log_error)?;
        let files = recovered
            .segments
            .iter()
            .map(|segment| (segment.sequence, segment.file.clone()))
            .collect();
        let index = std::mem::take(&mut recovered.index);
        let writer = Writer::new(disk.clone(), &options, recovered, &index);
        let shared = Arc::new(Shared {
            disk,
            cache_bytes,
            index: Mutex::new(index),
            files: Mutex::new(files),
            rounds: watch::Sender::new(Ok(0)),
        });
        let (queue, work) = mpsc::unbounded_channel();
        // Detached: it ends with the last handle of the log.
        drop(R::spawn(write::<R, D>(shared.clone(), writer, work)));
        Ok(Self { shared, queue })
    }

    /// Runs work that may block on a disk away from the caller's task.
    pub async fn offload<T, W>(&self, work: W) -> io::Result<T>
    where
        T: Send + 'static,
        W: FnOnce() -> io::Result<T> + Send + 'static,
    {
        self.shared.disk.offload(work).await
    }

    /// The last purged entry.
    pub fn purged(&self) -> Option<LogId> {
        self.shared.index.lock().purged
    }

    /// The last entry, or the last purged one when there is none.
    pub fn last(&self) -> Option<LogId> {
        self.shared.index.lock().last()
    }

    /// The last vote.
    pub fn vote(&self) -> Option<Vote> {
        self.shared.index.lock().vote
    }

    /// The last entry known to be committed.
    pub fn committed(&self) -> Option<LogId> {
        self.shared.index.lock().committed
    }

    /// The id of an entry.
    pub fn id(&self, index: u64) -> Option<LogId> {
        self.shared.index.lock().id(index)
    }

    /// Payload bytes of the entries from `from` up to but not including `to`.
    pub fn payload_bytes(&self, from: u64, to: u64) -> u64 {
        self.shared.index.lock().payload_bytes(from, to)
    }

    /// The first entry to keep so that the newest `entries` entries stay, unless they are more than `bytes` bytes.
    pub fn keep_from(&self, entries: u64, bytes: u64) -> u64 {
        self.shared.index.lock().keep_from(entries, bytes)
    }

    /// Appends entries; they are readable when this returns. `done` is called once they are durable.
    pub fn append(&self, entries: Vec<Entry>, done: Done) -> io::Result<()> {
        let mut index = self.shared.index.lock();
        let mut records = Vec::with_capacity(entries.len());
        for entry in entries {
            if !index.accepts(entry.id.index, false) {
                let last = index.last();
                return Err(io::Error::other(format!(
                    "entry {:?} does not follow the last one, {last:?}",
                    entry.id
                )));
            }
            index.push(entry.clone(), None);
            records.push(Record::Entry(entry));
        }
        self.enqueue(records, true, Some(done))
    }

    /// Drops the entries after `after`.
    pub fn truncate(&self, after: Option<LogId>) -> io::Result<()> {
        let mut index = self.shared.index.lock();
        index.truncate(after);
        self.enqueue(vec![Record::Truncate(after)], true, None)
    }

    /// Drops the entries up to `upto`.
    pub fn purge(&self, upto: LogId) -> io::Result<()> {
        let mut index = self.shared.index.lock();
        index.purge(upto);
        self.enqueue(vec![Record::Purge(upto)], true, None)
    }

    /// Notes a committed entry. Not synced: losing it costs a longer replay.
    pub fn save_committed(&self, id: LogId) -> io::Result<()> {
        let mut index = self.shared.index.lock();
        index.committed = index.committed.max(Some(id));
        self.enqueue(vec![Record::Committed(id)], false, None)
    }

    /// Saves the vote; durable when this returns.
    pub async fn save_vote(&self, vote: Vote) -> io::Result<()> {
        let (done, saved) = oneshot::channel();
        {
            let mut index = self.shared.index.lock();
            index.vote = Some(vote);
            self.enqueue(
                vec![Record::Vote(vote)],
                true,
                Some(Box::new(|result| drop(done.send(result)))),
            )?;
        }
        saved.await.unwrap_or_else(|_| Err(self.stopped()))
    }

    /// The token under which `member` claimed its id here.
    pub fn claim(&self, member: u64) -> Option<u64> {
        self.shared.index.lock().claims.get(&member).copied()
    }

    /// Notes which data directory a member's id belongs to, unless another one has it, and returns whose it is. Durable
    /// when this returns. Unlike everything else, this may be called from any task.
    pub async fn save_claim(&self, claim: Claim) -> io::Result<u64> {
        let holder = {
            let mut index = self.shared.index.lock();
            let known = index.claims.get(&claim.member).copied();
            if known.is_none() {
                if index.claims.len() >= CLAIMS_MAX {
                    return Err(io::Error::other(format!(
                        "{CLAIMS_MAX} members have claimed their ids already"
                    )));
                }
                index.claims.insert(claim.member, claim.token);
                self.enqueue(vec![Record::Claim(claim)], true, None)?;
            }
            known.unwrap_or(claim.token)
        };
        self.flush().await?;
        Ok(holder)
    }

    /// Waits until everything accepted so far is durable.
    pub async fn flush(&self) -> io::Result<()> {
        let (done, flushed) = oneshot::channel();
        self.enqueue(Vec::new(), true, Some(Box::new(|result| drop(done.send(result)))))?;
        flushed.await.unwrap_or_else(|_| Err(self.stopped()))
    }

    /// Returns once the log stopped for good, with the reason.
    pub async fn wait_stopped(&self) -> String {
        let mut rounds = self.shared.rounds.subscribe();
        match rounds.wait_for(Result::is_err).await.as_deref() {
            Ok(Err(reason)) => reason.clone(),
            _ => "its writer ended".to_owned(),
        }
    }

    /// Waits until entry `index` is durable here.
    pub async fn wait_durable(&self, index: u64) -> io::Result<()> {
        let mut rounds = self.shared.rounds.subscribe();
        loop {
            if self.shared.index.lock().is_durable(index) {
                return Ok(());
            }
            if rounds.borrow_and_update().is_err() {
                return Err(self.stopped());
            }
            // The mark may have been set between the look and the subscription's last update: look again first.
            if self.shared.index.lock().is_durable(index) {
                return Ok(());
            }
            rounds.changed().await.map_err(|_| self.stopped())?;
        }
    }

    /// Reads the entries present in `range`: at most `limit` payload bytes of them, but at least one.
    pub async fn read(&self, range: Range<u64>, limit: usize) -> io::Result<Vec<Entry>> {
        let found = self.shared.index.lock().range(range, limit);
        if found.iter().all(|found| matches!(found, Found::Cached(_))) {
            return Ok(found.into_iter().filter_map(cached).collect());
        }
        let files = self.shared.files.lock().clone();
        let first = found.first().map(|found| found.id().index);
        let read = self
            .shared
            .disk
            .offload(move || found.into_iter().map(|found| load(&files, found)).collect())
            .await;
        match read {
            // Purged, and its segment recycled, while we read: what is gone by right is not an error.
            Err(_) if first <= self.purged().map(|purged| purged.index) => Ok(Vec::new()),
            other => other,
        }
    }

    fn enqueue(&self, records: Vec<Record>, durable: bool, done: Option<Done>) -> io::Result<()> {
        let bytes = records.iter().map(Record::encoded_len).sum();
        self.queue
            .send(Work {
                records,
                bytes,
                durable,
                done,
            })
            .map_err(|_| self.stopped())
    }

    fn stopped(&self) -> io::Error {
        let reason = match &*self.shared.rounds.borrow() {
            Err(reason) => reason.clone(),
            Ok(_) => "its writer ended".to_owned(),
        };
        LogError::Stopped(reason).into()
    }
}

fn cached(found: Found) -> Option<Entry> {
    match found {
        Found::Cached(entry) => Some(entry),
        Found::OnDisk(..) => None,
    }
}

fn load<F: DiskFile>(files: &BTreeMap<u64, Arc<F>>, found: Found) -> io::Result<Entry> {
    let (id, kind, stored) = match found {
        Found::Cached(entry) => return Ok(entry),
        Found::OnDisk(id, kind, stored) => (id, kind, stored),
    };
    let Stored {
        place,
        length,
        checksum,
    } = stored;
    let file = files
        .get(&place.segment)
        .ok_or_else(|| io::Error::other(format!("segment {} of entry {id:?} is gone", place.segment)))?;
    let mut data = vec![0; length as usize];
    file.read_at(&mut data, place.offset)?;
    if crc32fast::hash(&data) != checksum {
        let what = format!(
            "entry {id:?} in segment {} at byte {} is damaged",
            place.segment, place.offset
        );
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    Ok(Entry {
        id,
        kind,
        data: Bytes::from(data),
    })
}

fn unwrap_log_error(error: io::Error) -> LogError {
    match error.downcast::<LogError>() {
        Ok(error) => error,
        Err(error) => LogError::io("recover", "the log", error),
    }
}

/// The writer's loop: one round per drained queue.
async fn write<R: AsyncRuntime, D: Disk>(
    shared: Arc<Shared<D>>,
    mut writer: Writer<D>,
    mut queue: mpsc::UnboundedReceiver<Work>,
) {
    let mut spare = None;
    while let Some(first) = queue.recv().await {
        let (records, durable, waiting) = drain(first, &mut queue);
        if let Some(name) = ready_spare(&mut spare) {
            writer.add_spare(name);
        }
        let round = shared.disk.offload(move || {
            let round = writer.round(&records, durable);
            Ok((writer, round))
        });
        match round.await {
            Ok((returned, Ok(round))) => {
                writer = returned;
                publish(&shared, &writer, round);
                waiting.into_iter().for_each(|done| done(Ok(())));
            }
            Ok((_, Err(error))) | Err(error) => return stop(&shared, &error, waiting, queue),
        }
        if spare.is_none()
            && let Some((name, bytes)) = writer.wants_spare()
        {
            spare = Some(create_spare::<R, D>(shared.disk.clone(), name, bytes));
        }
    }
}

fn drain(first: Work, queue: &mut mpsc::UnboundedReceiver<Work>) -> (Vec<Record>, bool, Vec<Done>) {
    let (mut records, mut bytes, mut durable) = (first.records, first.bytes, first.durable);
    let mut waiting: Vec<Done> = first.done.into_iter().collect();
    while bytes < LOG_ROUND_BYTES
        && let Ok(work) = queue.try_recv()
    {
        records.extend(work.records);
        bytes += work.bytes;
        durable |= work.durable;
        waiting.extend(work.done);
    }
    (records, durable, waiting)
}

fn publish<D: Disk>(shared: &Shared<D>, writer: &Writer<D>, round: Round) {
    {
        let mut files = shared.files.lock();
        for sequence in round.opened {
            files.extend(writer.file(sequence).map(|file| (sequence, file)));
        }
        for sequence in round.removed {
            files.remove(&sequence);
        }
    }
    {
        let mut index = shared.index.lock();
        for (id, stored) in round.placed {
            index.mark_stored(id, stored);
        }
        index.evict(shared.cache_bytes);
    }
    shared.rounds.send_modify(|rounds| {
        if let Ok(count) = rounds {
            *count += 1;
        }
    });
}

/// A failed write or sync: nobody may believe anything from here on.
fn stop<D: Disk>(shared: &Shared<D>, error: &io::Error, waiting: Vec<Done>, mut queue: mpsc::UnboundedReceiver<Work>) {
    tracing::error!(%error, directory = shared.disk.describe(), "the log cannot be written; this member has to stop");
    let reason = error.to_string();
    shared.rounds.send_modify(|rounds| *rounds = Err(reason.clone()));
    queue.close();
    let mut refused = waiting;
    while let Ok(work) = queue.try_recv() {
        refused.extend(work.done);
    }
    refused
        .into_iter()
        .for_each(|done| done(Err(LogError::Stopped(reason.clone()).into())));
}

fn create_spare<R: AsyncRuntime, D: Disk>(disk: Arc<D>, name: String, bytes: u64) -> oneshot::Receiver<String> {
    let (send, receive) = oneshot::channel();
    drop(R::spawn(async move {
        let creator = disk.clone();
        let created = disk.offload(move || creator.create(&name, bytes).map(|_| name)).await;
        match created {
            Ok(name) => drop(send.send(name)),
            // Not fatal: the next roll tries again, in line.
            Err(error) => tracing::warn!(%error, "could not prepare the next log segment"),
        }
    }));
    receive
}

fn ready_spare(spare: &mut Option<oneshot::Receiver<String>>) -> Option<String> {
    match spare.as_mut()?.try_recv() {
        Ok(name) => {
            *spare = None;
            Some(name)
        }
        Err(oneshot::error::TryRecvError::Empty) => None,
        Err(oneshot::error::TryRecvError::Closed) => {
            *spare = None;
            None
        }
    }
}
