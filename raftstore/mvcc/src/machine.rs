//! The machine: applies log entries and publishes what became of them.

use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use proto::{
    raft::{self, Answer, Batch, answer::Outcome},
    state::Counters,
};

use crate::{
    Backend, Block, DeterministicError, Family, Fault, LeaseChange, LogId, Reader, Swept, View, WriteBatch,
    apply::Applier, encoding, load, view::State,
};

/// What applying one request answered.
pub type Response = raft::response::Body;

/// What applying one log entry gave.
#[derive(Debug, Default)]
pub struct Applied {
    /// One for each request, in order.
    pub responses: Vec<Result<Response, DeterministicError>>,
    /// One for each revision made, ascending.
    pub blocks: Vec<Arc<Block>>,
    /// What happened to leases, in order.
    pub leases: Vec<LeaseChange>,
}

/// The replicated state machine over its tables. One owner applies; readers go through [`Reader`] and [`View`].
pub struct Machine<B: Backend> {
    backend: Arc<B>,
    /// Ahead of `published` only while an entry is being applied.
    state: State,
    published: Arc<ArcSwap<State>>,
    /// Set for the time of a write and left set if it fails: memory is then ahead of the tables.
    stopped: bool,
}

impl<B: Backend> Machine<B> {
    /// Loads the state from the tables.
    pub fn open(backend: Arc<B>) -> Result<Self, Fault> {
        let state = load::state(&*backend)?;
        let published = Arc::new(ArcSwap::from_pointee(state.clone()));
        Ok(Self {
            backend,
            state,
            published,
            stopped: false,
        })
    }

    /// Loads everything again after a snapshot replaced the tables, and publishes it to existing readers.
    pub fn reload(&mut self) -> Result<(), Fault> {
        self.state = load::state(&*self.backend)?;
        self.stopped = false;
        self.publish();
        Ok(())
    }

    /// The last log entry applied. The log replays from the one behind it.
    #[must_use]
    pub fn applied(&self) -> Option<LogId> {
        self.state.applied
    }

    /// The latest state.
    #[must_use]
    pub fn view(&self) -> View {
        View {
            state: self.published.load_full(),
        }
    }

    /// A handle for readers in other tasks.
    #[must_use]
    pub fn reader(&self) -> Reader<B> {
        Reader::new(self.backend.clone(), self.published.clone())
    }

    /// The tables.
    #[must_use]
    pub fn backend(&self) -> &Arc<B> {
        &self.backend
    }

    /// One of the caller's records, as last given to [`advance`](Self::advance).
    pub fn record(&self, name: &str) -> Result<Option<Bytes>, Fault> {
        self.backend.get(Family::Meta, &encoding::record_key(name))
    }

    /// Applies a log entry. Its effects and its id are written as one, then published.
    ///
    /// # Panics
    ///
    /// If the entry is not behind the last one applied: the caller skips those, and applying one twice would be wrong.
    pub fn apply(&mut self, id: LogId, batch: &Batch) -> Result<Applied, Fault> {
        self.begin(id)?;
        let before = (self.state.revision, self.state.compacted);
        let mut applier = Applier::new(&*self.backend, &mut self.state, id, batch);
        let responses = batch
            .requests
            .iter()
            .map(|request| applier.apply(request))
            .collect::<Result<Vec<_>, Fault>>()?;
        let Applier {
            mut writes,
            blocks,
            leases,
            ..
        } = applier;
        if before != (self.state.revision, self.state.compacted) {
            let counters = Counters {
                revision: self.state.revision,
                compacted: self.state.compacted,
            };
            writes.put(Family::Meta, encoding::COUNTERS, encoding::encode(&counters));
        }
        self.commit(id, writes)?;
        Ok(Applied {
            responses,
            blocks,
            leases,
        })
    }

    /// Notes a log entry that holds no batch (blank, membership), with records of the caller to be kept beside it.
    ///
    /// # Panics
    ///
    /// As [`apply`](Self::apply).
    pub fn advance(&mut self, id: LogId, records: &[(&str, Bytes)]) -> Result<(), Fault> {
        self.begin(id)?;
        let mut writes = WriteBatch::new();
        for (name, value) in records {
            writes.put(Family::Meta, encoding::record_key(name), value);
        }
        self.commit(id, writes)
    }

    /// As [`Reader::physical_compact`].
    pub fn physical_compact(&self, rows_max: usize) -> Result<Swept, Fault> {
        self.reader().physical_compact(rows_max)
    }

    fn begin(&mut self, id: LogId) -> Result<(), Fault> {
        if self.stopped {
            return Err(Fault::Stopped);
        }
        if let Some(applied) = self.state.applied {
            assert!(
                id.index > applied.index,
                "log entry {id:?} offered although {applied:?} is applied"
            );
        }
        self.stopped = true;
        Ok(())
    }

    fn commit(&mut self, id: LogId, mut writes: WriteBatch) -> Result<(), Fault> {
        writes.put(Family::Meta, encoding::APPLIED, id.encode());
        self.backend.write(&writes)?;
        self.state.applied = Some(id);
        self.publish();
        self.stopped = false;
        Ok(())
    }

    fn publish(&self) {
        self.published.store(Arc::new(self.state.clone()));
    }
}

/// An answer in the form that crosses the wire between members.
#[must_use]
pub fn encode_answer(answer: &Result<Response, DeterministicError>) -> Answer {
    let outcome = match answer {
        Ok(body) => Outcome::Response(raft::Response {
            body: Some(body.clone()),
        }),
        Err(refusal) => Outcome::Refusal(refusal.to_refusal()),
    };
    Answer { outcome: Some(outcome) }
}

/// The inverse of [`encode_answer`]. `None` if a newer version answered something unknown here.
#[must_use]
pub fn decode_answer(answer: Answer) -> Option<Result<Response, DeterministicError>> {
    match answer.outcome? {
        Outcome::Response(response) => response.body.map(Ok),
        Outcome::Refusal(refusal) => Some(Err(DeterministicError::from_refusal(&refusal))),
    }
}
