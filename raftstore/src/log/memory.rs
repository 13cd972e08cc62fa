//! A disk in memory that forgets what was not synced. It loses whole pages, like a kernel that was writing some of them
//! back when the power went. Creations, renames and removals are durable at once: the log syncs its directory after each.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::disk::{Disk, DiskFile};

/// The unit that a crash keeps or loses.
pub const PAGE_BYTES: usize = 4096;

#[derive(Debug, Default)]
struct Content {
    /// What a reader sees.
    seen: Vec<u8>,
    /// What survives a crash.
    durable: Vec<u8>,
    /// Pages of `seen` written since the last sync.
    dirty: std::collections::BTreeSet<usize>,
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
            let content = file.content.lock();
            let mut durable = content.durable.clone();
            for page in content.dirty.iter().copied().filter(|page| keep(name, *page)) {
                let start = page * PAGE_BYTES;
                let end = (start + PAGE_BYTES).min(durable.len());
                durable[start..end].copy_from_slice(&content.seen[start..end]);
            }
            drop(content);
            let survivor = Content {
                seen: durable.clone(),
                durable,
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
            let mut content = file.content.lock();
            content.seen[offset as usize] ^= 1 << bit;
            content.durable[offset as usize] ^= 1 << bit;
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
        let zeros = vec![0; length as usize];
        let content = Content {
            seen: zeros.clone(),
            durable: zeros,
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
        Ok(self.content.lock().seen.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let content = self.content.lock();
        let start = offset as usize;
        let end = start + buffer.len();
        if end > content.seen.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        buffer.copy_from_slice(&content.seen[start..end]);
        Ok(())
    }

    fn write_at(&self, buffer: &[u8], offset: u64) -> io::Result<()> {
        if buffer.is_empty() {
            return Ok(());
        }
        let mut content = self.content.lock();
        let start = offset as usize;
        let end = start + buffer.len();
        if end > content.seen.len() {
            return Err(io::Error::other("write past the end of a preallocated file"));
        }
        content.seen[start..end].copy_from_slice(buffer);
        content.dirty.extend(start / PAGE_BYTES..=(end - 1) / PAGE_BYTES);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut content = self.content.lock();
        if content.fail_sync {
            return Err(io::Error::other("the memory disk was told to fail syncs"));
        }
        let Content {
            seen, durable, dirty, ..
        } = &mut *content;
        for page in std::mem::take(dirty) {
            let start = page * PAGE_BYTES;
            let end = (start + PAGE_BYTES).min(seen.len());
            durable[start..end].copy_from_slice(&seen[start..end]);
        }
        Ok(())
    }
}
