//! `/containerLogs`.

use axum::body::Body;
use axum::response::Response;
use http::header::{CONTENT_TYPE, HeaderValue};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodStatus};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tracing::debug;

use super::Context;
use super::query::Query;
use crate::Error;
use crate::log::Stream;
use crate::log::read::{Options, send};
use crate::pod::spec;
use crate::pod::view::{ContainerState, ContainerView, PodView};

/// How many chunks of a log wait for a slow client.
const CHUNKS_MAX: usize = 4;

pub(super) async fn respond(
    context: &Context,
    namespace: &str,
    pod: &str,
    container: &str,
    query: &Query,
) -> Result<Response, Error> {
    let object = context.pod(namespace, pod)?;
    let uid = spec::uid(&object).to_owned();
    if spec::container(&object, container).is_none() {
        return Err(Error::Pod(format!("container {container} is not valid for pod {pod}")));
    }
    let options = options(query, Timestamp::now())?;
    let view = context.node.relist.view(&uid);
    let chosen = choose(&view, &object, container, query.flag("previous"))?;
    let (path, id) = (chosen.log_path.clone().into(), chosen.id.clone());
    let relist = context.node.relist.clone();
    let ended = move || {
        let view = relist.view(&uid);
        view.containers
            .iter()
            .find(|c| c.id == id)
            .is_none_or(|c| c.state != ContainerState::Running)
    };
    let (sender, receiver) = mpsc::channel(CHUNKS_MAX);
    tokio::spawn(async move {
        let errors = sender.clone();
        if let Err(error) = send(path, options, ended, sender).await {
            debug!(%error, "reading a log ended early");
            let _ = errors.send(Err(error)).await;
        }
    });
    let mut response = Response::new(Body::from_stream(ReceiverStream::new(receiver)));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    Ok(response)
}

fn choose<'a>(view: &'a PodView, object: &Pod, name: &str, previous: bool) -> Result<&'a ContainerView, Error> {
    let pod = object.metadata.name.as_deref().unwrap_or_default();
    let mut started = view
        .containers
        .iter()
        .filter(|c| c.name == name && c.state != ContainerState::Created);
    let latest = started.next();
    if !previous {
        let cause = waits_for(object, name);
        return latest.ok_or_else(|| {
            Error::Pod(format!(
                "container \"{name}\" in pod \"{pod}\" is waiting to start: {cause}"
            ))
        });
    }
    // While a container waits to be started again, the one that ended is the previous one.
    let ended = latest.filter(|c| c.state == ContainerState::Exited && started.clone().next().is_none());
    let missing = || {
        Error::Pod(format!(
            "previous terminated container \"{name}\" in pod \"{pod}\" not found"
        ))
    };
    started.next().or(ended.filter(|c| c.restarts > 0)).ok_or_else(missing)
}

/// Why a container that never started waits, in the kubelet's words.
fn waits_for<'a>(pod: &'a Pod, name: &str) -> &'a str {
    let status = pod.status.as_ref();
    let of = |list: fn(&PodStatus) -> &Option<Vec<ContainerStatus>>| {
        status.and_then(|s| list(s).as_ref()).into_iter().flatten()
    };
    let known = of(|s| &s.container_statuses)
        .chain(of(|s| &s.init_container_statuses))
        .find(|c| c.name == name);
    let waiting = known.and_then(|c| c.state.as_ref()?.waiting.as_ref());
    match waiting.and_then(|w| w.reason.as_deref()) {
        Some("ErrImagePull") => "image can't be pulled",
        Some("ImagePullBackOff") => "trying and failing to pull image",
        Some(reason) => reason,
        None => "ContainerCreating",
    }
}

fn options(query: &Query, now: Timestamp) -> Result<Options, Error> {
    let since = match (
        query.number("sinceSeconds")?,
        query.get("sinceTime").filter(|t| !t.is_empty()),
    ) {
        (Some(_), Some(_)) => {
            return Err(Error::Pod(
                "at most one of sinceTime and sinceSeconds may be specified".into(),
            ));
        }
        (Some(seconds), None) => now.saturating_sub(std::time::Duration::from_secs(seconds)).ok(),
        (None, Some(time)) => Some(
            time.parse()
                .map_err(|e| Error::Pod(format!("sinceTime {time:?}: {e}")))?,
        ),
        (None, None) => None,
    };
    let stream = match query.get("stream") {
        None | Some("" | "All") => None,
        Some("Stdout") => Some(Stream::Stdout),
        Some("Stderr") => Some(Stream::Stderr),
        Some(other) => {
            return Err(Error::Pod(format!(
                "stream must be All, Stdout or Stderr, not {other:?}"
            )));
        }
    };
    Ok(Options {
        follow: query.flag("follow"),
        tail: query.number("tailLines")?,
        since,
        timestamps: query.flag("timestamps"),
        limit_bytes: query.number("limitBytes")?,
        stream,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_says_what_for() {
        let waits = |status: serde_json::Value| {
            let pod = serde_json::json!({ "metadata": { "name": "p" }, "status": status });
            let pod: Pod = serde_json::from_value(pod).unwrap();
            choose(&PodView::default(), &pod, "c", false).unwrap_err().to_string()
        };
        let state = |reason: &str| {
            serde_json::json!([{
                "name": "c", "image": "i", "imageID": "", "ready": false, "restartCount": 0,
                "state": { "waiting": { "reason": reason } }
            }])
        };
        let start = "container \"c\" in pod \"p\" is waiting to start: ";
        for (status, cause) in [
            (serde_json::json!({}), "ContainerCreating"),
            (
                serde_json::json!({ "containerStatuses": state("ErrImagePull") }),
                "image can't be pulled",
            ),
            (
                serde_json::json!({ "containerStatuses": state("ImagePullBackOff") }),
                "trying and failing to pull image",
            ),
            (
                serde_json::json!({ "initContainerStatuses": state("CreateContainerConfigError") }),
                "CreateContainerConfigError",
            ),
        ] {
            assert!(waits(status).ends_with(&format!("{start}{cause}")), "{cause}");
        }
    }

    #[test]
    fn parameters_become_options() {
        let now = Timestamp::from_second(1000).unwrap();
        let get = |text: &str| options(&Query::parse(text), now);
        let all = get("follow=true&tailLines=5&sinceSeconds=10&timestamps=1&limitBytes=9").unwrap();
        assert!(all.follow && all.timestamps);
        assert_eq!((all.tail, all.limit_bytes), (Some(5), Some(9)));
        assert_eq!(all.since, Timestamp::from_second(990).ok());
        for wrong in [
            "tailLines=-1",
            "sinceTime=yesterday",
            "stream=x",
            "sinceSeconds=1&sinceTime=2026-01-01T00:00:00Z",
        ] {
            assert!(get(wrong).is_err(), "{wrong}");
        }
    }
}
