//! `proreus up`: a whole cluster on one machine, each master and node a process of its own, in the foreground.
//!
//! It decides a [`layout`] (kept in the data directory, so that a second start resumes the same cluster), prepares
//! certificates and a [`network`], starts the [`processes`], and runs a [`balancer`] over the live masters to which
//! `admin.conf` points. On a signal it stops everything that belongs to the cluster, also masters that were started
//! again by hand, and removes what it made outside the data directory.

mod balancer;
pub mod capabilities;
mod files;
pub mod layout;
pub mod network;
pub mod processes;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::admin;
use crate::commands::UpArgs;
use crate::lock::lock;
use crate::output::say;
use crate::shutdown;
use crate::trim;
use capabilities::Capabilities;
use layout::Layout;
use processes::Processes;

/// How long the API may take to answer before `up` gives up and shows where the logs are.
const READY_TIMEOUT: Duration = Duration::from_secs(60);

pub fn run(args: UpArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start tokio")?;
    runtime.block_on(up(args))
}

async fn up(args: UpArgs) -> anyhow::Result<()> {
    let stop = shutdown::token()?;
    let phases = Phases::start();
    // Before anything is written: a layout is kept for good.
    let images = files::images(&args.images)?;
    std::fs::create_dir_all(&args.data_dir)
        .with_context(|| format!("--data-dir: cannot create {}", args.data_dir.display()))?;
    let directory = args.data_dir.canonicalize().context("--data-dir")?;
    let _lock = lock(&directory)?.with_context(|| {
        format!(
            "--data-dir: another `proreus up` is running on {}: stop it or use another directory",
            directory.display()
        )
    })?;
    crate::operate::restore::check_finished(&directory)?;
    let capabilities = Capabilities::detect();
    let layout = layout::resolve(&directory, &args, &capabilities)?;
    let host = network::HostClaim::take(&layout)?;
    phases.done(&format!("layout: {}", layout.summary()));
    files::write(&directory, &layout, &images)?;
    phases.done("certificates and configuration");
    processes::stop_leftovers(&layout, &directory).await;
    network::remove(&layout, host.as_ref());
    let outcome = run_cluster(&directory, &layout, &phases, &stop).await;
    processes::stop_leftovers(&layout, &directory).await;
    network::remove(&layout, host.as_ref());
    say!("stopped; the data stays in {}", directory.display());
    outcome
}

async fn run_cluster(
    directory: &Path,
    layout: &Layout,
    phases: &Phases,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    network::create(layout)?;
    phases.done("network");
    let listener = TcpListener::bind(("127.0.0.1", layout.api_port))
        .await
        .with_context(|| {
            format!(
                "--api-port: cannot listen on 127.0.0.1:{}: choose another port",
                layout.api_port
            )
        })?;
    let balancing = CancellationToken::new();
    let balancer = tokio::spawn(balancer::run(listener, layout.api_addresses(), balancing.clone()));
    let mut processes = Processes::new(directory.to_path_buf());
    processes.start_masters(layout)?;
    let ready = wait_ready(directory, layout, &mut processes, stop, phases).await;
    let outcome = match ready {
        Ok(()) => {
            trim::code();
            supervise(directory, layout, &mut processes, stop).await
        }
        Err(error) => Err(error),
    };
    say!("stopping: pods first, then the masters");
    processes.stop(layout).await;
    balancing.cancel();
    balancer.await.context("the balancer failed")?;
    outcome
}

/// Starts the nodes once the API answers, and waits until each has registered.
async fn wait_ready(
    directory: &Path,
    layout: &Layout,
    processes: &mut Processes,
    stop: &CancellationToken,
    phases: &Phases,
) -> anyhow::Result<()> {
    let started = k8s_openapi::jiff::Timestamp::now();
    processes.start_nodes(layout).await?;
    let client = admin::client(&files::admin_conf(directory)).await?;
    let waiting = async {
        admin::wait_for_api(&client).await;
        phases.done("API ready");
        admin::wait_for_nodes(&client, layout.nodes.len(), started).await;
        if !layout.nodes.is_empty() {
            phases.done("nodes ready");
        }
    };
    tokio::select! {
        _ = stop.cancelled() => Ok(()),
        result = tokio::time::timeout(READY_TIMEOUT, waiting) => {
            result.map_err(|_| anyhow::anyhow!(
                "the cluster is not ready after {} s; see the logs in {}", READY_TIMEOUT.as_secs(), logs(directory).display()))?;
            files::print_next_steps(directory, layout);
            Ok(())
        }
        error = processes.failed_early(), if !layout.masters.is_empty() => Err(error),
    }
}

async fn supervise(
    directory: &Path,
    layout: &Layout,
    processes: &mut Processes,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    loop {
        tokio::select! {
            _ = stop.cancelled() => return Ok(()),
            exited = processes.next_exit() => {
                say!("{exited}; start it again with:\n  {}", layout.restart_command(directory, &exited.name)?);
            }
        }
    }
}

fn logs(directory: &Path) -> PathBuf {
    directory.join("logs")
}

/// Prints what was done, with the time since the start.
struct Phases {
    start: Instant,
}

impl Phases {
    fn start() -> Phases {
        Phases { start: Instant::now() }
    }

    fn done(&self, what: &str) {
        say!("[{:6.2} s] {what}", self.start.elapsed().as_secs_f64());
    }
}
