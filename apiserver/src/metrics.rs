//! What the server counts, under upstream's metric names so that existing dashboards work.

use crate::RequestInfo;
use http::StatusCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::time::Instant;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Request {
    verb: String,
    group: String,
    version: String,
    resource: String,
    subresource: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Answer {
    verb: String,
    group: String,
    version: String,
    resource: String,
    subresource: String,
    code: u32,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Kind {
    request_kind: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Watched {
    group: String,
    version: String,
    resource: String,
}

/// See the module. Labels are bounded: resources that do not exist count as one.
pub(crate) struct Metrics {
    answers: Family<Answer, Counter>,
    durations: Family<Request, Histogram>,
    in_flight: Family<Kind, Gauge>,
    watches: Family<Watched, Gauge>,
    watch_events: Family<Watched, Counter>,
}

const BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

impl Metrics {
    pub(crate) fn register(registry: &mut Registry) -> Metrics {
        let metrics = Metrics {
            answers: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            in_flight: Family::default(),
            watches: Family::default(),
            watch_events: Family::default(),
        };
        registry.register(
            "apiserver_request",
            "Requests by verb, resource and code",
            metrics.answers.clone(),
        );
        let help = "Seconds until the answer was ready";
        registry.register("apiserver_request_duration_seconds", help, metrics.durations.clone());
        registry.register(
            "apiserver_current_inflight_requests",
            "Requests running now",
            metrics.in_flight.clone(),
        );
        registry.register(
            "apiserver_longrunning_requests",
            "Open watches",
            metrics.watches.clone(),
        );
        registry.register(
            "apiserver_watch_events",
            "Events sent to watches",
            metrics.watch_events.clone(),
        );
        metrics
    }

    /// A request begins.
    pub(crate) fn started(&self, info: &RequestInfo) -> Running<'_> {
        let readonly = matches!(&*info.verb, "get" | "list" | "watch" | "head");
        let kind = Kind {
            request_kind: if readonly { "readOnly" } else { "mutating" }.into(),
        };
        let gauge = self.in_flight.get_or_create(&kind).clone();
        gauge.inc();
        Running { metrics: self, gauge }
    }

    /// A watch opens; the guard counts it until it closes.
    pub(crate) fn watch(&self, info: &RequestInfo) -> OpenWatch {
        let watched = Watched {
            group: info.group.clone(),
            version: info.version.clone(),
            resource: info.resource.clone(),
        };
        let open = self.watches.get_or_create(&watched).clone();
        open.inc();
        OpenWatch {
            open,
            events: self.watch_events.get_or_create(&watched).clone(),
        }
    }
}

/// A request that has not been answered. Dropping it without an answer (the client went away) still counts it out.
pub(crate) struct Running<'a> {
    metrics: &'a Metrics,
    gauge: Gauge,
}

impl Running<'_> {
    pub(crate) fn finished(&self, info: &RequestInfo, code: StatusCode, started: Instant) {
        let known = code != StatusCode::NOT_FOUND && info.is_resource;
        let text = |text: &str| if known { text.to_string() } else { String::new() };
        let request = Request {
            verb: info.verb.to_uppercase(),
            group: text(&info.group),
            version: text(&info.version),
            resource: text(&info.resource),
            subresource: text(&info.subresource),
        };
        let answer = Answer {
            verb: request.verb.clone(),
            group: request.group.clone(),
            version: request.version.clone(),
            resource: request.resource.clone(),
            subresource: request.subresource.clone(),
            code: code.as_u16().into(),
        };
        self.metrics.answers.get_or_create(&answer).inc();
        if info.verb != "watch" {
            self.metrics
                .durations
                .get_or_create(&request)
                .observe(started.elapsed().as_secs_f64());
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}

/// An open watch.
pub(crate) struct OpenWatch {
    open: Gauge,
    /// Events sent.
    pub events: Counter,
}

impl Drop for OpenWatch {
    fn drop(&mut self) {
        self.open.dec();
    }
}
