//! Informers against a scripted API in this process: what a controller would miss or see twice if they failed.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use client::objects::Pod;
use client::{Change, Client, Informers};
use futures::StreamExt;
use futures::channel::mpsc as stream;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use kube::client::Body;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

type Answer = http_body_util::combinators::UnsyncBoxBody<Bytes, Infallible>;

/// A request that waits for the test to answer it.
struct Call {
    url: String,
    answer: tokio::sync::oneshot::Sender<Response<Answer>>,
}

impl Call {
    fn whole(self, code: u16, body: &str) {
        let body = Full::new(Bytes::from(body.to_owned())).boxed_unsync();
        let _ = self.answer.send(Response::builder().status(code).body(body).unwrap());
    }

    /// A watch whose lines the test writes; dropping the writer ends it.
    fn lines(self) -> Watch {
        let (sender, receiver) = stream::unbounded::<Bytes>();
        let body = StreamBody::new(receiver.map(|b| Ok::<_, Infallible>(Frame::data(b)))).boxed_unsync();
        let _ = self.answer.send(Response::new(body));
        Watch(sender)
    }
}

struct Watch(stream::UnboundedSender<Bytes>);

impl Watch {
    fn send(&self, text: &str) {
        self.0.unbounded_send(Bytes::from(text.to_owned())).unwrap();
    }

    fn event(&self, kind: &str, object: &str) {
        self.send(&format!("{{\"type\":\"{kind}\",\"object\":{object}}}\n"));
    }
}

/// An API whose every request is handed to the test.
fn api() -> (Client, mpsc::UnboundedReceiver<Call>) {
    let (calls, incoming) = mpsc::unbounded_channel();
    let service = tower::service_fn(move |request: Request<Body>| {
        let calls = calls.clone();
        async move {
            let (answer, wait) = tokio::sync::oneshot::channel();
            let _ = calls.send(Call {
                url: request.uri().to_string(),
                answer,
            });
            wait.await.map_err(|_| std::io::Error::other("the test is over"))
        }
    });
    (Client::local(service), incoming)
}

fn pod(name: &str, version: &str) -> String {
    format!(r#"{{"metadata":{{"name":"{name}","namespace":"ns","uid":"{name}","resourceVersion":"{version}"}}}}"#)
}

fn list(version: &str, items: &[String]) -> String {
    format!(
        r#"{{"kind":"PodList","metadata":{{"resourceVersion":"{version}"}},"items":[{}]}}"#,
        items.join(",")
    )
}

/// The changes a subscriber sees, one per receive.
fn changes(cache: &client::Cache<Pod>) -> (mpsc::UnboundedReceiver<String>, client::Subscription) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let subscription = cache.subscribe(move |change| {
        let word = match change {
            Change::Added(_) => "added",
            Change::Modified { .. } => "modified",
            Change::Deleted(_) => "deleted",
        };
        let meta = &change.object().metadata;
        let _ = sender.send(format!("{word} {}@{}", meta.name, meta.resource_version));
    });
    (receiver, subscription)
}

