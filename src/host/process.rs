//! Starting a machine's processes so that they outlive the command that starts them, and stopping them.
//!
//! Where systemd runs the machine, it runs them too, from a unit that is written here. Elsewhere they get a session of their
//! own, a log file and a file with their id; nobody starts them again when they end.

use std::fs::OpenOptions;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::{Instant, sleep};

use super::{Host, Part, systemd};
use crate::output::say;
use crate::up::processes::{INIT_ID, identified};

/// How often something that is waited for is looked at.
const POLL: Duration = Duration::from_millis(100);
/// How long a process may take to stop before it is killed. A node may have to end its pods first.
const STOP_TIMEOUT: Duration = Duration::from_secs(90);
/// Lines of its log that are shown of a process that ended too early.
const LOG_LINES_SHOWN: usize = 15;

/// A process that was started.
pub struct Started {
    /// Its own handle; systemd keeps what it starts.
    child: Option<Child>,
    part: Part,
}

/// Starts a part of a machine.
pub fn start(host: &Host, part: &Part) -> anyhow::Result<Started> {
    if let Some(pid) = part.running() {
        bail!("`proreus {}` runs already on this machine (pid {pid})", part.name);
    }
    let started = |child| Started {
        child,
        part: part.clone(),
    };
    if systemd::runs(host) {
        systemd::enable(part)?;
        say!("[{}] started by systemd as {}", part.name, systemd::unit(part));
        return Ok(started(None));
    }
    for file in [&part.log, &part.pid] {
        let directory = file.parent().unwrap_or(Path::new("/"));
        std::fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
    }
    let log = OpenOptions::new().create(true).append(true).open(&part.log);
    let log = log.with_context(|| format!("cannot open {}", part.log.display()))?;
    let errors = log.try_clone().context("cannot duplicate a log file")?;
    let program = std::env::current_exe().context("cannot find this program")?;
    // A session of its own: a terminal that is closed takes its session with it.
    let child = Command::new("setsid")
        .arg(program)
        .arg(part.command)
        .arg("--config")
        .arg(&part.config)
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        .spawn()
        .context("cannot run setsid (Debian package util-linux)")?;
    say!(
        "[{}] started as process {}; it writes {}",
        part.name,
        child.id(),
        part.log.display()
    );
    Ok(started(Some(child)))
}

impl Started {
    /// A process that somebody else started.
    pub fn elsewhere(part: Part) -> Started {
        Started { child: None, part }
    }

    /// Waits until `check` gives a value. Fails when the process ends before that, or after `limit`.
    pub async fn until<T>(
        &mut self,
        what: &str,
        limit: Duration,
        mut check: impl AsyncFnMut() -> Option<T>,
    ) -> anyhow::Result<T> {
        let deadline = Instant::now() + limit;
        loop {
            // What hangs must not hide that the process has ended.
            if let Ok(Some(value)) = tokio::time::timeout(limit, check()).await {
                return Ok(value);
            }
            self.check_alive()?;
            if Instant::now() >= deadline {
                bail!("{what}: not so after {} s; see {}", limit.as_secs(), self.words());
            }
            sleep(POLL).await;
        }
    }

    /// Where to read what it says.
    fn words(&self) -> String {
        match self.part.log.exists() {
            true => self.part.log.display().to_string(),
            false => format!("`journalctl -u {}`", systemd::unit(&self.part)),
        }
    }

    fn check_alive(&mut self) -> anyhow::Result<()> {
        let Some(child) = &mut self.child else { return Ok(()) };
        let Some(status) = child.try_wait().context("cannot look after a process")? else {
            return Ok(());
        };
        let log = std::fs::read_to_string(&self.part.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n");
        bail!(
            "`proreus {}` ended ({status}); {} ends with:\n{tail}",
            self.part.name,
            self.part.log.display()
        )
    }
}

/// Stops a part of a machine, if it runs, and what an agent that was killed has left running in its namespaces.
pub async fn stop(host: &Host, part: &Part) -> anyhow::Result<()> {
    if systemd::runs(host) {
        systemd::disable(part)?;
    }
    end(STOP_TIMEOUT, || part.running()).await;
    let init = part.pid.with_file_name(INIT_ID);
    // Process 1 of a node's namespaces takes everything in them with it. It ends by itself after an agent that stopped in order.
    end(Duration::ZERO, || identified(&init, &part.config)).await;
    Ok(())
}

/// Asks the process that `find` finds to end and, after `patience`, kills it.
async fn end(patience: Duration, find: impl Fn() -> Option<i32>) {
    let deadline = Instant::now() + patience;
    let mut asked = false;
    while let Some(pid) = find() {
        let signal = match Instant::now() >= deadline {
            true => Some(Signal::SIGKILL),
            false if !asked => Some(Signal::SIGTERM),
            false => None,
        };
        asked = true;
        if let Some(signal) = signal {
            // It may have ended meanwhile, which is what is wanted.
            let _ = kill(Pid::from_raw(pid), signal);
        }
        sleep(POLL).await;
    }
}
