//! Streams on either side: JSON values from a body, and messages from gRPC's frames.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures::{Stream, StreamExt, stream};
use http_body::Frame;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::{Deserializer, Value};
use tonic::{Code, Status, body::Body};

use super::{
    json::{Method, unreadable},
    last_line,
};
use crate::limits;

/// Before each message: whether it is compressed, and its length.
const HEAD_BYTES: usize = 5;

/// A message as gRPC sends it.
pub(super) fn frame(message: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(HEAD_BYTES + message.len());
    framed.put_u8(0);
    framed.put_u32(message.len() as u32);
    framed.put_slice(message);
    framed.freeze()
}

/// The JSON values of a request's body.
pub(super) struct Values {
    body: Incoming,
    method: &'static Method,
    /// Received and not yet read.
    rest: BytesMut,
}

impl Values {
    pub(super) fn new(body: Incoming, method: &'static Method) -> Self {
        let rest = BytesMut::new();
        Self { body, method, rest }
    }

    /// The message of the next value; `None` at the end.
    pub(super) async fn next(&mut self) -> Option<Result<Bytes, Status>> {
        loop {
            match take_value(&mut self.rest) {
                Ok(Some(value)) => return Some(self.method.request_of(value)),
                Ok(None) => {}
                Err(error) => return Some(Err(unreadable(&error))),
            }
            if self.rest.len() > limits::JSON_BYTES_MAX {
                return Some(Err(crate::Refusal::RequestTooLarge.into()));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => self.rest.extend_from_slice(&frame.into_data().unwrap_or_default()),
                Some(Err(error)) => return Some(Err(Status::cancelled(error.to_string()))),
                None if self.rest.trim_ascii().is_empty() => return None,
                None => {
                    self.rest.clear();
                    return Some(Err(unreadable(&"it ends within a value")));
                }
            }
        }
    }

    /// All values, `first` being read already, in frames. Ends at the first that cannot be read.
    pub(super) fn frames(self, first: Option<Bytes>) -> impl Stream<Item = Result<Frame<Bytes>, Status>> {
        let rest = stream::unfold(Some(self), |values| async move {
            let mut values = values?;
            match values.next().await? {
                Ok(message) => Some((Ok(message), Some(values))),
                Err(status) => Some((Err(status), None)),
            }
        });
        stream::iter(first.map(Ok))
            .chain(rest)
            .map(|message| message.map(|message| Frame::data(frame(&message))))
    }
}

/// Takes a whole value from the front, if there is one.
fn take_value(rest: &mut BytesMut) -> Result<Option<Value>, serde_json::Error> {
    let mut values = Deserializer::from_slice(rest).into_iter();
    let value = match values.next() {
        Some(Ok(value)) => value,
        Some(Err(error)) if error.is_eof() => return Ok(None),
        Some(Err(error)) => return Err(error),
        None => return Ok(None),
    };
    let read = values.byte_offset();
    rest.advance(read);
    Ok(Some(value))
}

/// The messages of a response.
pub(super) struct Frames {
    body: Body,
    rest: BytesMut,
}

impl Frames {
    pub(super) fn new(body: Body) -> Self {
        let rest = BytesMut::new();
        Self { body, rest }
    }

    /// The next message, or why there is none; `None` at a good end.
    pub(super) async fn next(&mut self) -> Option<Result<Bytes, Status>> {
        loop {
            if let Some(message) = take_message(&mut self.rest) {
                return Some(Ok(message));
            }
            let frame = match self.body.frame().await? {
                Ok(frame) => frame,
                Err(status) => return Some(Err(status)),
            };
            match frame.into_data() {
                Ok(data) => self.rest.extend_from_slice(&data),
                Err(frame) => {
                    let trailers = frame.into_trailers().unwrap_or_default();
                    let status = Status::from_header_map(&trailers)?;
                    return (status.code() != Code::Ok).then_some(Err(status));
                }
            }
        }
    }

    /// Every message as a line of JSON, and the error as the last one if there is one.
    pub(super) fn lines(self, method: &'static Method) -> impl Stream<Item = Result<Frame<Bytes>, Status>> {
        stream::unfold(Some(self), move |frames| async move {
            let mut frames = frames?;
            let message = frames.next().await?;
            let (line, frames) = match message.and_then(|message| method.response(message)) {
                Ok(result) => (serde_json::json!({ "result": result }), Some(frames)),
                Err(status) => (last_line(&status), None),
            };
            Some((Ok(Frame::data(format!("{line}\n").into())), frames))
        })
    }
}

fn take_message(rest: &mut BytesMut) -> Option<Bytes> {
    let length = rest.get(1..HEAD_BYTES)?;
    let length = u32::from_be_bytes(length.try_into().ok()?) as usize;
    if rest.len() < HEAD_BYTES + length {
        return None;
    }
    rest.advance(HEAD_BYTES);
    Some(rest.split_to(length).freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_taken_one_by_one_however_they_arrive() {
        let text = br#" {"a": [1, "}"]}{"b":2}  {"c"#;
        for cut in 0..text.len() {
            let mut rest = BytesMut::from(&text[..cut]);
            let mut values = Vec::new();
            values.extend(std::iter::from_fn(|| take_value(&mut rest).unwrap()));
            rest.extend_from_slice(&text[cut..]);
            values.extend(std::iter::from_fn(|| take_value(&mut rest).unwrap()));
            let shown: Vec<String> = values.iter().map(Value::to_string).collect();
            assert_eq!(shown, [r#"{"a":[1,"}"]}"#, r#"{"b":2}"#], "cut at {cut}");
        }
        assert!(take_value(&mut BytesMut::from("{]")).is_err());
    }

    #[test]
    fn messages_come_out_as_they_went_in() {
        let sent = [&b"one"[..], b"", b"three"].map(frame).concat();
        let mut rest = BytesMut::new();
        let mut got = Vec::new();
        for byte in sent {
            rest.put_u8(byte);
            got.extend(std::iter::from_fn(|| take_message(&mut rest)));
        }
        assert_eq!(got, ["one", "", "three"]);
    }
}
