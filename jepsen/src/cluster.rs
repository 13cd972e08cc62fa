//! The members as processes: started, killed, paused, and watched for ends that nobody asked for.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use hyper::Method;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use proto::etcd::etcdserverpb::{RangeRequest, StatusRequest};

use crate::client::{Api, Target};
use crate::db::Db;
use crate::disk::Disk;
use crate::leftovers;
use crate::limits::{CONNECT_TIMEOUT, HEALTHY_POLL, HEALTHY_TIMEOUT, OPERATION_TIMEOUT, STOP_TIMEOUT};
use crate::nemesis::members;
use crate::network::Network;

/// What proreus says when a member's state was replaced by a snapshot.
const SNAPSHOT_INSTALLED: &str = "installed a snapshot from the leader";
/// And when what came of one was damaged.
const SNAPSHOT_REFUSED: &str = "refused a snapshot that is damaged";
/// A read that the Kubernetes API answers from the store.
const API_HEALTH: &str = "/api/v1/namespaces/default/configmaps?limit=1";
/// Lines of its log that are shown of a member that ended.
const LOG_LINES: usize = 2;

pub(crate) struct Cluster {
    pub(crate) db: Db,
    pub(crate) network: Network,
    /// One for each member, or none.
    pub(crate) disks: Vec<Disk>,
    states: Vec<Mutex<State>>,
    complaints: Mutex<Vec<String>>,
    start: Instant,
    /// Preloaded into members whose wall clock is to be moved.
    clock: Option<PathBuf>,
}

#[derive(Default)]
struct State {
    child: Option<Child>,
    /// It was asked to end: its end is not news.
    stopping: bool,
    /// Its files were damaged: it may refuse to run.
    damaged: bool,
    /// It did refuse, and was not started since.
    refused: bool,
    /// Its disk is full or has no power: it may end.
    disk_fails: bool,
    /// The id under which it was removed from the cluster: it does not run until it is added again.
    removed: Option<u64>,
    ends: Vec<End>,
}

/// A process that ended although nobody had asked it to, or did not end when it was asked.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct End {
    pub(crate) member: String,
    pub(crate) at_ns: u64,
    pub(crate) status: String,
    /// Its files had been damaged before, or its disk failed it.
    pub(crate) damaged: bool,
    /// The end of its log.
    pub(crate) said: String,
}

impl Cluster {
    pub(crate) fn new(db: Db, network: Network, disks: bool, clock: bool, start: Instant) -> anyhow::Result<Cluster> {
        std::fs::create_dir_all(db.directory.join("logs"))?;
        let states = db.members.iter().map(|_| Mutex::default()).collect();
        let clock = clock.then(clock_library).transpose()?;
        let mut cluster = Cluster {
            db,
            network,
            disks: Vec::new(),
            states,
            complaints: Mutex::default(),
            start,
            clock,
        };
        for member in 0..cluster.len() {
            std::fs::create_dir_all(&cluster.db.members[member].root)?;
            if disks {
                let name = &cluster.db.members[member].name;
                let image = cluster.db.directory.join(leftovers::image(name));
                cluster.disks.push(Disk::create(image, &cluster.db.data(member), name)?);
            }
        }
        cluster.db.prepare()?;
        Ok(cluster)
    }

    pub(crate) fn len(&self) -> usize {
        self.db.members.len()
    }

    pub(crate) fn name(&self, member: usize) -> &str {
        &self.db.members[member].name
    }

    pub(crate) fn target(&self, member: usize) -> Target {
        self.db.target(member)
    }

    fn state(&self, member: usize) -> MutexGuard<'_, State> {
        self.states[member].lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn log(&self, member: usize) -> PathBuf {
        self.db
            .directory
            .join("logs")
            .join(format!("{}.log", self.name(member)))
    }

