//! watch. Frames are encoded once per event and form, and shared by every watcher of that form.

use super::negotiate::{Encoding, JSON, Shape};
use super::transform::{self, IncludeObject, has_protobuf};
use super::{Answer, Call, negotiate, options, respond, selection};
use crate::metrics::OpenWatch;
use crate::registry::Served;
use crate::status::from_storage;
use crate::{ApiError, Body, limits};
use bytes::{BufMut, Bytes, BytesMut};
use http::HeaderMap;
use rand::RngExt;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use storage::{Change, ChangeKind, Start, Watch, WatchEvent, WatchQuery};
use tokio::time::{Instant, Interval, MissedTickBehavior, Sleep};
use tokio_util::sync::CancellationToken;

const STREAM_PROTOBUF: &str = "application/vnd.kubernetes.protobuf;stream=watch";

pub(super) async fn watch(call: Call<'_>, headers: &HeaderMap) -> Answer {
    let output = negotiate::output(headers, has_protobuf(&call.served))?;
    let form = Form {
        served: call.served.clone(),
        shape: output.shape,
        encoding: output.encoding,
        include: IncludeObject::parse(&call.query)?,
    };
    let (start, mark_initial) = options::of_watch(&call.query)?;
    let bookmarks = call.query.flag("allowWatchBookmarks")?.unwrap_or(false);
    let lasts = duration(call.query.number("timeoutSeconds")?);
    let watch = open(&call, start).await?;
    let state = Streaming {
        watch,
        form,
        frames: VecDeque::new(),
        bookmarks,
        mark_initial: mark_initial && bookmarks,
        deadline: Box::pin(tokio::time::sleep(lasts)),
        bookmark_due: ticker(call.server.config.bookmark_interval),
        stopping: call.server.stopping.clone(),
        counted: call.server.metrics.watch(call.info),
        ended: false,
    };
    let media = if output.encoding == Encoding::Protobuf {
        STREAM_PROTOBUF
    } else {
        JSON
    };
    Ok(respond::bytes(
        200,
        media,
        Body::from_stream(futures::stream::unfold(state, Streaming::next)),
    ))
}

/// Opens the watch at the storage.
async fn open(call: &Call<'_>, start: Start) -> Result<Watch, ApiError> {
    let selection = selection::parse(&call.served, call.namespace, &call.query)?;
    let query = WatchQuery {
        namespace: selection.namespace,
        name: selection.name,
        matcher: selection.matcher,
        start,
    };
    let watch = call
        .server
        .registry
        .reader()
        .storage()
        .watch(&call.served.collection, query)
        .await;
    watch.map_err(|error| from_storage(error, &call.served.name, ""))
}

fn duration(asked: Option<i64>) -> Duration {
    match asked {
        Some(seconds) if seconds > 0 => Duration::from_secs(seconds.unsigned_abs()),
        // Spread, or all clients of a restarted server come back at once forever.
        _ => limits::WATCH_TIMEOUT_MIN.mul_f64(1.0 + rand::rng().random::<f64>()),
    }
}

