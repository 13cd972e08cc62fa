//! What has to be so before a machine becomes part of a cluster. Every check has a name, kubeadm's where it has one; one that
//! fails says how to mend it, and can be ignored by its name.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::Path;

use anyhow::bail;

use super::{Host, Part};
use crate::output::{say, word};
use crate::up::capabilities::{TOOLS, find};

/// Ignores every check.
const ALL: &str = "all";

/// One check that was made.
pub struct Check {
    name: String,
    /// What is wrong, and how to mend it.
    problem: Option<String>,
}

impl Check {
    pub fn new(name: impl Into<String>, problem: Option<String>) -> Check {
        Check {
            name: name.into(),
            problem,
        }
    }
}

/// Fails if a check that is not ignored has failed; says all that have.
pub fn judge(checks: Vec<Check>, ignored: &[String]) -> anyhow::Result<()> {
    let is_ignored = |name: &str| {
        let same = |other: &String| other.eq_ignore_ascii_case(name) || other.eq_ignore_ascii_case(ALL);
        ignored.iter().any(same)
    };
    let mut failed = Vec::new();
    for Check { name, problem } in checks {
        match problem {
            Some(problem) if is_ignored(&name) => say!("[preflight] ignored: [{name}] {problem}"),
            Some(problem) => failed.push((name, problem)),
            None => {}
        }
    }
    if failed.is_empty() {
        say!("[preflight] passed");
        return Ok(());
    }
    let lines = failed.iter().map(|(name, problem)| format!("  [{name}] {problem}\n"));
    let names: Vec<&str> = failed.iter().map(|(name, _)| name.as_str()).collect();
    bail!(
        "this machine is not ready:\n{}to go on all the same: --ignore-preflight-errors={}",
        lines.collect::<String>(),
        names.join(",")
    )
}

/// What every machine needs.
pub fn machine(name: &str, address: IpAddr) -> Vec<Check> {
    let root = nix::unistd::Uid::effective().is_root();
    let privileged = (!root).then(|| "root is needed: run this command with sudo".to_owned());
    vec![
        Check::new("IsPrivilegedUser", privileged),
        Check::new("Hostname", name_problem(name)),
        Check::new("Address", address_problem(address)),
    ]
}

/// What a master needs.
pub fn master(host: &Host, address: IpAddr, ports: [u16; 3]) -> Vec<Check> {
    let mut checks = vec![tool("setsid", "util-linux")];
    checks.extend(ports.map(|port| free_port(address, port)));
    checks.push(not_set_up(&host.server()));
    checks.push(empty(&host.path("/var/lib/proreus/log")));
    checks
}

/// What a node needs.
pub fn node(host: &Host, cri_endpoint: Option<&str>) -> Vec<Check> {
    let brought = ["containerd", "ctr", "runc"];
    let needed = TOOLS
        .iter()
        .filter(|(name, _)| cri_endpoint.is_none() || !brought.contains(name));
    let mut checks: Vec<Check> = needed.map(|(name, package)| tool(name, package)).collect();
    checks.push(tool("setsid", "util-linux"));
    if let Some(endpoint) = cri_endpoint {
        let socket = Path::new(endpoint.trim_start_matches("unix://"));
        let missing = (!socket.exists()).then(|| format!("nothing listens on {endpoint}: start the container runtime"));
        checks.push(Check::new("CRI", missing));
    }
    checks.push(free_port(IpAddr::from([0, 0, 0, 0]), 10250));
    checks.push(not_set_up(&host.agent()));
    checks
}

fn tool(name: &str, package: &str) -> Check {
    let missing = find(name).is_none();
    let problem = missing.then(|| format!("{name} is not installed: install the Debian package {package}"));
    Check::new(format!("FileExisting-{name}"), problem)
}

fn free_port(address: IpAddr, port: u16) -> Check {
    let bound = TcpListener::bind(SocketAddr::new(address, port));
    let problem = bound
        .err()
        .map(|error| format!("cannot listen on {address} port {port}: {error}; stop what listens there (`ss -ltnp`)"));
    Check::new(format!("Port-{port}"), problem)
}

fn not_set_up(part: &Part) -> Check {
    let problem = part.is_set_up().then(|| {
        format!(
            "{} is there: this machine is part of a cluster, or was; `proreus reset` takes it out",
            word(&part.config)
        )
    });
    Check::new(format!("FileAvailable-{}", part.name), problem)
}

fn empty(directory: &Path) -> Check {
    let used = directory.read_dir().is_ok_and(|mut entries| entries.next().is_some());
    let problem = used.then(|| {
        let shown = word(directory);
        format!("{shown} holds the data of a member: `proreus reset` removes it; keep a backup if nobody else has what is in it")
    });
    Check::new("DirAvailable--var-lib-proreus", problem)
}

/// Names of nodes are DNS names.
pub fn name_problem(name: &str) -> Option<String> {
    let label = |label: &str| {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(allowed)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let fine = name.len() <= 253 && name.split('.').all(label);
    (!fine).then(|| {
        format!(
            "{name:?} is no name for a machine: lowercase letters, digits and hyphens are; give one with --node-name"
        )
    })
}

fn address_problem(address: IpAddr) -> Option<String> {
    if address.is_unspecified() || address.is_multicast() {
        return Some(format!("{address} is no address that others can reach"));
    }
    TcpListener::bind((address, 0))
        .err()
        .map(|error| format!("{address} is not an address of this machine ({error}); see `ip address`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_that_fail_are_named_with_their_mending_and_can_be_ignored() {
        let checks = || {
            vec![
                Check::new("Port-1", Some("stop it".into())),
                Check::new("Fine", None),
                Check::new("Swap", Some("swap is on".into())),
            ]
        };
        let said = judge(checks(), &["swap".into()]).unwrap_err().to_string();
        assert!(said.contains("[Port-1] stop it") && !said.contains("Swap"), "{said}");
        assert!(said.ends_with("--ignore-preflight-errors=Port-1"), "{said}");
        judge(checks(), &["all".into()]).unwrap();
        judge(checks(), &["Port-1".into(), "Swap".into()]).unwrap();
    }

    #[test]
    fn a_port_in_use_is_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert!(free_port(address.ip(), address.port()).problem.is_some());
        drop(listener);
        assert!(free_port(address.ip(), address.port()).problem.is_none());
    }

    #[test]
    fn names_are_dns_names() {
        for fine in ["a", "node-1", "n1.example.org"] {
            assert_eq!(name_problem(fine), None, "{fine}");
        }
        for wrong in ["", "A", "-a", "a_b", "a..b", &"a".repeat(64)] {
            assert!(name_problem(wrong).is_some(), "{wrong}");
        }
    }
}
