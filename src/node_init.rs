//! `proreus node-init`: process 1 of a node that `up` runs in a mount and pid namespace. It binds the node's
//! directories over the paths that containerd, CNI and kubelet expect, and reaps what the containers' shims, and a killed
//! agent, leave behind. It has no other part in the node's life, so that nothing but its own end ends the pods: then the
//! kernel ends every process of the node with it.

use std::path::Path;

use anyhow::{Context, bail};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};

use crate::config::AgentConfig;
use crate::output::say;
use crate::trim;

/// What it prints once the agent can be started.
pub const READY: &str = "ready";

pub fn run(path: &Path) -> anyhow::Result<()> {
    let config = AgentConfig::load(path)?;
    if !nix::unistd::getpid().as_raw().eq(&1) {
        bail!("node-init must be process 1 of a pid namespace: `proreus up` starts it");
    }
    let signals = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT, Signal::SIGCHLD]);
    signals.thread_block().context("cannot block signals")?;
    prepare_mounts(&config, path)?;
    say!("{READY}");
    trim::code();
    while signals.wait().context("cannot wait for signals")? == Signal::SIGCHLD {
        reap()?;
    }
    Ok(())
}

fn prepare_mounts(config: &AgentConfig, config_path: &Path) -> anyhow::Result<()> {
    // Containers with mount propagation need a shared tree; the namespace itself is private to the host.
    attempt(
        "share /",
        mount(
            None::<&str>,
            "/",
            None::<&str>,
            MsFlags::MS_REC | MsFlags::MS_SHARED,
            None::<&str>,
        ),
    )?;
    if !config_path.starts_with("/run") {
        attempt(
            "mount /run",
            mount(Some("run"), "/run", Some("tmpfs"), MsFlags::empty(), Some("mode=755")),
        )?;
    }
    for bind in &config.binds {
        for directory in [&bind.from, &bind.to] {
            let created = std::fs::create_dir_all(directory);
            created.with_context(|| format!("cannot create {}", directory.display()))?;
        }
        let bound = mount(Some(&bind.from), &bind.to, None::<&str>, MsFlags::MS_BIND, None::<&str>);
        attempt(&format!("bind {}", bind.to.display()), bound)?;
    }
    attempt(
        "mount /proc",
        mount(Some("proc"), "/proc", Some("proc"), MsFlags::empty(), None::<&str>),
    )
}

fn attempt(what: &str, result: nix::Result<()>) -> anyhow::Result<()> {
    result.with_context(|| format!("cannot {what}"))
}

fn reap() -> anyhow::Result<()> {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(()),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error).context("cannot wait for children"),
        }
    }
}
