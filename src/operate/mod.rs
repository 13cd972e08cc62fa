//! What an operator does to a store. `member`, `leader`, `compact` and `backup` talk to a running one through its etcd
//! door; `restore` and `verify` work on the directories of members that do not run. The flags and variables are etcdctl's and
//! etcdutl's, so the former work on any cluster that etcdctl works on.
//!
//! Each file is one command: it asks, and prints the answer. What is refused is the store's to say.
//!
//! Exit codes: 0 done; 1 refused, not reached, or something is wrong with the data; 2 a wrong command line.

pub mod args;
pub mod backup;
pub mod compact;
pub mod door;
pub mod leader;
pub mod member;
pub mod restore;
pub mod show;
pub mod verify;

use anyhow::Context;

/// Runs one command to its end.
pub fn block_on(command: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start tokio")?.block_on(command)
}
