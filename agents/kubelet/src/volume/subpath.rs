//! Mounting a part of a volume.
//!
//! A container that can write to a volume could put a symbolic link where another container's subPath points, and so
//! be given a file of the node, or have a directory made somewhere on it. Looking first and opening afterwards leaves it
//! time to swap one for the other. Therefore the kernel itself resolves the path, beneath an open directory of the
//! volume (`openat2` with `RESOLVE_BENEATH`, Linux 5.6), what is missing is made in a directory that is open already,
//! and it is the open file that is mounted: a later swap changes nothing. Links inside the volume are followed, since
//! configMaps and secrets are made of them; links that lead out of it, absolute ones among them, are refused.

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::{Mode, fchmod, mkdirat};
use nix::unistd::{Gid, fchownat};

use super::mounts;
use crate::{Error, limits};

/// The bits of a mode that a directory made for a subPath takes over from its volume.
const MODE_INHERITED: u32 = 0o2777;

/// Mounts `volume/sub` at a place of the agent's own and returns that place. A missing path becomes a directory.
pub fn bind(volume: &Path, sub: &str, place: &Path, group: Option<u32>) -> Result<PathBuf, Error> {
    let file = open_sub(volume, sub, group)?;
    if mounts::is_mounted(place)? {
        mounts::unmount_below(place)?;
    }
    let source = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    let found = fs::metadata(&source).map_err(Error::file("look at", volume.join(sub)))?;
    make_place(place, found.is_dir())?;
    mounts::bind(&source, place)?;
    Ok(place.to_path_buf())
}

/// Opens `volume/sub` as a place in the tree (`O_PATH`), making the directories that are missing.
fn open_sub(volume: &Path, sub: &str, group: Option<u32>) -> Result<OwnedFd, Error> {
    let relative = Path::new(sub);
    if relative
        .components()
        .any(|c| !matches!(c, Component::Normal(_) | Component::CurDir))
    {
        return Err(Error::Pod(format!(
            "subPath {sub:?} must be relative and must not contain '..'"
        )));
    }
    let path = volume.join(relative);
    let failed = |errno: Errno| match errno {
        // What the kernel says of links that lead out.
        Errno::EXDEV | Errno::ELOOP => Error::Pod(format!("subPath {sub:?} leads out of its volume")),
        Errno::ENOTDIR => Error::Pod(format!("subPath {sub:?} leads through something that is no directory")),
        Errno::ENOSYS => Error::Pod("subPath needs Linux 5.6 or later".into()),
        errno => Error::file("open", &path)(errno.into()),
    };
    let root = open(
        volume,
        OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC,
        Mode::empty(),
    )
    .map_err(|e| Error::file("open", volume)(e.into()))?;
    match beneath(&root, relative) {
        Err(Errno::ENOENT) => {}
        other => return other.map_err(failed),
    }
    let mode = fs::metadata(volume).map_err(Error::file("look at", volume))?.mode() & MODE_INHERITED;
    make_beneath(&root, relative, mode, group).map_err(failed)
}

/// Opens a path that may contain links, as long as none leads out of `root`.
fn beneath(root: &OwnedFd, relative: &Path) -> nix::Result<OwnedFd> {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let path = Path::new(".").join(relative);
    let mut tries = 1;
    loop {
        match openat2(root, &path, how) {
            // Something was renamed meanwhile, so that the kernel is not sure.
            Err(Errno::EAGAIN) if tries < limits::SUBPATH_TRIES_MAX => tries += 1,
            other => return other,
        }
    }
}

/// Opens a path like [`beneath`], making every directory that is missing.
fn make_beneath(root: &OwnedFd, relative: &Path, mode: u32, group: Option<u32>) -> nix::Result<OwnedFd> {
    let mut there = beneath(root, Path::new(""))?;
    let mut done = PathBuf::new();
    for component in relative.components() {
        done.push(component);
        there = match beneath(root, &done) {
            Err(Errno::ENOENT) => make_directory(&there, Path::new(component.as_os_str()), mode, group)?,
            other => other?,
        };
    }
    Ok(there)
}

