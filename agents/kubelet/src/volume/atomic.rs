//! Writes a set of files so that a reader sees all of the old ones or all of the new ones.
//!
//! The files live in a directory named by the time; `..data` links to it, and the visible names link through `..data`.
//! Replacing is: write a new directory, make a link to it, rename that link over `..data`. The layout is the one that
//! every program watching mounted configuration expects.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Component, Path, PathBuf};

use jiff::Timestamp;

use super::{Payload, delete};
use crate::Error;

const DATA: &str = "..data";
const DATA_NEW: &str = "..data_tmp";

/// Makes `dir` show exactly `payload`. Does nothing if it does so already.
pub(super) fn write(dir: &Path, payload: &Payload, group: Option<u32>) -> Result<(), Error> {
    for path in payload.files.keys() {
        check(path)?;
    }
    sweep(dir)?;
    update(dir, payload, group).map_err(Error::file("write files in", dir))?;
    sweep(dir)
}

fn update(dir: &Path, payload: &Payload, group: Option<u32>) -> io::Result<()> {
    let shown = shown(dir)?;
    if !shown.is_some_and(|name| is_current(&dir.join(name), payload)) {
        replace(dir, payload, group)?;
    }
    // Also if only this was not done the last time.
    show(dir, payload)
}

/// The name of the directory that is shown.
fn shown(dir: &Path) -> io::Result<Option<OsString>> {
    match fs::read_link(dir.join(DATA)) {
        Ok(name) => Ok(Some(name.into())),
        // Nothing there, or no link.
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidInput) => Ok(None),
        Err(e) => Err(e),
    }
}

/// Removes the directories that are not shown: the one that was, and what a failed or interrupted attempt has left, which
/// would fill the memory with every further one.
fn sweep(dir: &Path) -> Result<(), Error> {
    for stale in stale(dir).map_err(Error::file("look for old files in", dir))? {
        delete::tree(&stale)?;
    }
    Ok(())
}

fn stale(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let shown = shown(dir)?;
    let mut stale = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let ours = name.as_encoded_bytes().starts_with(b"..") && entry.file_type()?.is_dir();
        if ours && shown.as_ref() != Some(&name) {
            stale.push(entry.path());
        }
    }
    Ok(stale)
}

/// A path from a pod's spec must stay inside the volume and away from the names used here.
fn check(path: &str) -> Result<(), Error> {
    let inside = Path::new(path).components().all(|c| matches!(c, Component::Normal(_)));
    if path.is_empty() || !inside || path.starts_with("..") {
        return Err(Error::Pod(format!("invalid path in volume: {path:?}")));
    }
    Ok(())
}

fn is_current(dir: &Path, payload: &Payload) -> bool {
    let mut seen = 0;
    let same = walk(dir, dir, &mut |relative, path| {
        seen += 1;
        let mode = fs::metadata(path).map(|m| m.permissions().mode() & 0o7777).unwrap_or(0);
        payload
            .files
            .get(relative)
            .is_some_and(|f| f.mode == mode && fs::read(path).is_ok_and(|c| c == f.content))
    });
    same && seen == payload.files.len()
}

/// Calls `check` with every file below `dir`; false as soon as one call is, or if the tree cannot be read.
fn walk(root: &Path, dir: &Path, check: &mut dyn FnMut(&str, &Path) -> bool) -> bool {
    let Ok(entries) = fs::read_dir(dir) else { return false };
    for entry in entries {
        let Ok(path) = entry.map(|e| e.path()) else {
            return false;
        };
        let good = if path.is_dir() {
            walk(root, &path, check)
        } else {
            let relative = path.strip_prefix(root).ok().and_then(Path::to_str);
            relative.is_some_and(|r| check(r, &path))
        };
        if !good {
            return false;
        }
    }
    true
}

/// Writes a new directory and shows it. After an error nothing of it is left.
fn replace(dir: &Path, payload: &Payload, group: Option<u32>) -> io::Result<()> {
    let name = fresh_name(dir);
    let staging = dir.join(&name);
    fs::create_dir(&staging)?;
    let shown = fill(&staging, payload, group).and_then(|()| switch(dir, &name));
    if shown.is_err() {
        let _ = fs::remove_dir_all(&staging);
    }
    shown
}

fn fill(staging: &Path, payload: &Payload, group: Option<u32>) -> io::Result<()> {
    fs::set_permissions(staging, fs::Permissions::from_mode(0o755))?;
    for (path, file) in &payload.files {
        let target = staging.join(path);
        for parent in Path::new(path)
            .ancestors()
            .skip(1)
            .filter(|p| !p.as_os_str().is_empty())
        {
            let parent = staging.join(parent);
            fs::create_dir_all(&parent)?;
            fs::set_permissions(&parent, fs::Permissions::from_mode(0o755))?;
        }
        fs::write(&target, &file.content)?;
        if group.is_some() || file.owner.is_some() {
            chown(&target, file.owner, group)?;
        }
        fs::set_permissions(&target, fs::Permissions::from_mode(file.mode))?;
    }
    Ok(())
}

