//! openraft's log storage over our [`Log`].

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, Range, RangeBounds};

use futures::Stream;
use futures::stream;
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::{AsyncRuntime, LogState, OptionalSend, RaftLogReader};

use super::codec::{entry_from_log, entry_to_log, from_log_id, from_vote, to_log_id, to_vote};
use super::types::{EntryOf, LogIdOf, Types, VoteOf};
use crate::limits::APPEND_BYTES;
use crate::log::{Disk, Log};

/// The log as openraft's storage; clones are its readers.
#[derive(Debug)]
pub struct LogStore<D: Disk> {
    log: Log<D>,
}

impl<D: Disk> Clone for LogStore<D> {
    fn clone(&self) -> Self {
        Self { log: self.log.clone() }
    }
}

impl<D: Disk> LogStore<D> {
    /// Wraps a log.
    pub fn new(log: Log<D>) -> Self {
        Self { log }
    }

    async fn read(&self, range: Range<u64>, limit: usize) -> io::Result<Vec<EntryOf>> {
        self.log
            .read(range, limit)
            .await?
            .into_iter()
            .map(entry_from_log)
            .collect()
    }
}

fn half_open(range: &impl RangeBounds<u64>) -> Range<u64> {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(before) => before + 1,
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(last) => last + 1,
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    start..end
}

impl<R: AsyncRuntime, D: Disk> RaftLogReader<Types<R>> for LogStore<D> {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> io::Result<Vec<EntryOf>>
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        self.read(half_open(&range), usize::MAX).await
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<EntryOf>> {
        self.read(start..end, APPEND_BYTES).await
    }

    /// In pieces: a member that catches up applies more than should be held at once.
    async fn entries_stream<RB>(&mut self, range: RB) -> impl Stream<Item = io::Result<EntryOf>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let pieces = stream::unfold((self.clone(), half_open(&range)), async |(store, range)| {
            if range.is_empty() {
                return None;
            }
            let piece = match store.read(range.clone(), APPEND_BYTES).await {
                Ok(piece) if piece.is_empty() => return None,
                Ok(piece) => piece,
                Err(error) => return Some((vec![Err(error)], (store, range.end..range.end))),
            };
            let next = piece.last().map_or(range.end, |entry| entry.log_id.index + 1);
            Some((piece.into_iter().map(Ok).collect::<Vec<_>>(), (store, next..range.end)))
        });
        futures::StreamExt::flat_map(pieces, stream::iter)
    }

    async fn read_vote(&mut self) -> io::Result<Option<VoteOf>> {
        Ok(self.log.vote().map(to_vote))
    }
}

impl<R: AsyncRuntime, D: Disk> RaftLogStorage<Types<R>> for LogStore<D> {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types<R>>> {
        Ok(LogState {
            last_purged_log_id: self.log.purged().map(to_log_id),
            last_log_id: self.log.last().map(to_log_id),
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &VoteOf) -> io::Result<()> {
        self.log.save_vote(from_vote(vote)).await
    }

    async fn save_committed(&mut self, committed: Option<LogIdOf>) -> io::Result<()> {
        committed.map_or(Ok(()), |committed| self.log.save_committed(from_log_id(&committed)))
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogIdOf>> {
        // Written without a sync, so it may name an entry that a crash took. That one was not acknowledged by us.
        Ok(self.log.committed().min(self.log.last()).map(to_log_id))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types<R>>) -> io::Result<()>
    where
        I: IntoIterator<Item = EntryOf> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries = entries.into_iter().map(entry_to_log).collect::<io::Result<_>>()?;
        self.log
            .append(entries, Box::new(move |result| callback.io_completed(result)))
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogIdOf>) -> io::Result<()> {
        self.log.truncate(last_log_id.as_ref().map(from_log_id))
    }

    async fn purge(&mut self, log_id: LogIdOf) -> io::Result<()> {
        self.log.purge(from_log_id(&log_id))
    }
}
