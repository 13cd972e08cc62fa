//! The databases under test: how their members are set up and started.

mod certificates;
mod etcd;
mod proreus;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use anyhow::Context;

use crate::client::Target;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    Proreus,
    /// The control of the harness itself.
    Etcd,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Proreus => "proreus",
            Kind::Etcd => "etcd",
        }
    }
}

/// One member as its program needs it.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) address: Ipv4Addr,
    /// All that it has lies below.
    pub(crate) root: PathBuf,
}

/// A certificate at a port.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    pub(crate) ca: PathBuf,
    pub(crate) cert: PathBuf,
}

#[derive(Debug)]
pub(crate) struct Db {
    pub(crate) kind: Kind,
    pub(crate) program: PathBuf,
    pub(crate) members: Vec<Member>,
    /// The test's directory.
    pub(crate) directory: PathBuf,
    /// Ids of members that took the place of others of the same name.
    pub(crate) ids: Mutex<BTreeMap<usize, u64>>,
    /// Members that were removed and not added again: whoever starts is not told of them.
    pub(crate) away: Mutex<BTreeSet<usize>>,
}

impl Db {
    /// Writes configuration and certificates of all members, and the clients' certificates.
    ///
    /// # Errors
    /// A file cannot be written.
    pub(crate) fn prepare(&self) -> anyhow::Result<()> {
        certificates::write(&self.directory, &self.members)?;
        match self.kind {
            Kind::Proreus => proreus::configure(self),
            Kind::Etcd => Ok(()),
        }
    }

    /// Whether a member belongs to the cluster now.
    pub(crate) fn belongs(&self, member: usize) -> bool {
        !self
            .away
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(&member)
    }

    /// Notes whether a member belongs to the cluster.
    pub(crate) fn set_belongs(&self, member: usize, belongs: bool) {
        let mut away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        if belongs {
            away.remove(&member);
        } else {
            away.insert(member);
        }
    }

    /// Has a member start as a new one that was added to the running cluster, with this id.
    ///
    /// # Errors
    /// Its configuration cannot be written.
    pub(crate) fn rejoin(&self, member: usize, id: u64) -> anyhow::Result<()> {
        self.ids
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(member, id);
        match self.kind {
            Kind::Proreus => proreus::write(self, member),
            Kind::Etcd => Ok(()),
        }
    }

    /// The id that the member was added with, if it was.
    pub(crate) fn rejoined(&self, member: usize) -> Option<u64> {
        self.ids
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&member)
            .copied()
    }

    /// Where other members reach it.
    pub(crate) fn peer_url(&self, member: usize) -> String {
        format!("https://{}:2380", self.members[member].address)
    }

    /// Gives a member and the clients new certificates of the same authorities, with new keys.
    ///
    /// # Errors
    /// A file cannot be read or written.
    pub(crate) fn rotate(&self, member: usize) -> anyhow::Result<()> {
        certificates::rotate(&self.directory, &self.members[member])
    }

    /// What a member has to show at each of its ports, and which authority vouches for it.
    pub(crate) fn served(&self, member: usize) -> Vec<Served> {
        let pki = self.members[member].root.join("etc/kubernetes/pki");
        let address = self.members[member].address;
        let served = |port: u16, ca: &str, cert: &str| Served {
            address: (address, port).into(),
            ca: pki.join(ca),
            cert: pki.join(cert),
        };
        let mut all = vec![
            served(2379, "etcd/ca.crt", "etcd/server.crt"),
            served(2380, "etcd/ca.crt", "etcd/peer.crt"),
        ];
        if self.kind == Kind::Proreus {
            all.push(served(6443, "ca.crt", "apiserver.crt"));
        }
        all
    }

    /// Where the member's data lies.
    pub(crate) fn data(&self, member: usize) -> PathBuf {
        let below = match self.kind {
            Kind::Proreus => "var/lib/proreus",
            Kind::Etcd => "var/lib/etcd",
        };
        self.members[member].root.join(below)
    }

    /// The command line of a member's process, the same at every start.
    pub(crate) fn command(&self, member: usize) -> Command {
        match self.kind {
            Kind::Proreus => proreus::command(self, member),
            Kind::Etcd => etcd::command(self, member),
        }
    }

    pub(crate) fn target(&self, member: usize) -> Target {
        let address = self.members[member].address;
        Target {
            url: format!("https://{address}:2379"),
            stale_reads: false,
            api: (self.kind == Kind::Proreus).then(|| format!("{address}:6443")),
            pki: self.directory.join("pki/client"),
        }
    }

    pub(crate) fn version(&self) -> String {
        version(&self.program)
    }
}

/// What a program says of its version.
pub(crate) fn version(program: &Path) -> String {
    let said = Command::new(program).arg("--version").output();
    let said = said
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default();
    said.lines().next().unwrap_or("unknown").to_string()
}

/// Tells two builds of a version apart.
///
/// # Errors
/// The program cannot be read.
pub(crate) fn fingerprint(program: &Path) -> anyhow::Result<String> {
    let said = crate::shell::run("sha256sum", &[&program.display().to_string()])?;
    Ok(said.chars().take(12).collect())
}

/// The program to test: the one given, or the one that `PATH` has.
///
/// # Errors
/// There is none.
pub(crate) fn program(kind: Kind, given: Option<&Path>) -> anyhow::Result<PathBuf> {
    let path = given.map_or_else(|| PathBuf::from(kind.name()), Path::to_path_buf);
    let found = if path.components().count() > 1 {
        std::fs::canonicalize(&path).ok()
    } else {
        let path_variable = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path_variable)
            .map(|directory| directory.join(&path))
            .find(|file| file.is_file())
    };
    found.with_context(|| format!("cannot find {}: name the program with --binary", path.display()))
}
