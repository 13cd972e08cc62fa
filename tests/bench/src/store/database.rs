//! Databases that are measured: the keyspace of proreus alone, and etcd. Both take the same command line.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use proto::etcd::etcdserverpb::{RangeRequest, StatusRequest};
use rand::RngExt;
use tonic::transport::{Channel, Endpoint};

use crate::services::{kv_client::KvClient, maintenance_client::MaintenanceClient};

/// How long members may take to serve.
const START_TIMEOUT: Duration = Duration::from_secs(120);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(2);

/// A program that serves etcd's API.
#[derive(Clone, Debug)]
pub struct Peer {
    pub name: String,
    pub program: PathBuf,
    /// What comes before etcd's flags.
    pub leading: &'static [&'static str],
    pub is_echo: bool,
}

impl Peer {
    pub fn proreus(program: PathBuf) -> anyhow::Result<Peer> {
        Ok(Peer {
            name: version(&program)?.trim().to_owned(),
            program,
            leading: &["store"],
            is_echo: false,
        })
    }

    /// The server that does nothing.
    pub fn echo() -> anyhow::Result<Peer> {
        Ok(Peer {
            name: "bare echo".into(),
            program: std::env::current_exe().context("cannot find this program")?,
            leading: &["echo"],
            is_echo: true,
        })
    }

    /// An etcd, named by the version that it tells.
    pub fn etcd(program: PathBuf) -> anyhow::Result<Peer> {
        let text = version(&program)?;
        let version = text.lines().find_map(|line| line.strip_prefix("etcd Version: "));
        Ok(Peer {
            name: format!("etcd {}", version.context("it tells no version of etcd")?.trim()),
            program,
            leading: &[],
            is_echo: false,
        })
    }
}

