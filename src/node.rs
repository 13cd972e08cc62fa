//! A node that `up` runs: its agent, in mount and pid namespaces of its own. `up` starts agents itself; `proreus node`
//! starts one again, by hand, and stays until it has ended.
//!
//! Process 1 of the namespaces is [`crate::node_init`], which outlives a killed agent together with containerd and the
//! pods: another agent is started among them and adopts them. Only an agent that was asked to stop, and did, takes the
//! namespaces with it.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::config::AgentConfig;
use crate::node_init::READY;
use crate::up::processes::{INIT_ID, identified};

/// A node whose namespaces the calling thread has entered: the children it starts are in them.
pub struct Entered {
    pid_file: PathBuf,
    init: Pid,
}

/// Enters the namespaces of the node with this configuration, which are made if they are not there, and says how to start
/// its agent. Only for a thread that does nothing else afterwards.
pub fn enter(path: &Path) -> anyhow::Result<(Command, Entered)> {
    let config = AgentConfig::load(path)?;
    let pid_file = config.pid_file.context("pidFile: a node of `up` needs one")?;
    let init_file = pid_file.with_file_name(INIT_ID);
    if let Some(pid) = identified(&pid_file, path) {
        bail!("{} runs already (pid {pid})", config.name);
    }
    let program = std::env::current_exe().context("cannot find this program")?;
    let init = match identified(&init_file, path) {
        Some(pid) => join(pid)?,
        None => create(&program, path, &init_file)?,
    };
    let mut agent = command(&program, "agent", path);
    // What is typed at a terminal reaches this process, which passes it on once.
    agent.process_group(0);
    Ok((agent, Entered { pid_file, init }))
}

impl Entered {
    /// Leaves the agent's id where it is looked for. The agent cannot tell: inside the namespace it has another.
    pub fn started(&self, agent: u32) -> anyhow::Result<()> {
        Ok(pki::write_public(&self.pid_file, &agent.to_string())?)
    }

    /// Ends the namespaces, and with them whatever is left in them, after an agent that was asked to stop and did.
    pub fn close(&self) {
        // Process 1 may be gone already.
        let _ = kill(self.init, Signal::SIGKILL);
    }
}

pub fn run(path: &Path) -> anyhow::Result<()> {
    let signals = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT, Signal::SIGCHLD]);
    signals.thread_block().context("cannot block signals")?;
    let (mut agent, node) = enter(path)?;
    let agent = agent.spawn().context("cannot start the agent")?;
    node.started(agent.id())?;
    let agent = Pid::from_raw(agent.id().cast_signed());
    let status = wait(&signals, agent)?;
    if status != WaitStatus::Exited(agent, 0) {
        bail!("the agent ended ({status:?}); its pods go on until it is started again or the cluster is stopped");
    }
    node.close();
    Ok(())
}

fn command(program: &Path, name: &str, config: &Path) -> Command {
    let mut command = Command::new(program);
    command.arg(name).arg("--config").arg(config).stdin(Stdio::null());
    command
}

/// Enters the namespaces of a process 1 that outlived its agent.
fn join(init: i32) -> anyhow::Result<Pid> {
    let open = |name: &str| -> anyhow::Result<File> {
        let path = PathBuf::from(format!("/proc/{init}/ns/{name}"));
        File::open(&path).with_context(|| format!("cannot open {}", path.display()))
    };
    let (pid, mounts) = (open("pid_for_children")?, open("mnt")?);
    setns(pid, CloneFlags::CLONE_NEWPID).context("cannot join the node's pid namespace")?;
    setns(mounts, CloneFlags::CLONE_NEWNS).context("cannot join the node's mount namespace")?;
    Ok(Pid::from_raw(init))
}

/// Makes new namespaces and starts their process 1, which prepares the mounts.
fn create(program: &Path, config: &Path, init_file: &Path) -> anyhow::Result<Pid> {
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID).context("cannot make the node's namespaces")?;
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).context("cannot make the mounts private")?;
    // Out of this process group: whoever kills the agent's group does not mean the pods.
    let mut init = command(program, "node-init", config)
        .process_group(0)
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start node-init")?;
    pki::write_public(init_file, &init.id().to_string())?;
    let mut line = String::new();
    if let Some(stdout) = init.stdout.take() {
        BufReader::new(stdout)
            .read_line(&mut line)
            .context("cannot read what node-init says")?;
    }
    ensure!(line.trim_end() == READY, "node-init could not prepare the node");
    Ok(Pid::from_raw(init.id().cast_signed()))
}

/// Passes stop signals on to the agent until it has ended.
fn wait(signals: &SigSet, agent: Pid) -> anyhow::Result<WaitStatus> {
    loop {
        match signals.wait().context("cannot wait for signals")? {
            // Signals of one kind merge, so this may tell of the agent, of node-init, or of both.
            Signal::SIGCHLD => match waitpid(agent, Some(WaitPidFlag::WNOHANG)).context("cannot wait for the agent")? {
                WaitStatus::StillAlive => {}
                status => return Ok(status),
            },
            // It may have ended just now; its SIGCHLD is next.
            stop => drop(kill(agent, stop)),
        }
    }
}
