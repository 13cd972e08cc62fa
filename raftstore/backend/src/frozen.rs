//! Tables of a member that does not run, for looking only.

use std::path::Path;

use bytes::Bytes;
use mvcc::{Direction, Family, Fault, Rows, Step};

use crate::{directory::Directory, tables::Tables};

/// The tables in use, opened without changing them. Reading checks the checksum of every block it comes by.
pub struct Frozen {
    tables: Tables,
}

impl Frozen {
    /// Opens the tables in `path`. No process may have them open for writing.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Fault> {
        let live = Directory::find(path.as_ref())?;
        Ok(Self {
            tables: Tables::open_read_only(&live)?,
        })
    }
}

impl Rows for Frozen {
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