/// What a program says to `--version`.
fn version(program: &Path) -> anyhow::Result<String> {
    let output = Command::new(program).arg("--version").output();
    let output = output.with_context(|| format!("cannot run {}", program.display()))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Running members, killed when dropped.
pub struct Database {
    peer: Peer,
    members: Vec<Member>,
    directory: tempfile::TempDir,
}

struct Member {
    url: String,
    arguments: Vec<String>,
    process: Option<Child>,
}

impl Database {
    /// Starts a new one under `place`, and waits until each member serves.
    pub async fn start(peer: &Peer, count: usize, place: &Path) -> anyhow::Result<Database> {
        let directory = tempfile::Builder::new()
            .prefix("proreus-bench-")
            .tempdir_in(place)
            .with_context(|| format!("--place: cannot write to {}", place.display()))?;
        let url = || anyhow::Ok(format!("http://127.0.0.1:{}", free_port()?));
        let urls = (0..count).map(|_| Ok((url()?, url()?)));
        let urls = urls.collect::<anyhow::Result<Vec<_>>>()?;
        let named = urls.iter().enumerate();
        let cluster: Vec<String> = named.map(|(i, (_, peer))| format!("m{i}={peer}")).collect();
        let cluster = cluster.join(",");
        let mut database = Database {
            peer: peer.clone(),
            members: Vec::new(),
            directory,
        };
        for (i, (client, peer)) in urls.into_iter().enumerate() {
            let data = database.directory.path().join(format!("m{i}"));
            let arguments = [
                format!("--name=m{i}"),
                format!("--data-dir={}", data.display()),
                format!("--listen-client-urls={client}"),
                format!("--advertise-client-urls={client}"),
                format!("--listen-peer-urls={peer}"),
                format!("--initial-advertise-peer-urls={peer}"),
                format!("--initial-cluster={cluster}"),
                "--quota-backend-bytes=8589934592".into(),
                // etcd's defaults, said aloud because proreus has others.
                "--heartbeat-interval=100".into(),
                "--election-timeout=1000".into(),
                "--log-level=error".into(),
            ];
            database.members.push(Member {
                url: client,
                arguments: arguments.into(),
                process: None,
            });
            database.run(i)?;
        }
        for i in 0..count {
            database.wait(i).await?;
        }
        Ok(database)
    }

    /// Starts a member's process.
    pub fn run(&mut self, member: usize) -> anyhow::Result<()> {
        let log = self.directory.path().join(format!("m{member}.log"));
        let log = File::options().create(true).append(true).open(&log)?;
        let member = &mut self.members[member];
        let mut command = Command::new(&self.peer.program);
        command.args(self.peer.leading).args(&member.arguments);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let process = command.spawn();
        let process = process.with_context(|| format!("cannot start {}", self.peer.program.display()))?;
        member.process = Some(process);
        Ok(())
    }

    /// Ends a member's process at once.
    pub fn kill(&mut self, member: usize) -> anyhow::Result<()> {
        if let Some(mut process) = self.members[member].process.take() {
            process.kill()?;
            process.wait()?;
        }
        Ok(())
    }

    /// Waits until a member answers a linearizable read.
    pub async fn wait(&self, member: usize) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            let read = async {
                let mut keys = KvClient::new(self.connect(member).await?);
                anyhow::Ok(keys.range(get("nothing")).await?)
            };
            if tokio::time::timeout(Duration::from_secs(1), read)
                .await
                .is_ok_and(|read| read.is_ok())
            {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "member {member} of {} does not serve",
                self.peer.name
            );
            tokio::time::sleep(POLL).await;
        }
    }

    /// A new connection to a member.
    pub async fn connect(&self, member: usize) -> anyhow::Result<Channel> {
        Ok(self.endpoint(member)?.connect().await?)
    }

    /// A new connection to a member that takes little of what it does not ask for.
    pub async fn connect_narrow(&self, member: usize) -> anyhow::Result<Channel> {
        const WINDOW: u32 = 65_535;
        let endpoint = self.endpoint(member)?.initial_stream_window_size(WINDOW);
        Ok(endpoint.initial_connection_window_size(WINDOW).connect().await?)
    }

    fn endpoint(&self, member: usize) -> anyhow::Result<Endpoint> {
        let endpoint = Channel::from_shared(self.members[member].url.clone())?;
        Ok(endpoint.connect_timeout(CONNECT_TIMEOUT))
    }

    /// `count` connections to a member.
    pub async fn connections(&self, member: usize, count: usize) -> anyhow::Result<Vec<Channel>> {
        let mut channels = Vec::new();
        for _ in 0..count {
            channels.push(self.connect(member).await?);
        }
        Ok(channels)
    }

    /// The member that leads.
    pub async fn leader(&self) -> anyhow::Result<usize> {
        for (i, member) in self.members.iter().enumerate() {
            if member.process.is_none() {
                continue;
            }
            let mut maintenance = MaintenanceClient::new(self.connect(i).await?);
            let status = maintenance.status(StatusRequest {}).await?.into_inner();
            let own = status.header.context("a status has a header")?.member_id;
            if own == status.leader {
                return Ok(i);
            }
        }
        anyhow::bail!("no member of {} leads", self.peer.name)
    }

    /// Processor time that its members have used so far, in s. All have to run.
    pub fn processor_time(&self) -> anyhow::Result<f64> {
        let each = self.members.iter().map(|member| {
            let process = member.process.as_ref().map(Child::id);
            process.and_then(processor_time_of).context("a member has ended")
        });
        each.sum()
    }

    /// Resident memory of its running members, in bytes: all of it, and the part that is no file's.
    pub fn memory(&self) -> anyhow::Result<(u64, u64)> {
        let mut sum = (0, 0);
        for pid in self.pids() {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
            let field = |name: &str| {
                let line = status.lines().find_map(|line| line.strip_prefix(name));
                let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
                kilobytes.map(|kilobytes| kilobytes * 1024).context("/proc/PID/status")
            };
            sum.0 += field("VmRSS:")?;
            sum.1 += field("RssAnon:")?;
        }
        Ok(sum)
    }

    fn pids(&self) -> impl Iterator<Item = u32> {
        self.members
            .iter()
            .filter_map(|member| Some(member.process.as_ref()?.id()))
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        for i in 0..self.members.len() {
            let _ = self.kill(i);
        }
    }
}

/// Processor time that a running process has used so far, in s.
pub fn processor_time_of(pid: u32) -> Option<f64> {
    // Of proc(5), fields 3, 14 and 15, these in ticks of a hundredth of a second; the second field may hold spaces.
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    if fields.first()? == &"Z" {
        return None;
    }
    let ticks = |field: usize| fields.get(field)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / 100.0)
}

/// A linearizable read of one key.
pub fn get(key: &str) -> RangeRequest {
    RangeRequest {
        key: key.to_owned().into(),
        ..Default::default()
    }
}

/// A port that nobody listens on, and that no connection is given.
fn free_port() -> anyhow::Result<u16> {
    const TRIES: usize = 100;
    let mut ports = std::iter::repeat_with(|| rand::rng().random_range(20_000..30_000u16)).take(TRIES);
    let free = ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    free.context("no port between 20000 and 30000 is free")
}
