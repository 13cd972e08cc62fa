//! What tests leave on the machine that were killed before they could undo it: namespaces, links, rules, disks, groups. Each is
//! named after the process of its test; what belongs to a process that is no more is removed.
//!
//! A process that lives is never touched, not even one that only has the same number: its leftovers stay until it is gone.

use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::shell::{on, sh};

const GROUPS: &str = "/sys/fs/cgroup/blkio";
/// Of images and groups.
const PREFIX: &str = "jepsen-";

/// The file of a member's disk.
pub(crate) fn image(member: &str) -> String {
    format!("{PREFIX}{}-{member}.img", std::process::id())
}

/// The group of processes whose writes to a member's disk can be slowed.
pub(crate) fn group(member: &str) -> PathBuf {
    Path::new(GROUPS).join(format!("{PREFIX}{}-{member}", std::process::id()))
}

/// Removes what dead tests left; what that was. To be called before this process makes anything.
///
/// # Errors
/// A tool is missing or fails, usually for want of root.
pub(crate) fn clean() -> anyhow::Result<Vec<String>> {
    let mut removed = Vec::new();
    for line in sh("ip netns list")?.lines() {
        let name = line.split_whitespace().next().unwrap_or_default();
        if !is_left(in_hex(name, &["jp"])) {
            continue;
        }
        // Members die with their harness; if one did not, it is the namespace's last.
        for process in sh(&format!("ip netns pids {name}")).unwrap_or_default().lines() {
            if let Ok(process) = process.trim().parse() {
                let _ = kill(Pid::from_raw(process), Signal::SIGKILL);
            }
        }
        remove(
            &format!("ip netns del {name}"),
            format!("namespace {name}"),
            &mut removed,
        );
    }
    for line in sh("ip -o link")?.lines() {
        let name = line.split(": ").nth(1).unwrap_or_default();
        let name = name.split('@').next().unwrap_or_default();
        if is_left(in_hex(name, &["jp", "vj"])) {
            remove(&format!("ip link del {name}"), format!("link {name}"), &mut removed);
        }
    }
    for line in sh("nft list tables bridge")?.lines() {
        let name = line.split_whitespace().last().unwrap_or_default();
        if is_left(in_hex(name, &[PREFIX])) {
            let command = format!("nft delete table bridge {name}");
            remove(&command, format!("table {name}"), &mut removed);
        }
    }
    removed.extend(disks()?);
    for group in std::fs::read_dir(GROUPS).into_iter().flatten().flatten() {
        let left = is_left(in_decimal(&group.file_name().to_string_lossy()));
        if left && std::fs::remove_dir(group.path()).is_ok() {
            removed.push(format!("group {}", group.path().display()));
        }
    }
    Ok(removed)
}

/// What is gone by then, such as the link of a namespace, needs no removal and is not told.
fn remove(command: &str, what: String, removed: &mut Vec<String>) {
    if sh(command).is_ok() {
        removed.push(what);
    }
}

fn disks() -> anyhow::Result<Vec<String>> {
    let mounts = std::fs::read_to_string("/proc/self/mounts")?;
    let mut removed = Vec::new();
    for line in sh("losetup --list --noheadings --output NAME,BACK-FILE")?.lines() {
        let Some((device, image)) = line.trim().split_once(char::is_whitespace) else {
            continue;
        };
        let image = Path::new(image.trim().trim_end_matches(" (deleted)"));
        let name = image.file_name().unwrap_or_default().to_string_lossy();
        if !name.ends_with(".img") || !is_left(in_decimal(&name)) {
            continue;
        }
        let mounted = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        for mount in mounted.filter(|words| words.first() == Some(&device)) {
            let _ = on("umount -l", Path::new(&unescaped(mount[1])));
        }
        let command = format!("losetup -d {device}");
        remove(&command, format!("disk {}", image.display()), &mut removed);
        let _ = std::fs::remove_file(image);
    }
    Ok(removed)
}

/// A path as `/proc/self/mounts` has it: spaces and the like are there by their octal numbers.
fn unescaped(path: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(path.to_string(), |path, (escaped, meant)| path.replace(escaped, meant))
}

/// Whether the process it belongs to is no more. What has the number of this one is another's: this one has made nothing yet.
fn is_left(process: Option<u32>) -> bool {
    process.is_some_and(|process| process == std::process::id() || !Path::new(&format!("/proc/{process}")).exists())
}

/// The process that a namespace, link or table is named after: `jp1f2e-0`, `vj1f2e-0`, `jp1f2e`, `jepsen-1f2e`.
fn in_hex(name: &str, prefixes: &[&str]) -> Option<u32> {
    let rest = prefixes.iter().find_map(|prefix| name.strip_prefix(prefix))?;
    let (process, member) = rest.split_once('-').unwrap_or((rest, "0"));
    let digits = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (digits(process) && member.parse::<u8>().is_ok()).then_some(())?;
    u32::from_str_radix(process, 16).ok()
}

/// The process that an image or a group is named after: `jepsen-1234-n1`.
fn in_decimal(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.split_once("-n")?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_named_after_a_process_can_be_left() {
        assert_eq!(in_hex("jp1f2e-0", &["jp", "vj"]), Some(0x1f2e));
        assert_eq!(in_hex("vj1f2e-4", &["jp", "vj"]), Some(0x1f2e));
        assert_eq!(in_hex("jp1f2e", &["jp"]), Some(0x1f2e));
        assert_eq!(in_hex("jepsen-1f2e", &[PREFIX]), Some(0x1f2e));
        for other in ["jp", "jp-0", "jpeg", "jp1f2e-x", "jp1F", "eth0", "vj1f2e-0-1"] {
            assert_eq!(in_hex(other, &["jp", "vj"]), None, "{other}");
        }
        assert_eq!(in_decimal("jepsen-1234-n1.img"), Some(1234));
        assert_eq!(in_decimal("jepsen-1234-n1"), Some(1234));
        for other in ["n1.img", "jepsen-x-n1", "jepsen-1234"] {
            assert_eq!(in_decimal(other), None, "{other}");
        }
    }

    #[test]
    fn mounts_with_spaces_are_found() {
        assert_eq!(unescaped("/a\\040store/n1"), "/a store/n1");
        assert_eq!(unescaped("/store/n1"), "/store/n1");
    }

    #[test]
    fn what_belongs_to_a_living_process_is_not_left() {
        assert!(!is_left(Some(1)));
        assert!(!is_left(None));
        // No process has so great a number.
        assert!(is_left(Some(u32::MAX)));
    }
}