fn ticker(every: Duration) -> Interval {
    let mut interval = tokio::time::interval_at(Instant::now() + every, every);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

/// The state of an open watch's body.
struct Streaming {
    watch: Watch,
    form: Form,
    /// Encoded, not yet sent.
    frames: VecDeque<Bytes>,
    bookmarks: bool,
    /// Whether the bookmark behind the existing objects is still owed.
    mark_initial: bool,
    deadline: Pin<Box<Sleep>>,
    bookmark_due: Interval,
    stopping: CancellationToken,
    counted: OpenWatch,
    /// An error was sent; nothing follows.
    ended: bool,
}

impl Streaming {
    /// The next frame. The stream ends at the deadline, when the server stops, and after an error.
    async fn next(mut self) -> Option<(Result<Bytes, ApiError>, Streaming)> {
        loop {
            if let Some(frame) = self.frames.pop_front() {
                return Some((Ok(frame), self));
            }
            if self.ended {
                return None;
            }
            tokio::select! {
                biased;
                () = self.stopping.cancelled() => return None,
                () = self.form.served.retired.cancelled() => return None,
                () = &mut self.deadline => return None,
                _ = self.bookmark_due.tick(), if self.bookmarks => self.watch.request_bookmark(),
                events = self.watch.next() => self.take(events),
            }
        }
    }

    fn take(&mut self, events: Result<VecDeque<WatchEvent>, storage::Error>) {
        let result = match events {
            Ok(events) => events.into_iter().try_for_each(|event| self.encode(event)),
            Err(error) => Err(from_storage(error, &self.form.served.name, "")),
        };
        if let Err(error) = result {
            self.ended = true;
            match self.form.error(&error) {
                Ok(frame) => self.frames.push_back(frame),
                Err(error) => tracing::error!(%error, "a watch error cannot be encoded"),
            }
        }
    }

    fn encode(&mut self, event: WatchEvent) -> Result<(), ApiError> {
        match event {
            WatchEvent::Change(change) => {
                let frame = change.frame(self.form.id(), |change| self.form.change(change))?;
                self.frames.push_back(frame);
                self.counted.events.inc();
            }
            WatchEvent::Bookmark {
                revision,
                initial_end: true,
            } if self.mark_initial => {
                self.mark_initial = false;
                self.frames.push_back(self.form.bookmark(revision, true)?);
            }
            WatchEvent::Bookmark { initial_end: true, .. } => {}
            WatchEvent::Bookmark { revision, .. } if self.bookmarks => {
                self.frames.push_back(self.form.bookmark(revision, false)?);
            }
            WatchEvent::Bookmark { .. } => {}
        }
        Ok(())
    }
}

/// How frames look.
struct Form {
    served: Arc<Served>,
    shape: Shape,
    encoding: Encoding,
    include: IncludeObject,
}

impl Form {
    /// Everything that the bytes of a frame depend on besides the change.
    fn id(&self) -> u64 {
        let shape = match (self.encoding, self.shape, self.include) {
            (Encoding::Protobuf, ..) => 1,
            (_, Shape::Object, _) => 0,
            (_, Shape::Partial, _) => 2,
            (_, Shape::Table, IncludeObject::None) => 3,
            (_, Shape::Table, IncludeObject::Metadata) => 4,
            (_, Shape::Table, IncludeObject::Object) => 5,
        };
        u64::from(self.served.id) << 8 | shape
    }

    fn change(&self, change: &Change) -> Result<Bytes, ApiError> {
        let kind = match change.kind {
            ChangeKind::Added => "ADDED",
            ChangeKind::Modified => "MODIFIED",
            ChangeKind::Deleted => "DELETED",
        };
        if self.shape == Shape::Object && self.encoding == Encoding::Json && self.served.conversion.is_none() {
            let mut out = BytesMut::with_capacity(change.item.json_len() + 32);
            open_frame(&mut out, kind);
            change.item.write_json(&mut out);
            out.put_slice(b"}\n");
            return Ok(out.freeze());
        }
        let json = change.item.json();
        let json = match self.shape {
            Shape::Object => self.served.show(json)?,
            Shape::Table | Shape::Partial => self.served.show_row(json)?,
        };
        self.frame(kind, &json)
    }

    /// A frame around an object's JSON, in the form of this watch.
    fn frame(&self, kind: &str, json: &[u8]) -> Result<Bytes, ApiError> {
        if self.encoding == Encoding::Protobuf {
            return Ok(protobuf_frame(kind, &transform::protobuf_of(json)?));
        }
        let object = match self.shape {
            Shape::Object => Bytes::copy_from_slice(json),
            Shape::Partial => transform::partial_of(json)?,
            Shape::Table => transform::table_of(&self.served, json, self.include)?,
        };
        Ok(json_frame(kind, &object))
    }

    fn bookmark(&self, revision: i64, initial_end: bool) -> Result<Bytes, ApiError> {
        let mut metadata = json!({"resourceVersion": revision.to_string(), "creationTimestamp": null});
        if initial_end {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let object = json!({
            "kind": self.served.info.kind, "apiVersion": self.served.info.api_version(), "metadata": metadata,
        });
        match self.shape {
            // A row would need the cells of an object that does not exist.
            Shape::Table => Ok(json_frame("BOOKMARK", &self.empty_table(&object)?)),
            _ => self.frame("BOOKMARK", object.to_string().as_bytes()),
        }
    }

    fn empty_table(&self, object: &Value) -> Result<Bytes, ApiError> {
        let head = transform::table_head(
            &self.served,
            &json!({"resourceVersion": object["metadata"]["resourceVersion"]}),
        );
        let partial = transform::partial_of(object.to_string().as_bytes())?;
        let cells = vec![Value::Null; self.served.strategy.columns().len()];
        let mut out = BytesMut::from(head.as_bytes());
        out.put_slice(format!(r#"{{"cells":{},"object":"#, Value::Array(cells)).as_bytes());
        out.put_slice(&partial);
        out.put_slice(b"}]}");
        Ok(out.freeze())
    }

    fn error(&self, error: &ApiError) -> Result<Bytes, ApiError> {
        let status = error.status();
        match self.encoding {
            Encoding::Json => Ok(json_frame("ERROR", status.to_string().as_bytes())),
            Encoding::Protobuf => Ok(protobuf_frame("ERROR", &transform::protobuf(&status)?)),
        }
    }
}

fn open_frame(out: &mut BytesMut, kind: &str) {
    out.put_slice(b"{\"type\":\"");
    out.put_slice(kind.as_bytes());
    out.put_slice(b"\",\"object\":");
}

fn json_frame(kind: &str, object: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(object.len() + 40);
    open_frame(&mut out, kind);
    out.put_slice(object);
    out.put_slice(b"}\n");
    out.freeze()
}

/// A length (4 bytes, big endian) and then a WatchEvent: field 1 the type, field 2 a RawExtension whose field 1 is the object.
fn protobuf_frame(kind: &str, object: &[u8]) -> Bytes {
    let mut raw = BytesMut::with_capacity(object.len() + 8);
    field(&mut raw, 1, object);
    let mut event = BytesMut::with_capacity(raw.len() + 32);
    field(&mut event, 1, kind.as_bytes());
    field(&mut event, 2, &raw);
    let mut frame = BytesMut::with_capacity(event.len() + 4);
    frame.put_u32(event.len() as u32);
    frame.put_slice(&event);
    frame.freeze()
}

/// A length-delimited protobuf field.
fn field(out: &mut BytesMut, number: u8, bytes: &[u8]) {
    out.put_u8(number << 3 | 2);
    let mut length = bytes.len();
    while length >= 0x80 {
        out.put_u8(length as u8 | 0x80);
        length >>= 7;
    }
    out.put_u8(length as u8);
    out.put_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protobuf_frames_are_length_delimited() {
        let frame = protobuf_frame("ADDED", b"k8s\0x");
        assert_eq!(&frame[..4], (frame.len() as u32 - 4).to_be_bytes());
        assert_eq!(&frame[4..], b"\x0a\x05ADDED\x12\x07\x0a\x05k8s\0x");
    }
}
