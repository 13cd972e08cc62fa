//! Mounts of the agent's own: tmpfs for emptyDir in memory and for what must not touch a disk, bind mounts for subPath.

use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::Error;

/// Mounts a tmpfs, limited to `bytes` if given.
pub fn tmpfs(path: &Path, bytes: Option<i64>, mode: u32) -> Result<(), Error> {
    let size = bytes
        .filter(|b| *b > 0)
        .map(|b| format!(",size={b}"))
        .unwrap_or_default();
    mount_tmpfs(path, MsFlags::empty(), &format!("mode={mode:o}{size}"))
        .map_err(|e| Error::file("mount a tmpfs on", path)(e.into()))
}

/// Mounts a tmpfs for secrets: it is not swapped out where the kernel can promise that (Linux 6.4).
pub fn secret_tmpfs(path: &Path, mode: u32) -> Result<(), Error> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    let options = format!("mode={mode:o}");
    let mounted = match mount_tmpfs(path, flags, &format!("{options},noswap")) {
        Err(nix::errno::Errno::EINVAL) => mount_tmpfs(path, flags, &options),
        other => other,
    };
    mounted.map_err(|e| Error::file("mount a tmpfs on", path)(e.into()))
}

fn mount_tmpfs(path: &Path, flags: MsFlags, options: &str) -> nix::Result<()> {
    mount(Some("tmpfs"), path, Some("tmpfs"), flags, Some(options))
}

/// Makes `target` show `source`, which may be `/proc/self/fd/N`.
pub fn bind(source: &Path, target: &Path) -> Result<(), Error> {
    mount(
        Some(source),
        target,
        None::<&str>,
        MsFlags::MS_BIND | MsFlags::MS_REC,
        None::<&str>,
    )
    .map_err(|e| Error::file("bind-mount on", target)(e.into()))
}

/// Whether something is mounted exactly here.
pub fn is_mounted(path: &Path) -> bool {
    let path = resolved(path);
    mount_points().contains(&path)
}

/// The kernel lists mount points without symbolic links; the agent's directory may lie behind one.
fn resolved(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_path_buf())
}

/// Unmounts everything at or below `root`, the deepest first.
pub fn unmount_below(root: &Path) -> Result<(), Error> {
    let root = resolved(root);
    let mut points: Vec<PathBuf> = mount_points().into_iter().filter(|p| p.starts_with(&root)).collect();
    points.sort_by_key(|p| std::cmp::Reverse(p.components().count()));
    for point in points {
        // Detached, because a process that was killed a moment ago may still hold it.
        match umount2(&point, MntFlags::MNT_DETACH) {
            Ok(()) | Err(nix::errno::Errno::EINVAL | nix::errno::Errno::ENOENT) => {}
            Err(e) => return Err(Error::file("unmount", &point)(e.into())),
        }
    }
    Ok(())
}

/// How many mounts there are at or below `root`.
#[cfg(test)]
pub(crate) fn count_below(root: &Path) -> usize {
    let root = resolved(root);
    mount_points().iter().filter(|p| p.starts_with(&root)).count()
}

fn mount_points() -> Vec<PathBuf> {
    let text = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    text.lines()
        .filter_map(|l| l.split(' ').nth(4))
        .map(|p| PathBuf::from(unescape(p)))
        .collect()
}

/// The kernel writes spaces, tabs, newlines and backslashes as three octal digits.
fn unescape(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let bytes = text.as_bytes();
    let mut i = 0;
    while i < bytes.len() {
        let octal = (bytes[i] == b'\\').then(|| text.get(i + 1..i + 4)).flatten();
        match octal.and_then(|o| u8::from_str_radix(o, 8).ok()) {
            Some(byte) => {
                out.push(byte);
                i += 4;
            }
            None => {
                out.push(bytes[i]);
                i += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_escapes_are_read() {
        assert_eq!(unescape(r"/a\040b\134c"), r"/a b\c");
        assert_eq!(unescape("/plain"), "/plain");
    }
}
