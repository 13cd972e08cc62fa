//! Mounting a part of a volume.
//!
//! A container that can write to a volume could put a symbolic link where another container's subPath points, and so
//! be given a file of the node. Therefore the path is resolved once, must lie inside the volume, is then opened step by
//! step without following links, and it is the open file that is mounted, so that a later swap changes nothing.

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::Mode;

use super::mounts;
use crate::Error;

/// Mounts `volume/sub` at a place of the agent's own and returns that place. A missing path becomes a directory.
pub fn bind(volume: &Path, sub: &str, place: &Path, group: Option<u32>) -> Result<PathBuf, Error> {
    let relative = Path::new(sub);
    if relative
        .components()
        .any(|c| !matches!(c, Component::Normal(_) | Component::CurDir))
    {
        return Err(Error::Pod(format!(
            "subPath {sub:?} must be relative and must not contain '..'"
        )));
    }
    if mounts::is_mounted(place) {
        mounts::unmount_below(place)?;
    }
    let base = fs::canonicalize(volume).map_err(Error::file("resolve", volume))?;
    let wanted = base.join(relative);
    if !wanted.exists() {
        // The deepest part that exists must be inside before anything is made below it.
        let existing = wanted.ancestors().find(|p| p.exists()).unwrap_or(&base);
        inside(&base, existing, sub)?;
        fs::create_dir_all(&wanted).map_err(Error::file("create directory", &wanted))?;
        if let Some(group) = group {
            std::os::unix::fs::chown(&wanted, None, Some(group)).map_err(Error::file("change group of", &wanted))?;
        }
    }
    let resolved = inside(&base, &wanted, sub)?;
    let file = open_beneath(&base, &resolved)?;
    let source = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    let is_dir = fs::metadata(&source).map_err(Error::file("look at", &wanted))?.is_dir();
    make_place(place, is_dir)?;
    mounts::bind(&source, place)?;
    Ok(place.to_path_buf())
}

fn inside(base: &Path, path: &Path, sub: &str) -> Result<PathBuf, Error> {
    let resolved = fs::canonicalize(path).map_err(Error::file("resolve", path))?;
    if !resolved.starts_with(base) {
        return Err(Error::Pod(format!("subPath {sub:?} leads out of its volume")));
    }
    Ok(resolved)
}

fn open_beneath(base: &Path, resolved: &Path) -> Result<OwnedFd, Error> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let failed = |e: nix::errno::Errno| Error::file("open", resolved)(e.into());
    let mut fd = open(base, flags, Mode::empty()).map_err(failed)?;
    let rest = resolved.strip_prefix(base).unwrap_or(Path::new(""));
    for component in rest.components() {
        fd = openat(&fd, component.as_os_str(), flags, Mode::empty()).map_err(failed)?;
    }
    Ok(fd)
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
    use super::*;

    #[test]
    fn a_link_out_of_the_volume_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc", dir.path().join("evil")).unwrap();
        let place = dir.path().join("place");
        for sub in ["evil", "evil/new", "../x", "/etc"] {
            let error = bind(dir.path(), sub, &place, None).unwrap_err();
            assert!(error.to_string().contains("subPath"), "{sub}: {error}");
        }
        assert!(!Path::new("/etc/new").exists());
    }
}
