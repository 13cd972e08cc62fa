//! An API in this process that has fixed objects and never a change, and a network namespace to run in.

use std::{convert::Infallible, time::Duration};

use client::Client;
use futures::stream;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Bytes, Frame};
use kube::client::Body;
use nix::sched::{CloneFlags, unshare};
use serde_json::{Value, json};

/// Nothing in these tests takes long; what takes this long never comes.
pub const HANG: Duration = Duration::from_secs(30);

type Answer = UnsyncBoxBody<Bytes, Infallible>;

/// A client of an API with these objects, by the last part of their collection's path.
pub fn client(collections: &[(&'static str, Value)]) -> Client {
    let collections = collections.to_vec();
    Client::local(tower::service_fn(move |request: Request<Body>| {
        let response = answer(
            &collections,
            request.uri().path(),
            request.uri().query().unwrap_or_default(),
        );
        async move { Ok::<_, Infallible>(response) }
    }))
}

fn answer(collections: &[(&'static str, Value)], path: &str, query: &str) -> Response<Answer> {
    if query.contains("watch=true") {
        let silence = stream::pending::<Result<Frame<Bytes>, Infallible>>();
        return Response::new(StreamBody::new(silence).boxed_unsync());
    }
    let name = path.rsplit('/').next().unwrap_or_default();
    let items = collections
        .iter()
        .find(|(collection, _)| *collection == name)
        .map(|(_, items)| items.clone());
    let list = json!({ "kind": "List", "metadata": { "resourceVersion": "1" }, "items": items.unwrap_or(json!([])) });
    Response::new(Full::new(Bytes::from(list.to_string())).boxed_unsync())
}

/// Runs a test in a network namespace of its own with the loopback link up. Says so if that cannot be.
pub fn isolated<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send) {
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    std::thread::scope(|scope| {
        let run = || {
            let up = || {
                std::process::Command::new("ip")
                    .args(["link", "set", "lo", "up"])
                    .status()
            };
            if unshare(CloneFlags::CLONE_NEWNET).is_err() || !up().is_ok_and(|status| status.success()) {
                return skip::skip("needs root and ip");
            }
            // One thread: the namespace is this thread's only.
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(test());
        };
        let thread = std::thread::Builder::new().name(name).spawn_scoped(scope, run);
        thread.expect("a thread can be started");
    });
}
