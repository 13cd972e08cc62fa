//! One open database directory.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use mvcc::{Direction, FAMILIES, Family, Fault, LogId, Rows, Step, WriteBatch, WriteOp};
use rocksdb::{Cache, ColumnFamily, DB, FlushOptions, Options};

use crate::options;

/// Where the machine keeps the applied log id.
const APPLIED: &[u8] = b"applied";

/// An open database. Dropping it closes it; once doomed, its directory goes too.
pub(crate) struct Tables {
    /// Taken only while dropping.
    database: Option<DB>,
    path: PathBuf,
    doomed: AtomicBool,
}

impl Tables {
    /// Opens or creates the database in `path`.
    pub(crate) fn open(path: &Path, cache: &Cache) -> Result<Self, Fault> {
        let database = DB::open_cf_descriptors(&options::database(), path, options::families(cache))
            .map_err(|error| fault("cannot open the tables in", path, error))?;
        Ok(Self {
            database: Some(database),
            path: path.to_path_buf(),
            doomed: AtomicBool::new(false),
        })
    }

    /// Opens a checkpoint without changing what it holds.
    pub(crate) fn open_read_only(path: &Path) -> Result<Self, Fault> {
        let names = FAMILIES.map(Family::name);
        let mut options = Options::default();
        options.set_max_open_files(crate::limits::OPEN_FILES_MAX);
        let database = DB::open_cf_for_read_only(&options, path, names, false)
            .map_err(|error| fault("cannot read the checkpoint in", path, error))?;
        Ok(Self {
            database: Some(database),
            path: path.to_path_buf(),
            doomed: AtomicBool::new(false),
        })
    }

    pub(crate) fn database(&self) -> &DB {
        self.database.as_ref().expect("taken only while dropping")
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Lets the directory go with the last holder.
    pub(crate) fn doom(&self) {
        self.doomed.store(true, Ordering::Release);
    }

    fn family(&self, family: Family) -> &ColumnFamily {
        self.database()
            .cf_handle(family.name())
            .expect("opened with every family")
    }

    pub(crate) fn write(&self, batch: &WriteBatch) -> Result<(), Fault> {
        let mut writes = rocksdb::WriteBatch::default();
        for op in batch.ops() {
            match op {
                WriteOp::Put { family, key, value } => writes.put_cf(self.family(family), key, value),
                WriteOp::Delete { family, key } => writes.delete_cf(self.family(family), key),
            }
        }
        self.database()
            .write_opt(writes, &options::write())
            .map_err(|error| fault("cannot write to the tables in", &self.path, error))
    }

    /// The log id of the last write.
    pub(crate) fn applied(&self) -> Result<Option<LogId>, Fault> {
        let Some(stored) = self.get(Family::Meta, APPLIED)? else {
            return Ok(None);
        };
        let decoded = LogId::decode(&stored);
        decoded
            .map(Some)
            .map_err(|error| fault("cannot decode the applied log id in", &self.path, error))
    }

    /// Flushes every family as one and returns a log id that is durable afterwards.
    pub(crate) fn flush(&self) -> Result<Option<LogId>, Fault> {
        // Read first: what is written from here on may or may not make it.
        let applied = self.applied()?;
        let families = FAMILIES.map(|family| self.family(family));
        let references: Vec<&&ColumnFamily> = families.iter().collect();
        let mut options = FlushOptions::default();
        options.set_wait(true);
        self.database()
            .flush_cfs_opt(&references, &options)
            .map_err(|error| fault("cannot flush the tables in", &self.path, error))?;
        Ok(applied)
    }

    /// Reads every row, and with it every block of the table files that rows are read from, which checks their checksums.
    /// Filters are left out: they are checked when they are used, and say at most that a row may be there.
    pub(crate) fn check(&self) -> Result<(), Fault> {
        FAMILIES
            .into_iter()
            .try_for_each(|family| self.scan(family, Direction::Forward, None, &mut |_, _| Step::Next))
    }

    /// Bytes in table files and in memory.
    pub(crate) fn size(&self) -> Result<u64, Fault> {
        let mut total = 0;
        for family in FAMILIES {
            for property in ["rocksdb.total-sst-files-size", "rocksdb.cur-size-all-mem-tables"] {
                let value = self.database().property_int_value_cf(self.family(family), property);
                let value = value.map_err(|error| fault("cannot measure the tables in", &self.path, error))?;
                total += value.unwrap_or(0);
            }
        }
        Ok(total)
    }
}

impl Rows for Tables {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, Fault> {
        let row = self
            .database()
            .get_pinned_cf(self.family(family), key)
            .map_err(|error| fault("cannot read from the tables in", &self.path, error))?;
        Ok(row.map(|row| Bytes::copy_from_slice(&row)))
    }

    fn scan(
        &self,
        family: Family,
        direction: Direction,
        from: Option<&[u8]>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> Step,
    ) -> Result<(), Fault> {
        let options = options::scan(from.is_none());
        let mut rows = self.database().raw_iterator_cf_opt(self.family(family), options);
        match (direction, from) {
            (Direction::Forward, None) => rows.seek_to_first(),
            (Direction::Forward, Some(key)) => rows.seek(key),
            (Direction::Backward, None) => rows.seek_to_last(),
            (Direction::Backward, Some(key)) => rows.seek_for_prev(key),
        }
        while let Some((key, value)) = rows.item() {
            match (visit(key, value), direction) {
                (Step::Stop, _) => return Ok(()),
                (Step::Next, Direction::Forward) => rows.next(),
                (Step::Next, Direction::Backward) => rows.prev(),
                (Step::Seek(to), Direction::Forward) => rows.seek(to),
                (Step::Seek(to), Direction::Backward) => rows.seek_for_prev(to),
            }
        }
        // An iterator also ends where it cannot read on.
        rows.status()
            .map_err(|error| fault("cannot scan the tables in", &self.path, error))
    }
}

impl Drop for Tables {
    fn drop(&mut self) {
        drop(self.database.take());
        if self.doomed.load(Ordering::Acquire)
            && let Err(error) = fs::remove_dir_all(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove replaced tables; the next start will");
        }
    }
}

/// A fault that names the path.
pub(crate) fn fault(
    action: &'static str,
    path: &Path,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> Fault {
    Fault::tables(action, path.display().to_string(), source)
}