/// From one moment to the next `..data` leads to `name`.
fn switch(dir: &Path, name: &str) -> io::Result<()> {
    let new = dir.join(DATA_NEW);
    let _ = fs::remove_file(&new);
    symlink(name, &new)?;
    fs::rename(&new, dir.join(DATA))
}

/// Makes the visible names those of the payload. What is not a link of this module, as a directory made for a subPath, is
/// somebody else's and stays.
fn show(dir: &Path, payload: &Payload) -> io::Result<()> {
    let wanted: BTreeSet<OsString> = payload.files.keys().filter_map(|p| first_component(p)).collect();
    for name in &wanted {
        let link = dir.join(name);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new(DATA).join(name), &link)?;
        }
    }
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let link = dir.join(&name);
        let ours = fs::read_link(&link).is_ok_and(|to| to == Path::new(DATA).join(&name));
        if ours && !wanted.contains(&name) {
            fs::remove_file(link)?;
        }
    }
    Ok(())
}

fn first_component(path: &str) -> Option<OsString> {
    Path::new(path).components().next().map(|c| c.as_os_str().to_owned())
}

/// `..<time>.<nanoseconds>`, one that does not exist yet.
fn fresh_name(dir: &Path) -> String {
    let mut now = Timestamp::now();
    loop {
        let name = format!("..{}.{:09}", now.strftime("%Y_%m_%d_%H_%M_%S"), now.subsec_nanosecond());
        if !dir.join(&name).exists() {
            return name;
        }
        now = now
            .saturating_add(jiff::SignedDuration::from_nanos(1))
            .unwrap_or(Timestamp::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::super::payload::File;
    use super::*;

    fn payload(files: &[(&str, &str)]) -> Payload {
        let file = |content: &str| File {
            content: content.into(),
            mode: 0o644,
            owner: None,
        };
        Payload {
            files: files.iter().map(|(p, c)| ((*p).to_owned(), file(c))).collect(),
        }
    }

    fn visible(dir: &Path) -> Vec<String> {
        let names = fs::read_dir(dir)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|n| !n.starts_with("..")).collect();
        names.sort();
        names
    }

    #[test]
    fn files_appear_change_and_disappear() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        write(dir, &payload(&[("a", "1"), ("sub/b", "2")]), None).unwrap();
        assert_eq!(visible(dir), ["a", "sub"]);
        assert_eq!(fs::read_to_string(dir.join("sub/b")).unwrap(), "2");
        let first = fs::read_link(dir.join(DATA)).unwrap();

        write(dir, &payload(&[("a", "1"), ("sub/b", "2")]), None).unwrap();
        assert_eq!(
            fs::read_link(dir.join(DATA)).unwrap(),
            first,
            "nothing changed, so nothing is rewritten"
        );

        write(dir, &payload(&[("a", "3")]), None).unwrap();
        assert_eq!(visible(dir), ["a"]);
        assert_eq!(fs::read_to_string(dir.join("a")).unwrap(), "3");
        assert!(!dir.join(first).exists(), "the old files are removed");
    }

    fn hidden(dir: &Path) -> usize {
        let names = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name());
        names.filter(|n| n.as_encoded_bytes().starts_with(b"..")).count()
    }

    #[test]
    fn a_failed_attempt_leaves_nothing_and_what_others_left_is_swept() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        // `a` cannot be a file and a directory.
        for _ in 0..3 {
            assert!(write(dir, &payload(&[("a", "1"), ("a/b", "2")]), None).is_err());
            assert_eq!(hidden(dir), 0);
        }
        fs::create_dir(dir.join("..2026_01_01_00_00_00.000000000")).unwrap();
        write(dir, &payload(&[("a", "1")]), None).unwrap();
        assert_eq!(hidden(dir), 2, "the link and what it leads to");
        // An attempt that is refused leaves what is shown alone.
        assert!(write(dir, &payload(&[("a", "1"), ("a/b", "2")]), None).is_err());
        assert_eq!(
            (hidden(dir), fs::read_to_string(dir.join("a")).unwrap()),
            (2, "1".into())
        );
    }

    #[test]
    fn a_directory_of_somebody_else_is_in_nobodys_way() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        write(dir, &payload(&[("a", "1"), ("b", "1")]), None).unwrap();
        fs::create_dir(dir.join("made-for-a-sub-path")).unwrap();
        write(dir, &payload(&[("a", "2")]), None).unwrap();
        assert_eq!(visible(dir), ["a", "made-for-a-sub-path"]);
        assert_eq!(
            (hidden(dir), fs::read_to_string(dir.join("a")).unwrap()),
            (2, "2".into())
        );
    }

    #[test]
    fn links_that_an_interrupted_attempt_did_not_make_are_made() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        write(dir, &payload(&[("a", "1")]), None).unwrap();
        fs::remove_file(dir.join("a")).unwrap();
        write(dir, &payload(&[("a", "1")]), None).unwrap();
        assert_eq!(visible(dir), ["a"]);
    }

    #[test]
    fn paths_cannot_leave_the_volume() {
        let dir = tempfile::tempdir().unwrap();
        for path in ["../x", "/etc/x", "..data", "a/../../x", ""] {
            assert!(write(dir.path(), &payload(&[(path, "")]), None).is_err(), "{path}");
        }
    }
}
