//! The backend: whichever tables are in use, and how they are replaced.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};

use bytes::Bytes;
use mvcc::{Backend, Direction, Family, Fault, LogId, Rows, Step, WriteBatch};
use rocksdb::Cache;

use crate::{checkpoint::Checkpoint, directory::Directory, install::Installer, limits, tables::Tables};

/// The state machine's tables over RocksDB.
#[derive(Clone)]
pub struct Rocks {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub directory: Directory,
    cache: Cache,
    tables: RwLock<Arc<Tables>>,
    flushed: Mutex<Option<LogId>>,
}

impl Rocks {
    /// Opens the tables in `path`, creating them if there is nothing yet.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Fault> {
        let cache = Cache::new_lru_cache(limits::BLOCK_CACHE_BYTES);
        let (directory, live) = Directory::open(path.as_ref())?;
        let tables = Tables::open(&live, &cache)?;
        directory.clean(&live)?;
        // Nothing but flushed writes can have been found.
        let flushed = Mutex::new(tables.applied()?);
        let tables = RwLock::new(Arc::new(tables));
        Ok(Self {
            shared: Arc::new(Shared {
                directory,
                cache,
                tables,
                flushed,
            }),
        })
    }
}

impl Shared {
    fn tables(&self) -> Arc<Tables> {
        self.tables.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn flushed(&self) -> MutexGuard<'_, Option<LogId>> {
        self.flushed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the tables in `path` and puts them in the place of those in use.
    pub(crate) fn replace(&self, path: PathBuf) -> Result<(), Fault> {
        let tables = Tables::open(&path, &self.cache)?;
        let applied = tables.applied()?;
        self.directory.set_live(&path)?;
        let mut flushed = self.flushed();
        let mut current = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        current.doom();
        *current = Arc::new(tables);
        *flushed = applied;
        Ok(())
    }
}

/// The tables that were in use when they were pinned.
#[derive(Clone)]
pub struct Pinned {
    tables: Arc<Tables>,
}

impl Pinned {
    /// The tables in `path`, opened without changing them, of a member that does not run: no process may have them open for
    /// writing. Reading checks the checksum of every block it comes by.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Fault> {
        let live = Directory::find(path.as_ref())?;
        Ok(Self {
            tables: Arc::new(Tables::open_read_only(&live)?),
        })
    }
}

impl Rows for Pinned {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, Fault> {
        self.tables.get(family, key)
    }

    fn scan(
        &self,
        family: Family,
        direction: Direction,
        from: Option<&[u8]>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> Step,
    ) -> Result<(), Fault> {
        self.tables.scan(family, direction, from, visit)
    }
}

impl Rows for Rocks {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, Fault> {
        self.shared.tables().get(family, key)
    }

    fn scan(
        &self,
        family: Family,
        direction: Direction,
        from: Option<&[u8]>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> Step,
    ) -> Result<(), Fault> {
        self.shared.tables().scan(family, direction, from, visit)
    }
}

impl Backend for Rocks {
    type Pinned = Pinned;

    fn pin(&self) -> Pinned {
        Pinned {
            tables: self.shared.tables(),
        }
    }

    fn write(&self, batch: &WriteBatch) -> Result<(), Fault> {
        self.shared.tables().write(batch)
    }

    fn write_pinned(&self, pinned: &Pinned, batch: &WriteBatch) -> Result<(), Fault> {
        pinned.tables.write(batch)
    }

    fn flush(&self) -> Result<Option<LogId>, Fault> {
        let tables = self.shared.tables();
        let reached = tables.flush()?;
        let mut flushed = self.shared.flushed();
        // Unless a snapshot took their place meanwhile.
        if Arc::ptr_eq(&tables, &self.shared.tables()) {
            *flushed = (*flushed).max(reached);
        }
        Ok(reached)
    }

    fn flushed(&self) -> Option<LogId> {
        *self.shared.flushed()
    }

    fn size(&self) -> Result<u64, Fault> {
        self.shared.tables().size()
    }

    fn checkpoint(&self) -> Result<Box<dyn mvcc::Checkpoint>, Fault> {
        let checkpoint = Checkpoint::create(&self.shared.tables(), self.shared.directory.checkpoint())?;
        Ok(Box::new(checkpoint))
    }

    fn installer(&self) -> Result<Box<dyn mvcc::Installer>, Fault> {
        Ok(Box::new(Installer::create(self.shared.clone())?))
    }
}

impl std::fmt::Debug for Rocks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rocks")
            .field("path", &self.shared.tables().path())
            .finish_non_exhaustive()
    }
}
