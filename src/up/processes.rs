//! The cluster's processes: starting them in process groups of their own (a Ctrl-C reaches `up` alone, which stops them
//! in order), noticing when one ends, and stopping all of them by the process ids they left in their directories.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

use super::layout::{Layout, Node};
use crate::node::{self, Entered};
use crate::output::say;

/// How long processes may take to stop in order before they are killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);
/// A node ends all its pods first.
const NODE_STOP_TIMEOUT: Duration = Duration::from_secs(90);
/// How often a stopping process is looked at.
const STOP_POLL: Duration = Duration::from_millis(50);
/// Lines of its log that are shown when a process ends while the cluster starts.
const LOG_LINES_SHOWN: usize = 15;

/// A process that ended.
pub struct Exited {
    pub name: String,
    status: Option<ExitStatus>,
}

impl std::fmt::Display for Exited {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.status {
            Some(status) => write!(f, "{} ended ({status})", self.name),
            None => write!(f, "{} ended", self.name),
        }
    }
}

/// Process ids by name.
type Pids = BTreeMap<String, i32>;

pub struct Processes {
    directory: PathBuf,
    /// The children that have not ended, with their ids.
    alive: Arc<Mutex<Pids>>,
    sender: mpsc::UnboundedSender<Exited>,
    exits: mpsc::UnboundedReceiver<Exited>,
}

impl Processes {
    pub fn new(directory: PathBuf) -> Processes {
        let (sender, exits) = mpsc::unbounded_channel();
        Processes {
            directory,
            alive: Arc::default(),
            sender,
            exits,
        }
    }

    pub fn start_masters(&mut self, layout: &Layout) -> anyhow::Result<()> {
        let program = program()?;
        for master in &layout.masters {
            let config = self.directory.join(&master.name).join("config.yaml");
            let command = [text(&program), "server".into(), "--config".into(), text(&config)];
            self.start(&master.name, &command)?;
        }
        Ok(())
    }

    /// Starts every node's agent in the node's namespaces.
    pub async fn start_nodes(&mut self, layout: &Layout) -> anyhow::Result<()> {
        let starts = layout.nodes.iter().map(|node| self.start_node(node));
        for started in futures::future::join_all(starts).await {
            started?;
        }
        Ok(())
    }

    async fn start_node(&self, node: &Node) -> anyhow::Result<()> {
        let config = self.directory.join(&node.name).join("config.yaml");
        let (name, namespace, log) = (node.name.clone(), node.namespace.clone(), self.log(&node.name)?);
        let runtime = tokio::runtime::Handle::current();
        let (sender, entered) = tokio::sync::oneshot::channel();
        // A thread for this alone: it stays in the node's namespaces.
        std::thread::spawn(move || {
            let _runtime = runtime.enter();
            let start = || -> anyhow::Result<(Child, Entered)> {
                if let Some(namespace) = namespace {
                    enter_network(&namespace)?;
                }
                let (agent, node) = node::enter(&config)?;
                let child = logged(agent.into(), log)?.spawn().context("cannot start the agent")?;
                Ok((child, node))
            };
            // The receiver is gone once `up` itself is on its way out.
            let _ = sender.send(start());
        });
        let (child, node) = entered
            .await
            .context("the thread that starts it ended")
            .flatten()
            .with_context(|| format!("cannot start {name}"))?;
        let noted = node.started(child.id().unwrap_or_default());
        self.follow(&name, child, move |status| {
            if status.is_some_and(|status| status.success()) {
                node.close();
            }
        });
        noted
    }

    fn start(&self, name: &str, command: &[String]) -> anyhow::Result<()> {
        let mut process = Command::new(&command[0]);
        process.args(&command[1..]).stdin(Stdio::null()).process_group(0);
        let child = logged(process, self.log(name)?)?
            .spawn()
            .with_context(|| format!("cannot start {name}: {}", command.join(" ")))?;
        self.follow(name, child, |_| {});
        Ok(())
    }

    fn log(&self, name: &str) -> anyhow::Result<File> {
        let path = log_path(&self.directory, name);
        let log = OpenOptions::new().create(true).append(true).open(&path);
        log.with_context(|| format!("cannot open {}", path.display()))
    }

    /// Says when a child has ended, after `and_then`.
    fn follow(&self, name: &str, mut child: Child, and_then: impl FnOnce(Option<ExitStatus>) + Send + 'static) {
        let (name, sender, alive) = (name.to_string(), self.sender.clone(), self.alive.clone());
        // It has an id: nobody has waited for it yet.
        if let Some(pid) = child.id() {
            locked(&alive).insert(name.clone(), pid.cast_signed());
        }
        tokio::spawn(async move {
            let status = child.wait().await.ok();
            and_then(status);
            locked(&alive).remove(&name);
            // The receiver is gone once `up` itself is on its way out.
            let _ = sender.send(Exited { name, status });
        });
    }

    /// The next process that ends.
    pub async fn next_exit(&mut self) -> Exited {
        match self.exits.recv().await {
            Some(exited) => exited,
            None => std::future::pending().await,
        }
    }

    /// Waits for a process that ends while the cluster starts, and says what its log ends with.
    pub async fn failed_early(&mut self) -> anyhow::Error {
        let exited = self.next_exit().await;
        let path = log_path(&self.directory, &exited.name);
        let log = std::fs::read_to_string(&path).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n");
        anyhow::anyhow!(
            "{exited} while the cluster started; {} ends with:\n{tail}",
            path.display()
        )
    }

