//! Reading beside apply.

use std::sync::Arc;

use arc_swap::ArcSwap;
use proto::{
    etcd::etcdserverpb::{RangeRequest, RangeResponse, TxnRequest, TxnResponse},
    raft::Identity,
};

use crate::{
    AuthRefusal, Backend, Blocks, DeterministicError, Dump, Fault, KvHash, RangeEnd, ReadError, RowSink, Rows, Swept,
    View, WriteBatch, blocks,
    change::Change,
    compact, dump, hash, load, past,
    range::{self, Found},
    txn::{self, Past},
    view::State,
};

/// A handle for any number of concurrent readers. Never blocks apply.
///
/// A compaction is written to the tables before any row is removed for it. So whoever reads old rows looks at the compacted
/// revision of the same tables *afterwards*: if it has not passed, nothing was missing. (The published one would not do:
/// tables installed from a snapshot are readable before they are published.)
pub struct Reader<B: Backend> {
    backend: Arc<B>,
    published: Arc<ArcSwap<State>>,
}

impl<B: Backend> Clone for Reader<B> {
    fn clone(&self) -> Self {
        Self {
            backend: self.backend.clone(),
            published: self.published.clone(),
        }
    }
}

impl<B: Backend> Reader<B> {
    pub(crate) fn new(backend: Arc<B>, published: Arc<ArcSwap<State>>) -> Self {
        Self { backend, published }
    }

    /// The latest state.
    #[must_use]
    pub fn view(&self) -> View {
        View {
            state: self.published.load_full(),
        }
    }

    /// The tables.
    #[must_use]
    pub fn backend(&self) -> &Arc<B> {
        &self.backend
    }

    /// Answers a range request at its revision, or at the latest, if who asks may read that.
    pub fn range(&self, identity: Option<&Identity>, request: &RangeRequest) -> Result<RangeResponse, ReadError> {
        let view = self.view();
        judged(view.caller(identity).range(&request.key, &request.range_end))?;
        if request.revision <= 0 || request.revision == view.revision() {
            return Ok(view.respond(request));
        }
        range::check_revision(request.revision, view.compacted(), view.revision())?;
        let end = RangeEnd::from_wire(&request.range_end);
        let past = PinnedPast {
            pinned: self.backend.pin(),
            view: &view,
        };
        let found = past.find(&request.key, end, request.revision, range::wanted(request))?;
        Ok(range::respond(found, request, view.revision()))
    }

    /// Answers a transaction that writes nothing, whichever branch it takes; others are refused as unknown.
    pub fn txn(&self, identity: Option<&Identity>, request: &TxnRequest) -> Result<TxnResponse, ReadError> {
        if !txn::is_read_only(request) {
            return Err(DeterministicError::UnknownRequest.into());
        }
        let view = self.view();
        judged(view.caller(identity).txn(request))?;
        let past = PinnedPast {
            pinned: self.backend.pin(),
            view: &view,
        };
        let mut state = State::clone(&view.state);
        let mut writes = WriteBatch::new();
        txn::txn(&mut Change::begin(&mut state, &mut writes), &past, request)
    }

    /// Whole revisions from `from` to `to` (inclusive, at most the current one), with previous versions: about `bytes_max`
    /// bytes of them, at least one. Refused as compacted if `from` is below the compacted revision.
    pub fn blocks(&self, from: i64, to: i64, bytes_max: usize) -> Result<Blocks, ReadError> {
        let view = self.view();
        let to = to.min(view.revision());
        range::check_revision(from, view.compacted(), i64::MAX)?;
        if from > to {
            return Ok(Blocks {
                blocks: Vec::new(),
                next_revision: from,
            });
        }
        let pinned = self.backend.pin();
        let mut compacted = load::compacted(&pinned)?;
        loop {
            let read = blocks::read(&pinned, from, to, bytes_max, compacted);
            let compacted_now = load::compacted(&pinned)?;
            range::check_revision(from, compacted_now, i64::MAX)?;
            if compacted_now == compacted {
                return Ok(read?);
            }
            compacted = compacted_now;
        }
    }

    /// Hashes the keys as of `revision`, or of the latest for 0. Refused below the compacted revision.
    pub fn hash_kv(&self, revision: i64) -> Result<KvHash, ReadError> {
        let pinned = self.backend.pin();
        loop {
            let view = self.view();
            let compacted = load::compacted(&pinned)?;
            let at = if revision == 0 { view.revision() } else { revision };
            if view.revision() < compacted {
                // A compaction is in the tables a moment before it is published.
                std::thread::yield_now();
                continue;
            }
            range::check_revision(at, compacted, view.revision())?;
            let hashed = hash::keys(&pinned, &view, at, compacted);
            // Rows that went under the walk: it has to be made again, under the compaction that took them.
            if load::compacted(&pinned)? == compacted {
                return Ok(KvHash {
                    hash: hashed?.sum(),
                    revision: at,
                    current: view.revision(),
                    compacted,
                });
            }
        }
    }

    /// Hashes everything that members must agree on, at the latest revision.
    pub fn hash(&self) -> Result<KvHash, ReadError> {
        let pinned = self.backend.pin();
        loop {
            let view = self.view();
            let compacted = load::compacted(&pinned)?;
            if view.revision() < compacted {
                std::thread::yield_now();
                continue;
            }
            let hashed = hash::keys(&pinned, &view, view.revision(), compacted);
            if load::compacted(&pinned)? == compacted {
                let mut crc = hashed?;
                hash::rest(&mut crc, &view);
                return Ok(KvHash {
                    hash: crc.sum(),
                    revision: view.revision(),
                    current: view.revision(),
                    compacted,
                });
            }
        }
    }

    /// Gives all rows of one moment to `sink`.
    pub fn dump(&self, sink: &mut dyn RowSink) -> Result<Dump, ReadError> {
        let pinned = self.backend.pin();
        loop {
            let view = self.view();
            let compacted = load::compacted(&pinned)?;
            if view.revision() < compacted {
                std::thread::yield_now();
                continue;
            }
            dump::rows(&pinned, &view, sink)?;
            if load::compacted(&pinned)? == compacted {
                return Ok(Dump { view, compacted });
            }
        }
    }

    /// Removes about `rows_max` superseded rows. One at a time; may run beside apply and readers.
    pub fn physical_compact(&self, rows_max: usize) -> Result<Swept, Fault> {
        let pinned = self.backend.pin();
        let (writes, swept) = compact::plan(&pinned, load::compacted(&pinned)?, rows_max)?;
        if !writes.is_empty() {
            self.backend.write_pinned(&pinned, &writes)?;
        }
        Ok(swept)
    }
}

fn judged(judgement: Result<(), AuthRefusal>) -> Result<(), ReadError> {
    judgement.map_err(|refusal| DeterministicError::Auth(refusal).into())
}

/// Old revisions in pinned tables.
struct PinnedPast<'a, R: Rows> {
    pinned: R,
    view: &'a View,
}

impl<R: Rows> Past for PinnedPast<'_, R> {
    fn find(&self, start: &[u8], end: RangeEnd<'_>, revision: i64, wanted: usize) -> Result<Found, ReadError> {
        if revision == self.view.revision() {
            return Ok(self.view.state.find(start, end, wanted));
        }
        let found = past::find(&self.pinned, start, end, revision, wanted);
        // First: rows that compaction removed under the read look like corruption.
        range::check_revision(revision, load::compacted(&self.pinned)?, i64::MAX)?;
        Ok(found?)
    }
}
