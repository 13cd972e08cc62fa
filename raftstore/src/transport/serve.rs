//! Listening for peers.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::transport::server::Connected;

use super::connect::Wire;
use super::discover::Describer;
use super::server::Door;
use super::{Identity, Inbound};

/// Where to listen for peers.
#[derive(Debug)]
pub enum Listen {
    /// On this address.
    Address(SocketAddr),
    /// On a socket that is bound already.
    Bound(TcpListener),
}

impl Listen {
    async fn bind(self) -> io::Result<TcpListener> {
        match self {
            Listen::Bound(listener) => Ok(listener),
            Listen::Address(address) => TcpListener::bind(address).await.map_err(|error| {
                io::Error::new(error.kind(), format!("cannot listen for peers on {address}: {error}"))
            }),
        }
    }
}

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECTIONS_WAITING: usize = 64;
const STREAM_WINDOW_BYTES: u32 = 8 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 32 << 20;

/// Serves peers until `stop`. Returns once the socket is bound.
pub async fn serve(
    listen: Listen,
    tls: Option<Arc<ServerConfig>>,
    identity: Identity,
    inbound: Arc<dyn Inbound>,
    stop: CancellationToken,
) -> io::Result<SocketAddr> {
    let listener = listen.bind().await?;
    let address = listener.local_addr()?;
    let acceptor = tls.map(|config| {
        let mut config = ServerConfig::clone(&config);
        config.alpn_protocols = vec![b"h2".to_vec()];
        TlsAcceptor::from(Arc::new(config))
    });
    let (connections, incoming) = mpsc::channel(CONNECTIONS_WAITING);
    tokio::spawn(
        stop.clone()
            .run_until_cancelled_owned(accept(listener, acceptor, connections)),
    );
    let server = Server::builder()
        .tcp_nodelay(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .add_service(Describer::service(inbound.clone()))
        .add_service(Door::service(identity, inbound))
        .serve_with_incoming_shutdown(ReceiverStream::new(incoming), stop.cancelled_owned());
    tokio::spawn(async move {
        if let Err(error) = server.await {
            tracing::error!(%error, "the listener for peers ended");
        }
    });
    Ok(address)
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, connections: mpsc::Sender<io::Result<Connection>>) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of descriptors, most likely: waiting helps, spinning does not.
                tracing::warn!(%error, "could not accept a connection from a peer");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (tls, connections) = (tls.clone(), connections.clone());
        // On its own: one peer that stalls in its handshake must not keep the others out.
        tokio::spawn(async move {
            match tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake(stream, tls)).await {
                Ok(Ok(connection)) => drop(connections.send(Ok(connection)).await),
                // Peers look whether anything listens here and say no more.
                Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    tracing::debug!(%error, "a connection on the peer port ended before it began");
                }
                Ok(Err(error)) => tracing::warn!(%error, "refused a connection on the peer port"),
                Err(_) => tracing::warn!("a connection on the peer port did not finish its handshake"),
            }
        });
    }
}

async fn handshake(stream: TcpStream, tls: Option<TlsAcceptor>) -> io::Result<Connection> {
    stream.set_nodelay(true)?;
    Ok(match tls {
        Some(tls) => Connection(Box::new(tls.accept(stream).await?)),
        None => Connection(Box::new(stream)),
    })
}

/// An accepted connection, with or without TLS.
pub struct Connection(Box<dyn Wire>);

impl Connected for Connection {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }
}
