//! `pods/log`, `pods/exec`, `pods/attach` and `pods/portforward`: found by the pod's node, asked of its kubelet.

use super::kubelet::{Kubelets, locate};
use super::upgrade;
use crate::registry::Connect;
use crate::registry::fields::{list, text};
use crate::{ApiError, Body};
use http::StatusCode;
use serde_json::Value;

/// Answers a request for one of the pod's streams.
pub(crate) async fn connect(kubelets: &Kubelets, connect: Connect<'_>) -> Result<http::Response<Body>, ApiError> {
    let info = connect.info;
    let reader = connect.registry.reader();
    let pod = reader.get("pods", &info.namespace, &info.name).await?;
    let target = target(
        &pod,
        &info.subresource,
        connect.request.uri().query().unwrap_or_default(),
    )?;
    let node = text(&pod, "spec.nodeName");
    if node.is_empty() {
        return unscheduled(&pod, &info.subresource);
    }
    let address = locate(reader, node).await?;
    if info.subresource != "log" && !upgrade::wanted(connect.request.headers()) {
        return Err(ApiError::bad_request("Upgrade request required"));
    }
    let answer = upgrade::pass_on(kubelets.way(&address), &address.authority(), &target, connect.request).await?;
    as_status(answer, &info.subresource).await
}

/// A pod without a node has no logs yet, which is no error, and nothing to run a command in, which is one.
fn unscheduled(pod: &Value, subresource: &str) -> Result<http::Response<Body>, ApiError> {
    if subresource == "log" {
        return Ok(http::Response::new(Body::empty()));
    }
    let name = text(pod, "metadata.name");
    Err(ApiError::bad_request(format!(
        "pod {name} does not have a host assigned"
    )))
}

/// The kubelet's path for the stream, with the query it understands.
fn target(pod: &Value, subresource: &str, query: &str) -> Result<String, ApiError> {
    let (namespace, name) = (text(pod, "metadata.namespace"), text(pod, "metadata.name"));
    let (verb, path) = match subresource {
        "portforward" => return Ok(joined(format!("/portForward/{namespace}/{name}"), query)),
        "log" => ("containerLogs", namespace),
        other => (other, namespace),
    };
    let (container, rest) = split_container(query);
    let container = chosen(pod, &container)?;
    let query = if subresource == "log" { rest } else { for_kubelet(&rest) };
    Ok(joined(format!("/{verb}/{path}/{name}/{container}"), &query))
}

fn joined(path: String, query: &str) -> String {
    if query.is_empty() {
        path
    } else {
        format!("{path}?{query}")
    }
}

/// The `container` parameter and the rest of the query, as it was written.
fn split_container(query: &str) -> (String, String) {
    let mut container = String::new();
    let mut rest = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.strip_prefix("container=") {
            Some(value) => container = crate::endpoints::query::percent_decode(value, true),
            None => rest.push(pair),
        }
    }
    (container, rest.join("&"))
}

/// The API says `stdin=true`, the kubelet's own API says `input=1`.
fn for_kubelet(query: &str) -> String {
    let mut renamed = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let on = matches!(value, "true" | "1");
        match key {
            "stdin" if on => renamed.push("input=1".to_owned()),
            "stdout" if on => renamed.push("output=1".to_owned()),
            "stderr" if on => renamed.push("error=1".to_owned()),
            "tty" if on => renamed.push("tty=1".to_owned()),
            "stdin" | "stdout" | "stderr" | "tty" => {}
            _ => renamed.push(pair.to_owned()),
        }
    }
    renamed.join("&")
}

/// The container that was asked for, or the only one there is.
fn chosen(pod: &Value, asked: &str) -> Result<String, ApiError> {
    let name = text(pod, "metadata.name");
    let names = |path: &str| list(pod, path).iter().map(|c| text(c, "name")).collect::<Vec<_>>();
    let (main, init, ephemeral) = (
        names("spec.containers"),
        names("spec.initContainers"),
        names("spec.ephemeralContainers"),
    );
    if !asked.is_empty() {
        return match main.iter().chain(&init).chain(&ephemeral).any(|c| *c == asked) {
            true => Ok(asked.to_owned()),
            false => Err(ApiError::bad_request(format!(
                "container {asked} is not valid for pod {name}"
            ))),
        };
    }
    match main.as_slice() {
        [only] => Ok((*only).to_owned()),
        [] => Err(ApiError::bad_request(format!(
            "a container name must be specified for pod {name}"
        ))),
        _ => {
            let mut message = format!(
                "a container name must be specified for pod {name}, choose one of: [{}]",
                main.join(" ")
            );
            if !init.is_empty() {
                message.push_str(&format!(" or one of the init containers: [{}]", init.join(" ")));
            }
            Err(ApiError::bad_request(message))
        }
    }
}

/// A kubelet answers errors as plain text; clients of the API get a Status.
async fn as_status(answer: http::Response<Body>, subresource: &str) -> Result<http::Response<Body>, ApiError> {
    let code = answer.status();
    if code.is_success() || code == StatusCode::SWITCHING_PROTOCOLS || subresource != "log" {
        return Ok(answer);
    }
    let text =
        http_body_util::BodyExt::collect(http_body_util::Limited::new(answer.into_body(), MESSAGE_BYTES_MAX)).await;
    let text = text
        .map(|body| String::from_utf8_lossy(&body.to_bytes()).trim().to_owned())
        .unwrap_or_default();
    let reason = match code.as_u16() {
        400 => "BadRequest",
        404 => "NotFound",
        401 | 403 => {
            return Err(ApiError::internal(format!(
                "the kubelet refused this API server: {text}"
            )));
        }
        _ => "InternalError",
    };
    Err(ApiError::new(code.as_u16(), reason, text))
}

/// More of a kubelet's error message than this is not passed on.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(containers: &[&str]) -> Value {
        let containers: Vec<Value> = containers.iter().map(|name| json!({ "name": name })).collect();
        json!({"metadata": {"name": "p", "namespace": "a"}, "spec": {"containers": containers}})
    }

    #[test]
    fn paths_are_the_kubelets() {
        let one = pod(&["c"]);
        assert_eq!(
            target(&one, "log", "follow=true").unwrap(),
            "/containerLogs/a/p/c?follow=true"
        );
        assert_eq!(
            target(
                &one,
                "exec",
                "command=ls&command=-l&container=c&stdin=true&stdout=true&tty=false"
            )
            .unwrap(),
            "/exec/a/p/c?command=ls&command=-l&input=1&output=1"
        );
        assert_eq!(
            target(&one, "portforward", "ports=80").unwrap(),
            "/portForward/a/p?ports=80"
        );
    }

    #[test]
    fn the_container_has_to_be_named_when_there_are_several() {
        let two = pod(&["c", "d"]);
        assert_eq!(target(&two, "log", "").unwrap_err().code, 400);
        assert_eq!(target(&two, "log", "container=d").unwrap(), "/containerLogs/a/p/d");
        assert_eq!(target(&two, "log", "container=x").unwrap_err().code, 400);
    }
}
