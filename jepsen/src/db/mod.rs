//! The databases under test: how their members are set up and started.

mod certificates;
mod etcd;
mod proreus;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

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

#[derive(Clone, Debug)]
pub(crate) struct Db {
    pub(crate) kind: Kind,
    pub(crate) program: PathBuf,
    pub(crate) members: Vec<Member>,
    /// The test's directory.
    pub(crate) directory: PathBuf,
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

    /// What the program says of its version.
    pub(crate) fn version(&self) -> String {
        let said = Command::new(&self.program).arg("--version").output();
        let said = said
            .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
            .unwrap_or_default();
        said.lines().next().unwrap_or("unknown").to_string()
    }
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
