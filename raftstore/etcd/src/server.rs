//! The listener: connections, TLS, and which service a request is for.

use std::{convert::Infallible, sync::Arc};

use http::{HeaderMap, Request, Response, header};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use raftstore::Store;
use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tonic::{Status, body::Body, service::Routes};
use tower::Service;

use crate::{
    Error, EtcdConfig, Refusal,
    auth::AuthService,
    calls::{Metered, metered},
    client::CommonName,
    cluster::ClusterService,
    door::{Door, REQUIRE_LEADER},
    election::ElectionService,
    gateway,
    health::HealthService,
    http::page,
    kv::KvService,
    lease::LeaseService,
    limits,
    lock::LockService,
    maintenance::MaintenanceService,
    services::{
        etcdserverpb::{
            auth_server::AuthServer, cluster_server::ClusterServer, kv_server::KvServer, lease_server::LeaseServer,
            maintenance_server::MaintenanceServer, watch_server::WatchServer,
        },
        health::health_server::HealthServer,
        v3electionpb::election_server::ElectionServer,
        v3lockpb::lock_server::LockServer,
    },
    watch::WatchService,
};

/// Serves etcd's API on `listener` until `stop`; then lets connections finish what they are answering. With `tls` (see
/// `pki::tls::server_config`) nothing else than TLS is spoken.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    store: Store,
    config: EtcdConfig,
    stop: CancellationToken,
) -> Result<(), Error> {
    listen(listener, tls, Door::new(store, config, stop), Offer::Everything).await
}

/// As [`serve`], but only the pages that tell of health, version and metrics: for whoever watches, on an address of its own.
pub async fn serve_pages(
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    store: Store,
    config: EtcdConfig,
    stop: CancellationToken,
) -> Result<(), Error> {
    listen(listener, tls, Door::new(store, config, stop), Offer::Pages).await
}

/// What a listener offers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Offer {
    Everything,
    Pages,
}

async fn listen(
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    door: Arc<Door>,
    offer: Offer,
) -> Result<(), Error> {
    let stop = door.stop.clone();
    let tls = tls.map(|config| TlsAcceptor::from(pki::tls::with_alpn(config, &["h2", "http/1.1"])));
    let entrance = Entrance { door, tls, offer };
    let entrance = Arc::new((entrance.routes(), entrance));
    let places = Arc::new(Semaphore::new(limits::CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        // Without a free place nothing is accepted: the kernel's queue holds the next ones.
        let place = places
            .clone()
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, _)) => {
                let entrance = entrance.clone();
                connections.spawn(async move {
                    entrance.1.connection(stream, &entrance.0).await;
                    drop(place);
                });
            }
            Err(source) if is_passing(&source) => {
                tracing::warn!(error = %source, "an etcd client could not be accepted");
                tokio::time::sleep(limits::ACCEPT_RETRY).await;
            }
            Err(source) => {
                let address = listener.local_addr().unwrap_or_else(|_| ([0, 0, 0, 0], 0).into());
                return Err(Error::Listener { address, source });
            }
        }
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(limits::DRAIN_TIMEOUT, drained).await.is_err() {
        connections.shutdown().await;
    }
    Ok(())
}

/// Whether accepting may work again by itself: the client gave up, or the process is short of something.
fn is_passing(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    !matches!(
        error.kind(),
        ErrorKind::InvalidInput | ErrorKind::Unsupported | ErrorKind::NotConnected
    )
}

struct Entrance {
    door: Arc<Door>,
    tls: Option<TlsAcceptor>,
    offer: Offer,
}

impl Entrance {
    fn routes(&self) -> Routes {
        /// Requests are bounded; answers are not, as in etcd.
        macro_rules! sized {
            ($server:ident, $service:ident) => {
                $server::new($service(self.door.clone()))
                    .max_decoding_message_size(limits::MESSAGE_BYTES_MAX)
                    .max_encoding_message_size(usize::MAX)
            };
        }
        Routes::new(sized!(KvServer, KvService))
            .add_service(sized!(WatchServer, WatchService))
            .add_service(sized!(LeaseServer, LeaseService))
            .add_service(sized!(ClusterServer, ClusterService))
            .add_service(sized!(MaintenanceServer, MaintenanceService))
            .add_service(sized!(AuthServer, AuthService))
            .add_service(sized!(LockServer, LockService))
            .add_service(sized!(ElectionServer, ElectionService))
            .add_service(sized!(HealthServer, HealthService))
            .prepare()
    }

