//! Reading a container's log as `kubectl logs` asks for it, while the container may still write and the file may be
//! rotated away.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::line::{Stream, parse};
use crate::limits;

/// What to read.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Go on when the end is reached, until the container has ended.
    pub follow: bool,
    /// Only so many of the last lines.
    pub tail: Option<u64>,
    /// Only what was written since.
    pub since: Option<Timestamp>,
    /// Put the time before each line.
    pub timestamps: bool,
    /// Stop after so many bytes.
    pub limit_bytes: Option<u64>,
    /// Only this output.
    pub stream: Option<Stream>,
}

/// Sends the log in chunks until its end (or, when following, until `ended` says that the container has ended, or the
/// receiver is gone).
pub async fn send(
    path: PathBuf,
    options: Options,
    ended: impl Fn() -> bool,
    out: mpsc::Sender<io::Result<Bytes>>,
) -> io::Result<()> {
    let mut file = File::open(&path)?;
    if let Some(lines) = options.tail {
        let start = tail_offset(&mut file, lines)?;
        file.seek(SeekFrom::Start(start))?;
    }
    let mut filter = Filter::new(&options);
    let mut pending = Vec::new();
    loop {
        // Asked before reading: what was written before the end must still be read after it.
        let last_round = !options.follow || ended();
        while let Some(chunk) = read_chunk(&mut file, &mut pending)? {
            let (text, done) = filter.take(&chunk);
            if !text.is_empty() && out.send(Ok(Bytes::from(text))).await.is_err() {
                return Ok(());
            }
            if done {
                return Ok(());
            }
        }
        if let Some(next) = rotated(&file, &path) {
            // Whatever was written to the old file before the switch is read first.
            while let Some(chunk) = read_chunk(&mut file, &mut pending)? {
                let (text, _) = filter.take(&chunk);
                if !text.is_empty() && out.send(Ok(Bytes::from(text))).await.is_err() {
                    return Ok(());
                }
            }
            pending.clear();
            file = next;
            continue;
        }
        if last_round {
            return Ok(());
        }
        tokio::select! {
            () = sleep(limits::LOG_POLL_INTERVAL) => {}
            () = out.closed() => return Ok(()),
        }
    }
}

/// Whole lines that were written since the last call, or `None` at the end. A line without its end waits in `pending`.
fn read_chunk(file: &mut File, pending: &mut Vec<u8>) -> io::Result<Option<Vec<u8>>> {
    loop {
        let before = pending.len();
        file.by_ref()
            .take(limits::LOG_CHUNK_BYTES as u64)
            .read_to_end(pending)?;
        if pending.len() == before {
            return Ok(None);
        }
        if let Some(at) = pending.iter().rposition(|b| *b == b'\n') {
            let rest = pending.split_off(at + 1);
            return Ok(Some(std::mem::replace(pending, rest)));
        }
    }
}

/// The file that is at `path` now, if it is no longer the one being read.
fn rotated(file: &File, path: &Path) -> Option<File> {
    let now = std::fs::metadata(path).ok()?;
    let read = file.metadata().ok()?;
    (now.ino() != read.ino()).then(|| File::open(path).ok()).flatten()
}

/// Where the last `lines` lines begin. A line that was written in parts counts once.
fn tail_offset(file: &mut File, lines: u64) -> io::Result<u64> {
    let size = file.metadata()?.len();
    if lines == 0 {
        return Ok(size);
    }
    let mut end = size;
    let mut text: Vec<u8> = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(limits::LOG_CHUNK_BYTES as u64);
        let mut chunk = vec![0; usize::try_from(end - start).unwrap_or(0)];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(&mut chunk)?;
        chunk.extend_from_slice(&text);
        text = chunk;
        end = start;
        if let Some(offset) = nth_last_line(&text, lines, start == 0) {
            return Ok(start + offset as u64);
        }
    }
    Ok(0)
}

/// The offset of the `lines`-th whole line from the end of `text`, if it is in there. What precedes the first line's
/// end is only known to be a line's beginning at the start of the file.
fn nth_last_line(text: &[u8], lines: u64, from_start: bool) -> Option<usize> {
    let mut starts: Vec<usize> = Vec::new();
    if from_start {
        starts.push(0);
    }
    starts.extend(
        text.iter()
            .enumerate()
            .filter(|(_, b)| **b == b'\n')
            .map(|(i, _)| i + 1),
    );
    starts.retain(|s| *s < text.len());
    let mut left = lines;
    for at in starts.iter().rev() {
        // A line begins where the one before it was whole.
        let before = text[..*at].strip_suffix(b"\n").unwrap_or(&[]);
        let previous = before.rsplit(|b| *b == b'\n').next().unwrap_or(&[]);
        let known = *at == 0 || before.contains(&b'\n') || from_start;
        if !known {
            return None;
        }
        if *at == 0 || parse(previous).is_none_or(|p| !p.partial) {
            left -= 1;
            if left == 0 {
                return Some(*at);
            }
        }
    }
    None
}

