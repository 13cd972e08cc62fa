//! A disk in memory that forgets what was not synced. It loses whole pages, like a kernel that was writing some of them
//! back when the power went. Creations, renames and removals are durable at once: the log syncs its directory after each.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::disk::{Disk, DiskFile};
use super::volatile::Volatile;

/// The unit that a crash keeps or loses.
pub const PAGE_BYTES: usize = 4096;

#[derive(Debug, Default)]
struct Content {
    bytes: Volatile,
    /// Set by [`MemoryDisk::fail_syncs`].
    fail_sync: bool,
}

/// The disk; clones share it.
#[derive(Debug, Clone, Default)]
pub struct MemoryDisk {
    files: Arc<Mutex<BTreeMap<String, MemoryFile>>>,
}

/// A file of a [`MemoryDisk`].
#[derive(Debug, Clone, Default)]
pub struct MemoryFile {
    content: Arc<Mutex<Content>>,
}

impl MemoryDisk {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// Cuts the power: of the pages that were not synced only those for which `keep(file, page)` says so survive.
    /// Handles opened before are cut off from the disk.
    pub fn crash(&self, mut keep: impl FnMut(&str, usize) -> bool) {
        let mut files = self.files.lock();
        for (name, file) in files.iter_mut() {
            let bytes = file.content.lock().bytes.crash(|page| keep(name, page));
            let survivor = Content {
                bytes,
                ..Content::default()
            };
            *file = MemoryFile {
                content: Arc::new(Mutex::new(survivor)),
            };
        }
    }

    /// Flips one bit, in what is seen and in what is durable.
    pub fn flip_bit(&self, name: &str, offset: u64, bit: u8) {
        if let Some(file) = self.files.lock().get(name) {
            file.content.lock().bytes.flip_bit(offset as usize, bit);
        }
    }

    /// Makes every later sync of existing files fail, as a dying disk does.
    pub fn fail_syncs(&self) {
        for file in self.files.lock().values() {
            file.content.lock().fail_sync = true;
        }
    }
}

fn missing(name: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("no file {name} on the memory disk"))
}

impl Disk for MemoryDisk {
    type File = MemoryFile;

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.files.lock().keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<MemoryFile> {
        self.files.lock().get(name).cloned().ok_or_else(|| missing(name))
    }

    fn create(&self, name: &str, length: u64) -> io::Result<MemoryFile> {
        let content = Content {
            bytes: Volatile::zeros(length as usize, PAGE_BYTES),
            ..Content::default()
        };
        let file = MemoryFile {
            content: Arc::new(Mutex::new(content)),
        };
        self.files.lock().insert(name.to_owned(), file.clone());
        Ok(file)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut files = self.files.lock();
        let file = files.remove(from).ok_or_else(|| missing(from))?;
        files.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.files.lock().remove(name).map(drop).ok_or_else(|| missing(name))
    }

    fn sync_directory(&self) -> io::Result<()> {
        Ok(())
    }

    async fn offload<T, W>(&self, work: W) -> io::Result<T>
    where
        T: Send + 'static,
        W: FnOnce() -> io::Result<T> + Send + 'static,
    {
        work()
    }

    fn describe(&self) -> String {
        "memory".to_owned()
    }
}

impl DiskFile for MemoryFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.content.lock().bytes.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.content.lock().bytes.read_at(buffer, offset)
    }

    fn write_at(&self, buffer: &[u8], offset: u64) -> io::Result<()> {
        self.content.lock().bytes.write_at(buffer, offset).map(drop)
    }

    fn sync(&self) -> io::Result<()> {
        let mut content = self.content.lock();
        if content.fail_sync {
            return Err(io::Error::other("the memory disk was told to fail syncs"));
        }
        content.bytes.sync();
        Ok(())
    }
}