    /// Starts the member's process unless it runs.
    ///
    /// # Errors
    /// It cannot be started; an end later on is not an error here.
    pub(crate) fn start(&self, member: usize) -> anyhow::Result<()> {
        self.watch_for_ends();
        // A stop that was given up halfway: the process is about to end, and nobody would notice.
        let given_up = {
            let state = self.state(member);
            state.stopping && state.removed.is_none()
        };
        if given_up {
            self.kill_quietly(member);
        }
        let mut state = self.state(member);
        if state.child.is_some() || state.removed.is_some() {
            return Ok(());
        }
        let log = OpenOptions::new().create(true).append(true).open(self.log(member))?;
        let command = self.db.command(member);
        // It ends with the harness, however that ends.
        let mut child = Command::new("setpriv");
        child
            .args(["--pdeathsig", "KILL", "nsenter"])
            .arg(self.network.enter(member))
            .arg("--");
        if let Some(library) = &self.clock {
            child.args([
                "env",
                "FAKETIME_NO_CACHE=1",
                "FAKETIME_DONT_FAKE_MONOTONIC=1",
                "DONT_FAKE_MONOTONIC=1",
            ]);
            child.arg(format!("LD_PRELOAD={}", library.display()));
            child.arg(format!("FAKETIME_TIMESTAMP_FILE={}", self.clock_file(member).display()));
            if !self.clock_file(member).exists() {
                std::fs::write(self.clock_file(member), "+0")?;
            }
        }
        child.arg(command.get_program()).args(command.get_args());
        let child = child.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn();
        let child = child.with_context(|| format!("cannot start {}", self.name(member)))?;
        if let Some(disk) = self.disks.get(member) {
            disk.adopt(child.id());
        }
        state.child = Some(child);
        state.refused = false;
        Ok(())
    }

    fn clock_file(&self, member: usize) -> PathBuf {
        self.db.directory.join(format!("{}.clock", self.name(member)))
    }

    /// Moves the member's wall clock, while it runs.
    ///
    /// # Errors
    /// The file that tells it cannot be written.
    pub(crate) fn skew(&self, member: usize, seconds: i64) -> anyhow::Result<()> {
        Ok(std::fs::write(self.clock_file(member), format!("{seconds:+}"))?)
    }

    /// Sets a wall clock right that was moved.
    ///
    /// # Errors
    /// Its file cannot be written.
    pub(crate) fn set_clock_right(&self, member: usize) -> anyhow::Result<()> {
        if self.clock_file(member).exists() {
            self.skew(member, 0)?;
        }
        Ok(())
    }

    pub(crate) fn signal(&self, member: usize, signal: Signal) {
        if let Some(child) = &self.state(member).child {
            let _ = kill(Pid::from_raw(child.id() as i32), signal);
        }
    }