/// Turns lines of the file into what the client sees.
struct Filter {
    since: Option<Timestamp>,
    timestamps: bool,
    stream: Option<Stream>,
    left: Option<u64>,
    /// Whether the last line was the first part of one, so that the next gets no time of its own.
    continued: bool,
}

impl Filter {
    fn new(options: &Options) -> Self {
        Filter {
            since: options.since,
            timestamps: options.timestamps,
            stream: options.stream,
            left: options.limit_bytes,
            continued: false,
        }
    }

    /// The text for the client, and whether its limit is reached.
    fn take(&mut self, lines: &[u8]) -> (Vec<u8>, bool) {
        let mut out = Vec::with_capacity(lines.len());
        for line in lines.split_inclusive(|b| *b == b'\n') {
            let Some(line) = parse(line.strip_suffix(b"\n").unwrap_or(line)) else {
                continue;
            };
            let wanted = self.stream.is_none_or(|s| s == line.stream);
            let old = self
                .since
                .is_some_and(|since| line.timestamp().is_some_and(|t| t < since));
            if !wanted || old {
                continue;
            }
            if self.timestamps && !self.continued {
                out.extend_from_slice(line.time.as_bytes());
                out.push(b' ');
            }
            out.extend_from_slice(line.text);
            if !line.partial {
                out.push(b'\n');
            }
            self.continued = line.partial;
        }
        match self.left {
            Some(left) if out.len() as u64 >= left => {
                out.truncate(usize::try_from(left).unwrap_or(usize::MAX));
                self.left = Some(0);
                (out, true)
            }
            Some(left) => {
                self.left = Some(left - out.len() as u64);
                (out, false)
            }
            None => (out, false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "2026-01-01T00:00:01Z stdout F one\n2026-01-01T00:00:02Z stderr P tw\n\
                       2026-01-01T00:00:02Z stderr F o\n2026-01-01T00:00:03Z stdout F three\n";

    async fn read(options: Options) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        std::fs::write(&path, LOG).unwrap();
        let (sender, mut receiver) = mpsc::channel(16);
        send(path, options, || true, sender).await.unwrap();
        let mut out = Vec::new();
        while let Some(chunk) = receiver.recv().await {
            out.extend_from_slice(&chunk.unwrap());
        }
        String::from_utf8(out).unwrap()
    }

    #[tokio::test]
    async fn options_select_and_shape() {
        assert_eq!(read(Options::default()).await, "one\ntwo\nthree\n");
        assert_eq!(
            read(Options {
                tail: Some(2),
                ..Default::default()
            })
            .await,
            "two\nthree\n"
        );
        assert_eq!(
            read(Options {
                tail: Some(9),
                ..Default::default()
            })
            .await,
            "one\ntwo\nthree\n"
        );
        assert_eq!(
            read(Options {
                tail: Some(0),
                ..Default::default()
            })
            .await,
            ""
        );
        assert_eq!(
            read(Options {
                limit_bytes: Some(5),
                ..Default::default()
            })
            .await,
            "one\nt"
        );
        assert_eq!(
            read(Options {
                stream: Some(Stream::Stderr),
                ..Default::default()
            })
            .await,
            "two\n"
        );
        let since = "2026-01-01T00:00:03Z".parse().ok();
        assert_eq!(
            read(Options {
                since,
                ..Default::default()
            })
            .await,
            "three\n"
        );
        let timed = read(Options {
            timestamps: true,
            tail: Some(2),
            ..Default::default()
        })
        .await;
        assert_eq!(timed, "2026-01-01T00:00:02Z two\n2026-01-01T00:00:03Z three\n");
    }

    #[tokio::test]
    async fn following_goes_on_through_a_rotation_until_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        std::fs::write(&path, "2026-01-01T00:00:01Z stdout F one\n").unwrap();
        let (sender, mut receiver) = mpsc::channel(16);
        let ended = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let flag = ended.clone();
        let options = Options {
            follow: true,
            ..Default::default()
        };
        let ended_now = move || flag.load(std::sync::atomic::Ordering::SeqCst);
        let task = tokio::spawn(send(path.clone(), options, ended_now, sender));
        assert_eq!(receiver.recv().await.unwrap().unwrap(), "one\n");
        std::fs::rename(&path, dir.path().join("0.log.1")).unwrap();
        std::fs::write(&path, "2026-01-01T00:00:02Z stdout F two\n").unwrap();
        assert_eq!(receiver.recv().await.unwrap().unwrap(), "two\n");
        ended.store(true, std::sync::atomic::Ordering::SeqCst);
        assert!(receiver.recv().await.is_none());
        task.await.unwrap().unwrap();
    }
}
