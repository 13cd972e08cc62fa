//! The server: what the parts are made of, and the loop that accepts connections.

use crate::authn::{self, Authenticator};
use crate::authz::{self, Authorizer};
use crate::config::Config;
use crate::endpoints::Documents;
use crate::error::ServeError;
use crate::filters::in_flight::InFlight;
use crate::identity::{PeerAddress, PeerCertificates};
use crate::metrics::Metrics;
use crate::registry::Registry;
use crate::{Body, Fence, Local, User, chain, limits};
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use storage::Storage;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

/// One API server. Any number of listeners and in-process callers share it.
pub struct Server {
    pub(crate) config: Config,
    pub(crate) registry: Arc<Registry>,
    pub(crate) authenticators: Vec<Arc<dyn Authenticator>>,
    pub(crate) authorizer: Arc<dyn Authorizer>,
    pub(crate) in_flight: InFlight,
    pub(crate) metrics: Metrics,
    pub(crate) documents: Documents,
    /// Cancelled when the server stops: watches end, so that connections can drain.
    pub(crate) stopping: CancellationToken,
    /// Set once the definitions of custom resources are followed.
    pub(crate) following: AtomicBool,
}

impl Server {
    /// A server over a store. It serves once [`Server::serve`] is called; in-process callers work at once.
    pub fn new(storage: Storage, config: Config) -> Arc<Server> {
        let registry = Registry::new(storage, &config);
        let bearers = authn::bearers(&registry, &config);
        let authenticators = authn::authenticators(&config, &bearers);
        let authorizer = authz::authorizer(&registry, &config);
        registry.set_access(bearers, authorizer.clone());
        let metrics = Metrics::register(&mut config.metrics.lock());
        Arc::new(Server {
            documents: Documents::new(&registry),
            config,
            registry,
            authenticators,
            authorizer,
            in_flight: InFlight::new(),
            metrics,
            stopping: CancellationToken::new(),
            following: AtomicBool::new(false),
        })
    }

    /// The server as seen by one caller inside the process.
    pub fn local(self: &Arc<Server>, user: User, fence: Option<Fence>) -> Local {
        Local::new(self.clone(), user, fence)
    }

    /// The generic store, for the binary's own needs.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// Accepts TLS connections until `stop`, then lets open requests finish for [`limits::DRAIN_TIMEOUT`].
    pub async fn serve(
        self: &Arc<Server>,
        listener: TcpListener,
        tls: Arc<rustls::ServerConfig>,
        stop: CancellationToken,
    ) -> Result<(), ServeError> {
        let acceptor = TlsAcceptor::from(tls);
        let graceful = Arc::new(GracefulShutdown::new());
        let drained = CancellationToken::new();
        loop {
            let stream = tokio::select! {
                () = stop.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            match stream {
                Ok((stream, address)) => {
                    let connection = Connection {
                        server: self.clone(),
                        acceptor: acceptor.clone(),
                        address: PeerAddress(address),
                        watcher: graceful.watcher(),
                        drained: drained.clone(),
                    };
                    tokio::spawn(connection.run(stream));
                }
                // Out of file descriptors and the like: connections that end make room, so waiting is the remedy.
                Err(error) if is_passing(&error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(limits::ACCEPT_RETRY).await;
                }
                Err(error) => return Err(ServeError::Accept(error)),
            }
        }
        drop(listener);
        self.stopping.cancel();
        drain(graceful, drained).await;
        Ok(())
    }
}

async fn drain(graceful: Arc<GracefulShutdown>, drained: CancellationToken) {
    if let Some(graceful) = Arc::into_inner(graceful) {
        let _ = tokio::time::timeout(limits::DRAIN_TIMEOUT, graceful.shutdown()).await;
    }
    drained.cancel();
}

fn is_passing(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, InvalidInput, NotConnected};
    // A closed listener is InvalidInput or NotConnected; everything about one connection or about resources passes.
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
        || !matches!(error.kind(), InvalidInput | NotConnected)
}

const PLAIN_HTTP_ANSWER: &[u8] = b"HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n\
    Client sent an HTTP request to an HTTPS server.\n";

struct Connection {
    server: Arc<Server>,
    acceptor: TlsAcceptor,
    address: PeerAddress,
    watcher: hyper_util::server::graceful::Watcher,
    /// Cancelled when the time to drain is over.
    drained: CancellationToken,
}

impl Connection {
    async fn run(self, stream: TcpStream) {
        // Small writes (watch events) must not wait for acknowledgements.
        let _ = stream.set_nodelay(true);
        let handshake = tokio::time::timeout(limits::HANDSHAKE_TIMEOUT, shake_hands(&self.acceptor, stream)).await;
        let stream = match handshake {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return tracing::debug!(%error, peer = %self.address.0, "TLS handshake failed"),
            Err(_) => return tracing::debug!(peer = %self.address.0, "TLS handshake timed out"),
        };
        let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let certificates = certificates
            .iter()
            .map(|certificate| certificate.clone().into_owned())
            .collect();
        let certificates = PeerCertificates(Arc::new(certificates));
        let (server, address) = (self.server, self.address);
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(address);
            request.extensions_mut().insert(certificates.clone());
            let server = server.clone();
            async move { Ok::<_, Infallible>(chain::handle(server, request.map(Body::new)).await) }
        });
        let builder = builder();
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
        tokio::select! {
            result = self.watcher.watch(connection.into_owned()) => {
                if let Err(error) = result {
                    tracing::debug!(%error, peer = %address.0, "connection ended");
                }
            }
            () = self.drained.cancelled() => {}
        }
    }
}

/// Makes a TLS connection, or tells a client that speaks HTTP without TLS what is wrong, in Go's words for it.
async fn shake_hands(acceptor: &TlsAcceptor, mut stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
    let mut first = [0; 5];
    let length = stream.peek(&mut first).await?;
    if !is_plain_http(&first[..length]) {
        return acceptor.accept(stream).await;
    }
    stream.write_all(PLAIN_HTTP_ANSWER).await?;
    stream.shutdown().await?;
    // A socket that is closed with something unread takes back what was written to it. The handshake's time bounds this.
    let mut rest = [0; 4096];
    while stream.read(&mut rest).await? > 0 {}
    Err(io::Error::new(
        io::ErrorKind::InvalidData,
        "an HTTP request without TLS",
    ))
}

/// Whether what a client sends first is a request and not a TLS record.
fn is_plain_http(first: &[u8]) -> bool {
    let methods = [b"GET /", b"HEAD ", b"POST ", b"PUT /", b"PATCH", b"DELET", b"OPTIO"];
    methods.iter().any(|method| first == *method)
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(hyper_util::rt::TokioTimer::new())
        .header_read_timeout(limits::HEADER_TIMEOUT);
    builder
        .http2()
        .timer(hyper_util::rt::TokioTimer::new())
        .keep_alive_interval(limits::KEEP_ALIVE_INTERVAL)
        .max_concurrent_streams(limits::STREAMS_MAX)
        .max_header_list_size(limits::HEADER_LIST_BYTES_MAX);
    builder
}
