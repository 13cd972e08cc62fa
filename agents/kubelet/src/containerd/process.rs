//! Starting and stopping the containerd process.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

use super::Files;
use crate::{Error, limits};

/// The number of CAP_SYS_RESOURCE in a capability mask.
const CAP_SYS_RESOURCE: u32 = 24;
/// How much of the log is quoted in an error.
const LOG_TAIL_BYTES: usize = 600;

/// Whether this process may not lower oom scores.
pub(super) fn lacks_sys_resource() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|l| l.strip_prefix("CapEff:")).map(str::trim);
    let mask = mask.and_then(|m| u64::from_str_radix(m, 16).ok()).unwrap_or(u64::MAX);
    mask & (1 << CAP_SYS_RESOURCE) == 0
}

/// Starts containerd in its own process group, so that a Ctrl-C meant for the agent does not end it.
pub(super) fn spawn(program: &Path, files: &Files) -> Result<Child, Error> {
    let log = fs::File::create(&files.log).map_err(Error::file("create", &files.log))?;
    let errors = log.try_clone().map_err(Error::file("open", &files.log))?;
    let child = Command::new(program)
        .arg("--config")
        .arg(&files.config)
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        .process_group(0)
        .spawn()
        .map_err(|e| Error::Program {
            program: program.display().to_string(),
            message: format!("cannot be started: {e}; install the containerd package or give a CRI endpoint"),
        })?;
    if let Some(pid) = child.id() {
        fs::write(&files.pid, pid.to_string()).map_err(Error::file("write", &files.pid))?;
    }
    Ok(child)
}

/// Asks the process to end, then insists.
pub(super) async fn terminate(child: &mut Child) {
    if let Some(pid) = child.id() {
        let _ = kill(Pid::from_raw(pid as i32), Signal::SIGTERM);
    }
    if timeout(limits::RUNTIME_STOP_TIMEOUT, child.wait()).await.is_err() {
        warn!("containerd does not stop; killing it");
        let _ = child.kill().await;
    }
}

/// Stops the containerd of an agent that died. The pid file may name a process that has nothing to do with us by now,
/// so the process must have been started with our configuration file.
pub(super) async fn stop_leftover(files: &Files) -> Result<(), Error> {
    let Some(pid) = fs::read_to_string(&files.pid)
        .ok()
        .and_then(|t| t.trim().parse::<i32>().ok())
    else {
        return Ok(());
    };
    if !is_ours(pid, files) {
        return Ok(());
    }
    info!(pid, "stopping the containerd of an earlier agent");
    let deadline = Instant::now() + limits::RUNTIME_STOP_TIMEOUT;
    let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
    while is_ours(pid, files) {
        if Instant::now() > deadline {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        sleep(std::time::Duration::from_millis(20)).await;
    }
    Ok(())
}

fn is_ours(pid: i32, files: &Files) -> bool {
    // A zombie has no command line: it counts as gone.
    let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let ours = files.config.as_os_str().as_encoded_bytes();
    command.split(|b| *b == 0).any(|argument| argument == ours)
}

/// The end of the log, on one line.
pub(super) fn log_tail(path: &Path) -> String {
    let text = fs::read(path).unwrap_or_default();
    let tail = &text[text.len().saturating_sub(LOG_TAIL_BYTES)..];
    String::from_utf8_lossy(tail).trim().replace('\n', " | ")
}
