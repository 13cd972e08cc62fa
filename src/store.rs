//! `proreus store`: the keyspace and its door alone, in the place of the `etcd` binary. What its flags mean is the `etcd`
//! crate's; here it gets its tables.

use std::sync::Arc;

use anyhow::Context;
use etcd::standalone::{self, Plan};
use raftstore::{Error, Setup, Store};

use crate::{shutdown, telemetry};

pub fn run(flags: Vec<String>) -> anyhow::Result<()> {
    // What this process writes is its user's alone.
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
    // A variable that is no text is none of etcd's.
    let variables =
        std::env::vars_os().filter_map(|(name, value)| name.into_string().ok().zip(value.into_string().ok()));
    let plan = Plan::read(flags, variables)?;
    telemetry::init(&format!("{},openraft=warn", plan.log_level))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start tokio")?;
    runtime.block_on(async {
        let stop = shutdown::token()?;
        Ok(standalone::run(plan, open, stop).await?)
    })
}

async fn open(setup: Setup) -> Result<Store, Error> {
    let data = &setup.data_directory;
    std::fs::create_dir_all(data)
        .map_err(|error| Error::fault(format!("cannot create {}: {error}", data.display())))?;
    // What is spooled may be as large as the store.
    if let Err(other) = tempfile::env::override_temp_dir(data) {
        tracing::warn!("temporary files go to {}", other.display());
    }
    let backend = backend::Rocks::open(data.join("state")).map_err(Error::fault)?;
    Store::open(setup, Arc::new(backend)).await
}