    /// Stops nodes, then masters: a node's last status updates still find an API.
    pub async fn stop(&mut self, layout: &Layout) {
        stop(layout, &self.directory, &self.alive).await;
    }
}

fn locked(pids: &Mutex<Pids>) -> MutexGuard<'_, Pids> {
    pids.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Stops every process of this cluster that still runs, whoever started it, and removes its cgroups.
pub async fn stop_leftovers(layout: &Layout, directory: &Path) {
    let names = || {
        layout
            .nodes
            .iter()
            .map(|n| n.name.as_str())
            .chain(layout.masters.iter().map(|m| m.name.as_str()))
    };
    let left: Vec<&str> = names().filter(|name| running(directory, name).is_some()).collect();
    if !left.is_empty() {
        say!("stopping what still runs: {}", left.join(", "));
    }
    stop(layout, directory, &Mutex::default()).await;
    remove_cgroups(&layout.cgroup());
}

/// Takes the calling thread, and the children it starts, into a network namespace.
fn enter_network(name: &str) -> anyhow::Result<()> {
    let path = Path::new("/run/netns").join(name);
    let namespace = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
    setns(namespace, CloneFlags::CLONE_NEWNET).with_context(|| format!("cannot enter {}", path.display()))
}

fn logged(mut command: Command, log: File) -> anyhow::Result<Command> {
    command
        .stdout(log.try_clone().context("cannot duplicate a log file")?)
        .stderr(log);
    Ok(command)
}

/// The file with the id of the process 1 of a node, beside the agent's `pid`.
pub const INIT_ID: &str = "init-pid";

/// The running process of this name, by the id it left in its directory.
pub fn running(directory: &Path, name: &str) -> Option<i32> {
    let own = directory.join(name);
    identified(&own.join("pid"), &own.join("config.yaml"))
}

/// The running process whose id is in `file` and that was started with the configuration `config`.
pub fn identified(file: &Path, config: &Path) -> Option<i32> {
    let pid: i32 = std::fs::read_to_string(file).ok()?.trim().parse().ok()?;
    // Process ids are reused: the command line must name this cluster's configuration.
    let command = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let config = text(config);
    command
        .split(|b| *b == 0)
        .any(|argument| argument == config.as_bytes())
        .then_some(pid)
}

async fn stop(layout: &Layout, directory: &Path, own: &Mutex<Pids>) {
    stop_nodes(directory, own, &layout.nodes).await;
    let masters = layout.masters.iter().map(|m| m.name.as_str());
    stop_named(directory, own, masters, STOP_TIMEOUT).await;
}

/// Stops the agents, which take their pods with them, and then ends what outlived an agent that could not.
async fn stop_nodes(directory: &Path, own: &Mutex<Pids>, nodes: &[Node]) {
    stop_named(directory, own, nodes.iter().map(|n| n.name.as_str()), NODE_STOP_TIMEOUT).await;
    let init = |node: &Node| {
        let own = directory.join(&node.name);
        identified(&own.join(INIT_ID), &own.join("config.yaml"))
    };
    let deadline = tokio::time::Instant::now() + STOP_TIMEOUT;
    let mut left: Vec<&Node> = nodes.iter().collect();
    loop {
        left.retain(|node| match init(node) {
            Some(pid) => {
                signal(pid, Signal::SIGKILL);
                true
            }
            None => false,
        });
        if left.is_empty() || tokio::time::Instant::now() >= deadline {
            return;
        }
        tokio::time::sleep(STOP_POLL).await;
    }
}

/// Stops processes: this one's children by their handles, others, started by hand, by the ids they left.
async fn stop_named(directory: &Path, own: &Mutex<Pids>, names: impl Iterator<Item = &str>, limit: Duration) {
    let find = |name: &str| {
        let child = locked(own).get(name).copied();
        child.or_else(|| running(directory, name))
    };
    let mut told = BTreeSet::new();
    let mut left: Vec<&str> = names.collect();
    let deadline = tokio::time::Instant::now() + limit;
    loop {
        left.retain(|name| match find(name) {
            Some(pid) => {
                if told.insert(pid) {
                    signal(pid, Signal::SIGTERM);
                }
                true
            }
            None => false,
        });
        if left.is_empty() {
            return;
        }
        if tokio::time::Instant::now() >= deadline {
            break;
        }
        tokio::time::sleep(STOP_POLL).await;
    }
    for (name, pid) in left.iter().filter_map(|name| Some((name, find(name)?))) {
        say!("{name} (pid {pid}) did not stop in {} s: killing it", limit.as_secs());
        signal(pid, Signal::SIGKILL);
    }
}

fn signal(pid: i32, signal: Signal) {
    // It may have ended meanwhile, which is what was wanted.
    let _ = kill(Pid::from_raw(pid), signal);
}

/// Removes the cluster's cgroup from every hierarchy, deepest first; those with processes stay.
pub fn remove_cgroups(name: &str) {
    let root = Path::new("/sys/fs/cgroup");
    let hierarchies = std::fs::read_dir(root)
        .into_iter()
        .flatten()
        .flatten()
        .map(|e| e.path());
    for hierarchy in hierarchies.chain([root.to_path_buf()]) {
        remove_tree(&hierarchy.join(name.trim_start_matches('/')));
    }
}

fn remove_tree(directory: &Path) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            remove_tree(&entry.path());
        }
    }
    let _ = std::fs::remove_dir(directory);
}

fn log_path(directory: &Path, name: &str) -> PathBuf {
    directory.join("logs").join(format!("{name}.log"))
}

fn program() -> anyhow::Result<PathBuf> {
    std::env::current_exe().context("cannot find this program")
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
