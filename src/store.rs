//! `proreus store`: the keyspace and its door alone, in the place of the `etcd` binary. What its flags mean is the `etcd`
//! crate's; here it gets its tables.

use anyhow::Context;
use etcd::standalone::{self, Plan};

use crate::lock::lock;
use crate::{shutdown, telemetry};

pub fn run(flags: Vec<String>) -> anyhow::Result<()> {
    // What this process writes is its user's alone.
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
    // A variable that is no text is none of etcd's.
    let variables =
        std::env::vars_os().filter_map(|(name, value)| name.into_string().ok().zip(value.into_string().ok()));
    let plan = Plan::read(flags, variables)?;
    let data = &plan.data_directory;
    std::fs::create_dir_all(data).with_context(|| format!("--data-dir: cannot create {}", data.display()))?;
    let _lock =
        lock(data)?.with_context(|| format!("--data-dir: another `proreus store` is running on {}", data.display()))?;
    telemetry::init(&format!("{},openraft=warn", plan.log_level))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start tokio")?;
    runtime.block_on(async {
        let stop = shutdown::token()?;
        Ok(standalone::run(plan, durable::open, stop).await?)
    })
}
