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
    /// Why the file does not have all of it.
    trouble: Option<String>,
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
            trouble: None,
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
        let Inner { history, file, trouble } = &mut *inner;
        if let Some(Err(error)) = history.events.last().map(|event| event.write_line(file)) {
            trouble.get_or_insert_with(|| format!("the history could not be written: {error}"));
        }
    }

    /// Why not all of the history is on disk: what is in memory is still judged, and cannot be judged again.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.inner
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .trouble
            .clone()
    }

    pub(crate) fn history(&self) -> History<C, R> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.history.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_that_cannot_be_written_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let record = |path: &Path| {
            let recorder: Recorder<u8, u8> = Recorder::new(path, Instant::now()).unwrap();
            recorder.record(1, What::Invoke { call: 7 });
            recorder.record(1, What::Ok { result: 8 });
            (recorder.history().events.len(), recorder.trouble())
        };
        assert_eq!(record(&directory.path().join("history.jsonl")), (2, None));
        // Every write to it fails as one to a full disk does.
        let (events, trouble) = record(Path::new("/dev/full"));
        assert!(events == 2 && trouble.is_some());
    }
}
