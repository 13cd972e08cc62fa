//! A watch of the Kubernetes API: one JSON object a line, for as long as the connection lasts.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use serde_json::Value;

use super::Failure;

/// Bytes of one line; larger ones are not of objects that this harness makes.
const LINE_BYTES_MAX: usize = 1 << 20;

pub(crate) struct Events {
    pub(super) body: Incoming,
    pub(super) left: Vec<u8>,
    /// Without it the connection would be closed.
    pub(super) _connection: SendRequest<Full<Bytes>>,
}

impl Events {
    /// The next event. May be dropped while it waits: nothing is lost then.
    ///
    /// # Errors
    /// The stream ended, or tells no JSON.
    pub(crate) async fn next(&mut self) -> Result<Value, Failure> {
        loop {
            if let Some(line) = take_line(&mut self.left) {
                return serde_json::from_slice(&line).map_err(|error| Failure::Definite(format!("no event: {error}")));
            }
            if self.left.len() > LINE_BYTES_MAX {
                return Err(Failure::Definite("a line is too long".into()));
            }
            let frame = self.body.frame().await;
            let frame = frame.ok_or_else(|| Failure::Definite("the stream ended".into()))?;
            let frame = frame.map_err(|error| Failure::Definite(error.to_string()))?;
            if let Some(data) = frame.data_ref() {
                self.left.extend_from_slice(data);
            }
        }
    }
}

/// Takes the first whole line that is not empty.
fn take_line(from: &mut Vec<u8>) -> Option<Vec<u8>> {
    loop {
        let end = from.iter().position(|byte| *byte == b'\n')?;
        let line: Vec<u8> = from.drain(..=end).collect();
        if !line.trim_ascii().is_empty() {
            return Some(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_taken_whole() {
        let mut left = b"{\"a\":1}\n\n{\"b\"".to_vec();
        assert_eq!(take_line(&mut left).as_deref(), Some(b"{\"a\":1}\n".as_slice()));
        assert_eq!(take_line(&mut left), None);
        left.extend_from_slice(b":2}\n");
        assert_eq!(take_line(&mut left).as_deref(), Some(b"{\"b\":2}\n".as_slice()));
    }
}
