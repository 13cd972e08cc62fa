//! One line of a container's log.

use jiff::Timestamp;

/// Which of a container's outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A line, as the runtime wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    /// The time as written, which is what `--timestamps` shows.
    pub time: &'a str,
    /// Where it was written to.
    pub stream: Stream,
    /// Whether the container's line goes on in the next one.
    pub partial: bool,
    /// What the container wrote, without the line's end.
    pub text: &'a [u8],
}

impl<'a> Line<'a> {
    /// When it was written.
    pub fn timestamp(&self) -> Option<Timestamp> {
        self.time.parse().ok()
    }

    /// The text, or nothing if it is not UTF-8.
    pub fn text_str(&self) -> &'a str {
        std::str::from_utf8(self.text).unwrap_or_default()
    }
}

/// Reads a line without its end; `None` if it is not in the format (it was cut off by a crash).
pub fn parse(line: &[u8]) -> Option<Line<'_>> {
    let mut parts = line.splitn(4, |b| *b == b' ');
    let time = std::str::from_utf8(parts.next()?).ok()?;
    let stream = match parts.next()? {
        b"stdout" => Stream::Stdout,
        b"stderr" => Stream::Stderr,
        _ => return None,
    };
    // Tags are separated by colons; the first says whether the line is whole.
    let tag = parts.next()?.split(|b| *b == b':').next()?;
    let partial = match tag {
        b"F" => false,
        b"P" => true,
        _ => return None,
    };
    Some(Line {
        time,
        stream,
        partial,
        text: parts.next().unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_partial_empty_and_broken_lines() {
        let line = parse(b"2026-01-02T03:04:05.678Z stdout F hello world").unwrap();
        assert_eq!(
            (line.stream, line.partial, line.text),
            (Stream::Stdout, false, &b"hello world"[..])
        );
        assert_eq!(line.timestamp(), Some("2026-01-02T03:04:05.678Z".parse().unwrap()));
        let line = parse(b"2026-01-02T03:04:05+01:00 stderr P:x half").unwrap();
        assert!(line.partial && line.stream == Stream::Stderr);
        assert_eq!(parse(b"2026-01-02T03:04:05Z stdout F ").unwrap().text, b"");
        for broken in [&b""[..], b"x", b"2026 stdout", b"2026 stdin F x", b"2026 stdout X y"] {
            assert_eq!(parse(broken), None);
        }
    }
}
