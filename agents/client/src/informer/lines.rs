//! The lines of a watch's body.

use bytes::{Buf, Bytes, BytesMut};
use http_body_util::BodyExt;
use kube::client::Body;

use crate::limits;

/// Cuts a body into lines, keeping at most one unfinished line.
pub(super) struct Lines {
    body: Body,
    buffer: BytesMut,
    /// How much of `buffer` is known to hold no line end.
    scanned: usize,
}

impl Lines {
    pub(super) fn new(body: Body) -> Self {
        Lines {
            body,
            buffer: BytesMut::new(),
            scanned: 0,
        }
    }

    /// The next line without its end, or `None` at the end of the body. An unfinished last line is dropped: the
    /// change it announces comes again when the watch resumes.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, String> {
        loop {
            if let Some(line) = self.cut() {
                return Ok(Some(line));
            }
            if self.buffer.len() > limits::WATCH_LINE_BYTES_MAX {
                return Err(format!("a watch line exceeds {} bytes", limits::WATCH_LINE_BYTES_MAX));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(e)) => return Err(e.to_string()),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
            }
        }
    }

    fn cut(&mut self) -> Option<Bytes> {
        let found = self.buffer[self.scanned..].iter().position(|b| *b == b'\n');
        let Some(offset) = found else {
            self.scanned = self.buffer.len();
            return None;
        };
        let line = self.buffer.split_to(self.scanned + offset).freeze();
        self.buffer.advance(1);
        self.scanned = 0;
        Some(line)
    }
}
