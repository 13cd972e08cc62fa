//! What is known of a test while it goes on: each fault and each end of a process is on disk when it happens, so that also a
//! test that is stopped or killed tells what was done to it.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::report::{self, Summary};

pub(crate) struct Notes {
    directory: PathBuf,
    summary: Mutex<Summary>,
}

impl Notes {
    /// # Errors
    /// The test's directory cannot be written to.
    pub(crate) fn new(directory: PathBuf, summary: Summary) -> anyhow::Result<Notes> {
        report::save(&directory, &summary)?;
        Ok(Notes {
            directory,
            summary: Mutex::new(summary),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Summary> {
        self.summary.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is known. Where that cannot be written, the test goes on, and does not prove anything any more.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Summary) -> T) -> T {
        let mut summary = self.lock();
        let changed = change(&mut summary);
        if let Err(error) = report::save(&self.directory, &summary) {
            let trouble = format!("test.json could not be written: {error:#}");
            if !summary.trouble.contains(&trouble) {
                summary.trouble.push(trouble);
            }
        }
        changed
    }

    pub(crate) fn summary(&self) -> Summary {
        self.lock().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::summary;

    #[test]
    fn what_happens_is_on_disk_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let notes = Notes::new(directory.path().into(), summary(&["kill"], Vec::new())).unwrap();
        notes.change(|summary| summary.complaints.push("it ran on".into()));
        let text = std::fs::read_to_string(directory.path().join("test.json")).unwrap();
        assert!(text.contains("it ran on"), "{text}");
        assert!(notes.summary().trouble.is_empty());
        directory.close().unwrap();
        notes.change(|summary| summary.snapshots += 1);
        notes.change(|summary| summary.snapshots += 1);
        assert_eq!((notes.summary().snapshots, notes.summary().trouble.len()), (2, 1));
    }
}
