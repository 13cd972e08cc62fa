//! The node's own API on port 10250: logs, exec, attach, port-forward, and what the node runs.
//!
//! **Theory.** The API server is its only user. Everything but `/healthz` needs a client certificate of the cluster's CA
//! whose subject may use nodes. Streams are not interpreted: after the upgrade, bytes are copied between the client and
//! the runtime's own streaming server, whose one-time URL CRI gives.
//!
//! **Left out.** Asking the API server for authorization, bearer tokens, `/stats/summary`, `/checkpoint`, `/logs`.

mod identity;
mod logs;
mod query;
mod stream;
mod streams;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, RawQuery, Request, State};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use http::StatusCode;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use tracing::{debug, warn};

use crate::pod::node::Node;
use crate::pod::pods::Pods;
use crate::pod::spec;
use crate::pod::view::ContainerState;
use crate::{Config, Error, limits};

use identity::Identity;
use query::Query;

/// The node's API, bound to its port.
pub struct Server {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

#[derive(Clone)]
struct Context {
    node: Arc<Node>,
    pods: Arc<Pods>,
}

impl Server {
    /// Reads the certificates and takes the port.
    pub async fn bind(config: &Config) -> Result<Server, Error> {
        let tls = pki::tls::server_config(
            &config.serving_cert,
            &config.serving_key,
            Some(&config.client_ca),
            pki::tls::ClientAuth::Optional,
        )?;
        // Upgrades exist in HTTP/1.1 only.
        let tls = pki::tls::with_alpn(tls, &["http/1.1"]);
        let address = SocketAddr::new(config.server_address, config.server_port);
        let listener = TcpListener::bind(address).await.map_err(|e| Error::Config {
            field: "server_port",
            message: format!("cannot listen on {address}: {e}; another node agent may be running"),
        })?;
        Ok(Server {
            listener,
            acceptor: TlsAcceptor::from(tls),
        })
    }

    /// The port that was taken.
    pub fn port(&self) -> u16 {
        self.listener.local_addr().map_or(0, |a| a.port())
    }

    /// Serves until `stop`.
    pub async fn serve(self, node: Arc<Node>, pods: Arc<Pods>, stop: CancellationToken) {
        let router = router(Context { node, pods });
        let connections = Arc::new(Semaphore::new(limits::SERVER_CONNECTIONS_MAX));
        loop {
            let permit = tokio::select! {
                permit = connections.clone().acquire_owned() => permit,
                () = stop.cancelled() => return,
            };
            let stream = tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => stream,
                    Err(error) => {
                        warn!(%error, "cannot accept a connection");
                        tokio::time::sleep(limits::LOG_POLL_INTERVAL).await;
                        continue;
                    }
                },
                () = stop.cancelled() => return,
            };
            let (acceptor, router, stop) = (self.acceptor.clone(), router.clone(), stop.clone());
            tokio::spawn(async move {
                tokio::select! {
                    () = connection(stream, acceptor, router) => {}
                    () = stop.cancelled() => {}
                }
                drop(permit);
            });
        }
    }
}

async fn connection(stream: TcpStream, acceptor: TlsAcceptor, router: Router) {
    let stream = match timeout(limits::TLS_HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return debug!(%error, "TLS handshake failed"),
        Err(_) => return,
    };
    let chain = stream.get_ref().1.peer_certificates();
    let identity = chain
        .and_then(|c| c.first())
        .map(|c| Identity::of(c))
        .unwrap_or(Identity::Anonymous);
    let service = router.map_request(move |mut request: http::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(identity.clone());
        request.map(Body::new)
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service))
        .with_upgrades();
    if let Err(error) = served.await {
        debug!(%error, "connection ended");
    }
}

