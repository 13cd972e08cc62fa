//! Writing key material so that a crash leaves the old file or the new one, never half of it.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::Error;

/// Writes `content` to `path` with mode 0600, creating its directory.
pub fn write_private(path: &Path, content: &str) -> Result<(), Error> {
    write(path, content, 0o600)
}

/// Writes `content` to `path` with mode 0644, creating its directory.
pub fn write_public(path: &Path, content: &str) -> Result<(), Error> {
    write(path, content, 0o644)
}

fn write(path: &Path, content: &str, mode: u32) -> Result<(), Error> {
    let directory = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(directory).map_err(|e| Error::file("create directory", directory, e))?;
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".new");
    let fresh = directory.join(name);
    let mut file = open(&fresh, mode).map_err(|e| Error::file("create", &fresh, e))?;
    file.write_all(content.as_bytes())
        .map_err(|e| Error::file("write", &fresh, e))?;
    file.sync_all().map_err(|e| Error::file("sync", &fresh, e))?;
    fs::rename(&fresh, path).map_err(|e| Error::file("replace", path, e))
}

fn open(path: &Path, mode: u32) -> std::io::Result<File> {
    // A leftover of a crash could carry another mode; the mode given to open() counts only for a new file.
    match fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    OpenOptions::new().write(true).create_new(true).mode(mode).open(path)
}

pub(crate) fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|e| Error::file("read", path, e))
}
