//! `proreus node-init`: process 1 of a node that `up` runs in a mount and pid namespace. It binds the node's
//! directories over the paths that containerd, CNI and kubelet expect, starts the agent, and reaps what the containers'
//! shims leave behind. When it ends the kernel ends every process of the node with it.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::config::AgentConfig;

pub fn run(path: &Path) -> anyhow::Result<()> {
    let config = AgentConfig::load(path)?;
    if !nix::unistd::getpid().as_raw().eq(&1) {
        bail!("node-init must be process 1 of a pid namespace: `proreus up` starts it");
    }
    if let Some(file) = &config.pid_file {
        pki::write_public(file, &outer_pid()?)?;
    }
    prepare_mounts(&config, path)?;
    let signals = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT, Signal::SIGCHLD]);
    signals.thread_block().context("cannot block signals")?;
    let program = std::env::current_exe().context("cannot find this program")?;
    let agent = Command::new(program)
        .arg("agent")
        .arg("--config")
        .arg(path)
        .spawn()
        .context("cannot start the agent")?;
    let status = tend(&signals, Pid::from_raw(agent.id().cast_signed()))?;
    if let WaitStatus::Exited(_, 0) = status {
        return Ok(());
    }
    bail!("the agent ended: {status:?}")
}

/// This process's id outside its pid namespace: /proc is still the outer one.
fn outer_pid() -> anyhow::Result<String> {
    let link = std::fs::read_link("/proc/self").context("cannot read /proc/self")?;
    Ok(link.to_string_lossy().into_owned())
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

/// Passes stop signals on to the agent and reaps every child until the agent has ended.
fn tend(signals: &SigSet, agent: Pid) -> anyhow::Result<WaitStatus> {
    loop {
        match signals.wait().context("cannot wait for signals")? {
            Signal::SIGCHLD => {
                if let Some(status) = reap(agent)? {
                    return Ok(status);
                }
            }
            // It may have ended just now; its SIGCHLD is next.
            stop => drop(kill(agent, stop)),
        }
    }
}

fn reap(agent: Pid) -> anyhow::Result<Option<WaitStatus>> {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(None),
            Ok(status) if status.pid() == Some(agent) => return Ok(Some(status)),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error).context("cannot wait for children"),
        }
    }
}
