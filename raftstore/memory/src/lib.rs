//! A store of one member that lives in memory, for the tests of whatever stands on a store.
//!
//! A crate of its own because `raftstore` is generic over disk, tables and network: whoever starts a member compiles all of
//! consensus for the types it chose, which takes minutes. Here that is done once, and tests only link it.
//!
//! Left out: several members, and losing them (`raftstore/tests`, and the simulator).

use futures::future::LocalBoxFuture;
use raftstore::{Error, Store};

/// Starts the store. Ready once it leads, which is at once.
///
/// # Errors
///
/// Those of [`Store::single_memory`].
// Boxed, so that the code is generated here and not in each caller.
pub fn store() -> LocalBoxFuture<'static, Result<Store, Error>> {
    Box::pin(Store::single_memory())
}