    async fn connection(&self, stream: TcpStream, routes: &Routes) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "an etcd client's connection broke at once");
            return;
        }
        let Some(tls) = &self.tls else {
            return self.http(stream, routes, None).await;
        };
        match tokio::time::timeout(limits::HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
            Ok(Ok(stream)) => {
                // Verified, if there is one: the configuration lets no other in.
                let certificates = stream.get_ref().1.peer_certificates();
                let name = certificates.and_then(|chain| CommonName::of(chain.first()?));
                self.http(stream, routes, name).await;
            }
            Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake with an etcd client failed"),
            Err(_) => tracing::debug!("an etcd client did not finish its TLS handshake"),
        }
    }

    async fn http(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        routes: &Routes,
        name: Option<CommonName>,
    ) {
        let service = service_fn(|mut request: Request<Incoming>| {
            let (door, routes) = (self.door.clone(), routes.clone());
            if let Some(name) = &name {
                request.extensions_mut().insert(name.clone());
            }
            let offer = self.offer;
            async move {
                Ok::<_, Infallible>(match offer {
                    Offer::Everything => answer(&door, routes, request).await,
                    Offer::Pages => pages(&door, request).await,
                })
            }
        });
        let builder = protocol();
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.door.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "an etcd client's connection ended");
        }
    }
}

fn protocol() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new());
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits::STREAMS_PER_CONNECTION_MAX)
        .max_pending_accept_reset_streams(limits::CANCELLED_STREAMS_MAX)
        .initial_stream_window_size(limits::STREAM_WINDOW_BYTES)
        .initial_connection_window_size(limits::CONNECTION_WINDOW_BYTES)
        .keep_alive_interval(limits::PING_INTERVAL)
        .keep_alive_timeout(limits::PING_TIMEOUT);
    builder
}

async fn answer(door: &Door, mut routes: Routes, request: Request<Incoming>) -> Response<Body> {
    let is_grpc = request
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(GRPC));
    if !is_grpc && request.uri().path().starts_with(gateway::PREFIX) {
        return gateway::answer(door, routes, request).await;
    }
    if !is_grpc {
        return pages(door, request).await;
    }
    let running = door.calls.start(request.uri().path());
    if let Err(status) = admit(door, request.uri().path(), request.headers()) {
        if let Some(running) = running {
            running.refused(&status);
        }
        return status.into_http();
    }
    let request = request.map(|body| Metered {
        body,
        bytes: door.calls.received_bytes.clone(),
        running: None,
    });
    match routes.call(request).await {
        Ok(response) => metered(response, door.calls.sent_bytes.clone(), running),
        Err(never) => match never {},
    }
}

async fn pages(door: &Door, request: Request<Incoming>) -> Response<Body> {
    let (parts, _) = request.into_parts();
    let query = parts.uri.query().unwrap_or_default();
    page(door, &parts.method, parts.uri.path(), query).await
}

const GRPC: &[u8] = b"application/grpc";

/// What a learner answers; of ranges it answers the serializable ones, which the KV service sees to.
const LEARNER_PATHS: [&str; 5] = [
    "/etcdserverpb.KV/Range",
    "/etcdserverpb.Maintenance/Status",
    "/etcdserverpb.Maintenance/Snapshot",
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/Watch",
];

/// Refuses, before anything is read of it, a request that this member must not answer now.
pub(crate) fn admit(door: &Door, path: &str, headers: &HeaderMap) -> Result<(), Status> {
    if !LEARNER_PATHS.contains(&path) {
        door.require_voter()?;
    }
    let requires_leader = headers.get(REQUIRE_LEADER).is_some_and(|value| value == "true");
    if requires_leader && !door.has_leader() {
        return Err(Refusal::NoLeader.into());
    }
    Ok(())
}