    /// Ends the member at once, as the loss of its machine's power would, its disk aside.
    pub(crate) fn kill(&self, member: usize) {
        self.watch_for_ends();
        if let Some(mut child) = self.state(member).child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Asks the member to end, and kills it if it does not. Returns whether it did.
    pub(crate) async fn stop(&self, member: usize) -> bool {
        self.state(member).stopping = true;
        self.signal(member, Signal::SIGTERM);
        let deadline = Instant::now() + STOP_TIMEOUT;
        loop {
            let ended = match &mut self.state(member).child {
                Some(child) => child.try_wait().ok().flatten().is_some(),
                None => true,
            };
            if ended || Instant::now() > deadline {
                if !ended {
                    let mut state = self.state(member);
                    let end = self.end(
                        member,
                        format!("did not stop in order in {STOP_TIMEOUT:?}"),
                        state.damaged,
                    );
                    state.ends.push(end);
                }
                self.kill_quietly(member);
                return ended;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn kill_quietly(&self, member: usize) {
        let mut state = self.state(member);
        if let Some(mut child) = state.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        state.stopping = false;
    }

    pub(crate) fn is_running(&self, member: usize) -> bool {
        self.watch_for_ends();
        self.state(member).child.is_some()
    }

    pub(crate) fn damage(&self, member: usize) {
        self.state(member).damaged = true;
    }

    /// Nothing was damaged after all.
    pub(crate) fn undamaged(&self, member: usize) {
        self.state(member).damaged = false;
    }

    pub(crate) fn disk_fails(&self, member: usize, fails: bool) {
        self.state(member).disk_fails = fails;
    }

    pub(crate) fn is_damaged(&self, member: usize) -> bool {
        self.state(member).damaged
    }

    /// Whether a damaged member ended by itself, and was not started since.
    pub(crate) fn refuses(&self, member: usize) -> bool {
        self.watch_for_ends();
        self.state(member).refused
    }

    /// Notes that a member is being removed. Its process then ends by itself, and that is not news.
    pub(crate) fn remove(&self, member: usize, id: u64) {
        let mut state = self.state(member);
        (state.removed, state.stopping) = (Some(id), true);
        self.db.set_belongs(member, false);
    }

    /// The id under which a member was removed, if it was not added since.
    pub(crate) fn removed(&self, member: usize) -> Option<u64> {
        self.state(member).removed
    }

    /// Its removal did not happen after all.
    pub(crate) fn keep(&self, member: usize) {
        let mut state = self.state(member);
        (state.removed, state.stopping) = (None, false);
        self.db.set_belongs(member, true);
    }

    /// Whether a process that was asked to end, or has reason to, has ended.
    pub(crate) fn has_ended(&self, member: usize) -> bool {
        match &mut self.state(member).child {
            Some(child) => child.try_wait().ok().flatten().is_some(),
            None => true,
        }
    }

    /// A removed member becomes a new one of the same name, with the id that the cluster gave it and without data.
    ///
    /// # Errors
    /// Its files cannot be written.
    pub(crate) fn renew(&self, member: usize, id: u64) -> anyhow::Result<()> {
        self.kill_quietly(member);
        let data = self.db.data(member);
        for entry in std::fs::read_dir(&data)? {
            let path = entry?.path();
            if path.is_dir() {
                std::fs::remove_dir_all(path)?;
            } else {
                std::fs::remove_file(path)?;
            }
        }
        self.db.set_belongs(member, true);
        self.db.rejoin(member, id)?;
        self.state(member).removed = None;
        Ok(())
    }

    /// Records something that was seen to be wrong beside what clients see.
    pub(crate) fn complain(&self, what: String) {
        self.complaints
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(what);
    }

    pub(crate) fn complaints(&self) -> Vec<String> {
        self.complaints.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notices processes that ended by themselves.
    pub(crate) fn watch_for_ends(&self) {
        for member in 0..self.len() {
            let mut state = self.state(member);
            if state.stopping {
                continue;
            }
            let Some(status) = state.child.as_mut().and_then(|child| child.try_wait().ok().flatten()) else {
                continue;
            };
            state.child = None;
            state.refused = state.damaged;
            let end = self.end(member, status.to_string(), state.damaged || state.disk_fails);
            state.ends.push(end);
        }
    }

    fn end(&self, member: usize, status: String, damaged: bool) -> End {
        End {
            member: self.name(member).into(),
            at_ns: self.start.elapsed().as_nanos() as u64,
            status,
            damaged,
            said: tail(&self.log(member)),
        }
    }

    pub(crate) fn ends(&self) -> Vec<End> {
        self.watch_for_ends();
        (0..self.len())
            .flat_map(|member| self.state(member).ends.clone())
            .collect()
    }

    /// How often the members' logs tell of a snapshot that was installed.
    pub(crate) fn snapshots_installed(&self) -> usize {
        self.said(SNAPSHOT_INSTALLED)
    }

    /// How often they tell of one that was damaged and not installed.
    pub(crate) fn snapshots_refused(&self) -> usize {
        self.said(SNAPSHOT_REFUSED)
    }

    fn said(&self, what: &str) -> usize {
        let said = |member| std::fs::read_to_string(self.log(member)).unwrap_or_default();
        (0..self.len()).map(|member| said(member).matches(what).count()).sum()
    }

    /// The member that leads, as the members themselves say; of several, that of the latest term.
    pub(crate) async fn leader(&self) -> Option<usize> {
        let mut best = None;
        for member in 0..self.len() {
            let Ok(mut client) = self.target(member).connect() else {
                continue;
            };
            let asked = tokio::time::timeout(CONNECT_TIMEOUT, client.maintenance.status(StatusRequest {})).await;
            let Ok(Ok(answer)) = asked else { continue };
            let status = answer.into_inner();
            let leads = status
                .header
                .is_some_and(|header| header.member_id == status.leader && status.leader != 0);
            best = best.max(leads.then_some((status.raft_term, member)));
        }
        best.map(|(_, member)| member)
    }

    /// Waits until every member answers a linearizable read, and, if they are used, at its Kubernetes API, too. Of those that were
    /// damaged nothing is asked.
    ///
    /// # Errors
    /// Some do not in time; which.
    pub(crate) async fn healthy(&self, api: bool) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        loop {
            let mut silent = Vec::new();
            for member in (0..self.len()).filter(|member| !self.is_damaged(*member)) {
                if !self.answers(member).await {
                    silent.push(self.name(member).to_string());
                } else if api && !answers_at_api(&self.target(member)).await {
                    silent.push(format!("the Kubernetes API of {}", self.name(member)));
                }
            }
            if silent.is_empty() {
                silent = self.voteless().await;
            }
            if silent.is_empty() {
                return Ok(begun.elapsed());
            }
            if (0..self.len()).all(|member| !self.is_running(member)) {
                let said = self.ends().last().map(|end| end.said.clone()).unwrap_or_default();
                anyhow::bail!("all members have ended: {said}");
            }
            anyhow::ensure!(
                begun.elapsed() < HEALTHY_TIMEOUT,
                "no answer from {} in {HEALTHY_TIMEOUT:?}",
                silent.join(", ")
            );
            tokio::time::sleep(HEALTHY_POLL).await;
        }
    }

    /// Members that were added and have no vote yet.
    async fn voteless(&self) -> Vec<String> {
        let added = (0..self.len()).filter(|member| self.db.rejoined(*member).is_some());
        let added: Vec<String> = added.map(|member| self.name(member).to_string()).collect();
        if added.is_empty() {
            return added;
        }
        let known = members::list(self, 0).await.unwrap_or_default();
        let votes = |name: &String| known.iter().any(|known| known.name == *name && !known.is_learner);
        added.into_iter().filter(|name| !votes(name)).collect()
    }

    pub(crate) async fn answers(&self, member: usize) -> bool {
        let Ok(mut client) = self.target(member).connect() else {
            return false;
        };
        let request = RangeRequest {
            key: "jepsen/health".into(),
            ..RangeRequest::default()
        };
        matches!(
            tokio::time::timeout(OPERATION_TIMEOUT, client.kv.range(request)).await,
            Ok(Ok(_))
        )
    }
}

/// Whether the Kubernetes API of a member lists what it has.
async fn answers_at_api(target: &Target) -> bool {
    let mut api = Api::new(target);
    let asked = api.request(Method::GET, API_HEALTH, None);
    matches!(tokio::time::timeout(OPERATION_TIMEOUT, asked).await, Ok(Ok(answer)) if answer.status == 200)
}

impl Drop for Cluster {
    fn drop(&mut self) {
        (0..self.len()).for_each(|member| self.kill_quietly(member));
    }
}

fn tail(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text[text.len().saturating_sub(4096)..]).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
}

/// libfaketime, which moves the wall clock of one process. The kernel has no wall clock per namespace.
fn clock_library() -> anyhow::Result<PathBuf> {
    let directories = std::fs::read_dir("/usr/lib").context("cannot read /usr/lib")?;
    let files = directories
        .flatten()
        .map(|entry| entry.path().join("faketime/libfaketimeMT.so.1"));
    files
        .into_iter()
        .find(|file| file.exists())
        .context("the fault `clock` needs libfaketime: apt-get install faketime")
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_kubernetes_api_that_does_not_answer_is_not_healthy() {
        // Takes connections and says nothing, and then not even that.
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = Target {
            url: String::new(),
            api: Some(listener.local_addr().unwrap().to_string()),
            stale_reads: false,
            pki: PathBuf::new(),
        };
        assert!(!answers_at_api(&target).await);
        drop(listener);
        assert!(!answers_at_api(&target).await);
    }
}
