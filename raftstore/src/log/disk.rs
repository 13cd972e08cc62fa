//! What the log needs from a disk, and the real one. Leaves out everything else a file system can do: the log keeps all
//! its files in one flat directory.

use std::fs::{File, OpenOptions};
use std::future::Future;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// A flat directory of files. Names never contain a separator.
pub trait Disk: Send + Sync + 'static {
    /// An open file of this disk.
    type File: DiskFile;

    /// Names of all files, in no particular order.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Opens an existing file for reading and writing.
    fn open(&self, name: &str) -> io::Result<Self::File>;
    /// Creates (or replaces) a file of `length` zero bytes that are already allocated and synced.
    fn create(&self, name: &str, length: u64) -> io::Result<Self::File>;
    /// Renames a file, replacing the target.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes creations, renames and removals durable.
    fn sync_directory(&self) -> io::Result<()>;
    /// Runs work that may block on this disk away from the caller's task.
    fn offload<T, W>(&self, work: W) -> impl Future<Output = io::Result<T>> + Send
    where
        T: Send + 'static,
        W: FnOnce() -> io::Result<T> + Send + 'static;
    /// Where the files are, for error messages.
    fn describe(&self) -> String;
}

/// An open file.
pub trait DiskFile: Send + Sync + 'static {
    /// Length in bytes.
    fn length(&self) -> io::Result<u64>;
    /// Fills `buffer` from `offset`, failing on a short read.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
    /// Writes all of `buffer` at `offset`; durable only after [`DiskFile::sync`].
    fn write_at(&self, buffer: &[u8], offset: u64) -> io::Result<()>;
    /// Makes all earlier writes durable.
    fn sync(&self) -> io::Result<()>;
}

/// A directory of the operating system.
#[derive(Debug, Clone)]
pub struct RealDisk {
    directory: PathBuf,
}

impl RealDisk {
    /// Uses `directory`, creating it when missing.
    pub fn new(directory: impl Into<PathBuf>) -> io::Result<Self> {
        let directory = directory.into();
        std::fs::create_dir_all(&directory)?;
        Ok(Self { directory })
    }

    /// Uses `directory`, which has to be there.
    pub(super) fn existing(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
        }
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

impl Disk for RealDisk {
    type File = File;

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.directory)? {
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn open(&self, name: &str) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).open(self.path(name))
    }

    fn create(&self, name: &str, length: u64) -> io::Result<File> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(self.path(name))?;
        // Written zeros, not a sparse file: overwriting blocks that exist is what makes a later fdatasync cheap.
        let zeros = vec![0u8; ZERO_CHUNK.min(length as usize)];
        let mut offset = 0;
        while offset < length {
            let chunk = (length - offset).min(zeros.len() as u64) as usize;
            file.write_all_at(&zeros[..chunk], offset)?;
            offset += chunk as u64;
        }
        file.sync_all()?;
        Ok(file)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path(name))
    }

    fn sync_directory(&self) -> io::Result<()> {
        File::open(&self.directory)?.sync_all()
    }

    async fn offload<T, W>(&self, work: W) -> io::Result<T>
    where
        T: Send + 'static,
        W: FnOnce() -> io::Result<T> + Send + 'static,
    {
        tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
    }

    fn describe(&self) -> String {
        self.directory.display().to_string()
    }
}

const ZERO_CHUNK: usize = 1 << 20;

impl DiskFile for File {
    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        FileExt::read_exact_at(self, buffer, offset)
    }

    fn write_at(&self, buffer: &[u8], offset: u64) -> io::Result<()> {
        FileExt::write_all_at(self, buffer, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}
