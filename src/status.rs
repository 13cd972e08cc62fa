//! `proreus status`: the members and nodes of a cluster started with `up`, from the processes themselves. Each master
//! answers on a unix socket in its own directory, so this works while the API does not.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::io::AsyncWriteExt;

use crate::commands::{Output, StatusArgs};
use crate::config;
use crate::output::say;
use crate::up::layout::{Layout, Node};
use crate::up::processes;

/// A master that does not answer in this time is shown as not answering.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
const SOCKET: &str = "status.sock";

/// What a master says of itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub id: u64,
    /// This member leads, in the sense that it may serve as leader right now.
    pub leader: bool,
    pub leader_id: Option<u64>,
    pub term: u64,
    pub revision: i64,
    pub applied_index: u64,
}

pub fn run(args: &StatusArgs) -> anyhow::Result<()> {
    let layout = Layout::of(&args.data_dir)?;
    let directory = args.data_dir.canonicalize().context("--data-dir")?;
    let members: Vec<Member> = layout
        .masters
        .iter()
        .map(|m| Member::ask(&directory, &layout, m))
        .collect::<Result<_, _>>()?;
    let nodes: Vec<NodeLine> = layout
        .nodes
        .iter()
        .map(|n| NodeLine::look(&directory, &layout, n))
        .collect::<Result<_, _>>()?;
    match args.output {
        Output::Json => print_json(&members, &nodes),
        Output::Table => {
            print_table(&members, &nodes);
            Ok(())
        }
    }
}

struct Member {
    name: String,
    address: String,
    /// Where its etcd door is.
    client_url: String,
    pid: Option<i32>,
    report: Option<Report>,
    start_command: String,
}

struct NodeLine {
    name: String,
    address: String,
    pid: Option<i32>,
    start_command: String,
}

impl Member {
    fn ask(directory: &Path, layout: &Layout, master: &config::Master) -> anyhow::Result<Member> {
        let pid = processes::running(directory, &master.name);
        Ok(Member {
            name: master.name.clone(),
            address: master.api().to_string(),
            client_url: format!("https://{}", master.client()),
            pid,
            report: pid.and_then(|_| ask(&directory.join(&master.name)).ok()),
            start_command: layout.restart_command(directory, &master.name)?,
        })
    }

    fn is_leader(&self) -> bool {
        self.report.as_ref().is_some_and(|r| r.leader)
    }

    fn state(&self) -> &'static str {
        match (&self.pid, &self.report) {
            (None, _) => "stopped",
            (Some(_), None) => "not answering",
            (Some(_), Some(report)) if report.leader => "leader",
            (Some(_), Some(report)) if report.leader_id.is_none() => "no leader",
            _ => "follower",
        }
    }
}

impl NodeLine {
    fn look(directory: &Path, layout: &Layout, node: &Node) -> anyhow::Result<NodeLine> {
        Ok(NodeLine {
            name: node.name.clone(),
            address: node.address.to_string(),
            pid: processes::running(directory, &node.name),
            start_command: layout.restart_command(directory, &node.name)?,
        })
    }
}

fn print_json(members: &[Member], nodes: &[NodeLine]) -> anyhow::Result<()> {
    let members_json = members.iter().map(|m| {
        json!({
            "name": m.name, "address": m.address, "clientUrl": m.client_url, "pid": m.pid,
            "state": m.state(), "leader": m.is_leader(),
            "id": m.report.as_ref().map(|r| r.id), "term": m.report.as_ref().map(|r| r.term),
            "revision": m.report.as_ref().map(|r| r.revision), "startCommand": m.start_command,
        })
    });
    let nodes_json = nodes
        .iter()
        .map(|n| json!({"name": n.name, "address": n.address, "pid": n.pid, "startCommand": n.start_command}));
    let document = json!({
        "members": members_json.collect::<Vec<_>>(),
        "nodes": nodes_json.collect::<Vec<_>>(),
        "leader": members.iter().find(|m| m.is_leader()).map(|m| &m.name),
        "revision": members.iter().filter_map(|m| m.report.as_ref()).map(|r| r.revision).max(),
    });
    say!(
        "{}",
        serde_json::to_string_pretty(&document).context("cannot encode the status")?
    );
    Ok(())
}

fn print_table(members: &[Member], nodes: &[NodeLine]) {
    say!(
        "{:<12} {:<8} {:<14} {:>6} {:>10}  ADDRESS",
        "MEMBER",
        "PID",
        "STATE",
        "TERM",
        "REVISION"
    );
    for member in members {
        let (term, revision) = match &member.report {
            Some(report) => (report.term.to_string(), report.revision.to_string()),
            None => ("-".into(), "-".into()),
        };
        let (pid, state) = (shown(member.pid), member.state());
        say!(
            "{:<12} {pid:<8} {state:<14} {term:>6} {revision:>10}  {}",
            member.name,
            member.address
        );
    }
    if !nodes.is_empty() {
        say!(
            "\n{:<12} {:<8} {:<14} {:>6} {:>10}  ADDRESS",
            "NODE",
            "PID",
            "PROCESS",
            "",
            ""
        );
    }
    for node in nodes {
        let state = if node.pid.is_some() { "running" } else { "stopped" };
        say!(
            "{:<12} {:<8} {state:<14} {:>6} {:>10}  {}",
            node.name,
            shown(node.pid),
            "",
            "",
            node.address
        );
    }
    let stopped = members.iter().filter(|m| m.pid.is_none()).map(|m| &m.start_command);
    let stopped: Vec<&String> = stopped
        .chain(nodes.iter().filter(|n| n.pid.is_none()).map(|n| &n.start_command))
        .collect();
    if !stopped.is_empty() {
        say!("\nStart what is stopped with:");
        stopped.iter().for_each(|command| say!("  {command}"));
    }
}

fn shown(pid: Option<i32>) -> String {
    pid.map_or("-".into(), |p| p.to_string())
}

fn ask(root: &Path) -> anyhow::Result<Report> {
    let directory = File::open(root).with_context(|| format!("cannot open {}", root.display()))?;
    let mut stream = UnixStream::connect(socket_path(&directory)).context("cannot connect to the status socket")?;
    stream
        .set_read_timeout(Some(ANSWER_TIMEOUT))
        .context("cannot set a timeout")?;
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .context("no answer on the status socket")?;
    serde_json::from_str(&answer).context("the status is not JSON")
}

/// A path to the socket that fits the 108 bytes of a unix address however long the directory's own path is.
fn socket_path(directory: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", directory.as_raw_fd()))
}

/// Answers on the status socket below `root` until the process ends.
pub async fn serve(root: PathBuf, report: impl Fn() -> Report) -> anyhow::Result<()> {
    let directory = File::open(&root).with_context(|| format!("cannot open {}", root.display()))?;
    // A killed process leaves its socket behind.
    let _ = std::fs::remove_file(root.join(SOCKET));
    let listener = tokio::net::UnixListener::bind(socket_path(&directory));
    let listener = listener.with_context(|| format!("cannot listen on {}", root.join(SOCKET).display()))?;
    loop {
        let mut stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            // Out of file descriptors, most likely; showing the status is no reason to end a master.
            Err(error) => {
                tracing::warn!(%error, "the status socket cannot accept");
                tokio::time::sleep(ANSWER_TIMEOUT).await;
                continue;
            }
        };
        let answer = serde_json::to_vec(&report()).context("cannot encode the status")?;
        // Whoever asked may have gone; that is theirs.
        let _ = tokio::time::timeout(ANSWER_TIMEOUT, stream.write_all(&answer)).await;
    }
}