#[tokio::test]
async fn lists_then_watches_from_there() {
    let (client, mut calls) = api();
    let informers = Informers::new(client, CancellationToken::new());
    let pods = informers.watch::<Pod>();
    let (mut seen, _subscription) = changes(&pods);
    let call = calls.recv().await.unwrap();
    assert!(call.url.starts_with("/api/v1/pods?limit="), "{}", call.url);
    assert!(!pods.is_synced());
    call.whole(200, &list("10", &[pod("a", "7")]));
    assert_eq!(seen.recv().await.unwrap(), "added a@7");
    informers.synced().await;

    let call = calls.recv().await.unwrap();
    assert!(
        call.url.contains("watch=true") && call.url.contains("resourceVersion=10"),
        "{}",
        call.url
    );
    let watch = call.lines();
    watch.event("ADDED", &pod("b", "11"));
    // A line may arrive in pieces.
    let (head, tail) = (r#"{"type":"MODIFIED","obj"#, format!("ect\":{}}}\n", pod("a", "12")));
    watch.send(head);
    watch.send(&tail);
    watch.event("DELETED", &pod("b", "13"));
    assert_eq!(seen.recv().await.unwrap(), "added b@11");
    assert_eq!(seen.recv().await.unwrap(), "modified a@12");
    assert_eq!(seen.recv().await.unwrap(), "deleted b@13");
    assert_eq!(pods.len(), 1);
}

#[tokio::test]
async fn a_broken_watch_resumes_after_the_last_event_or_bookmark() {
    let (client, mut calls) = api();
    let informers = Informers::new(client, CancellationToken::new());
    let pods = informers.watch::<Pod>();
    calls.recv().await.unwrap().whole(200, &list("10", &[]));
    let watch = calls.recv().await.unwrap().lines();
    watch.event("ADDED", &pod("a", "11"));
    watch.event("BOOKMARK", r#"{"metadata":{"resourceVersion":"20"}}"#);
    drop(watch);
    let call = calls.recv().await.unwrap();
    assert!(call.url.contains("resourceVersion=20"), "{}", call.url);
    assert_eq!(pods.len(), 1);
}

#[tokio::test]
async fn a_compacted_watch_lists_again_and_tells_the_difference() {
    let (client, mut calls) = api();
    let informers = Informers::new(client, CancellationToken::new());
    let pods = informers.watch::<Pod>();
    let (mut seen, _subscription) = changes(&pods);
    calls
        .recv()
        .await
        .unwrap()
        .whole(200, &list("10", &[pod("a", "7"), pod("b", "8")]));
    assert_eq!(seen.recv().await.unwrap(), "added a@7");
    assert_eq!(seen.recv().await.unwrap(), "added b@8");
    let watch = calls.recv().await.unwrap().lines();
    watch.event(
        "ERROR",
        r#"{"kind":"Status","code":410,"reason":"Expired","message":"too old"}"#,
    );
    let call = calls.recv().await.unwrap();
    assert!(!call.url.contains("watch=true"), "{}", call.url);
    call.whole(200, &list("90", &[pod("b", "80"), pod("c", "81")]));
    let mut difference = vec![
        seen.recv().await.unwrap(),
        seen.recv().await.unwrap(),
        seen.recv().await.unwrap(),
    ];
    difference.sort();
    assert_eq!(difference, ["added c@81", "deleted a@7", "modified b@80"]);
}

#[tokio::test]
async fn an_unavailable_api_is_asked_again() {
    let (client, mut calls) = api();
    let informers = Informers::new(client, CancellationToken::new());
    let pods = informers.watch::<Pod>();
    calls.recv().await.unwrap().whole(503, "no leader");
    calls.recv().await.unwrap().whole(200, &list("10", &[pod("a", "7")]));
    pods.synced().await;
    assert_eq!(pods.len(), 1);
}

#[tokio::test]
async fn one_watch_however_many_ask() {
    let (client, mut calls) = api();
    let informers = Informers::new(client, CancellationToken::new());
    let (first, second) = (informers.watch::<Pod>(), informers.watch::<Pod>());
    calls.recv().await.unwrap().whole(200, &list("10", &[pod("a", "7")]));
    first.synced().await;
    assert_eq!(second.len(), 1);
    assert!(calls.recv().await.unwrap().url.contains("watch=true"));
    assert!(calls.try_recv().is_err());
}

#[tokio::test]
async fn catching_up_waits_for_a_list_begun_later() {
    let (client, mut calls) = api();
    let informers = Informers::new(client, CancellationToken::new());
    let pods = informers.watch::<Pod>();
    calls.recv().await.unwrap().whole(200, &list("10", &[]));
    let _watch = calls.recv().await.unwrap().lines();
    let waiting = Arc::new(informers.clone());
    let caught_up = tokio::spawn(async move { waiting.catch_up().await });
    let call = calls.recv().await.unwrap();
    assert!(!call.url.contains("watch=true") && !caught_up.is_finished());
    call.whole(200, &list("30", &[pod("a", "29")]));
    caught_up.await.unwrap();
    assert_eq!(pods.len(), 1);
}
