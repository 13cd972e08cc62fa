//! Kernel settings without which the rules cannot work, for the network namespace of this process.

use std::{
    path::Path,
    process::{Command, Stdio},
};

/// Setting, value, and what fails without it.
const SETTINGS: [(&str, &str, &str); 2] = [
    (
        "net/ipv4/ip_forward",
        "1",
        "nothing is forwarded between Pods and the world",
    ),
    (
        "net/bridge/bridge-nf-call-iptables",
        "1",
        "a Pod cannot reach a virtual address served on its own node's bridge",
    ),
];

/// The module that brings the bridge settings. Where it is missing, loading it is tried; where it is built in, it is there.
const BRIDGE_MODULE: &str = "br_netfilter";

/// Sets them; a failure is logged with its consequence, because the node may be set up differently on purpose.
pub fn apply() {
    if !Path::new("/proc/sys/net/bridge").exists() {
        let loaded = Command::new("modprobe")
            .arg(BRIDGE_MODULE)
            .stderr(Stdio::null())
            .status();
        tracing::debug!(module = BRIDGE_MODULE, ?loaded, "asked for the kernel module");
    }
    for (name, value, consequence) in SETTINGS {
        if let Err(error) = set(Path::new("/proc/sys"), name, value) {
            tracing::warn!(sysctl = name, %error, "cannot set a kernel parameter: {consequence}");
        }
    }
}

fn set(root: &Path, name: &str, value: &str) -> std::io::Result<()> {
    let path = root.join(name);
    if std::fs::read_to_string(&path)?.trim() == value {
        return Ok(());
    }
    std::fs::write(path, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_written_only_when_it_differs() {
        let root = std::env::temp_dir().join(format!("proxy-sysctl-{}", std::process::id()));
        std::fs::create_dir_all(root.join("net")).unwrap();
        std::fs::write(root.join("net/a"), "0\n").unwrap();
        set(&root, "net/a", "1").unwrap();
        assert_eq!(std::fs::read_to_string(root.join("net/a")).unwrap(), "1");
        set(&root, "net/a", "1").unwrap();
        assert!(set(&root, "net/missing", "1").is_err());
        std::fs::remove_dir_all(root).unwrap();
    }
}