fn router(context: Context) -> Router {
    Router::new()
        .route("/pods", get(list_pods))
        .route("/metrics", get(metrics))
        .route("/containerLogs/{namespace}/{pod}/{container}", get(container_logs))
        .route("/exec/{namespace}/{pod}/{container}", any(streams::exec))
        .route("/exec/{namespace}/{pod}/{uid}/{container}", any(streams::exec))
        .route("/attach/{namespace}/{pod}/{container}", any(streams::attach))
        .route("/attach/{namespace}/{pod}/{uid}/{container}", any(streams::attach))
        .route("/portForward/{namespace}/{pod}", any(streams::port_forward))
        .route("/portForward/{namespace}/{pod}/{uid}", any(streams::port_forward))
        .layer(from_fn(authorize))
        // Below the layer: whoever asks whether the agent lives needs no certificate.
        .route("/healthz", get(healthz))
        .with_state(context)
}

async fn authorize(request: Request, next: Next) -> Response {
    match request.extensions().get::<Identity>() {
        Some(identity) if identity.may_use_nodes() => next.run(request).await,
        Some(Identity::Named { name, .. }) => fail(
            StatusCode::FORBIDDEN,
            format!("Forbidden (user={name}, resource=nodes, subresource=proxy)"),
        ),
        _ => fail(
            StatusCode::UNAUTHORIZED,
            "Unauthorized: a client certificate is required".into(),
        ),
    }
}

fn fail(code: StatusCode, message: String) -> Response {
    (code, message).into_response()
}

/// Errors of the runtime and of looking things up, as answers.
fn failure(error: Error) -> Response {
    let code = match &error {
        error if error.is_runtime_not_found() => StatusCode::NOT_FOUND,
        Error::Pod(_) => StatusCode::BAD_REQUEST,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    fail(code, error.to_string())
}

async fn healthz(State(context): State<Context>) -> Response {
    if context.node.relist.is_current() {
        "ok".into_response()
    } else {
        fail(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the container runtime was not heard of lately".into(),
        )
    }
}

async fn list_pods(State(context): State<Context>) -> Response {
    let pods = context.pods.list();
    let items: Vec<_> = pods.iter().map(|p| &**p).collect();
    axum::Json(json!({ "kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items })).into_response()
}

async fn metrics(State(context): State<Context>) -> Response {
    let views = context
        .node
        .relist
        .pods()
        .into_iter()
        .map(|id| context.node.relist.view(&id.uid));
    let (mut pods, mut containers) = (0, 0);
    for view in views {
        pods += usize::from(view.ready_sandbox().is_some());
        containers += view
            .containers
            .iter()
            .filter(|c| c.state == ContainerState::Running)
            .count();
    }
    let text = format!(
        "# HELP kubelet_running_pods Number of pods that have a running sandbox\n# TYPE kubelet_running_pods gauge\n\
         kubelet_running_pods {pods}\n\
         # HELP kubelet_running_containers Number of running containers\n# TYPE kubelet_running_containers gauge\n\
         kubelet_running_containers{{container_state=\"running\"}} {containers}\n"
    );
    ([(http::header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

async fn container_logs(
    State(context): State<Context>,
    Path((namespace, pod, container)): Path<(String, String, String)>,
    RawQuery(query): RawQuery,
) -> Response {
    let query = Query::parse(query.as_deref().unwrap_or_default());
    logs::respond(&context, &namespace, &pod, &container, &query)
        .await
        .unwrap_or_else(failure)
}

impl Context {
    /// The id of a running container.
    fn running(&self, namespace: &str, pod: &str, container: &str) -> Result<String, Error> {
        let object = self.pod(namespace, pod)?;
        let view = self.node.relist.view(spec::uid(&object));
        let running = view.latest(container).filter(|c| c.state == ContainerState::Running);
        running
            .map(|c| c.id.clone())
            .ok_or_else(|| Error::Pod(format!("container not found (\"{container}\")")))
    }

    fn pod(&self, namespace: &str, name: &str) -> Result<Arc<k8s_openapi::api::core::v1::Pod>, Error> {
        self.pods.find(namespace, name).ok_or_else(|| Error::Runtime {
            call: "find pod",
            code: tonic::Code::NotFound,
            message: format!("pod \"{name}\" not found in namespace \"{namespace}\" on this node"),
        })
    }
}
