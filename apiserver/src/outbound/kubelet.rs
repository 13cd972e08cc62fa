//! Connections to kubelets.

use super::upgrade::Way;
use crate::config::Config;
use crate::registry::Reader;
use crate::registry::fields::{list, number, text};
use crate::{ApiError, Body};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde_json::Value;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// Where kubelets listen unless their node says otherwise.
const PORT_DEFAULT: u16 = 10250;
/// A node that does not answer within this is reported as unreachable.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Address kinds in the order they are tried.
const ADDRESS_ORDER: &[&str] = &["InternalIP", "ExternalIP", "Hostname"];

/// The means to reach kubelets: the client certificate and the CA they are checked against.
pub struct Kubelets {
    tls: tokio_rustls::TlsConnector,
}

/// Where one kubelet is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    pub host: String,
    pub port: u16,
}

impl Kubelets {
    /// From the files of the configuration. With unreadable ones the server runs on and says so.
    pub fn load(config: &Config) -> Option<Arc<Kubelets>> {
        let (certificate, key) = (
            config.kubelet_client_certificate.as_ref()?,
            config.kubelet_client_key.as_ref()?,
        );
        let ca = config.kubelet_ca.as_ref()?;
        match pki::tls::client_config(ca, Some((certificate, key))) {
            Ok(tls) => {
                // Upgrades exist in HTTP/1.1 only.
                let mut tls = rustls::ClientConfig::clone(&tls);
                tls.alpn_protocols = vec![b"http/1.1".to_vec()];
                Some(Arc::new(Kubelets {
                    tls: Arc::new(tls).into(),
                }))
            }
            Err(error) => {
                tracing::error!(%error, "logs, exec and port-forward will not work: cannot use the kubelet client certificate");
                None
            }
        }
    }

    /// The way to one of them.
    pub(super) fn way<'a>(&'a self, address: &'a Address) -> Way<'a> {
        Box::new(move |request| Box::pin(self.send(address, request)))
    }

    /// Opens a connection and sends one request over it.
    async fn send(
        &self,
        address: &Address,
        request: http::Request<Body>,
    ) -> Result<http::Response<hyper::body::Incoming>, ApiError> {
        let failed = |why: &dyn std::fmt::Display| unreachable(address, why);
        let connect = async {
            let stream = TcpStream::connect((address.host.as_str(), address.port)).await?;
            stream.set_nodelay(true)?;
            let name = ServerName::try_from(address.host.clone()).map_err(std::io::Error::other)?;
            self.tls.connect(name, stream).await
        };
        let stream = match tokio::time::timeout(CONNECT_TIMEOUT, connect).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(failed(&error)),
            Err(_) => return Err(failed(&"no answer within 10 s")),
        };
        exchange(stream, request).await.map_err(|e| failed(&e))
    }
}

/// Sends one request over a connection of its own.
pub(super) async fn exchange<S>(
    stream: S,
    request: http::Request<Body>,
) -> Result<http::Response<hyper::body::Incoming>, hyper::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Ends by itself: when the answer is read, when the upgraded stream closes, or when either side hangs up.
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "a connection on behalf of a client ended");
        }
    });
    sender.send_request(request).await
}

fn unreachable(address: &Address, why: &dyn std::fmt::Display) -> ApiError {
    let (host, port) = (&address.host, address.port);
    ApiError::new(
        502,
        "BadGateway",
        format!("cannot reach the kubelet at {host}:{port}: {why}"),
    )
}

/// Where the kubelet of a node is, from the node's status.
pub(super) async fn locate(reader: &Reader, node: &str) -> Result<Address, ApiError> {
    let node_object = reader.get("nodes", "", node).await?;
    address_of(&node_object)
        .ok_or_else(|| ApiError::unavailable(format!("node {node:?} has not reported an address of its kubelet yet")))
}

fn address_of(node: &Value) -> Option<Address> {
    let addresses = list(node, "status.addresses");
    let of_kind = |kind: &&str| {
        addresses
            .iter()
            .find(|a| text(a, "type") == *kind)
            .map(|a| text(a, "address").to_owned())
    };
    let host = ADDRESS_ORDER.iter().find_map(of_kind).filter(|host| !host.is_empty())?;
    let port = number(node, "status.daemonEndpoints.kubeletEndpoint.Port");
    Some(Address {
        host,
        port: u16::try_from(port).ok().filter(|p| *p != 0).unwrap_or(PORT_DEFAULT),
    })
}

impl Address {
    /// `host:port`, with brackets around an IPv6 address.
    pub(super) fn authority(&self) -> String {
        match self.host.parse::<IpAddr>() {
            Ok(IpAddr::V6(v6)) => format!("[{v6}]:{}", self.port),
            _ => format!("{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_internal_address_comes_first() {
        let node = json!({"status": {"addresses": [{"type": "Hostname", "address": "n"},
            {"type": "InternalIP", "address": "10.0.0.1"}], "daemonEndpoints": {"kubeletEndpoint": {"Port": 10251}}}});
        assert_eq!(
            address_of(&node),
            Some(Address {
                host: "10.0.0.1".into(),
                port: 10251
            })
        );
        assert_eq!(address_of(&json!({})), None);
        assert_eq!(
            Address {
                host: "::1".into(),
                port: 1
            }
            .authority(),
            "[::1]:1"
        );
    }
}
