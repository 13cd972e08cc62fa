//! A directory of the operating system that is only looked at.

use std::fs::File;
use std::io;
use std::path::PathBuf;

use super::disk::{Disk, RealDisk};

/// A directory in which nothing is changed: whatever would is refused.
#[derive(Debug, Clone)]
pub struct ReadOnlyDisk(RealDisk);

impl ReadOnlyDisk {
    /// Looks at `directory`.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self(RealDisk::existing(directory))
    }
}

fn refused() -> io::Error {
    io::ErrorKind::ReadOnlyFilesystem.into()
}

impl Disk for ReadOnlyDisk {
    type File = File;

    fn list(&self) -> io::Result<Vec<String>> {
        self.0.list()
    }

    fn open(&self, name: &str) -> io::Result<File> {
        File::open(self.0.directory().join(name))
    }

    fn create(&self, _: &str, _: u64) -> io::Result<File> {
        Err(refused())
    }

    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        Err(refused())
    }

    fn remove(&self, _: &str) -> io::Result<()> {
        Err(refused())
    }

    fn sync_directory(&self) -> io::Result<()> {
        Err(refused())
    }

    async fn offload<T, W>(&self, work: W) -> io::Result<T>
    where
        T: Send + 'static,
        W: FnOnce() -> io::Result<T> + Send + 'static,
    {
        self.0.offload(work).await
    }

    fn describe(&self) -> String {
        self.0.describe()
    }
}
