//! A real cluster for a test: `proreus up` in a directory of its own, real kubectl and etcdctl against it, and a check
//! that stopping leaves nothing behind.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use serde_json::Value;

use super::{eventually, output, proreus, text};

/// Bounds that only end a failing test.
pub const SOON: Duration = Duration::from_secs(60);
pub const LATER: Duration = Duration::from_secs(180);

/// Two clusters at once would fight over two cores, and over the host's network when they have nodes.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

pub struct Cluster {
    up: Child,
    /// What `up` printed until it was ready.
    said: Vec<String>,
    directory: tempfile::TempDir,
    _turn: MutexGuard<'static, ()>,
}

/// The right to run a cluster, for as long as it is held.
pub fn turn() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why a cluster with nodes cannot run here, if it cannot.
pub fn missing_for_nodes() -> Option<String> {
    if !nix::unistd::Uid::effective().is_root() {
        return Some("root is needed".into());
    }
    if !super::images::available() {
        return Some("a static /bin/busybox is needed (busybox-static)".into());
    }
    ["containerd", "ctr", "runc", "nft", "ip", "kubectl"]
        .into_iter()
        .find_map(missing)
}

/// Why a tool cannot be used, if it cannot.
pub fn missing(tool: &str) -> Option<String> {
    let found = output(Command::new("sh").args(["-c", &format!("PATH=$PATH:/usr/sbin:/sbin command -v {tool}")]));
    (!found.status.success()).then(|| format!("{tool} is not installed"))
}

impl Cluster {
    /// Starts a cluster and waits until `up` says that it is ready.
    pub fn start(masters: u8, nodes: u8, images: &[PathBuf]) -> Cluster {
        let (masters, nodes) = (masters.to_string(), nodes.to_string());
        Cluster::start_by(proreus().args(["up", "--masters", &masters, "--nodes", &nodes]), images)
    }

    /// Starts a cluster with this command, to which the data directory and the images are added.
    pub fn start_by(command: &mut Command, images: &[PathBuf]) -> Cluster {
        let turn = turn();
        let directory = tempfile::Builder::new().prefix("proreus-test-").tempdir().unwrap();
        let (up, said) = spawn(command, directory.path(), images);
        Cluster {
            up,
            said,
            directory,
            _turn: turn,
        }
    }

    /// Whether `up` printed this before it was ready.
    pub fn said(&self, part: &str) -> bool {
        self.said.iter().any(|line| line.contains(part))
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Stops the cluster as Ctrl-C does and starts it again on the same data.
    pub fn restart(&mut self) {
        self.stop();
        (self.up, self.said) = spawn(proreus().arg("up"), self.directory.path(), &[]);
    }

    pub fn stop(&mut self) {
        if self.up.try_wait().unwrap().is_some() {
            return;
        }
        signal(self.up.id().cast_signed(), nix::sys::signal::Signal::SIGTERM);
        let status = self.up.wait().unwrap();
        assert!(
            status.success() || std::thread::panicking(),
            "`proreus up` ended with {status}"
        );
    }

    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env("KUBECONFIG", self.directory().join("admin.conf"))
            .env("HOME", self.directory());
        command
    }