/// Makes one directory in an open one and opens it, following no link: what was put there meanwhile is not it.
fn make_directory(parent: &OwnedFd, name: &Path, mode: u32, group: Option<u32>) -> nix::Result<OwnedFd> {
    match mkdirat(parent, name, Mode::from_bits_truncate(mode)) {
        Ok(()) | Err(Errno::EEXIST) => {}
        Err(errno) => return Err(errno),
    }
    let how = OpenHow::new()
        .flags(OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
    let made = openat2(parent, name, how)?;
    if let Some(group) = group {
        fchownat(&made, "", None, Some(Gid::from_raw(group)), AtFlags::AT_EMPTY_PATH)?;
    }
    // The process's umask and the change of the group have taken bits away.
    fchmod(&made, Mode::from_bits_truncate(mode))?;
    Ok(made)
}

fn make_place(place: &Path, is_dir: bool) -> Result<(), Error> {
    if let Some(parent) = place.parent() {
        fs::create_dir_all(parent).map_err(Error::file("create directory", parent))?;
    }
    match fs::symlink_metadata(place) {
        Ok(found) if found.is_dir() == is_dir => return Ok(()),
        Ok(found) if found.is_dir() => fs::remove_dir(place).map_err(Error::file("remove", place))?,
        Ok(_) => fs::remove_file(place).map_err(Error::file("remove", place))?,
        Err(_) => {}
    }
    if is_dir {
        fs::create_dir(place).map_err(Error::file("create directory", place))
    } else {
        fs::write(place, []).map_err(Error::file("create", place))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    /// Where an open file really is.
    fn place_of(file: &OwnedFd) -> PathBuf {
        fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap()
    }

    #[test]
    fn a_link_out_of_the_volume_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (volume, outside) = (dir.path().join("volume"), dir.path().join("outside"));
        fs::create_dir_all(volume.join("a")).unwrap();
        fs::create_dir(&outside).unwrap();
        symlink(&outside, volume.join("absolute")).unwrap();
        symlink("../outside", volume.join("relative")).unwrap();
        symlink("../../outside", volume.join("a/deep")).unwrap();
        symlink("nowhere", volume.join("dangling")).unwrap();
        for sub in [
            "absolute",
            "absolute/new",
            "relative",
            "relative/new",
            "a/deep/new",
            "dangling/new",
            "dangling",
            "../x",
            "/etc",
            "a/../../outside",
        ] {
            let error = open_sub(&volume, sub, None).unwrap_err();
            assert!(error.to_string().contains("subPath"), "{sub}: {error}");
        }
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "nothing was made outside");
        assert!(!volume.join("nowhere").exists());
    }

    #[test]
    fn links_inside_are_followed_and_what_is_missing_is_made_like_the_volume() {
        let dir = tempfile::tempdir().unwrap();
        let volume = dir.path().join("volume");
        fs::create_dir_all(volume.join("..1")).unwrap();
        fs::write(volume.join("..1/key"), "value").unwrap();
        symlink("..1", volume.join("..data")).unwrap();
        symlink("..data/key", volume.join("key")).unwrap();
        fs::set_permissions(&volume, std::os::unix::fs::PermissionsExt::from_mode(0o2770)).unwrap();
        let canonical = volume.canonicalize().unwrap();
        assert_eq!(
            place_of(&open_sub(&volume, "key", None).unwrap()),
            canonical.join("..1/key")
        );
        let made = open_sub(&volume, "x/./y", None).unwrap();
        assert_eq!(place_of(&made), canonical.join("x/y"));
        assert_eq!(fs::metadata(volume.join("x")).unwrap().mode() & 0o7777, 0o2770);
        // The volume itself is a part of itself.
        assert_eq!(place_of(&open_sub(&volume, "./", None).unwrap()), canonical);
        assert!(open_sub(&volume, "key/below-a-file", None).is_err());
    }

    #[test]
    fn a_container_that_swaps_links_never_gets_out() {
        let dir = tempfile::tempdir().unwrap();
        let (volume, outside) = (dir.path().join("volume"), dir.path().join("outside"));
        fs::create_dir_all(volume.join("good")).unwrap();
        fs::create_dir(&outside).unwrap();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // `swapped` is in turn a directory, a link out, and nothing.
                let swapped = volume.join("swapped");
                while !stop.load(Ordering::Relaxed) {
                    let _ = fs::rename(volume.join("good"), &swapped);
                    let _ = fs::rename(&swapped, volume.join("good"));
                    let _ = symlink(&outside, &swapped);
                    let _ = fs::remove_file(&swapped);
                    // What the other thread may have made in its place.
                    let _ = fs::remove_dir_all(&swapped);
                }
            });
            let inside = volume.canonicalize().unwrap();
            for _ in 0..2000 {
                // A refusal is fine; a place elsewhere is not.
                if let Ok(file) = open_sub(&volume, "swapped/new", None) {
                    let place = place_of(&file);
                    assert!(place.starts_with(&inside), "{}", place.display());
                }
            }
            stop.store(true, Ordering::Relaxed);
        });
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "nothing was made outside");
    }
}
