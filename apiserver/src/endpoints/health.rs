//! /healthz, /livez, /readyz: the whole, or one check below it (`/readyz/store`), with `?verbose` and `?exclude=`.

use super::query::Query;
use super::respond;
use crate::{Body, Server, limits};
use http::Response;
use std::fmt::Write;
use storage::Freshness;

const TEXT: &str = "text/plain; charset=utf-8";

/// The checks of an endpoint. Liveness does not ask the store: a master that has no quorum must not be restarted for it.
fn checks(endpoint: &str) -> Option<&'static [&'static str]> {
    match endpoint {
        "healthz" => Some(&["ping", "store"]),
        "livez" => Some(&["ping"]),
        "readyz" => Some(&["ping", "store", "shutdown"]),
        _ => None,
    }
}

fn split(path: &str) -> Option<(&str, Option<&str>)> {
    let path = path.strip_prefix('/')?;
    let (endpoint, check) = path
        .split_once('/')
        .map_or((path, None), |(endpoint, check)| (endpoint, Some(check)));
    let known = checks(endpoint)?;
    check
        .is_none_or(|check| known.contains(&check))
        .then_some((endpoint, check))
}

/// Whether the path is one of these.
pub(super) fn is_health(path: &str) -> bool {
    split(path).is_some()
}

pub(super) async fn answer(server: &Server, path: &str, query: &Query) -> Response<Body> {
    let Some((endpoint, single)) = split(path) else {
        return respond::bytes(404, TEXT, "not found");
    };
    let mut report = String::new();
    let mut failed = false;
    for name in checks(endpoint).unwrap_or_default() {
        if single.is_some_and(|single| single != *name) {
            continue;
        }
        if query.all("exclude").any(|excluded| excluded == *name) {
            let _ = writeln!(report, "[+]{name} excluded: ok");
            continue;
        }
        match check(server, name).await {
            Ok(()) => drop(writeln!(report, "[+]{name} ok")),
            Err(why) => {
                failed = true;
                tracing::warn!(endpoint, check = name, why, "health check failed");
                // The reason is in the log; this answer is for everyone.
                let _ = writeln!(report, "[-]{name} failed: reason withheld");
            }
        }
    }
    match (failed, query.has("verbose")) {
        (true, _) => respond::bytes(500, TEXT, format!("{report}{endpoint} check failed\n")),
        (false, true) => respond::bytes(200, TEXT, format!("{report}{endpoint} check passed\n")),
        (false, false) => respond::bytes(200, TEXT, "ok"),
    }
}

async fn check(server: &Server, name: &str) -> Result<(), String> {
    match name {
        "store" => {
            let read = server.registry.reader().storage().ping(Freshness::Latest);
            match tokio::time::timeout(limits::HEALTH_TIMEOUT, read).await {
                Ok(result) => result.map_err(|error| error.to_string()),
                Err(_) => Err("a linearizable read did not finish in time".into()),
            }
        }
        "shutdown" if server.stopping.is_cancelled() => Err("the server is shutting down".into()),
        _ => Ok(()),
    }
}
