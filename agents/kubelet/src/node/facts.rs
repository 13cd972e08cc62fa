//! What kind of machine this is.

use std::fs;
use std::path::Path;

use nix::sys::statvfs::statvfs;
use nix::sys::utsname::uname;

/// Facts that do not change while the agent runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Machine {
    /// CPUs in thousandths.
    pub cpu_milli: i64,
    /// Memory in bytes.
    pub memory_bytes: i64,
    /// Size of the file system under the agent's directory, in bytes.
    pub storage_bytes: i64,
    /// `amd64`, `arm64`, ...
    pub architecture: &'static str,
    /// From /etc/machine-id.
    pub machine_id: String,
    /// From the firmware.
    pub system_uuid: String,
    /// Of this boot.
    pub boot_id: String,
    /// Of the running kernel.
    pub kernel_version: String,
    /// The distribution's name.
    pub os_image: String,
}

impl Machine {
    /// Looks at this machine; `root_dir` is where pods' files are.
    pub fn detect(root_dir: &Path) -> Self {
        let machine_id = first(&["/etc/machine-id", "/var/lib/dbus/machine-id"]);
        Machine {
            cpu_milli: std::thread::available_parallelism().map_or(1, |n| n.get() as i64) * 1000,
            memory_bytes: memory("MemTotal:").unwrap_or(0),
            storage_bytes: storage(root_dir).map_or(0, |s| s.size),
            architecture: crate::image::architecture(),
            system_uuid: Some(first(&["/sys/class/dmi/id/product_uuid"]))
                .filter(|u| !u.is_empty())
                .unwrap_or_else(|| machine_id.clone()),
            machine_id,
            boot_id: first(&["/proc/sys/kernel/random/boot_id"]),
            kernel_version: uname()
                .map(|u| u.release().to_string_lossy().into_owned())
                .unwrap_or_default(),
            os_image: os_image(&fs::read_to_string("/etc/os-release").unwrap_or_default()),
        }
    }
}

fn first(paths: &[&str]) -> String {
    let text = paths.iter().find_map(|p| fs::read_to_string(p).ok());
    text.unwrap_or_default().trim().to_owned()
}

/// A line of /proc/meminfo, in bytes.
pub(super) fn memory(field: &str) -> Option<i64> {
    meminfo(&fs::read_to_string("/proc/meminfo").ok()?, field)
}

fn meminfo(text: &str, field: &str) -> Option<i64> {
    let line = text.lines().find_map(|l| l.strip_prefix(field))?;
    line.split_whitespace()
        .next()?
        .parse::<i64>()
        .ok()
        .map(|kib| kib * 1024)
}

/// Sizes of a file system.
#[derive(Debug, Clone, Copy)]
pub(super) struct Storage {
    pub(super) size: i64,
    pub(super) available: i64,
    pub(super) inodes: u64,
    pub(super) inodes_free: u64,
}

/// Of the file system a path is on.
pub(super) fn storage(path: &Path) -> Option<Storage> {
    let existing = path.ancestors().find(|p| p.exists())?;
    let s = statvfs(existing).ok()?;
    let block = s.fragment_size();
    let bytes = |blocks: u64| i64::try_from(blocks.saturating_mul(block)).unwrap_or(i64::MAX);
    Some(Storage {
        size: bytes(s.blocks()),
        available: bytes(s.blocks_available()),
        inodes: s.files(),
        inodes_free: s.files_free(),
    })
}

fn os_image(text: &str) -> String {
    let line = text.lines().find_map(|l| l.strip_prefix("PRETTY_NAME="));
    line.map_or("Linux".into(), |l| l.trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_system_are_read() {
        assert_eq!(
            meminfo("MemTotal:  100 kB\nMemFree: 5 kB\n", "MemTotal:"),
            Some(102_400)
        );
        assert_eq!(meminfo("", "MemTotal:"), None);
        assert_eq!(os_image("NAME=x\nPRETTY_NAME=\"Some Linux 1\"\n"), "Some Linux 1");
        let machine = Machine::detect(Path::new("/var/lib/does/not/exist"));
        assert!(machine.cpu_milli >= 1000 && machine.memory_bytes > 0 && machine.storage_bytes > 0);
    }
}
