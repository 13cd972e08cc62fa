//! A frozen copy of the tables: hard links in a directory of its own, read as one stream.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use mvcc::{Direction, Family, Fault, LogId, Rows, Step};

use crate::{
    stream::{self, Listed},
    tables::{Tables, fault},
};

/// The machine's name for the caller's records.
const RECORD_PREFIX: &str = "record/";

/// The copy. Removed when dropped.
pub(crate) struct Checkpoint {
    path: PathBuf,
    applied: Option<LogId>,
    meta: BTreeMap<Vec<u8>, Bytes>,
    /// Preamble and list of files.
    head: Bytes,
    files: Vec<Listed>,
    len: u64,
}

impl Checkpoint {
    /// Makes a checkpoint of `tables` in `path`, which must not exist.
    pub(crate) fn create(tables: &Tables, path: PathBuf) -> Result<Self, Fault> {
        let mut checkpoint = Self {
            path,
            applied: None,
            meta: BTreeMap::new(),
            head: Bytes::new(),
            files: Vec::new(),
            len: 0,
        };
        // From here on dropping removes whatever was made.
        let path = &checkpoint.path;
        rocksdb::checkpoint::Checkpoint::new(tables.database())
            .and_then(|maker| maker.create_checkpoint(path))
            .map_err(|error| fault("cannot make a checkpoint in", path, error))?;
        checkpoint.files = list(path)?;
        let opened = Tables::open_read_only(path)?;
        checkpoint.applied = opened.applied()?;
        checkpoint.meta = read_meta(&opened)?;
        checkpoint.head = stream::encode(&checkpoint.files);
        checkpoint.len = checkpoint.head.len() as u64 + checkpoint.files.iter().map(|file| file.len).sum::<u64>();
        Ok(checkpoint)
    }
}

/// The files a database consists of; not its info logs and lock.
fn list(path: &Path) -> Result<Vec<Listed>, Fault> {
    let failed = |error| fault("cannot list the checkpoint in", path, error);
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("LOG") || name == "LOCK" || name == "IDENTITY" {
            continue;
        }
        files.push(Listed {
            name,
            len: entry.metadata().map_err(failed)?.len(),
        });
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

fn read_meta(tables: &Tables) -> Result<BTreeMap<Vec<u8>, Bytes>, Fault> {
    let mut meta = BTreeMap::new();
    tables.scan(Family::Meta, Direction::Forward, None, &mut |key, value| {
        meta.insert(key.to_vec(), Bytes::copy_from_slice(value));
        Step::Next
    })?;
    Ok(meta)
}

impl mvcc::Checkpoint for Checkpoint {
    fn applied(&self) -> Option<LogId> {
        self.applied
    }

    fn record(&self, name: &str) -> Option<Bytes> {
        self.meta.get(format!("{RECORD_PREFIX}{name}").as_bytes()).cloned()
    }

    fn len(&self) -> u64 {
        self.len
    }

    fn check(&self) -> Result<(), Fault> {
        // Opened anew: what the tables in use have in their cache may be better than what is on disk.
        Tables::open_read_only(&self.path)?.check()
    }

    fn read_at(&self, offset: u64, max: usize) -> Result<Bytes, Fault> {
        if let Some(head) = usize::try_from(offset).ok().and_then(|start| self.head.get(start..))
            && !head.is_empty()
        {
            return Ok(Bytes::copy_from_slice(&head[..head.len().min(max)]));
        }
        let mut start = self.head.len() as u64;
        for file in &self.files {
            let end = start + file.len;
            if offset < end {
                return read_file(&self.path.join(&file.name), offset - start, end - offset, max);
            }
            start = end;
        }
        Ok(Bytes::new())
    }
}

fn read_file(path: &Path, offset: u64, left: u64, max: usize) -> Result<Bytes, Fault> {
    let len = usize::try_from(left).unwrap_or(usize::MAX).min(max);
    let mut bytes = vec![0; len];
    let read = File::open(path).and_then(|file| file.read_exact_at(&mut bytes, offset));
    read.map_err(|error| fault("cannot read", path, error))?;
    Ok(bytes.into())
}

impl Drop for Checkpoint {
    fn drop(&mut self) {
        if self.path.exists()
            && let Err(error) = fs::remove_dir_all(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove a checkpoint; the next start will");
        }
    }
}
