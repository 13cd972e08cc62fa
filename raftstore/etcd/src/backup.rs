//! Keeping a snapshot as a file.
//!
//! The file has its name only once it is whole: it is written beside, checked against the checksum that it ends with, read
//! as a restore reads it, made durable, and then renamed. Whoever finds it can use it. It is its user's alone: secrets are in it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proto::etcd::etcdserverpb::SnapshotResponse;
use ring::digest;
use tonic::{Status, Streaming};

use crate::restore::{Checksum, RestoreError, Snapshot};

/// The end of a snapshot is the checksum of the rest.
const CHECKSUM_BYTES: usize = 32;

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The disk refused.
    #[error("cannot write {file}: {source}")]
    Io {
        /// What was written.
        file: String,
        /// Why not.
        source: io::Error,
    },
    /// The member stopped sending.
    #[error("the member stopped sending: {}", .0.message())]
    Broken(Status),
    /// What came is not what was sent.
    #[error("what came is not what the member sent: its checksum is another one; try again")]
    Checksum,
    /// Nothing came for too long.
    #[error("the member sent nothing for {} s", .0.as_secs())]
    Silent(Duration),
    /// It cannot be restored.
    #[error("what came cannot be restored: {0}")]
    Unusable(#[from] RestoreError),
}

/// What is removed unless it is finished.
struct Draft {
    path: PathBuf,
    file: File,
    finished: bool,
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.finished {
            // Nothing can be done about one that stays; its name says what it is.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Writes a snapshot to `path`, replacing what is there, and returns its size in bytes. `progress` is told how many bytes
/// came and how many are still to come. Each part may take as long as `patience`.
pub async fn save(
    mut snapshot: Streaming<SnapshotResponse>,
    path: &Path,
    patience: Duration,
    mut progress: impl FnMut(u64, u64),
) -> Result<u64, BackupError> {
    let mut draft = Draft::create(path).map_err(failed(path))?;
    let mut checksum = digest::Context::new(&digest::SHA256);
    // The last bytes so far: they may be the checksum.
    let mut held: Vec<u8> = Vec::new();
    let mut length = 0;
    loop {
        let part = tokio::time::timeout(patience, snapshot.message()).await;
        let Some(part) = part
            .map_err(|_| BackupError::Silent(patience))?
            .map_err(BackupError::Broken)?
        else {
            break;
        };
        draft.file.write_all(&part.blob).map_err(failed(path))?;
        length += part.blob.len() as u64;
        held.extend_from_slice(&part.blob);
        let content = held.len().saturating_sub(CHECKSUM_BYTES);
        checksum.update(&held[..content]);
        held.drain(..content);
        progress(length, part.remaining_bytes);
    }
    if checksum.finish().as_ref() != held {
        return Err(BackupError::Checksum);
    }
    draft.file.sync_all().map_err(failed(path))?;
    Snapshot::open(&draft.path, Checksum::Needed)?.content()?;
    draft.finish(path).map_err(failed(path))?;
    Ok(length)
}

fn failed(path: &Path) -> impl Fn(io::Error) -> BackupError {
    |source| BackupError::Io {
        file: path.display().to_string(),
        source,
    }
}

impl Draft {
    fn create(path: &Path) -> io::Result<Self> {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        // Two at once must not write to one file.
        name.push(format!(".part-{}", std::process::id()));
        let path = path.with_file_name(name);
        let file = File::options().write(true).create_new(true).mode(0o600).open(&path)?;
        Ok(Self {
            path,
            file,
            finished: false,
        })
    }

    fn finish(mut self, path: &Path) -> io::Result<()> {
        fs::rename(&self.path, path)?;
        self.finished = true;
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
    }
}
