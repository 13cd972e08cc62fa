//! A member's store on disk: `raftstore` over RocksDB.
//!
//! A crate of its own because `raftstore` is generic over disk, tables and network: whoever starts a member compiles all of
//! consensus for the types it chose. Here that is done once for those that ship, in one unit, so that what is called for every
//! request can be inlined, and the binary only links it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use backend::Rocks;
use futures::future::LocalBoxFuture;
use raftstore::{Error, Setup, Store};

/// Where a data directory has its tables.
pub fn tables(data_directory: &Path) -> PathBuf {
    data_directory.join("state")
}

/// Opens the store of a member, as [`Store::open`] does.
///
/// # Errors
///
/// Those of [`Store::open`], and that the tables cannot be opened.
// Boxed, so that the code is generated here and not in each caller.
pub fn open(setup: Setup) -> LocalBoxFuture<'static, Result<Store, Error>> {
    Box::pin(async move {
        let tables = Rocks::open(tables(&setup.data_directory)).map_err(Error::fault)?;
        Store::open(setup, Arc::new(tables)).await
    })
}
