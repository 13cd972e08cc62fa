//! exec, attach and port-forward: what is asked of the runtime. The bytes are [`super::stream`]'s.

use axum::extract::{Path, Request, State};
use axum::response::Response;
use k8s_cri::v1;
use serde::Deserialize;

use super::query::{Query, Streams};
use super::{Context, stream};
use crate::Error;
use crate::pod::spec;

/// What a path names. A uid, which some paths have, adds nothing: one pod of a name runs at a time.
#[derive(Deserialize)]
pub(super) struct Target {
    namespace: String,
    pod: String,
    #[serde(default)]
    container: String,
}

pub(super) async fn exec(State(context): State<Context>, Path(target): Path<Target>, request: Request) -> Response {
    let query = query(&request);
    let url = async {
        let (container_id, streams) = container(&context, &target, &query)?;
        let Streams {
            stdin,
            stdout,
            stderr,
            tty,
        } = streams;
        let cmd = query.all("command");
        if cmd.is_empty() {
            return Err(Error::Pod("you must specify at least 1 command to execute".into()));
        }
        let request = v1::ExecRequest {
            container_id,
            cmd,
            tty,
            stdin,
            stdout,
            stderr,
        };
        context.node.runtime.exec(request).await
    };
    stream::forward(url.await, request).await
}

pub(super) async fn attach(State(context): State<Context>, Path(target): Path<Target>, request: Request) -> Response {
    let query = query(&request);
    let url = async {
        let (container_id, streams) = container(&context, &target, &query)?;
        let request = v1::AttachRequest {
            container_id,
            stdin: streams.stdin,
            tty: streams.tty,
            stdout: streams.stdout,
            stderr: streams.stderr,
        };
        context.node.runtime.attach(request).await
    };
    stream::forward(url.await, request).await
}

pub(super) async fn port_forward(
    State(context): State<Context>,
    Path(target): Path<Target>,
    request: Request,
) -> Response {
    let query = query(&request);
    let url = async {
        let object = context.pod(&target.namespace, &target.pod)?;
        let view = context.node.relist.view(spec::uid(&object));
        let sandbox = view
            .ready_sandbox()
            .ok_or_else(|| Error::Pod(format!("pod \"{}\" is not running", target.pod)))?;
        let ports = ["port", "ports"].into_iter().flat_map(|name| query.all(name));
        let request = v1::PortForwardRequest {
            pod_sandbox_id: sandbox.id.clone(),
            port: ports.filter_map(|p| p.parse().ok()).collect(),
        };
        context.node.runtime.port_forward(request).await
    };
    stream::forward(url.await, request).await
}

fn query(request: &Request) -> Query {
    Query::parse(request.uri().query().unwrap_or_default())
}

/// The running container that is meant, and which of its streams are wanted.
fn container(context: &Context, target: &Target, query: &Query) -> Result<(String, Streams), Error> {
    let id = context.running(&target.namespace, &target.pod, &target.container)?;
    Ok((id, query.streams()?))
}
