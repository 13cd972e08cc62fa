//! Network namespaces joined by veth pairs, with servers that tell who they are and whom they saw.

use std::{
    fs::File,
    io::{ErrorKind, Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use nix::sched::{CloneFlags, setns};

/// A connection that a broken ruleset swallows must not hang the test.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What came of a connection.
#[derive(Debug, PartialEq, Eq)]
pub enum Reply {
    /// The server's name and the address it saw.
    Served(String, Ipv4Addr),
    Refused,
    /// Neither.
    Nothing(ErrorKind),
}

impl Reply {
    pub fn served(self) -> (String, Ipv4Addr) {
        match self {
            Self::Served(name, peer) => (name, peer),
            other => panic!("the connection was not served: {other:?}"),
        }
    }
}

/// How Pods hang on their node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// Each by a routed link of its own.
    Routed,
    /// All on one bridge.
    Bridge,
}

pub struct Lab {
    prefix: String,
}

/// Namespace, its address, and the node's address on the link to it.
const LINKS: [(&str, &str, &str); 3] = [
    ("a", "10.244.1.2", "10.244.1.1"),
    ("b", "10.244.1.3", "10.244.1.1"),
    ("world", "172.30.0.9", "172.30.0.11"),
];

impl Lab {
    /// `None`, with a line that says so, where namespaces or nft are not to be had.
    pub fn new(network: Network) -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let prefix = format!(
            "proxy-test-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let works = |program: &str, argument: &str| {
            Command::new(program)
                .arg(argument)
                .output()
                .is_ok_and(|output| output.status.success())
        };
        let lab = Self { prefix };
        if !works("nft", "--version")
            || !works("nsenter", "--version")
            || !lab.try_run(&["netns", "add", &lab.name("node")])
        {
            skip::skip("needs root, ip, nft and nsenter");
            return None;
        }
        lab.build();
        if network == Network::Bridge {
            lab.bridge();
        }
        Some(lab)
    }

    fn build(&self) {
        let node = self.name("node");
        self.run(&["-n", &node, "link", "set", "lo", "up"]);
        for (name, address, gateway) in LINKS {
            let (netns, device) = (self.name(name), format!("to-{name}"));
            self.run(&["netns", "add", &netns]);
            self.run(&["-n", &netns, "link", "set", "lo", "up"]);
            self.run(&[
                "-n", &node, "link", "add", &device, "type", "veth", "peer", "name", "eth0", "netns", &netns,
            ]);
            self.run(&["-n", &node, "addr", "add", &format!("{gateway}/32"), "dev", &device]);
            self.run(&["-n", &node, "link", "set", &device, "up"]);
            self.run(&["-n", &node, "route", "add", address, "dev", &device, "src", gateway]);
            self.run(&["-n", &netns, "addr", "add", &format!("{address}/32"), "dev", "eth0"]);
            self.run(&["-n", &netns, "link", "set", "eth0", "up"]);
            self.run(&[
                "-n", &netns, "route", "add", "default", "via", gateway, "dev", "eth0", "onlink",
            ]);
        }
        // A look-up precedes DNAT, so a node without a default route cannot even try a virtual address.
        self.run(&[
            "-n",
            &node,
            "route",
            "add",
            "default",
            "via",
            "172.30.0.9",
            "dev",
            "to-world",
            "onlink",
        ]);
        self.inside("node", || std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap());
    }

    /// Joins the Pods' links by a bridge, as the bridge CNI plugin does with `hairpinMode`.
    fn bridge(&self) {
        let node = self.name("node");
        self.run(&["-n", &node, "link", "add", "cni0", "type", "bridge"]);
        self.run(&["-n", &node, "link", "set", "cni0", "up"]);
        for (name, address, gateway) in &LINKS[..2] {
            let (netns, device) = (self.name(name), format!("to-{name}"));
            self.run(&["-n", &node, "addr", "flush", "dev", &device]);
            self.run(&["-n", &node, "link", "set", &device, "master", "cni0"]);
            self.run(&[
                "-n",
                &node,
                "link",
                "set",
                &device,
                "type",
                "bridge_slave",
                "hairpin",
                "on",
            ]);
            self.run(&["-n", &node, "addr", "replace", &format!("{gateway}/24"), "dev", "cni0"]);
            self.run(&["-n", &netns, "addr", "flush", "dev", "eth0"]);
            self.run(&["-n", &netns, "addr", "add", &format!("{address}/24"), "dev", "eth0"]);
            self.run(&["-n", &netns, "route", "replace", "default", "via", gateway]);
        }
        self.inside("node", || {
            std::fs::write("/proc/sys/net/bridge/bridge-nf-call-iptables", "1").unwrap()
        });
    }

    fn name(&self, short: &str) -> String {
        format!("{}-{short}", self.prefix)
    }

    fn try_run(&self, arguments: &[&str]) -> bool {
        Command::new("ip")
            .args(arguments)
            .output()
            .is_ok_and(|output| output.status.success())
    }

    fn run(&self, arguments: &[&str]) {
        let output = Command::new("ip").args(arguments).output().unwrap();
        assert!(
            output.status.success(),
            "ip {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    fn path(&self, name: &str) -> String {
        format!("/run/netns/{}", self.name(name))
    }

    /// The command prefix that enters a namespace.
    pub fn enter(&self, name: &str) -> [String; 2] {
        ["nsenter".into(), format!("--net={}", self.path(name))]
    }

    /// Runs `work` on a thread of its own inside a namespace; sockets made there stay there.
    fn inside<T: Send>(&self, name: &str, work: impl FnOnce() -> T + Send) -> T {
        let netns = File::open(self.path(name)).unwrap();
        let enter = || {
            setns(&netns, CloneFlags::CLONE_NEWNET).unwrap();
            work()
        };
        std::thread::scope(|scope| scope.spawn(enter).join().unwrap())
    }

    /// Serves in a namespace until the process ends.
    pub fn serve(&self, name: &str, port: u16) {
        let listener = self.inside(name, || TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap());
        let name = name.to_string();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                greet(stream, &name);
            }
        });
    }

    /// Connects from a namespace to `ip:port`.
    pub fn ask(&self, from: &str, to: &str) -> Reply {
        let to: SocketAddr = to.parse().unwrap();
        self.inside(from, || match TcpStream::connect_timeout(&to, CONNECT_TIMEOUT) {
            Ok(stream) => read_reply(stream),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => Reply::Refused,
            Err(error) => Reply::Nothing(error.kind()),
        })
    }

    /// The tables in a namespace's ruleset.
    pub fn tables(&self, name: &str) -> Vec<String> {
        let [nsenter, net] = self.enter(name);
        let output = Command::new(nsenter)
            .args([&net, "nft", "list", "tables"])
            .output()
            .unwrap();
        String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .map(String::from)
            .collect()
    }
}

fn greet(mut stream: TcpStream, name: &str) {
    if let Ok(peer) = stream.peer_addr() {
        let _ = write!(stream, "{name} {}", peer.ip());
    }
}

fn read_reply(mut stream: TcpStream) -> Reply {
    stream.set_read_timeout(Some(CONNECT_TIMEOUT)).unwrap();
    let mut text = String::new();
    if let Err(error) = stream.read_to_string(&mut text) {
        return Reply::Nothing(error.kind());
    }
    let (name, peer) = text.split_once(' ').expect("a name and an address");
    match peer.parse().unwrap() {
        IpAddr::V4(peer) => Reply::Served(name.into(), peer),
        IpAddr::V6(peer) => panic!("an IPv6 peer {peer}"),
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // Deleting the links first: a namespace dies later than its deletion returns.
        for (name, ..) in LINKS {
            self.try_run(&["-n", &self.name("node"), "link", "del", &format!("to-{name}")]);
        }
        for name in LINKS.map(|link| link.0).into_iter().chain(["node"]) {
            self.try_run(&["netns", "del", &self.name(name)]);
        }
    }
}
