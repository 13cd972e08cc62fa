//! The directory around the databases: which one is in use, and names for new ones.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use mvcc::Fault;

use crate::tables::fault;

const LIVE: &str = "LIVE";
const LIVE_NEW: &str = "LIVE.new";
const TABLES: &str = "tables";
const INCOMING: &str = "incoming";
const CHECKPOINT: &str = "checkpoint";

/// The directory. One process at a time (RocksDB's lock file sees to it).
pub(crate) struct Directory {
    root: PathBuf,
    /// Numbers given out; above every number in use.
    last: AtomicU64,
}

impl Directory {
    /// Opens or creates the directory and finds the database in use. What a crash left lying is removed once the database
    /// is open, by [`clean`](Self::clean): before, another process may own it.
    pub(crate) fn open(root: &Path) -> Result<(Self, PathBuf), Fault> {
        fs::create_dir_all(root).map_err(|error| fault("cannot create the directory", root, error))?;
        let directory = Self {
            root: root.to_path_buf(),
            last: AtomicU64::new(0),
        };
        let numbered = directory.numbered()?;
        directory.last.store(
            numbered.iter().map(|(_, number)| *number).max().unwrap_or(0),
            Ordering::Relaxed,
        );
        if let Some(name) = directory.live()? {
            return Ok((directory, root.join(name)));
        }
        if let Some((orphan, _)) = numbered.iter().find(|(path, _)| is(path, TABLES)) {
            let reason = "the file that names the tables in use is gone; put its name back into it, or remove this member \
                          and add it anew";
            let path = root.join(LIVE);
            let found = format!("{reason} (there is {})", orphan.display());
            return Err(fault("refusing to start without", &path, found));
        }
        let first = directory.next_path(TABLES);
        directory.set_live(&first)?;
        Ok((directory, first))
    }

    /// The database in use, changing nothing.
    pub(crate) fn find(root: &Path) -> Result<PathBuf, Fault> {
        let directory = Self {
            root: root.to_path_buf(),
            last: AtomicU64::new(0),
        };
        let live = directory.live()?;
        let missing = || {
            fault(
                "cannot find the tables in",
                root,
                format!("there is no {LIVE}, which names those in use"),
            )
        };
        live.map(|name| root.join(name)).ok_or_else(missing)
    }

    /// Where a snapshot is received.
    pub(crate) fn incoming(&self) -> PathBuf {
        self.next_path(INCOMING)
    }

    /// Where a checkpoint is made.
    pub(crate) fn checkpoint(&self) -> PathBuf {
        self.next_path(CHECKPOINT)
    }

    /// Where received tables go to be opened.
    pub(crate) fn tables(&self) -> PathBuf {
        self.next_path(TABLES)
    }

    /// Makes the directory's own entries durable.
    pub(crate) fn sync(&self) -> Result<(), Fault> {
        sync_directory(&self.root)
    }

    /// Durably makes `tables` the database in use.
    pub(crate) fn set_live(&self, tables: &Path) -> Result<(), Fault> {
        let name = tables.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let path = self.root.join(LIVE_NEW);
        let written = File::create(&path).and_then(|mut file| {
            file.write_all(name.as_bytes())?;
            file.sync_all()
        });
        written.map_err(|error| fault("cannot write", &path, error))?;
        fs::rename(&path, self.root.join(LIVE)).map_err(|error| fault("cannot put in place", &path, error))?;
        self.sync()
    }

    /// Removes everything numbered but the database in use.
    pub(crate) fn clean(&self, live: &Path) -> Result<(), Fault> {
        for (path, _) in self.numbered()? {
            if path != live {
                fs::remove_dir_all(&path).map_err(|error| fault("cannot remove what a crash left in", &path, error))?;
            }
        }
        Ok(())
    }

    fn next_path(&self, kind: &str) -> PathBuf {
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        self.root.join(format!("{kind}-{number:06}"))
    }

    fn live(&self) -> Result<Option<String>, Fault> {
        let path = self.root.join(LIVE);
        let name = match fs::read_to_string(&path) {
            Ok(name) => name.trim().to_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(fault("cannot read", &path, error)),
        };
        let valid = number(Path::new(&name)).is_some() && is(Path::new(&name), TABLES);
        if valid {
            Ok(Some(name))
        } else {
            Err(fault("cannot use", &path, format!("it names {name:?}")))
        }
    }

    fn numbered(&self) -> Result<Vec<(PathBuf, u64)>, Fault> {
        let failed = |error| fault("cannot list", &self.root, error);
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.root).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if let Some(number) = number(&path) {
                found.push((path, number));
            }
        }
        Ok(found)
    }
}

fn is(path: &Path, kind: &str) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.and_then(|name| name.rsplit_once('-'))
        .is_some_and(|(prefix, _)| prefix == kind)
}

/// The number of a path this module named, or `None` for a foreign one.
fn number(path: &Path) -> Option<u64> {
    let ours = [TABLES, INCOMING, CHECKPOINT].iter().any(|kind| is(path, kind));
    let (_, number) = path.file_name()?.to_str()?.rsplit_once('-')?;
    number.parse().ok().filter(|_| ours)
}

/// Makes the entries of a directory durable.
pub(crate) fn sync_directory(path: &Path) -> Result<(), Fault> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(|error| fault("cannot sync the directory", path, error))
}
