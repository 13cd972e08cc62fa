//! Reaching the masters from another process: HTTPS with a client certificate or a token, balanced over the masters
//! that are alive.
//!
//! **Theory.** Every master serves the same API, so any that answers will do, and staying with one keeps caches
//! monotonic and connections few. The balancer therefore *sticks*: it uses one master until a connection to it fails,
//! then the next. Clients start at different masters, which spreads them.
//!
//! **Promises.** A request whose connection could not be made is tried on every other master before it fails. A read
//! whose connection broke is tried again elsewhere; a write is not, because it may have happened.
//!
//! **Left out.** Measuring latency or load of the masters.

mod balance;
mod connector;
mod kubeconfig;
mod refresh;
mod tls;

use std::path::PathBuf;
use std::sync::Arc;

use http::Uri;
use tokio_util::sync::CancellationToken;

use crate::{Client, Error};
use balance::{Balancer, Servers};

/// A PEM text, or where to read it. A certificate given by path is read again when its file changes.
#[derive(Clone)]
pub enum Pem {
    /// The file that holds it.
    Path(PathBuf),
    /// The text itself.
    Inline(Vec<u8>),
}

/// How the client proves who it is.
#[derive(Clone)]
pub enum Credential {
    /// A client certificate and its key.
    Certificate {
        /// The certificate chain.
        cert: Pem,
        /// Its private key.
        key: Pem,
    },
    /// A bearer token.
    Token(String),
    /// A file holding a bearer token that is replaced from time to time.
    TokenFile(PathBuf),
    /// Anonymous.
    None,
}

/// Where the masters are and how to trust and convince them.
#[derive(Clone)]
pub struct RemoteOptions {
    /// `https://host:port` or `host:port` of at least one master.
    pub servers: Vec<String>,
    /// The authority that signed the masters' certificates.
    pub ca: Pem,
    /// Who the client is.
    pub credential: Credential,
    /// Whether to learn further masters from the `kubernetes` Endpoints object.
    pub discover: bool,
}

impl Client {
    /// A client that balances over the live masters. Needs a tokio runtime; makes no connection yet.
    pub fn remote(options: RemoteOptions) -> Result<Self, Error> {
        let seeds = options
            .servers
            .iter()
            .map(|s| parse_server(s))
            .collect::<Result<Vec<_>, _>>()?;
        if seeds.is_empty() {
            return Err(Error::Config("no server given".to_owned()));
        }
        let servers = Arc::new(Servers::new(seeds));
        let config = tls::client_config(&options.ca, &options.credential)?;
        let balancer = Balancer::new(servers.clone(), config, options.credential.clone());
        let mut client = Client {
            kube: kube::Client::new(balancer, "default"),
            background: None,
        };
        if options.discover {
            let stop = CancellationToken::new();
            tokio::spawn(refresh::run(client.clone(), servers, stop.clone()));
            client.background = Some(Arc::new(stop.drop_guard()));
        }
        Ok(client)
    }

    /// A client from the current context of a kubeconfig file.
    pub fn from_kubeconfig(path: impl AsRef<std::path::Path>) -> Result<Self, Error> {
        Client::remote(kubeconfig::load(path.as_ref())?)
    }
}

impl RemoteOptions {
    /// The options that the current context of a kubeconfig file stands for.
    pub fn from_kubeconfig(path: impl AsRef<std::path::Path>) -> Result<Self, Error> {
        kubeconfig::load(path.as_ref())
    }
}

/// `https://host:port` of a server given as a URL or as host and port.
fn parse_server(text: &str) -> Result<String, Error> {
    let text = text.trim();
    let url = if text.contains("://") {
        text.to_owned()
    } else {
        format!("https://{text}")
    };
    let uri: Uri = url
        .parse()
        .map_err(|e| Error::Config(format!("server {text:?}: {e}")))?;
    if uri.scheme_str() != Some("https") {
        return Err(Error::Config(format!("server {text:?}: only https is spoken")));
    }
    let authority = uri
        .authority()
        .ok_or_else(|| Error::Config(format!("server {text:?}: no host")))?;
    let port = authority.port_u16().unwrap_or(443);
    Ok(format!("https://{}:{port}", authority.host()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_normalised() {
        assert_eq!(parse_server("10.0.0.1:6443").unwrap(), "https://10.0.0.1:6443");
        assert_eq!(parse_server("https://m1:6443/").unwrap(), "https://m1:6443");
        assert_eq!(parse_server("https://[::1]:6443").unwrap(), "https://[::1]:6443");
        assert!(parse_server("http://m1").is_err());
        assert!(parse_server("https://").is_err());
    }
}
