//! Machines for a test: network namespaces on a bridge, each with an address and a directory that stands for its root. The
//! test's own machine reaches them through the bridge.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::MutexGuard;

use super::cluster::{SOON, missing, turn};
use super::{eventually, output, proreus, text};

/// Third octets of 172.29.x.0/24 that are tried.
const SUBNETS: std::ops::Range<u8> = 0..250;
/// The first machine's last octet; the bridge is .1.
const FIRST: usize = 11;

pub struct Hosts {
    id: String,
    subnet: u8,
    count: usize,
    directory: tempfile::TempDir,
    _turn: MutexGuard<'static, ()>,
}

/// Why machines cannot be simulated here, if they cannot.
pub fn missing_for_hosts() -> Option<String> {
    if !nix::unistd::Uid::effective().is_root() {
        return Some("root is needed".into());
    }
    ["ip", "nsenter", "setsid", "kubectl"].into_iter().find_map(missing)
}

impl Hosts {
    pub fn new(count: usize) -> Hosts {
        let turn = turn();
        let routes = text(&output(Command::new("ip").args(["-4", "-o", "route"])).stdout);
        let first = std::process::id() as usize % SUBNETS.len();
        let mut tried = SUBNETS.chain(SUBNETS).skip(first);
        let subnet = tried.find(|subnet| !routes.contains(&format!("172.29.{subnet}.")));
        let hosts = Hosts {
            id: format!("{:x}", std::process::id()),
            subnet: subnet.expect("a free network 172.29.x.0/24"),
            count,
            directory: tempfile::Builder::new().prefix("proreus-hosts-").tempdir().unwrap(),
            _turn: turn,
        };
        hosts.create();
        hosts
    }

    fn create(&self) {
        let (bridge, subnet) = (self.bridge(), self.subnet);
        ip(&format!("link add {bridge} type bridge forward_delay 0"));
        ip(&format!("addr add 172.29.{subnet}.1/24 dev {bridge}"));
        ip(&format!("link set {bridge} up"));
        for host in 0..self.count {
            let (namespace, link) = (self.namespace(host), self.link(host));
            ip(&format!("netns add {namespace}"));
            ip(&format!(
                "-n {namespace} link add eth0 type veth peer name {link} netns 1"
            ));
            ip(&format!("link set {link} master {bridge} up"));
            ip(&format!("-n {namespace} link set lo up"));
            ip(&format!("-n {namespace} addr add {}/24 dev eth0", self.address(host)));
            ip(&format!("-n {namespace} link set eth0 up"));
            ip(&format!("-n {namespace} route add default via 172.29.{subnet}.1"));
        }
    }

    fn bridge(&self) -> String {
        format!("ph{}", self.id)
    }

    fn namespace(&self, host: usize) -> String {
        format!("ph{}-{host}", self.id)
    }

    fn link(&self, host: usize) -> String {
        format!("vh{}-{host}", self.id)
    }

    pub fn address(&self, host: usize) -> String {
        format!("172.29.{}.{}", self.subnet, FIRST + host)
    }

