//! Why the server does not start with the given ways of signing in and of permitting. It never starts with fewer than were asked for.

use std::path::{Path, PathBuf};

/// What is wrong, and where.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    #[error("{option}: cannot read {}: {source}", path.display())]
    Read {
        option: &'static str,
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{option}: {} has more than {max} bytes", path.display())]
    TooLarge {
        option: &'static str,
        path: PathBuf,
        max: u64,
    },
    #[error("{option}: {}, line {line}: {problem}", path.display())]
    Line {
        option: &'static str,
        path: PathBuf,
        line: usize,
        problem: String,
    },
    /// `problem` begins with the field it is about.
    #[error("{option}: {}: {problem}", path.display())]
    File {
        option: &'static str,
        path: PathBuf,
        problem: String,
    },
    #[error("{option}: {problem}")]
    Option { option: &'static str, problem: String },
}

/// A file's text, if it is no larger than anything of its kind has to be.
pub(super) fn read(option: &'static str, path: &Path, max: u64) -> Result<String, AccessError> {
    use std::io::Read;
    let unreadable = |source| AccessError::Read {
        option,
        path: path.into(),
        source,
    };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let read = file.take(max + 1).read_to_string(&mut text).map_err(unreadable)?;
    match read as u64 > max {
        true => Err(AccessError::TooLarge {
            option,
            path: path.into(),
            max,
        }),
        false => Ok(text),
    }
}
