//! Dialing: TCP, TLS over it when configured, one HTTP/2 connection a peer.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};
use tower::Service;

use crate::limits::CONNECT_TIMEOUT;

/// The certificates and trust of a member. Both sides prove themselves.
#[derive(Clone)]
pub struct Tls {
    /// For connections from peers; has to demand a client certificate.
    pub server: Arc<ServerConfig>,
    /// For connections to peers; has to present one.
    pub client: Arc<ClientConfig>,
}

const KEEP_ALIVE_INTERVAL: Duration = Duration::from_millis(1_000);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_millis(2_000);
const STREAM_WINDOW_BYTES: u32 = 8 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 32 << 20;

/// A stream to a peer.
pub trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// A channel to the peer at `url`; it connects when first used and again whenever it broke.
pub fn channel(url: &str, tls: Option<Arc<ClientConfig>>) -> Result<Channel, String> {
    let uri: Uri = url
        .parse()
        .map_err(|error| format!("peer url {url:?} is not a url: {error}"))?;
    let authority = uri
        .authority()
        .ok_or_else(|| format!("peer url {url:?} names no host"))?;
    // Always http here: the connector speaks TLS itself.
    let endpoint = Endpoint::from_shared(format!("http://{authority}"))
        .map_err(|error| format!("peer url {url:?}: {error}"))?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
    let connector = tls.map(|config| {
        let mut config = ClientConfig::clone(&config);
        config.alpn_protocols = vec![b"h2".to_vec()];
        TlsConnector::from(Arc::new(config))
    });
    Ok(endpoint.connect_with_connector_lazy(Connect { tls: connector }))
}

#[derive(Clone)]
struct Connect {
    tls: Option<TlsConnector>,
}

impl Service<Uri> for Connect {
    type Response = TokioIo<Box<dyn Wire>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let tls = self.tls.clone();
        Box::pin(async move { Ok(TokioIo::new(dial(&uri, tls).await?)) })
    }
}

/// Whether the machine of the peer at `url` says that nothing listens there.
pub async fn refuses(url: &str) -> bool {
    let Ok(uri) = url.parse::<Uri>() else { return false };
    let connected = TcpStream::connect((host(&uri), port(&uri))).await;
    connected.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

fn host(uri: &Uri) -> &str {
    let host = uri.host().unwrap_or_default();
    host.trim_start_matches('[').trim_end_matches(']')
}

fn port(uri: &Uri) -> u16 {
    uri.port_u16().unwrap_or(DEFAULT_PORT)
}

async fn dial(uri: &Uri, tls: Option<TlsConnector>) -> io::Result<Box<dyn Wire>> {
    let host = host(uri).to_owned();
    let stream = TcpStream::connect((host.as_str(), port(uri))).await?;
    stream.set_nodelay(true)?;
    let Some(tls) = tls else { return Ok(Box::new(stream)) };
    let name = ServerName::try_from(host).map_err(io::Error::other)?;
    Ok(Box::new(tls.connect(name, stream).await?))
}

/// etcd's peer port.
const DEFAULT_PORT: u16 = 2380;
