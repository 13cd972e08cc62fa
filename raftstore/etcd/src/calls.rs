//! Counting what is called, for whoever watches the door: how often, with which outcome, how long it took.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use http::Response;
use http_body::{Frame, SizeHint};
use raftstore::metrics::{Buckets, Counter, Histogram};
use tonic::{Code, Status, body::Body};

use crate::gateway;

/// Buckets for calls: from half a millisecond to about 16 s.
const CALL: Buckets = Buckets {
    first_s: 0.0005,
    count: 16,
};
/// gRPC's codes, by number.
const CODES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

/// One method's.
#[derive(Debug)]
pub(crate) struct Call {
    /// With its package.
    pub service: String,
    pub method: String,
    /// In Prometheus' words for gRPC: `unary`, `bidi_stream` and so on.
    pub kind: &'static str,
    pub started: Counter,
    /// By code.
    handled: [Counter; CODES.len()],
    pub took: Histogram,
}

impl Call {
    pub fn new(service: String, method: String, streams: (bool, bool)) -> Self {
        Self {
            service,
            method,
            kind: match streams {
                (false, false) => "unary",
                (true, false) => "client_stream",
                (false, true) => "server_stream",
                (true, true) => "bidi_stream",
            },
            started: Counter::default(),
            handled: Default::default(),
            took: Histogram::new(CALL),
        }
    }

    /// How often it ended with which code, as far as it did.
    pub fn handled(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = CODES
            .iter()
            .zip(&self.handled)
            .map(|(code, count)| (*code, count.get()));
        counts.filter(|(_, count)| *count > 0)
    }
}

/// Everything that is counted at the door.
#[derive(Debug)]
pub(crate) struct Calls {
    by_path: BTreeMap<String, Arc<Call>>,
    pub received_bytes: Arc<Counter>,
    pub sent_bytes: Arc<Counter>,
    /// Watch streams and watchers that there are: levels.
    pub watch_streams: Counter,
    pub watchers: Counter,
    /// Events that were given to watchers.
    pub events: Counter,
}

impl Calls {
    pub fn new() -> Self {
        Self {
            by_path: gateway::calls(),
            received_bytes: Arc::default(),
            sent_bytes: Arc::default(),
            watch_streams: Counter::default(),
            watchers: Counter::default(),
            events: Counter::default(),
        }
    }

    pub fn all(&self) -> impl Iterator<Item = &Call> {
        self.by_path.values().map(|call| &**call)
    }

    /// Notes that a method is called. `None` for what is no method.
    pub fn start(&self, path: &str) -> Option<Running> {
        let call = self.by_path.get(path)?.clone();
        call.started.one();
        Some(Running {
            call,
            start: Instant::now(),
            ended: false,
        })
    }
}

/// A call under way. One that is dropped was given up by its client.
pub(crate) struct Running {
    call: Arc<Call>,
    start: Instant,
    ended: bool,
}

impl Running {
    fn end(&mut self, code: Code) {
        if !std::mem::replace(&mut self.ended, true) {
            if let Some(count) = self.call.handled.get(code as usize) {
                count.one();
            }
            self.call.took.observe(self.start.elapsed());
        }
    }

    /// It was refused.
    pub fn refused(mut self, status: &Status) {
        self.end(status.code());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end(Code::Cancelled);
    }
}

/// A body whose bytes are counted.
pub(crate) struct Metered<B> {
    pub body: B,
    pub bytes: Arc<Counter>,
    /// Ended by the body's end.
    pub running: Option<Running>,
}

impl<B: http_body::Body<Data = Bytes> + Unpin> http_body::Body for Metered<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.body).poll_frame(context);
        let code = match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    this.bytes.add(data.len() as u64);
                }
                let trailers = frame.trailers_ref();
                trailers.map(|trailers| Status::from_header_map(trailers).map_or(Code::Ok, |status| status.code()))
            }
            Poll::Ready(Some(Err(_))) => Some(Code::Unknown),
            Poll::Ready(None) => Some(Code::Ok),
            Poll::Pending => None,
        };
        if let (Some(code), Some(running)) = (code, &mut this.running) {
            running.end(code);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Counts an answer and what becomes of it.
pub(crate) fn metered(response: Response<Body>, bytes: Arc<Counter>, running: Option<Running>) -> Response<Body> {
    let (parts, body) = response.into_parts();
    let mut running = running;
    if let (Some(status), Some(running)) = (Status::from_header_map(&parts.headers), &mut running) {
        running.end(status.code());
    }
    Response::from_parts(parts, Body::new(Metered { body, bytes, running }))
}
