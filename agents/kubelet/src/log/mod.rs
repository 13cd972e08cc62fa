//! Container logs: the format the runtime writes, reading it, rotating it.
//!
//! A log is a file of lines `TIME STREAM TAG TEXT`; a tag `P` says that the line goes on in the next one.

mod line;
pub mod read;
pub mod rotate;

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use crate::limits;

pub use line::{Stream, parse};

/// What a container that ended left to be said: the file it was given for this, or, if the policy says so and it
/// failed, the end of its log.
pub fn last_words(file: Option<&str>, policy: Option<&str>, exit_code: i32, log_path: &str) -> Option<String> {
    let words = file
        .and_then(|f| tail(f, limits::TERMINATION_MESSAGE_BYTES_MAX))
        .unwrap_or_default();
    if !words.is_empty() {
        return Some(words);
    }
    if policy != Some("FallbackToLogsOnError") || exit_code == 0 {
        return None;
    }
    let raw = tail(log_path, limits::TERMINATION_LOG_BYTES_MAX * 2)?;
    let lines: Vec<&str> = raw
        .lines()
        .filter_map(|l| parse(l.as_bytes()).map(|p| p.text_str()))
        .collect();
    let lines = &lines[lines.len().saturating_sub(limits::TERMINATION_LOG_LINES_MAX)..];
    let text = lines.iter().map(|l| format!("{l}\n")).collect::<String>();
    let mut start = text.len().saturating_sub(limits::TERMINATION_LOG_BYTES_MAX as usize);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    (!text.is_empty()).then(|| text[start..].to_owned())
}

fn tail(path: &str, bytes: u64) -> Option<String> {
    let mut file = File::open(path).ok()?;
    let size = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(bytes))).ok()?;
    let mut out = Vec::new();
    file.take(bytes).read_to_end(&mut out).ok()?;
    Some(String::from_utf8_lossy(&out).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_words_come_from_the_file_or_the_log() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        std::fs::write(path("words"), "goodbye").unwrap();
        std::fs::write(path("empty"), "").unwrap();
        std::fs::write(path("log"), "2026-01-01T00:00:00Z stderr F it broke\n").unwrap();
        let words = |file: &str, policy, code| last_words(Some(&path(file)), policy, code, &path("log"));
        assert_eq!(words("words", None, 0).as_deref(), Some("goodbye"));
        assert_eq!(words("empty", None, 1), None);
        assert_eq!(
            words("empty", Some("FallbackToLogsOnError"), 1).as_deref(),
            Some("it broke\n")
        );
        assert_eq!(words("empty", Some("FallbackToLogsOnError"), 0), None);
    }
}