    pub fn root(&self, host: usize) -> PathBuf {
        self.directory.path().join(format!("h{host}"))
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A program on a machine.
    pub fn on(&self, host: usize, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/run/netns/{}", self.namespace(host)))
            .arg(program)
            .env("PROREUS_ROOTFS", self.root(host))
            .env("KUBECONFIG", self.kubeconfig(host))
            .env("HOME", self.directory());
        command
    }

    /// Where a master has the administrator's kubeconfig.
    pub fn kubeconfig(&self, host: usize) -> PathBuf {
        self.root(host).join("etc/kubernetes/admin.conf")
    }

    /// Runs `proreus` with these words on a machine.
    pub fn run(&self, host: usize, words: &str) -> Output {
        let program = proreus().get_program().to_owned();
        output(self.on(host, program).args(words.split_whitespace()))
    }

    /// The same; it must succeed. Gives back what it prints.
    #[track_caller]
    pub fn does(&self, host: usize, words: &str) -> String {
        let result = self.run(host, words);
        let (said, errors) = (text(&result.stdout), text(&result.stderr));
        if !result.status.success() {
            self.dump_logs();
        }
        assert!(result.status.success(), "on {host}: {words}:\n{said}{errors}");
        said
    }

    /// The same; it must be refused. Gives back why.
    #[track_caller]
    pub fn refuses(&self, host: usize, words: &str) -> String {
        let result = self.run(host, words);
        let (said, errors) = (text(&result.stdout), text(&result.stderr));
        assert_eq!(result.status.code(), Some(1), "on {host}: {words}:\n{said}{errors}");
        errors
    }

    /// Runs kubectl as the administrator of this master; `None` if it fails.
    pub fn try_kubectl(&self, host: usize, words: &str) -> Option<String> {
        let result = output(self.on(host, "kubectl").args(words.split_whitespace()));
        result.status.success().then(|| text(&result.stdout))
    }

    /// The same; it must succeed.
    #[track_caller]
    pub fn kubectl(&self, host: usize, words: &str) -> String {
        let result = output(self.on(host, "kubectl").args(words.split_whitespace()));
        let (said, errors) = (text(&result.stdout), text(&result.stderr));
        assert!(result.status.success(), "on {host}: kubectl {words}:\n{said}{errors}");
        said
    }

    /// The members of the store as a master tells: (name, whether it votes).
    pub fn members(&self, host: usize) -> Option<Vec<(String, bool)>> {
        let pki = self.root(host).join("etc/kubernetes/pki/etcd");
        let file = |name: &str| pki.join(name).to_str().unwrap().to_owned();
        let words = format!(
            "member list --output json --endpoints https://{}:2379 --cacert {} --cert {} --key {}",
            self.address(host),
            file("ca.crt"),
            file("healthcheck-client.crt"),
            file("healthcheck-client.key")
        );
        let result = self.run(host, &words);
        let list: serde_json::Value = serde_json::from_slice(&result.stdout).ok()?;
        let members = list["members"].as_array()?.iter();
        let mut members: Vec<(String, bool)> = members
            .map(|m| (m["name"].as_str().unwrap_or_default().to_owned(), m["learner"] == false))
            .collect();
        members.sort();
        Some(members)
    }

    /// The id in a file below `/run/proreus` of a machine.
    pub fn pid(&self, host: usize, name: &str) -> Option<i32> {
        let path = self.root(host).join("run/proreus").join(name);
        std::fs::read_to_string(path).ok()?.trim().parse().ok()
    }

    /// Kills the process whose id is in a file, as a power loss would.
    pub fn kill(&self, host: usize, name: &str) {
        let pid = self.pid(host, name).expect("it runs");
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
        eventually("the killed process is gone", SOON, || {
            let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            command.is_empty().then_some(())
        });
    }

    /// Checks that a machine that was reset has nothing of a cluster left: no process, mount, file, link, address, route or table.
    pub fn nothing_is_left(&self, host: usize) {
        let root = self.root(host);
        let trace = root.to_str().unwrap().to_owned() + "/";
        let look = |what: &str, command: &str, trace: &str| {
            let seen = text(&output(self.on(host, "sh").args(["-c", command])).stdout);
            assert!(!seen.contains(trace), "machine {host}: {what}: {trace:?} in\n{seen}");
        };
        look("a process", "cat /proc/[0-9]*/cmdline | tr '\\0' '\\n'", &trace);
        look("a mount", "cat /proc/[0-9]*/mounts", &trace);
        look("a link", "PATH=$PATH:/sbin ip -o link", "cni0");
        look("a link", "PATH=$PATH:/sbin ip -o link", "veth");
        look("an address", "PATH=$PATH:/sbin ip -o address", "10.96.0.10");
        look("a route", "PATH=$PATH:/sbin ip route", "10.244.");
        look("an nft table", "PATH=$PATH:/sbin nft list tables", "proreus");
        let files = text(&output(Command::new("find").arg(&root).args(["!", "-type", "d"])).stdout);
        assert_eq!(files, "", "machine {host}: files");
    }

    /// Prints the ends of all logs: called when a test fails.
    pub fn dump_logs(&self) {
        for host in 0..self.count {
            for name in ["server", "agent"] {
                let path = self.root(host).join(format!("var/log/proreus/{name}.log"));
                let log = std::fs::read_to_string(&path).unwrap_or_default();
                let lines: Vec<&str> = log.lines().collect();
                let end = &lines[lines.len().saturating_sub(30)..];
                println!("--- {}\n{}", path.display(), end.join("\n"));
            }
        }
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.dump_logs();
        }
        for host in 0..self.count {
            // Whatever a test that failed has left running.
            for name in ["agent.pid", "init-pid", "server.pid"] {
                let Some(pid) = self.pid(host, name) else { continue };
                let command = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                if command.contains(self.root(host).to_str().unwrap()) {
                    let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
                }
            }
            let _ = Command::new("ip").args(["link", "del", &self.link(host)]).output();
            let _ = Command::new("ip")
                .args(["netns", "del", &self.namespace(host)])
                .output();
        }
        let _ = Command::new("ip").args(["link", "del", &self.bridge()]).output();
    }
}

#[track_caller]
fn ip(words: &str) {
    let result = output(Command::new("ip").args(words.split(' ')));
    assert!(result.status.success(), "ip {words}: {}", text(&result.stderr));
}
