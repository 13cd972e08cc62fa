//! Mounts of the agent's own: tmpfs for emptyDir in memory and for what must not touch a disk, bind mounts for subPath.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::{Error, limits};

/// Mounts a tmpfs, limited to `bytes` if given.
pub fn tmpfs(path: &Path, bytes: Option<i64>, mode: u32) -> Result<(), Error> {
    let size = bytes
        .filter(|b| *b > 0)
        .map(|b| format!(",size={b}"))
        .unwrap_or_default();
    mount_tmpfs(path, MsFlags::empty(), &format!("mode={mode:o}{size}"))
        .map_err(|e| Error::file("mount a tmpfs on", path)(e.into()))
}

/// Mounts a tmpfs for secrets, of at most [`limits::SECRET_VOLUME_BYTES_MAX`]: it is not swapped out where the kernel can
/// promise that (Linux 6.4).
pub fn secret_tmpfs(path: &Path, mode: u32) -> Result<(), Error> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    let options = format!("mode={mode:o},size={}", limits::SECRET_VOLUME_BYTES_MAX);
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

/// Whether something is mounted exactly here. An error if the kernel's table of mounts cannot be read: that is no reason
/// to believe that nothing is.
pub fn is_mounted(path: &Path) -> Result<bool, Error> {
    let path = resolved(path);
    Ok(mount_points(Path::new(TABLE))?.contains(&path))
}

/// The kernel lists mount points without symbolic links; the agent's directory may lie behind one.
fn resolved(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_path_buf())
}

/// Unmounts everything at or below `root`, the deepest first.
pub fn unmount_below(root: &Path) -> Result<(), Error> {
    unmount_listed(Path::new(TABLE), root)
}

fn unmount_listed(table: &Path, root: &Path) -> Result<(), Error> {
    let root = resolved(root);
    let mut points = mount_points(table)?;
    points.retain(|p| p.starts_with(&root));
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
    let points = mount_points(Path::new(TABLE)).unwrap();
    points.iter().filter(|p| p.starts_with(&root)).count()
}

/// The kernel's list of what is mounted where.
const TABLE: &str = "/proc/self/mountinfo";

fn mount_points(table: &Path) -> Result<Vec<PathBuf>, Error> {
    // Names of directories need not be UTF-8.
    let bytes = std::fs::read(table).map_err(Error::file("read", table))?;
    let lines = bytes.split(|b| *b == b'\n').filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let point = line.split(|b| *b == b' ').nth(4).map(unescape);
            point.ok_or_else(|| Error::file("read", table)(io::ErrorKind::InvalidData.into()))
        })
        .collect()
}

/// The kernel writes spaces, tabs, newlines and backslashes as three octal digits.
fn unescape(text: &[u8]) -> PathBuf {
    let octal = |digits: &[u8]| {
        let digits = std::str::from_utf8(digits).ok()?;
        u8::from_str_radix(digits, 8).ok()
    };
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        let escaped = after.get(..3).filter(|_| *first == b'\\').and_then(octal);
        out.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &after[3..] } else { after };
    }
    OsString::from_vec(out).into()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn the_kernels_escapes_are_read() {
        assert_eq!(unescape(br"/a\040b\134c"), Path::new(r"/a b\c"));
        assert_eq!(unescape(b"/plain"), Path::new("/plain"));
        assert_eq!(unescape(br"/\04"), Path::new(r"/\04"));
    }

    #[test]
    fn a_name_that_is_no_utf8_hides_no_mount() {
        let dir = tempfile::tempdir().unwrap();
        let table = dir.path().join("mountinfo");
        std::fs::write(
            &table,
            b"1 0 8:1 / /a\xff rw - ext4 x rw\n2 1 8:1 / /b rw - ext4 x rw\n",
        )
        .unwrap();
        let expected = [OsStr::from_bytes(b"/a\xff"), OsStr::new("/b")].map(PathBuf::from);
        assert_eq!(mount_points(&table).unwrap(), expected);
    }

    #[test]
    fn a_table_that_cannot_be_read_is_not_an_empty_one() {
        let dir = tempfile::tempdir().unwrap();
        let table = dir.path().join("mountinfo");
        assert!(unmount_listed(&table, dir.path()).is_err());
        std::fs::write(&table, "1 0 8:1\n").unwrap();
        assert!(unmount_listed(&table, dir.path()).is_err());
    }
}
