//! Removing a tree without ever going into something that is mounted in it.
//!
//! What is mounted below a pod's directory may be the node's own: a subPath of a hostPath is a bind mount, even of the same
//! file system, so that comparing devices would not tell. Therefore the kernel itself opens every directory, beneath the
//! one that holds it and across no mount point (`openat2` with `RESOLVE_NO_XDEV`, Linux 5.6; before that only another
//! file system is noticed). It also refuses to unlink anything that something is mounted on.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat, openat2};
use nix::sys::stat::{Mode, fstat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::Error;

/// A directory that is being emptied.
struct Level {
    directory: OwnedFd,
    name: OsString,
    left: Vec<OsString>,
}

/// Removes `path` and everything below it; nothing to do if it does not exist. Where something is mounted it ends with an
/// error: what is beyond is left as it is.
pub fn tree(path: &Path) -> Result<(), Error> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        let error = io::Error::from(io::ErrorKind::InvalidInput);
        return Err(Error::file("remove", path)(error));
    };
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    match open(parent, flags, Mode::empty()) {
        Ok(parent) => remove(&parent, name).map_err(Error::file("remove", path)),
        Err(Errno::ENOENT) => Ok(()),
        Err(errno) => Err(Error::file("open", parent)(errno.into())),
    }
}

fn remove(parent: &OwnedFd, name: &OsStr) -> io::Result<()> {
    // A tree may be deeper than a stack: what is open is kept in a list.
    let mut levels: Vec<Level> = enter(parent, name)?.into_iter().collect();
    while let Some(level) = levels.last_mut() {
        if let Some(name) = level.left.pop() {
            let below = enter(&level.directory, &name)?;
            levels.extend(below);
            continue;
        }
        let emptied = levels.pop().map(|l| l.name).unwrap_or_default();
        let holder = levels.last().map_or(parent, |l| &l.directory);
        gone(unlinkat(holder, emptied.as_os_str(), UnlinkatFlags::RemoveDir))?;
    }
    Ok(())
}

/// Removes what is no directory; opens what is one.
fn enter(parent: &OwnedFd, name: &OsStr) -> io::Result<Option<Level>> {
    match unlinkat(parent, name, UnlinkatFlags::NoRemoveDir) {
        Err(Errno::EISDIR) => {}
        other => return gone(other).map(|()| None),
    }
    let directory = match open_beneath(parent, name) {
        Ok(directory) => directory,
        Err(Errno::ENOENT) => return Ok(None),
        Err(Errno::EXDEV) => {
            let message = format!("something is mounted on {}: unmount it first", name.to_string_lossy());
            return Err(io::Error::new(io::ErrorKind::CrossesDevices, message));
        }
        Err(errno) => return Err(errno.into()),
    };
    let entries = fs::read_dir(format!("/proc/self/fd/{}", directory.as_raw_fd()))?;
    let left = entries
        .map(|e| e.map(|e| e.file_name()))
        .collect::<io::Result<Vec<OsString>>>()?;
    Ok(Some(Level {
        directory,
        name: name.to_owned(),
        left,
    }))
}

const DIRECTORY: OFlag = OFlag::O_RDONLY
    .union(OFlag::O_DIRECTORY)
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_CLOEXEC);

/// `EXDEV` if something is mounted there.
fn open_beneath(parent: &OwnedFd, name: &OsStr) -> nix::Result<OwnedFd> {
    let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_XDEV | ResolveFlag::RESOLVE_NO_SYMLINKS;
    match openat2(parent, name, OpenHow::new().flags(DIRECTORY).resolve(resolve)) {
        Err(Errno::ENOSYS) => open_same_device(parent, name),
        other => other,
    }
}

fn open_same_device(parent: &OwnedFd, name: &OsStr) -> nix::Result<OwnedFd> {
    let directory = openat(parent, name, DIRECTORY, Mode::empty())?;
    match fstat(&directory)?.st_dev == fstat(parent)?.st_dev {
        true => Ok(directory),
        false => Err(Errno::EXDEV),
    }
}

fn gone(result: nix::Result<()>) -> io::Result<()> {
    match result {
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::super::mounts;
    use super::*;

    #[test]
    fn a_tree_goes_and_what_its_links_lead_to_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (root, outside) = (dir.path().join("root"), dir.path().join("outside"));
        fs::create_dir_all(root.join("a/b/c")).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("file"), "kept").unwrap();
        fs::write(root.join("a/file"), "").unwrap();
        symlink(&outside, root.join("a/link")).unwrap();
        tree(&root).unwrap();
        assert!(!root.exists() && outside.join("file").exists());
        tree(&root).unwrap();
        tree(&root.join("nothing/here")).unwrap();
    }

    #[test]
    fn nothing_is_removed_through_a_mount() {
        if !nix::unistd::geteuid().is_root() {
            return skip::skip("only root may mount");
        }
        let dir = tempfile::tempdir().unwrap();
        let (root, host) = (dir.path().join("root"), dir.path().join("host"));
        fs::create_dir_all(root.join("a/mounted")).unwrap();
        fs::create_dir(&host).unwrap();
        fs::write(host.join("file"), "the node's").unwrap();
        fs::write(root.join("mounted-file"), "").unwrap();
        // Bind mounts of the same file system: the device is the same on both sides.
        mounts::bind(&host, &root.join("a/mounted")).unwrap();
        mounts::bind(&host.join("file"), &root.join("mounted-file")).unwrap();
        let refused = tree(&root);
        let kept = fs::read_to_string(host.join("file"));
        mounts::unmount_below(&root).unwrap();
        assert!(refused.is_err());
        assert_eq!(kept.unwrap(), "the node's");
        tree(&root).unwrap();
        assert!(!root.exists() && host.join("file").exists());
    }

    #[test]
    fn an_older_kernel_is_not_led_into_another_file_system() {
        if !nix::unistd::geteuid().is_root() {
            return skip::skip("only root may mount");
        }
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("same")).unwrap();
        fs::create_dir(dir.path().join("other")).unwrap();
        mounts::tmpfs(&dir.path().join("other"), None, 0o755).unwrap();
        let parent = open(dir.path(), OFlag::O_PATH | OFlag::O_DIRECTORY, Mode::empty()).unwrap();
        let opened = ["same", "other"].map(|name| open_same_device(&parent, OsStr::new(name)).err());
        mounts::unmount_below(dir.path()).unwrap();
        assert_eq!(opened, [None, Some(Errno::EXDEV)]);
    }
}
