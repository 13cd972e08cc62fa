//! The history while it is made: in memory for the checkers, and line by line on disk. No line waits in a buffer, so that a
//! test which is killed leaves all that it had recorded.

use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::Context;
use checker::{History, What};
use serde::Serialize;

pub(crate) struct Recorder<C, R> {
    inner: Arc<Mutex<Inner<C, R>>>,
    start: Instant,
}

struct Inner<C, R> {
    history: History<C, R>,
    file: File,
}

impl<C, R> Clone for Recorder<C, R> {
    fn clone(&self) -> Self {
        Recorder {
            inner: self.inner.clone(),
            start: self.start,
        }
    }
}

impl<C: Clone + Serialize, R: Clone + Serialize> Recorder<C, R> {
    pub(crate) fn new(path: &Path, start: Instant) -> anyhow::Result<Self> {
        let file = File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
        let inner = Inner {
            history: History::new(),
            file,
        };
        Ok(Recorder {
            inner: Arc::new(Mutex::new(inner)),
            start,
        })
    }

    /// The time is taken under the lock: events are in the order of their times.
    pub(crate) fn record(&self, process: u64, what: What<C, R>) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let now = u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        inner.history.push(process, now, what);
        let Inner { history, file } = &mut *inner;
        if let Some(event) = history.events.last() {
            // A history that cannot be written is still judged from memory.
            let _ = event.write_line(file);
        }
    }

    pub(crate) fn history(&self) -> History<C, R> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.history.clone()
    }
}