    /// Runs kubectl, which must succeed, and gives back its standard output.
    #[track_caller]
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        let result = output(self.command("kubectl").args(arguments));
        assert!(
            result.status.success(),
            "kubectl {arguments:?} failed:\n{}{}",
            text(&result.stdout),
            text(&result.stderr)
        );
        text(&result.stdout)
    }

    /// Runs kubectl, which must fail, and gives back its standard error.
    #[track_caller]
    pub fn kubectl_fails(&self, arguments: &[&str]) -> String {
        let result = output(self.command("kubectl").args(arguments));
        assert!(
            !result.status.success(),
            "kubectl {arguments:?} should fail:\n{}",
            text(&result.stdout)
        );
        text(&result.stderr)
    }

    /// `kubectl apply -f -` of a manifest.
    #[track_caller]
    pub fn apply(&self, manifest: &str) -> String {
        let path = self.directory().join("manifest.yaml");
        std::fs::write(&path, manifest).unwrap();
        self.kubectl(&["apply", "-f", path.to_str().unwrap()])
    }

    /// Runs a command in a pod; `None` while it fails.
    pub fn exec(&self, pod: &str, arguments: &[&str]) -> Option<String> {
        let mut all = vec!["exec", pod, "--"];
        all.extend(arguments);
        let result = output(self.command("kubectl").args(&all));
        result.status.success().then(|| text(&result.stdout))
    }

    /// Runs etcdctl with the exports of `DIR/env`.
    #[track_caller]
    pub fn etcdctl(&self, arguments: &str) -> String {
        let script = format!(
            ". '{}/env' && {} {arguments}",
            self.directory().display(),
            etcdctl(arguments)
        );
        let result = output(Command::new("sh").args(["-c", &script]));
        assert!(
            result.status.success(),
            "etcdctl {arguments} failed:\n{}{}",
            text(&result.stdout),
            text(&result.stderr)
        );
        text(&result.stdout)
    }

    /// `proreus status --output json`.
    pub fn status(&self) -> Value {
        let result = output(
            proreus()
                .args(["status", "--output", "json", "--data-dir"])
                .arg(self.directory()),
        );
        serde_json::from_slice(&result.stdout)
            .unwrap_or_else(|e| panic!("status is not JSON: {e}: {}", text(&result.stderr)))
    }

    /// The member that leads, once there is one.
    pub fn leader(&self) -> Value {
        eventually("a member leads", SOON, || {
            let status = self.status();
            status["members"]
                .as_array()
                .unwrap()
                .iter()
                .find(|m| m["leader"] == true)
                .cloned()
        })
    }

    /// Kills the leading master as a power loss would, and gives back its entry in the status.
    pub fn kill_leader(&self) -> Value {
        let leader = self.leader();
        kill(&leader);
        leader
    }

    /// Kills a node's agent without warning, and gives back its entry in the status.
    pub fn kill_node(&self, name: &str) -> Value {
        let node = self.entry(name).expect("the node is in the status");
        kill(&node);
        node
    }

    /// The entry of a member or node in the status.
    fn entry(&self, name: &str) -> Option<Value> {
        let status = self.status();
        let lists = ["members", "nodes"].map(|list| status[list].as_array().cloned().unwrap_or_default());
        lists.into_iter().flatten().find(|entry| entry["name"] == name)
    }

    /// Starts a killed process with the command that the status prints.
    pub fn start_again(&self, entry: &Value) {
        let command = entry["startCommand"].as_str().unwrap();
        let log = std::fs::File::create(self.directory().join("logs/again.log")).unwrap();
        let child = Command::new("setsid")
            .args(["sh", "-c", &format!("exec {command}")])
            .stderr(log)
            .spawn();
        // `up` stops it; nobody waits for it here.
        drop(child.unwrap());
        let name = entry["name"].as_str().unwrap().to_string();
        eventually("the process runs again", SOON, || {
            // A member runs once it answers; a node has nothing but its process to show here.
            let entry = self.entry(&name)?;
            let answers = entry.get("revision").is_none_or(|revision| !revision.is_null());
            (answers && !entry["pid"].is_null()).then_some(())
        });
    }

    /// Prints what the cluster says of itself and the ends of all logs: called when a test fails.
    fn dump(&self) {
        for arguments in [
            "get nodes,pods --all-namespaces --output wide --request-timeout 5s",
            "get nodes --output jsonpath={.items[*].spec.taints} --request-timeout 5s",
            "get events --all-namespaces --request-timeout 5s",
        ] {
            // Nothing may panic here, and there may be no API any more.
            if let Ok(said) = self.command("kubectl").args(arguments.split(' ')).output() {
                println!("--- kubectl {arguments}\n{}{}", text(&said.stdout), text(&said.stderr));
            }
        }
        for entry in self.directory().join("logs").read_dir().into_iter().flatten().flatten() {
            let log = std::fs::read_to_string(entry.path()).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            println!(
                "--- {}\n{}",
                entry.path().display(),
                lines[lines.len().saturating_sub(40)..].join("\n")
            );
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.dump();
        }
        self.stop();
    }
}

/// etcdctl refuses an endpoint that is given both by flag and by environment.
pub fn etcdctl(arguments: &str) -> &'static str {
    if arguments.contains("--endpoints") {
        "env -u ETCDCTL_ENDPOINTS etcdctl"
    } else {
        "etcdctl"
    }
}

fn spawn(command: &mut Command, directory: &Path, images: &[PathBuf]) -> (Child, Vec<String>) {
    command.arg("--data-dir").arg(directory);
    for image in images {
        command.arg("--images").arg(image);
    }
    let mut up = command.stdout(Stdio::piped()).spawn().unwrap();
    let stdout = BufReader::new(up.stdout.take().unwrap());
    let (sender, lines) = mpsc::channel();
    // Reads on to the end, or `up` would block on a full pipe.
    std::thread::spawn(move || {
        stdout
            .lines()
            .map_while(Result::ok)
            .for_each(|line| drop(sender.send(line)))
    });
    let mut seen = Vec::new();
    loop {
        match lines.recv_timeout(LATER) {
            Ok(line) if line.contains("The cluster is ready") => return (up, seen),
            Ok(line) => seen.push(line),
            Err(_) => {
                let _ = up.kill();
                let _ = up.wait();
                panic!("the cluster did not get ready:\n{}", seen.join("\n"));
            }
        }
    }
}

fn kill(entry: &Value) {
    let pid = i32::try_from(entry["pid"].as_i64().expect("it runs")).unwrap();
    signal(pid, nix::sys::signal::Signal::SIGKILL);
    eventually("the killed process is gone", SOON, || (!running(pid)).then_some(()));
}

fn signal(pid: i32, signal: nix::sys::signal::Signal) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).unwrap();
}

fn running(pid: i32) -> bool {
    // A zombie has ended; its parent has not looked yet.
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')')
        .next()
        .is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with('Z'))
}

/// Checks that a stopped cluster left no process, mount, link, namespace, table or cgroup on the machine.
pub fn nothing_is_left(cluster: &Cluster) {
    let directory = cluster.directory().to_str().unwrap();
    let layout = std::fs::read_to_string(cluster.directory().join("cluster.yaml")).unwrap();
    let id = layout
        .lines()
        .find_map(|l| l.strip_prefix("id:"))
        .unwrap()
        .trim()
        .trim_matches(['"', '\''])
        .to_string();
    let look = |what: &str, command: &str, trace: &str| {
        let seen = text(&output(std::process::Command::new("sh").args(["-c", command])).stdout);
        assert!(!seen.contains(trace), "{what} left behind: {trace:?} in\n{seen}");
    };
    look("a process", "cat /proc/[0-9]*/cmdline | tr '\\0' '\\n'", directory);
    look("a mount", "cat /proc/mounts", directory);
    look("a link", "PATH=$PATH:/sbin ip -o link", &id);
    look("a namespace", "PATH=$PATH:/sbin ip netns list", &id);
    look("an nft table", "PATH=$PATH:/sbin nft list tables", &id);
    look("a cgroup", "find /sys/fs/cgroup -maxdepth 2 -type d", &id);
}
