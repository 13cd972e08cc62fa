//! The members' network: a bridge, a namespace with one link for each member, and rules in the bridge that cut them off
//! from each other. Clients reach the members from the host, past those rules: a client of a member that is cut off sees
//! what such a client sees.

use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::ops::Range;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Context;

use crate::shell::{quietly, run, sh};

/// The first member's last octet; the bridge is .1.
const FIRST_MEMBER: u8 = 11;
/// Third octets of 172.31.x.0/24 that are tried.
const SUBNETS: std::ops::Range<u8> = 0..250;

/// Holds packets back. The kernels this was made on have no netem; every one has packet queues, and every Debian perl.
const HOLD_BACK: &str = include_str!("delay.pl");
/// The packet queue of each member's namespace.
const QUEUE: &str = "1";

pub(crate) struct Network {
    id: String,
    members: usize,
    subnet: u8,
    /// Programs that hold packets back, one in each namespace.
    delays: Mutex<Vec<Child>>,
}

impl Network {
    /// # Errors
    /// A tool fails; usually for want of root.
    pub(crate) fn create(members: usize) -> anyhow::Result<Network> {
        let routes = sh("ip -4 -o route")?;
        // Tests that begin at the same time must not choose the same one.
        let first = std::process::id() as usize % SUBNETS.len();
        let subnet = SUBNETS
            .chain(SUBNETS)
            .skip(first)
            .find(|subnet| !routes.contains(&format!("172.31.{subnet}.")));
        let subnet = subnet.context("no free network 172.31.x.0/24")?;
        let network = Network {
            id: format!("{:x}", std::process::id()),
            members,
            subnet,
            delays: Mutex::default(),
        };
        let bridge = network.bridge();
        sh(&format!("ip link add {bridge} type bridge forward_delay 0"))?;
        sh(&format!("ip addr add 172.31.{subnet}.1/24 dev {bridge}"))?;
        sh(&format!("ip link set {bridge} up"))?;
        (0..members).try_for_each(|member| network.add(member))?;
        run("nft", &["add", "table", "bridge", &network.table()])?;
        let chain = "{ type filter hook forward priority 0; }";
        run("nft", &["add", "chain", "bridge", &network.table(), "cut", chain])?;
        Ok(network)
    }

    fn add(&self, member: usize) -> anyhow::Result<()> {
        let (namespace, link) = (self.namespace(member), self.link(member));
        sh(&format!("ip netns add {namespace}"))?;
        sh(&format!(
            "ip -n {namespace} link add eth0 type veth peer name {link} netns 1"
        ))?;
        sh(&format!("ip link set {link} master {} up", self.bridge()))?;
        sh(&format!("ip -n {namespace} link set lo up"))?;
        sh(&format!(
            "ip -n {namespace} addr add {}/24 dev eth0",
            self.address(member)
        ))?;
        sh(&format!("ip -n {namespace} link set eth0 up"))?;
        sh(&format!(
            "ip -n {namespace} route add default via 172.31.{}.1",
            self.subnet
        ))?;
        Ok(())
    }

    pub(crate) fn address(&self, member: usize) -> Ipv4Addr {
        Ipv4Addr::new(172, 31, self.subnet, FIRST_MEMBER + member as u8)
    }

    pub(crate) fn namespace(&self, member: usize) -> String {
        format!("jp{}-{member}", self.id)
    }

    fn link(&self, member: usize) -> String {
        format!("vj{}-{member}", self.id)
    }

    fn bridge(&self) -> String {
        format!("jp{}", self.id)
    }

    fn table(&self) -> String {
        format!("jepsen-{}", self.id)
    }

    /// Drops what `from` sends to `to`, for each pair.
    ///
    /// # Errors
    /// nft fails.
    pub(crate) fn cut(&self, pairs: &[(usize, usize)]) -> anyhow::Result<()> {
        pairs.iter().try_for_each(|(from, to)| self.rule(*from, *to, "drop"))
    }

    /// Drops that many packets of a hundred between all members, at random.
    ///
    /// # Errors
    /// nft fails.
    pub(crate) fn lose(&self, percent: u32) -> anyhow::Result<()> {
        let rule = format!("numgen random mod 100 < {percent} drop");
        for from in 0..self.members {
            for to in (0..self.members).filter(|to| *to != from) {
                self.rule(from, to, &rule)?;
            }
        }
        Ok(())
    }

    fn rule(&self, from: usize, to: usize, verdict: &str) -> anyhow::Result<()> {
        let rule = format!("iifname {} oifname {} {verdict}", self.link(from), self.link(to));
        sh(&format!("nft add rule bridge {} cut {rule}", self.table())).map(drop)
    }

    /// Holds every packet between members back for some milliseconds, each for its own time, so that they overtake each
    /// other, too.
    ///
    /// # Errors
    /// iptables or perl is missing, or the kernel has no packet queues.
    pub(crate) fn delay(&self, milliseconds: Range<u64>) -> anyhow::Result<()> {
        self.hurry();
        for member in 0..self.members {
            let mut child = Command::new("setpriv")
                .args(["--pdeathsig", "KILL", "nsenter"])
                .arg(self.enter(member))
                .args(["--", "perl", "-e", HOLD_BACK, QUEUE])
                .args([milliseconds.start, milliseconds.end].map(|time| time.to_string()))
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .spawn()
                .context("cannot run setpriv")?;
            let mut line = String::new();
            if let Some(said) = child.stdout.take() {
                BufReader::new(said).read_line(&mut line)?;
            }
            self.delaying().push(child);
            anyhow::ensure!(
                line.trim() == "ready",
                "packets cannot be held back: is there perl, and nfnetlink_queue?"
            );
            for to in (0..self.members).filter(|to| *to != member) {
                let (enter, to) = (self.enter(member), self.address(to));
                // Without the program, packets pass.
                sh(&format!(
                    "nsenter {enter} -- iptables -A OUTPUT -d {to} -j NFQUEUE --queue-num {QUEUE} --queue-bypass"
                ))?;
            }
        }
        Ok(())
    }

    /// Ends [`Network::delay`].
    pub(crate) fn hurry(&self) {
        let children = std::mem::take(&mut *self.delaying());
        if children.is_empty() {
            return;
        }
        for member in 0..self.members {
            quietly(&format!("nsenter {} -- iptables -F OUTPUT", self.enter(member)));
        }
        for mut child in children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn delaying(&self) -> MutexGuard<'_, Vec<Child>> {
        self.delays.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// nsenter's option for a member's namespace.
    pub(crate) fn enter(&self, member: usize) -> String {
        format!("--net=/run/netns/{}", self.namespace(member))
    }

    /// Breaks every connection that a member has.
    ///
    /// # Errors
    /// ss is missing, or the kernel cannot do it.
    pub(crate) fn reset(&self, member: usize) -> anyhow::Result<()> {
        let net = format!("172.31.{}.0/24", self.subnet);
        sh(&format!("nsenter {} -- ss -K dst {net}", self.enter(member))).map(drop)
    }

    /// # Errors
    /// nft fails.
    pub(crate) fn heal(&self) -> anyhow::Result<()> {
        sh(&format!("nft flush chain bridge {} cut", self.table())).map(drop)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.hurry();
        for member in 0..self.members {
            // A namespace dies late; its link would outlive it.
            quietly(&format!("ip link del {}", self.link(member)));
            quietly(&format!("ip netns del {}", self.namespace(member)));
        }
        quietly(&format!("nft delete table bridge {}", self.table()));
        quietly(&format!("ip link del {}", self.bridge()));
    }
}
