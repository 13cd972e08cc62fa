//! What this machine allows: whether nodes can run here, and if not, why.

use std::path::{Path, PathBuf};

/// The tools a node needs, with the Debian package that brings each.
pub const TOOLS: [(&str, &str); 6] = [
    ("containerd", "containerd"),
    ("ctr", "containerd"),
    ("runc", "runc"),
    ("nft", "nftables"),
    ("ip", "iproute2"),
    ("nsenter", "util-linux"),
];

pub struct Capabilities {
    /// Masters get addresses of their own on a bridge.
    pub root: bool,
    /// Why no node can run here; empty if one can.
    pub missing: Vec<String>,
}

impl Capabilities {
    pub fn detect() -> Capabilities {
        let root = nix::unistd::Uid::effective().is_root();
        let mut missing = Vec::new();
        if !root {
            missing.push("root is needed for namespaces and containers".to_string());
        }
        for (tool, package) in TOOLS {
            if find(tool).is_none() {
                missing.push(format!("{tool} is not installed (Debian package {package})"));
            }
        }
        Capabilities {
            root: root && find("ip").is_some(),
            missing,
        }
    }
}

/// Looks a program up on the PATH and in the directories of system programs, which a user's PATH may lack.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(usual)
        .map(|d| d.join(program))
        .find(|p| is_file(p))
}

fn is_file(path: &Path) -> bool {
    path.metadata().is_ok_and(|m| m.is_file())
}
