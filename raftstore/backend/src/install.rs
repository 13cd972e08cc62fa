//! Receiving a checkpoint's stream and putting it in the place of the tables.

use std::{
    fs::{self, File},
    io::Write,
    path::PathBuf,
    sync::Arc,
};

use mvcc::{Fault, LogId};

use crate::{
    directory::sync_directory,
    rocks::Shared,
    stream::{self, Listed, PREAMBLE_LEN},
    tables::{Tables, fault},
};

/// A stream being received into a directory of its own, which goes if the stream is never finished.
pub(crate) struct Installer {
    shared: Arc<Shared>,
    path: PathBuf,
    received: u64,
    stage: Stage,
}

enum Stage {
    /// Before the list of files is whole.
    Head(Vec<u8>),
    /// Writing the files, the next one last.
    Files {
        waiting: Vec<Listed>,
        open: Option<(File, PathBuf, u64)>,
    },
    /// A write failed or was refused; nothing can follow it.
    Failed,
}

impl Installer {
    pub(crate) fn create(shared: Arc<Shared>) -> Result<Self, Fault> {
        let path = shared.directory.incoming();
        fs::create_dir(&path).map_err(|error| fault("cannot create", &path, error))?;
        Ok(Self {
            shared,
            path,
            received: 0,
            stage: Stage::Head(Vec::new()),
        })
    }

    fn malformed(&self, reason: impl Into<String>) -> Fault {
        Fault::MalformedSnapshot {
            offset: self.received,
            reason: reason.into(),
        }
    }

    fn check_whole(&self) -> Result<(), Fault> {
        if matches!(&self.stage, Stage::Files { open: None, .. }) {
            return Ok(());
        }
        Err(self.malformed("it ends before its last file does"))
    }

    /// Takes some of `bytes` and returns the rest.
    fn take<'b>(&mut self, bytes: &'b [u8]) -> Result<&'b [u8], Fault> {
        let stage = std::mem::replace(&mut self.stage, Stage::Failed);
        let (stage, taken) = match stage {
            Stage::Head(head) => self.take_head(head, bytes)?,
            Stage::Files { waiting, open } => self.take_file(waiting, open, bytes)?,
            Stage::Failed => return Err(self.malformed("it goes on after it was refused")),
        };
        self.stage = stage;
        self.received += taken as u64;
        Ok(&bytes[taken..])
    }

    fn take_head(&self, mut head: Vec<u8>, bytes: &[u8]) -> Result<(Stage, usize), Fault> {
        let wanted = if head.len() < PREAMBLE_LEN {
            PREAMBLE_LEN
        } else {
            PREAMBLE_LEN + stream::list_len(&head).map_err(|reason| self.malformed(reason))?
        };
        let taken = bytes.len().min(wanted - head.len());
        head.extend_from_slice(&bytes[..taken]);
        if head.len() < PREAMBLE_LEN {
            return Ok((Stage::Head(head), taken));
        }
        let list_len = stream::list_len(&head).map_err(|reason| self.malformed(reason))?;
        if head.len() < PREAMBLE_LEN + list_len {
            return Ok((Stage::Head(head), taken));
        }
        let mut waiting = stream::decode(&head[PREAMBLE_LEN..]).map_err(|reason| self.malformed(reason))?;
        waiting.reverse();
        Ok((self.next_file(waiting)?, taken))
    }

    fn take_file(
        &self,
        waiting: Vec<Listed>,
        open: Option<(File, PathBuf, u64)>,
        bytes: &[u8],
    ) -> Result<(Stage, usize), Fault> {
        let Some((mut file, path, left)) = open else {
            return Err(self.malformed("bytes after the last file"));
        };
        let taken = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        file.write_all(&bytes[..taken])
            .map_err(|error| fault("cannot write", &path, error))?;
        let left = left - taken as u64;
        if left > 0 {
            return Ok((
                Stage::Files {
                    waiting,
                    open: Some((file, path, left)),
                },
                taken,
            ));
        }
        file.sync_all().map_err(|error| fault("cannot sync", &path, error))?;
        Ok((self.next_file(waiting)?, taken))
    }

    /// Opens the next file that has bytes to come; empty ones are made on the way.
    fn next_file(&self, mut waiting: Vec<Listed>) -> Result<Stage, Fault> {
        while let Some(listed) = waiting.pop() {
            let path = self.path.join(&listed.name);
            let file = File::create_new(&path).map_err(|error| fault("cannot create", &path, error))?;
            if listed.len > 0 {
                return Ok(Stage::Files {
                    waiting,
                    open: Some((file, path, listed.len)),
                });
            }
        }
        Ok(Stage::Files { waiting, open: None })
    }
}

impl mvcc::Installer for Installer {
    fn received(&self) -> u64 {
        self.received
    }

    fn write(&mut self, mut bytes: &[u8]) -> Result<(), Fault> {
        while !bytes.is_empty() {
            bytes = self.take(bytes)?;
        }
        Ok(())
    }

    fn check(&self) -> Result<Option<LogId>, Fault> {
        self.check_whole()?;
        let received = Tables::open_read_only(&self.path)?;
        received.check()?;
        received.applied()
    }

    fn finish(self: Box<Self>) -> Result<(), Fault> {
        self.check_whole()?;
        sync_directory(&self.path)?;
        let tables = self.shared.directory.tables();
        fs::rename(&self.path, &tables).map_err(|error| fault("cannot put in place", &self.path, error))?;
        self.shared.directory.sync()?;
        self.shared.replace(tables)
    }
}

impl Drop for Installer {
    fn drop(&mut self) {
        if self.path.exists()
            && let Err(error) = fs::remove_dir_all(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove an unfinished snapshot; the next start will");
        }
    }
}
